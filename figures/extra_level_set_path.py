"""Extra figure: manipulation on the level set, as a path over the contour plot of the 2-50-1 network."""

import sys

import numpy as np
import torch
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import nn

from attacks import Network, explain
from attacks.level_surface import LevelSurface, norms
from curvature import contour_network
from figures._claim import Claim, Data
from figures._contour import jet, level_lines, square, weights
from figures._draw import TWO_COLUMNS
from figures._run import run
from figures._script import Budget

BUDGET = Budget(network="2-50-1, untrained", n=1, steps=80, minutes=0.2)
CAPTION = r"""An explanation manipulated on the level set: gradient descent on ||h - target||^2 moves the input of the
    2-50-1 network of figure 20 (softplus, beta = 4) along its level line, each step brought back by Newton's method,
    until the gradient's map h = |G|/sum |G| is that of the star, another point of the square. Left: the path over level
    lines coloured by curvature, with unit normals. Right: the turn of the unit normal along it, which Theorem 1 bounds
    by the integral of the curvature and by its largest value times the length; and how far the map still is from its
    target. One network, one start, 80 steps; no figure of the paper shows it."""
_BETA, _START, _GOAL, _LONGEST = 4.0, (0.5, -0.4), (-0.3, 0.2), 0.02


def compute(*, seed: int, quick: bool) -> Data:
    """The path of the attack, and values and curvatures on a grid."""
    module = nn.Sequential(nn.Flatten(), *contour_network(seed)).eval()
    soft = Network(module=module, low=(-1.0,), high=(1.0,)).soften(_BETA)
    x, goal = (torch.tensor(p, dtype=torch.float64).view(1, 1, 1, 2) for p in (_START, _GOAL))
    zero = torch.tensor([0])
    wanted = explain(soft, goal, zero, method="gradient").detach()
    surface, state = LevelSurface.through(soft, x, zero, chunk=1)
    path = [state.x.flatten()]
    for _ in range(20 if quick else 80):
        point = state.x.detach().requires_grad_()
        loss = (explain(soft, point, zero, method="gradient") - wanted).square().sum()
        downhill, _ = surface.tangent(state, -torch.autograd.grad(loss, point)[0])
        state, _ = surface.retract(state, downhill * min(0.25, _LONGEST / float(norms(downhill))))
        path.append(state.x.flatten())
    W, V = weights(seed)
    found = jet(W, V, _BETA, square(41 if quick else 161))
    return {
        "path": torch.stack(path).numpy(), "target": wanted.flatten().numpy(), "goal": np.array(_GOAL),
        "values": found.value, "curvature": np.abs(found.curvature), "W": W, "V": V,
    }  # fmt: skip


def _along(data: Data) -> Data:
    """Length, turn and its bounds, map's distance on four times as many points; the level on the path's own."""
    fine = np.concatenate([np.linspace(a, b, 5)[:-1] for a, b in zip(data["path"], data["path"][1:], strict=False)])
    fine = np.concatenate([fine, data["path"][-1:]])
    level = jet(data["W"], data["V"], _BETA, data["path"]).value
    for _ in range(4):  # Newton: the points between the steps are on the level line too
        found = jet(data["W"], data["V"], _BETA, fine)
        away = (found.value - level[0]) / (found.gradient**2).sum(1)
        fine = fine - away[:, None] * found.gradient
    found = jet(data["W"], data["V"], _BETA, fine)
    steps, kappa = np.linalg.norm(np.diff(fine, axis=0), axis=1), np.abs(found.curvature)
    n = found.gradient / np.linalg.norm(found.gradient, axis=1, keepdims=True)
    maps = np.abs(n) / np.abs(n).sum(1, keepdims=True)
    length = np.concatenate([[0], np.cumsum(steps)])
    return {
        "length": length, "point": fine, "normal": n, "distance": np.linalg.norm(maps - data["target"], axis=1),
        "turn": 2 * np.arcsin(np.linalg.norm(n - n[0], axis=1) / 2),
        "integral": np.concatenate([[0], np.cumsum(steps * (kappa[1:] + kappa[:-1]) / 2)]),
        "product": kappa.max() * length, "level": np.abs(level - level[0]),
    }  # fmt: skip


def claims(data: Data) -> dict[str, Claim]:
    """Theorem 1 on this path, and that it is a path on the level set which reaches its target."""
    along = _along(data)
    used, n = along["turn"][1:] / along["integral"][1:], len(data["path"])
    return {
        "the normal turns by no more than the integral of the curvature (eq. 16-20)": Claim(
            expected=True, holds=used.max() <= 1 + 1e-3, value=used.max(), n=n,
            note="largest share of the integral that is used; 1e-3 for chords and the trapezoidal rule",
        ),
        "the output stays constant to rounding": Claim(
            expected=True, holds=along["level"].max() < 1e-9, value=along["level"].max(), n=n, note="of f, absolute"
        ),
        "the map reaches its target": Claim(
            expected=True, holds=along["distance"][-1] < 1e-3, value=along["distance"][-1], n=n,
            note="distance of the maps at the end; not in the paper, which shows it for images",
        ),
    }  # fmt: skip


def draw(data: Data) -> Figure:
    """The path over the contour plot; turn, bounds and distance along it."""
    along = _along(data)
    figure = Figure(figsize=(TWO_COLUMNS, 2.7))
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.2])
    norm = Normalize(0, float(np.quantile(data["curvature"], 0.99)))
    lines = level_lines(left, data["values"], lambda at: np.abs(jet(data["W"], data["V"], _BETA, at).curvature), norm)
    lines.set_alpha(0.6)
    left.plot(*data["path"].T, color="black", lw=1.8)
    every = np.searchsorted(along["length"], np.linspace(0, along["length"][-1], 9))
    left.quiver(*along["point"][every].T, *along["normal"][every].T, color="C1", scale=9, width=0.008, zorder=3)
    for point, mark, color in ((data["goal"], "*", "C3"), (data["path"][0], "o", "black")):
        left.plot(*point, mark, color=color, ms=7, zorder=4)
    left.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal", xlim=(-1, 1), ylim=(-1, 1))
    figure.colorbar(lines, ax=left, label=r"$|\kappa|$ [1/length]", shrink=0.85)
    right.plot(along["length"], along["product"], "--", label="largest curvature times length")
    right.plot(along["length"], along["integral"], lw=4, alpha=0.4, label="integral of the curvature")
    right.plot(along["length"], along["turn"], label="turn of the normal")
    right.plot(along["length"], along["distance"], ":", color="black", label="distance of the map to its target")
    right.set(xlabel="length of the path [length]", ylabel="[rad]; of maps: 1")
    right.legend()
    return figure


if __name__ == "__main__":
    sys.exit(run("extra_level_set_path", compute, claims, draw, CAPTION))
