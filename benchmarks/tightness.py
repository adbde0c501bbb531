"""How tight the local bounds are on the digits network: certified over attained, as a table.

Run: python -m benchmarks.tightness [--images 20] [--quick]
"""

import argparse
import math
import statistics

import torch
from sklearn.datasets import load_digits

from curvature.bounds.entrywise_local import entrywise_local
from curvature.bounds.first_order_local import expand
from curvature.certificate import certify_network
from curvature.demo_networks import digits_network, digits_split
from curvature.feedforward import FeedForward, feed_forward
from curvature.networks import soften
from curvature.search import Ascent, attained_change, attained_curvature

CURVATURE = [(beta, r) for beta in (1.0, 5.0) for r in (0.01, 0.03, 0.1)]
CHANGE = [(1.0, 0.1), (1.0, 0.25), (5.0, 0.03), (5.0, 0.1)]


def cases(beta: float, images: int) -> list[tuple[FeedForward, torch.Tensor]]:
    """The softened network and point of the first held-out images, each with its predicted class."""
    soft = soften(digits_network().double(), beta)
    pixels = torch.tensor(load_digits().images / 16, dtype=torch.float64)[digits_split()[1][:images]]
    classes = soft(pixels[:, None]).argmax(1).tolist()
    return [(feed_forward(soft, p[None], c), p.flatten()) for p, c in zip(pixels, classes, strict=True)]


def show(name: str, ratios: list[float], seconds: list[float] | None = None) -> None:
    """One row: median and worst ratio, least and median time where it was taken."""
    times = f"{1e3 * min(seconds):6.1f} / {1e3 * statistics.median(seconds):.1f} ms" if seconds else ""
    print(f"{name:48s} {statistics.median(ratios):8.4f} {max(ratios):8.4f}   {times}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="a short search, which attains less")
    arguments = parser.parse_args()
    search = Ascent(20, 2, 0) if arguments.quick else Ascent()
    print(f"{'certified / attained':48s} {'median':>8s} {'worst':>8s}   time of the bound, least / median")
    for beta, r in CURVATURE:
        rows: dict[str, list[tuple[float, float]]] = {"rung 7": [], "rung 8": []}
        for net, x in cases(beta, arguments.images):
            attained = attained_curvature(net, x, r, search=search).value
            for name, bound in (("rung 7", entrywise_local(net, x, r)), ("rung 8", expand(net, x).bound(r))):
                value = math.inf if bound.curvature is None else bound.curvature
                rows[name].append((value / attained, bound.seconds))
        for name, row in rows.items():
            show(f"sup |kappa|, {name}, beta = {beta:g}, r = {r:g}", *map(list, zip(*row, strict=True)))
    for beta, r in CHANGE:
        ratios = []
        for net, x in cases(beta, arguments.images):
            bound = certify_network(net, x, r, search=False).change_bound
            ratios.append(bound / attained_change(net, x, r, search=search).value)
        show(f"explanation change, beta = {beta:g}, r = {r:g}", ratios)


if __name__ == "__main__":
    main()
