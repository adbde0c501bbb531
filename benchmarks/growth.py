"""How the cost of products, extreme curvatures and local bounds grows with width, depth and n, as a plot.

``python -m benchmarks.growth [--out DIR] [--repeats N] [--quick]``
"""

import argparse
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from benchmarks._timing import fastest
from curvature import extreme_curvatures, feed_forward, soften
from curvature.bounds.entrywise_local import entrywise_local
from curvature.bounds.first_order_local import expand
from curvature.feedforward import FeedForward

RADIUS, BETA = 0.01, 1.0
AXES = {  # what grows: the widths of the network for each value
    "width": ([16, 32, 64, 128, 256], lambda v: [32, v, v, 1]),
    "depth": ([1, 2, 3, 4, 6], lambda v: [32, *[32] * v, 1]),
    "n": ([8, 16, 32, 64, 128], lambda v: [v, 64, 64, 1]),
}
COSTS = ("Hessian product", "extreme curvature", "rung 7", "rung 8, set-up", "rung 8, a radius")


def network(widths: list[int]) -> tuple[FeedForward, torch.Tensor]:
    """A softened random network and a point."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    x = torch.rand(widths[0], dtype=torch.float64)
    return feed_forward(soften(nn.Sequential(*layers[:-1]).double(), BETA), x, 0), x


def costs(widths: list[int], repeats: int) -> list[float]:
    """Shortest seconds of each of ``COSTS``."""
    net, x = network(widths)
    curves, expansion = net.curves(x), expand(net, x)
    runs = [
        partial(curves.hvp, torch.randn_like(x)),
        partial(extreme_curvatures, net, x),
        partial(entrywise_local, net, x, RADIUS),
        partial(expand, net, x),
        partial(expansion.bound, RADIUS),
    ]
    return fastest(runs, repeats)


def draw(measured: dict[str, tuple[list[int], np.ndarray]]) -> Figure:
    """One panel for each axis, log-log, with the slope of the last doubling in the legend."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    panels = figure.subplots(1, len(measured), sharey=True)
    for panel, (axis, (values, times)) in zip(panels, measured.items(), strict=True):
        for name, column in zip(COSTS, times.T, strict=True):
            panel.loglog(values, 1e3 * column, marker="o", label=f"{name} ({slope(values, column):.1f})")
        panel.set(xlabel=f"{axis}   (legend: exponent at the end)")
        panel.set_xticks(values, [str(v) for v in values])
        panel.minorticks_off()
        panel.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    panels[0].set_ylabel("time [ms]")
    return figure


def slope(values: list[int], column: np.ndarray) -> float:
    """Exponent of the growth between the last two values."""
    return float(np.log(column[-1] / column[-2]) / np.log(values[-1] / values[-2]))


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"))
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="leave out the largest value of each axis")
    options = parser.parse_args()
    measured = {}
    for axis, (values, widths) in AXES.items():
        values = values[:-1] if options.quick else values
        times = np.array([costs(widths(v), options.repeats) for v in values])
        measured[axis] = (values, times)
        print(f"{axis:6}" + "".join(f"{v:>10}" for v in values) + f"{'exponent':>10}")
        for name, column in zip(COSTS, times.T, strict=True):
            print(f"  {name:18}" + "".join(f"{1e3 * t:10.2f}" for t in column) + f"{slope(values, column):10.1f}  ms")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "growth.png"
    draw(measured).savefig(path, dpi=150)
    print(f"plot: {path}")


if __name__ == "__main__":
    main()
