"""Hessian products, extreme curvatures and local bounds against the naive way and against SciPy, in one run.

``python -m benchmarks.geometry_speed [--repeats N] [--points N]``
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from benchmarks._timing import fastest, verdict
from benchmarks.tightness import cases
from curvature import extreme_curvatures, feed_forward, soften
from curvature.bounds.entrywise_local import entrywise_local
from curvature.bounds.first_order_local import expand
from curvature.feedforward import FeedForward

Product = Callable[[Tensor], Tensor]
BATCHES = (1, 16, 64)
ERROR = 1e-3  # of the extreme curvature, relative to the dense one
RADII = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1)


def wide_network(beta: float) -> nn.Module:
    """784-256-256-10 with PyTorch's own initial weights, softened."""
    torch.manual_seed(0)
    layers = (nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    return soften(nn.Sequential(*layers).double(), beta)


def hessian_products(repeats: int) -> None:
    """Products for a batch of points: closed form against double backward through the module."""
    print("\nHessian products, 784-256-256-10, float64, one direction a point")
    module = wide_network(1.0)
    net = feed_forward(module, torch.zeros(784), 3)
    for batch in BATCHES:
        x, v = torch.rand(batch, 784, dtype=torch.float64), torch.randn(batch, 784, dtype=torch.float64)
        curves, (point, G) = net.curves(x), gradient_graph(module, x)
        runs = [
            partial(curves.hvp, v),
            lambda x=x, v=v: net.curves(x).hvp(v),
            partial(double_backward, module, x, v),
            lambda point=point, G=G, v=v: torch.autograd.grad((G * v).sum(), point, retain_graph=True)[0],
        ]
        error = float((runs[2]() - runs[0]()).norm() / runs[0]().norm())
        cached, fresh, whole, retained = (1e3 * t for t in fastest(runs, repeats))
        print(
            f"  batch {batch:2} (differ by {error:.0e}): double backward {whole:6.2f} ms, closed form {cached:6.2f} ms"
        )
        print(f"    ratio, slopes cached {whole / cached:5.2f}   {verdict(whole / cached, at_least=3)}")
        print(
            f"    ratio, both from scratch {whole / fresh:.2f}; its graph kept, slopes cached {retained / cached:.2f}"
        )


def gradient_graph(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Points and their gradients, in the graph."""
    point = x.clone().requires_grad_(True)
    return point, torch.autograd.grad(module(point)[:, 3].sum(), point, create_graph=True)[0]


def double_backward(module: nn.Module, x: Tensor, v: Tensor) -> Tensor:
    """The products by automatic differentiation."""
    point, G = gradient_graph(module, x)
    return torch.autograd.grad((G * v).sum(), point)[0]


def extremes(points: int, repeats: int) -> None:
    """Products and time of ``extreme_curvatures`` against power iteration and ``eigsh``, over points."""
    print(f"\nextreme curvature, largest in magnitude, relative error {ERROR:g} against dense, {points} points each")
    for name, beta in (("digits 64-64-64-10", 1.0), ("digits 64-64-64-10", 5.0)):
        compare(f"{name}, beta {beta:g}", cases(beta, points), repeats)
    module = wide_network(5.0)
    generator = torch.Generator().manual_seed(1)
    xs = [torch.rand(784, generator=generator, dtype=torch.float64) for _ in range(points)]
    compare("784-256-256-10, beta 5", [(feed_forward(module, x, 3), x) for x in xs], repeats)


def compare(name: str, problems: list[tuple[FeedForward, Tensor]], repeats: int) -> None:
    """One row: medians over the points, and the worst errors."""
    times, worst, counts, unsettled = [], [], [], 0
    for net, x in problems:
        curves = net.curves(x)
        G = curves.gradient()
        n, norm = G / G.norm(), float(G.norm())
        dense = float(torch.linalg.eigvalsh(_tangent(curves.hessian(), n)).abs().max()) / norm

        operator = partial(shape_operator_product, curves.hvp, n, norm)
        ours = partial(extreme_curvatures, net, x, rtol=ERROR)
        scipys = partial(scipy_extreme, net, x)
        found = ours()
        reached = abs(abs(float(found.curvatures[0])) / dense - 1)
        unsettled += not found.converged
        steps = [power_iteration(operator, len(x), dense, error) for error in (ERROR, max(reached, 1e-9))]
        matvecs, value = scipys()
        worst.append((reached, abs(abs(value) / dense - 1)))
        counts.append((found.hvps, *steps, matvecs))
        mine, theirs = fastest([ours, scipys], repeats)
        times.append(theirs / mine)
    hvps, told, same, matvecs = (statistics.mean(column) for column in zip(*counts, strict=True))
    mine, theirs = (max(column) for column in zip(*worst, strict=True))
    print(f"  {name}: mean products {hvps:.1f}, eigsh {matvecs:.1f}; {unsettled} not converged")
    print(f"    worst error {mine:.1e}   {verdict(mine, at_most=ERROR)}; of eigsh {theirs:.1e}")
    print(f"    power iteration to the error that ours reached {same:6.1f}, / ours {same / hvps:5.2f}   "
          f"{verdict(same / hvps, at_least=3)}")  # fmt: skip
    print(f"    power iteration that is told when it is within {ERROR:g} {told:6.1f}, / ours {told / hvps:5.2f}")
    speed = statistics.median(times)
    print(f"    time of eigsh / ours {speed:6.2f}, least {min(times):.2f}   {verdict(speed, at_least=1)}")


def shape_operator_product(hvp: Product, n: Tensor, norm: float, v: Tensor) -> Tensor:
    """-P H P v / ||G||."""
    w = hvp(v - n * (n @ v))
    return -(w - n * (n @ w)) / norm


def scipy_extreme(net: FeedForward, x: Tensor) -> tuple[int, float]:
    """The same from ``scipy.sparse.linalg.eigsh``, gradient and slopes included; its number of products and value."""
    curves = net.curves(x)
    G = curves.gradient()
    norm = float(G.norm())
    n, count = G / norm, 0

    def matvec(v: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        return shape_operator_product(curves.hvp, n, norm, torch.from_numpy(v.ravel())).numpy()

    wrapped = LinearOperator((len(x), len(x)), matvec=matvec, dtype=np.float64)
    start = torch.randn(len(x), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values, _ = eigsh(wrapped, 1, which="LM", tol=ERROR, v0=start.numpy())
    return count, float(values[0])


def power_iteration(operator: Product, n: int, dense: float, error: float, *, limit: int = 20_000) -> int:
    """Products until the Rayleigh quotient is within ``error`` of the dense value, which it is told."""
    v = torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for step in range(1, limit + 1):
        v = v / v.norm()
        w = operator(v)
        if abs(abs(float(v @ w)) / dense - 1) <= error:
            return step
        v = w
    return limit


def _tangent(H: Tensor, n: Tensor) -> Tensor:
    P = torch.eye(len(n), dtype=n.dtype) - torch.outer(n, n)
    return P @ H @ P


def local_bounds(images: int, repeats: int) -> None:
    """Set-up and time a radius of rungs 7 and 8 on the digits network."""
    print(f"\nlocal bounds, digits 64-64-64-10, {images} images, {len(RADII)} radii of each; shortest time a radius")
    for beta in (1.0, 5.0):
        rows = []
        for net, x in cases(beta, images):
            runs = [partial(expand(net, x).bound, r) for r in RADII]
            runs += [partial(entrywise_local, net, x, r) for r in RADII]
            runs.append(partial(expand, net, x))
            times = [1e3 * t for t in fastest(runs, repeats)]
            m = len(RADII)
            rows.append((statistics.mean(times[:m]), max(times[:m]), statistics.mean(times[m : 2 * m]), times[-1]))
        mean, longest, rung7, setup = (max(column) for column in zip(*rows, strict=True))
        print(f"  beta {beta:g}, slowest image: set-up of rung 8 {setup:.1f} ms, shared by all radii")
        print(f"    rung 8, mean {mean:5.1f} ms a radius, longest {longest:5.1f} ms   {verdict(mean, at_most=80)}")
        print(f"    rung 7, mean {rung7:5.1f} ms a radius                      {verdict(rung7, at_most=20)}")


def main() -> None:
    """Run the three comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--points", type=int, default=20)
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads")
    hessian_products(4 * options.repeats)
    extremes(options.points, options.repeats)
    local_bounds(max(2, options.points // 6), options.repeats)


if __name__ == "__main__":
    main()
