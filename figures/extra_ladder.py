"""Extra figure: the ladder of bounds against the curvature that is attained, over the radius and over beta."""

import sys
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from curvature import curvature_bounds, digits_network, soften
from curvature.demo_networks import digits_split
from curvature.feedforward import feed_forward
from curvature.search import Ascent, attained_curvature
from figures._claim import Claim, Data
from figures._draw import COLOURS, MARKERS, TWO_COLUMNS
from figures._run import run
from figures._script import Budget

BUDGET = Budget(network="digits, 64-64-64-10", n=6, steps=80, minutes=2)
RUNGS = {
    "frobenius": "Frobenius, eq. 10 with 1/4", "spectral": "spectral norms", "entesari_2024": "Entesari et al. 2024",
    "sign_aware": "sign-aware", "entrywise_local": "local, entrywise", "first_order_local": "local, first order",
}  # fmt: skip
_RADII, _BETAS, _BETA, _RADIUS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1), (0.5, 1.0, 2.0, 5.0, 10.0), 1.0, 1e-2


def compute(*, seed: int, quick: bool) -> Data:
    """Bounds and attained values, [case, image, rung]; infinite where a rung certifies nothing."""
    images = torch.tensor(load_digits().images / 16, dtype=torch.float64)[digits_split()[1][: 1 if quick else 6]]
    radii, betas = (_RADII[:1], _BETAS[1:2]) if quick else (_RADII, _BETAS)
    search = Ascent(10, 2, seed) if quick else Ascent(seed=seed)
    by_radius = [[_case(_BETA, r, x, search) for x in images] for r in radii]
    by_beta = [[_case(beta, _RADIUS, x, search) for x in images] for beta in betas]
    return {"radius": np.array(radii), "beta": np.array(betas), "by_radius": np.array(by_radius),
            "by_beta": np.array(by_beta)}  # fmt: skip


def _case(beta: float, radius: float, x: torch.Tensor, search: Ascent) -> list[float]:
    """Each rung's bound and, last, the largest curvature that gradient ascent finds."""
    soft = soften(digits_network().double(), beta)
    k = int(soft(x[None, None]).argmax())
    bounds = curvature_bounds(soft, x[None], target_class=k, radius=radius)
    found = [np.inf if (value := bounds[name].curvature) is None else value for name in RUNGS]
    return [*found, attained_curvature(feed_forward(soft, x[None], k), x.flatten(), radius, search=search).value]


def claims(data: Data) -> dict[str, Claim]:
    """Soundness, tightness, and how far off the paper's constant is; none of it is a claim of the paper's."""
    both = np.concatenate([data["by_radius"], data["by_beta"]])
    share, n = both[..., -1:] / both[..., :-1], both.shape[1]
    least = 1 / share[:, :, -1].max(axis=1).max()
    ratio = data["by_radius"][0, :, 0] / data["by_radius"][0, :, -1]
    known = np.isfinite(ratio)  # where eq. 10 certifies anything at all
    first = float(np.median(ratio[known])) if known.any() else 0.0
    return {
        "no curvature found exceeds a bound": Claim(
            expected=True, holds=share.max() <= 1, value=share.max(), n=n, note="largest attained over bound"
        ),
        "the best local bound is within 1 % of what is attained at the smallest radius": Claim(
            expected=True, holds=bool(1 / share[0, :, -1].min() < 1.01), value=1 / share[0, :, -1].min(), n=n,
            note=f"worst bound over attained, beta = {_BETA:g}; over all cases at best {least:.5f}",
        ),
        "the bound of eq. 10 is loose by a factor of more than 100": Claim(
            expected=True, holds=first > 100, value=first, n=int(known.sum()) or n,
            note="median of bound over attained, with the factor 1/4, over the images that it certifies"
            if known.any() else "it certifies none of the images",
        ),
    }  # fmt: skip


def draw(data: Data) -> Figure:
    """Medians over the images; a rung ends where it certifies nothing for half of them."""
    figure = Figure(figsize=(TWO_COLUMNS, 2.9))
    panels = figure.subplots(1, 2, sharey=True)
    labels = ("radius of the ball [length]", r"$\beta$ [1/length]")
    for panel, key, label in zip(panels, ("radius", "beta"), labels, strict=True):
        _panel(panel, data[key], np.median(data[f"by_{key}"], axis=1))
        panel.set(xlabel=label)
    panels[0].set(ylabel=r"bound on $\sup|\kappa|$ [1/length]", title=rf"$\beta$ = {_BETA:g}")
    panels[1].set_title(f"radius {_RADIUS:g}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def _panel(axes: Any, x: np.ndarray[Any, Any], medians: np.ndarray[Any, Any]) -> None:
    for i, name in enumerate(RUNGS.values()):
        known = np.isfinite(medians[:, i])
        axes.loglog(x[known], medians[known, i], marker=MARKERS[i], color=COLOURS[i], label=name)
    axes.loglog(x, medians[:, -1], "k--", label="attained (search)")


def caption(data: Data) -> str:
    """What was run."""
    n = data["by_radius"].shape[1]
    return f"""The ladder of upper bounds on the curvature of every level set in a ball, against the largest curvature
    that gradient ascent finds there (from below: 8 starts of 80 steps). Digits network 64-64-64-10, softplus, {n}
    held-out images of scikit-learn's digits with their predicted class, medians. Left over the radius at beta =
    {_BETA:g}, right over beta at radius {_RADIUS:g}. A curve ends where its bound certifies nothing for half of the
    images. The paper has only the bound of eq. 10 and no figure of it."""


if __name__ == "__main__":
    sys.exit(run("extra_ladder", compute, claims, draw, caption))
