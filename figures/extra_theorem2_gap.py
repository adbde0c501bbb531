"""Extra figure: how far Theorem 2's product noise is off, by dimension and by the direction of w."""

import sys

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import logistic, norm

from figures._claim import Claim, Data
from figures._draw import TWO_COLUMNS
from figures._gate import Array, product_gate
from figures._run import run
from figures._script import Budget

BUDGET = Budget(network="one neuron", n=12, steps=0, minutes=0.1)
CAPTION = r"""How far Theorem 2 with the product noise of eq. 26 is off: the gate P(w.eps < w.x) minus the logistic
    gate of the theorem, t = beta w.x/||w||, by Fourier inversion. Left: against t for equal weights in d dimensions.
    Middle: the largest difference against d; the limit is that of the Gaussian of the same variance. Right: in the
    plane, against the direction of w; on the axes the theorem is right. No figure of the paper shows it.
    proofs_check encloses these numbers rigorously (thm2.product_gap_by_dimension)."""
_PRINTED = (2, 3, 10, 100)


def compute(*, seed: int, quick: bool) -> Data:
    """Differences of the gates on a grid of t."""
    t = np.linspace(-8, 8, 401 if quick else 3201)
    dimensions = np.array([1, 2, 3, 10, 100] if quick else [1, 2, 3, 4, 6, 10, 18, 32, 56, 100, 316, 1000])
    angles = np.linspace(0, 90, 7 if quick else 61)
    plane = [np.array([np.cos(a), np.sin(a)]) for a in np.deg2rad(angles)]
    return {
        "t": t, "d": dimensions, "by_dimension": np.stack([_gap(np.ones(d), t) for d in dimensions]),
        "limit": norm.cdf(t, scale=np.pi / np.sqrt(3)) - logistic.cdf(t),
        "angle": angles, "by_angle": np.array([np.abs(_gap(w, t)).max() for w in plane]),
    }  # fmt: skip


def _gap(w: Array, t: Array) -> Array:
    """The gate minus the logistic one."""
    return np.asarray(product_gate(w, t) - logistic.cdf(t))


def claims(data: Data) -> dict[str, Claim]:
    """Theorem 2 as printed, and the two statements that replace it."""
    largest = np.abs(data["by_dimension"]).max(axis=1)
    limit, n = np.abs(data["limit"]).max(), len(data["d"]) - 1
    return {
        "Theorem 2 with the noise of eq. 26 holds for equal weights in 2 and more dimensions": Claim(
            expected=False, holds=largest[1:].max() < 1e-6, value=largest[1:].max(), n=n,
            note="largest difference of the gates; refuted rigorously by proofs_check",
        ),
        "on an axis it holds": Claim(
            expected=True, holds=largest[0] < 1e-6 and data["by_angle"][[0, -1]].max() < 1e-6, value=largest[0], n=3,
            note="largest difference of the gates, in one dimension and on both axes of the plane",
        ),
        "for equal weights the difference grows with the dimension, up to its limit": Claim(
            expected=True, holds=np.diff(largest).min() > 0 and largest[-1] < limit, value=largest[-1] / limit, n=n,
            note="not in the paper; in the largest dimension, over the limit",
        ),
    }  # fmt: skip


def draw(data: Data) -> Figure:
    """Differences against t, their sizes against d and the direction."""
    figure = Figure(figsize=(TWO_COLUMNS, 2.2))
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.5, 1, 1])
    right.sharey(middle)
    for d, gap in zip(data["d"], data["by_dimension"], strict=True):
        if d in _PRINTED:
            left.plot(data["t"], gap, label=f"d = {d}")
    left.plot(data["t"], data["limit"], "k--", lw=0.8, label="limit")
    left.set(xlabel=r"$t=\beta\,w\cdot x/\|w\|$", ylabel="difference of the gates")
    left.legend()
    middle.semilogx(data["d"], np.abs(data["by_dimension"]).max(axis=1), "o-")
    middle.axhline(np.abs(data["limit"]).max(), color="black", ls="--", lw=0.8)
    middle.set(xlabel="dimension d, equal weights", ylabel="largest |difference|", ylim=(-0.0005, None))
    right.plot(data["angle"], data["by_angle"])
    right.set(xlabel="direction of w [degrees]", ylabel="largest |difference|", xticks=[0, 45, 90])
    return figure


if __name__ == "__main__":
    sys.exit(run("extra_theorem2_gap", compute, claims, draw, CAPTION))
