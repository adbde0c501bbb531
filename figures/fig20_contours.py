"""Figure 20: level lines of the 2-50-1 network, ReLU beside softplus, coloured by curvature, with certified bounds."""

import sys
from collections.abc import Callable

import numpy as np
import torch
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from curvature import contour_network, soften
from curvature.bounds.box_curvature import box_bounds
from curvature.feedforward import feed_forward
from figures._claim import Claim, Data
from figures._contour import Array, jet, level_lines, relu_jet, square, weights
from figures._draw import TWO_COLUMNS
from figures._run import run
from figures._script import Budget

BUDGET = Budget(network="2-50-1, untrained", n=40_401, steps=0, minutes=0.2)
_REGIONS, _CUTS = 20, 6
# Over this way a bend is seen, 2.5 mm in print; "visibly reduced" is less than half. Set before turns were computed.
_VISIBLE, _REDUCED = 0.1, 0.5


def compute(*, seed: int, quick: bool, beta: float = 1.0) -> Data:
    """Values and curvatures on a grid, turns of the normal over a short way, and a bound for each region."""
    W, V = weights(seed)
    points = square(41 if quick else 201)
    soft, relu = jet(W, V, beta, points), relu_jet(W, V, points)
    regions = 5 if quick else _REGIONS
    return {
        "beta": np.array(beta), "relu": relu.value, "softplus": soft.value, "curvature": np.abs(soft.curvature),
        "relu_turn": _turn(lambda at: relu_jet(W, V, at).gradient, points),
        "softplus_turn": _turn(lambda at: jet(W, V, beta, at).gradient, points),
        "bound": _bounds(seed, beta, regions), "W": W, "V": V,
    }  # fmt: skip


def _turn(gradient: Callable[[Array], Array], points: Array) -> Array:
    """How far the normal turns over a way of ``_VISIBLE`` along the level line's tangent, as a chord, at most 2."""
    G = gradient(points)
    tangent = _normal(np.stack([-G[:, 1], G[:, 0]], 1))
    there, back = (_normal(gradient(points + s * _VISIBLE / 2 * tangent)) for s in (1, -1))
    return np.asarray(np.linalg.norm(there - back, axis=1))


def _normal(G: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.asarray(G / np.linalg.norm(G, axis=1, keepdims=True))


def _bounds(seed: int, beta: float, regions: int) -> Array:
    """Largest certified curvature in each of ``regions^2`` squares, cut into smaller boxes; inf: none certified."""
    net = feed_forward(soften(contour_network(seed), beta), torch.zeros(2, dtype=torch.float64), 0)
    edges = np.linspace(-1, 1, regions * _CUTS + 1)
    low, high = (np.stack(np.meshgrid(e, e, indexing="xy"), -1).reshape(-1, 2) for e in (edges[:-1], edges[1:]))
    upper = box_bounds(net, low, high, None).upper
    return np.asarray(upper.reshape(regions, _CUTS, regions, _CUTS).max(axis=(1, 3)))


def claims(data: Data) -> dict[str, Claim]:
    """What the paper says, and that no curvature on the grid exceeds its region's bound."""
    smooth, rough = np.nanmax(data["softplus_turn"]), np.nanmax(data["relu_turn"])  # ReLU has no normal at 0
    ratio, n = _attained(data) / data["bound"], data["curvature"].size
    return {
        f"softplus with beta = {float(data['beta']):g} visibly reduces the curvature compared to ReLU": Claim(
            expected=True, holds=smooth < _REDUCED * rough, value=smooth / rough, n=n,
            note=f"largest turn of the normal over a way of {_VISIBLE:g}, softplus over ReLU, below {_REDUCED:g}; "
            f"softplus {smooth:.3f}, ReLU {rough:.3f}, as chords",
        ),
        "no curvature exceeds the bound certified for its region (ours)": Claim(
            expected=True, holds=ratio.max() <= 1, value=ratio.max(), n=n,
            note="largest curvature on the grid over the region's bound",
        ),
    }  # fmt: skip


def _attained(data: Data) -> Array:
    """Largest curvature on the grid in each region; points on an edge count for one region."""
    regions, steps = len(data["bound"]), round(data["curvature"].size ** 0.5)
    place = np.minimum((square(steps) + 1) / 2 * regions, regions - 1).astype(int)
    found = np.zeros((regions, regions))
    np.maximum.at(found, (place[:, 1], place[:, 0]), data["curvature"])
    return found


def draw(data: Data) -> Figure:
    """Both contour plots with one colour scale, and the bound of each region."""
    figure = Figure(figsize=(TWO_COLUMNS, 2.45))
    panels = figure.subplots(1, 3, sharey=True)
    norm = Normalize(0, float(data["bound"][np.isfinite(data["bound"])].max()))
    W, V, beta = data["W"], data["V"], float(data["beta"])
    level_lines(panels[0], data["relu"], lambda middles: np.zeros(len(middles)), norm)
    drawn = level_lines(panels[1], data["softplus"], lambda at: np.abs(jet(W, V, beta, at).curvature), norm)
    edges = np.linspace(-1, 1, len(data["bound"]) + 1)
    panels[2].pcolormesh(edges, edges, data["bound"], norm=norm, cmap="viridis", rasterized=True)
    titles = ("ReLU: curvature 0 and kinks", rf"softplus, $\beta$ = {beta:g}", "certified bound, per region")
    for panel, title in zip(panels, titles, strict=True):
        panel.set(title=title, xlabel="$x_1$", aspect="equal", xlim=(-1, 1), ylim=(-1, 1))
        panel.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    panels[0].set_ylabel("$x_2$")
    figure.colorbar(drawn, ax=panels, label=r"$|\kappa|$ [1/length]", shrink=0.85)
    return figure


def caption(data: Data) -> str:
    """What was run."""
    ratio = (data["bound"] / _attained(data))[finite := np.isfinite(data["bound"])]
    return rf"""Level lines of f(x) = V^T s(W x) on [-1, 1]^2, 50 hidden neurons, all weights uniform in (-1, 1) from
    torch's generator, ReLU and softplus with beta = {float(data["beta"]):g}, in the paper 1. Beyond it: the colour is
    the curvature of the line; ReLU's are straight (0) but for kinks at the 50 lines w_i x = 0, which no colour shows:
    both are compared by the turn of the normal over a way of {_VISIBLE:g}; right, a bound on the curvature of all level
    lines in squares of side {2 / len(data["bound"]):g}, by interval arithmetic on {_CUTS}^2 boxes each (certified in
    {finite.sum()} of {finite.size}; median {np.median(ratio):.4f} times the largest curvature on the grid there)."""


if __name__ == "__main__":
    sys.exit(run("fig20_contours", compute, claims, draw, caption))
