"""Extra figure: how far attacks turn the unit normal, against the curvature where they start."""

import sys

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from attacks.correlation.ascent import Ascent
from attacks.correlation.certificates import VACUOUS
from attacks.correlation.measurements import measure
from attacks.correlation.plan import Settings, plan
from attacks.correlation.subjects import load_subject
from attacks.correlation.table import as_table
from figures._claim import Claim, Data
from figures._draw import COLOURS, MARKERS, TWO_COLUMNS
from figures._run import run
from figures._script import Budget

BUDGET = Budget(network="digits, 64-64-64-10", n=100, steps=30, minutes=3)
_COLUMNS = ("beta", "radius", "lambda_max", "attained_surface", "attained_free", "certificate")
_BETAS, _RADII = (0.8, 5.0, 20.0), (0.02, 0.3, 1.0)


def compute(*, seed: int, quick: bool) -> Data:
    """The correlation study on its first held-out images: a row for each image, beta and radius."""
    ascent = Ascent(seed=seed)
    settings = Settings(betas=_BETAS, radii=_RADII, images=10 if quick else 100, local_images=0, ascent=ascent)
    subject = load_subject(settings.network)
    table = as_table([(part, measure(part)) for part in plan(settings, subject)], subject)
    return {name: table[name].to_numpy(dtype=np.float64) for name in _COLUMNS}


def _cell(data: Data, beta: float, radius: float) -> Data:
    chosen = (data["beta"] == beta) & (data["radius"] == radius)
    return {name: values[chosen] for name, values in data.items()}


def _rho(data: Data, beta: float, radius: float) -> float:
    """Spearman's correlation of the attack on the level set with the largest curvature in magnitude."""
    cell = _cell(data, beta, radius)
    return float(spearmanr(np.abs(cell["lambda_max"]), cell["attained_surface"]).statistic)


def claims(data: Data) -> dict[str, Claim]:
    """Where curvature predicts what an attack reaches, and that no attack exceeds its certificate."""
    n = len(_cell(data, _BETAS[0], _RADII[0])["beta"])
    near, far = _rho(data, _BETAS[0], _RADII[0]), _rho(data, _BETAS[-1], _RADII[-1])
    certified = data["certificate"] < VACUOUS
    share = data["attained_free"][certified] / data["certificate"][certified]
    return {
        "curvature ranks the images by how far an attack turns their explanation (small ball, beta = 0.8)": Claim(
            expected=True, holds=near > 0.99, value=near, n=n,
            note=f"Spearman's rho, radius {_RADII[0]:g}; the paper argues it, and shows no figure",
        ),
        "it no longer does once beta times the radius is large": Claim(
            expected=True, holds=far < 0.6, value=far, n=n, note=f"Spearman's rho, beta = 20, radius {_RADII[-1]:g}"
        ),
        "no attack goes further than its certificate": Claim(
            expected=True, holds=share.max() <= 1, value=share.max(), n=int(certified.sum()),
            note="largest share of a certificate that says something; n balls",
        ),
    }  # fmt: skip


def draw(data: Data) -> Figure:
    """A panel a beta, a colour a radius; on the line the attack does what the curvature says to first order."""
    figure = Figure(figsize=(TWO_COLUMNS, 2.5))
    panels = figure.subplots(1, len(_BETAS), sharey=True)
    for panel, beta in zip(panels, _BETAS, strict=True):
        for i, radius in enumerate(_RADII):
            cell = _cell(data, beta, radius)
            label = rf"r = {radius:g}: $\rho$ = {_rho(data, beta, radius):.3f}"
            x, y = np.abs(cell["lambda_max"]) * radius, cell["attained_surface"]
            panel.loglog(x, y, MARKERS[i], color=COLOURS[i], ms=2, label=label)
        ends = np.array(panel.get_xlim())
        panel.plot(ends, ends, color="0.5", lw=0.8, zorder=0)
        panel.axhline(VACUOUS, color="black", ls=":", lw=0.8)
        panel.set(title=rf"$\beta$ = {beta:g}", xlabel=r"$|\lambda_{\max}|\,r$", xlim=ends, ylim=(None, 100))
        panel.legend(loc="upper left", handletextpad=0.2, borderpad=0)
    panels[0].set_ylabel(r"attained $\|n(y)-n(x)\|$ on S")
    return figure


def caption(data: Data) -> str:
    """What was run."""
    n = len(_cell(data, _BETAS[0], _RADII[0])["beta"])
    return f"""Attack success against curvature: the largest turn of the unit normal that gradient ascent on the level
    set finds within radius r (from below: 6 restarts of 30 steps) against the largest principal curvature in magnitude
    at the start, times r, which is the turn to first order (the line). Digits network 64-64-64-10, softplus, the first
    {n} held-out images of scikit-learn's digits, three radii and three beta; rho is Spearman's; the dotted line is 2,
    the diameter of the sphere of normals. All images: python -m attacks correlate. No figure of the paper shows it."""


if __name__ == "__main__":
    sys.exit(run("extra_attack_vs_curvature", compute, claims, draw, caption))
