"""Hessian products, extreme curvatures and local bounds against the naive way and against SciPy, in one run.

``python -m benchmarks.geometry_speed [--repeats N] [--points N]``
"""

import argparse
import statistics
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

BATCH = 64
ERROR = 1e-3  # of the extreme curvature, relative to the dense one
RADII = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1)


def wide_network(beta: float) -> nn.Module:
    """784-256-256-10 with PyTorch's own initial weights, softened."""
    torch.manual_seed(0)
    layers = (nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    return soften(nn.Sequential(*layers).double(), beta)


def hessian_products(repeats: int) -> None:
    """A batch of products: closed form against double backward through the module."""
    module = wide_network(1.0)
    x, v = torch.rand(BATCH, 784, dtype=torch.float64), torch.randn(BATCH, 784, dtype=torch.float64)
    net = feed_forward(module, x[0], 3)
    curves = net.curves(x)

    def graph() -> tuple[Tensor, Tensor]:
        point = x.clone().requires_grad_(True)
        return point, torch.autograd.grad(module(point)[:, 3].sum(), point, create_graph=True)[0]

    def double_backward() -> Tensor:
        point, G = graph()
        return torch.autograd.grad((G * v).sum(), point)[0]

    point, G = graph()
    runs = [
        lambda: curves.hvp(v),
        lambda: net.curves(x).hvp(v),
        double_backward,
        lambda: torch.autograd.grad((G * v).sum(), point, retain_graph=True),
    ]
    error = float((double_backward() - curves.hvp(v)).norm() / curves.hvp(v).norm())
    cached, fresh, autograd, retained = fastest(runs, repeats)
    print(f"\nHessian products, 784-256-256-10, batch of {BATCH}, float64 (they differ by {error:.0e})")
    print(f"  closed form, slopes cached {1e3 * cached:7.2f} ms, slopes computed {1e3 * fresh:7.2f} ms")
    print(f"  double backward, whole     {1e3 * autograd:7.2f} ms, graph retained  {1e3 * retained:7.2f} ms")
    ratio = autograd / cached
    print(f"  double backward / closed form, cached {ratio:5.2f}   {verdict(ratio, at_least=3)}")
    print(f"  the same with nothing cached          {autograd / fresh:5.2f}")
    print(f"  retained graph / closed form, cached  {retained / cached:5.2f}")


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
    """One row: medians over the points, and the worst error."""
    saved, times, worst, counts = [], [], 0.0, []
    for net, x in problems:
        curves = net.curves(x)
        G = curves.gradient()
        n, norm = G / G.norm(), float(G.norm())
        dense = float(torch.linalg.eigvalsh(_tangent(curves.hessian(), n)).abs().max()) / norm

        def operator(v: Tensor, curves=curves, n=n, norm=norm) -> Tensor:  # type: ignore[no-untyped-def]
            v = v - n * (n @ v)
            w = curves.hvp(v)
            return -(w - n * (n @ w)) / norm

        def ours(net=net, x=x, curves=curves):  # type: ignore[no-untyped-def]
            return extreme_curvatures(net, x, product=curves.hvp, rtol=ERROR)

        def scipys(x=x, operator=operator):  # type: ignore[no-untyped-def]
            count = [0]

            def matvec(v: np.ndarray) -> np.ndarray:
                count[0] += 1
                return operator(torch.from_numpy(v.ravel())).numpy()

            wrapped = LinearOperator((len(x), len(x)), matvec=matvec, dtype=np.float64)
            start = torch.randn(len(x), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            return eigsh(wrapped, 1, which="LM", tol=ERROR, v0=start.numpy())[0][0], count[0]

        found = ours()
        worst = max(worst, abs(abs(float(found.curvatures[0])) / dense - 1))
        steps = power_iteration(operator, len(x), dense)
        counts.append((found.hvps, steps, scipys()[1]))
        saved.append(steps / found.hvps)
        mine, theirs = fastest([ours, scipys], repeats)
        times.append(theirs / mine)
    hvps, steps, matvecs = (statistics.median(column) for column in zip(*counts, strict=True))
    print(f"  {name}: products {hvps:g}, power iteration {steps:g}, eigsh {matvecs:g}; worst error {worst:.1e}")
    ratio, speed = statistics.median(saved), statistics.median(times)
    print(f"    products of power iteration / ours {ratio:6.1f}, least {min(saved):.1f}   {verdict(ratio, at_least=3)}")
    print(f"    time of eigsh / ours               {speed:6.2f}, least {min(times):.2f}   {verdict(speed, at_least=1)}")


def power_iteration(operator, n: int, dense: float, limit: int = 20_000) -> int:  # type: ignore[no-untyped-def]
    """Products until the Rayleigh quotient is within ``ERROR`` of the dense value, which it is told."""
    v = torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for step in range(1, limit + 1):
        v = v / v.norm()
        w = operator(v)
        if abs(abs(float(v @ w)) / dense - 1) <= ERROR:
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
    parser.add_argument("--points", type=int, default=10)
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads")
    hessian_products(4 * options.repeats)
    extremes(options.points, options.repeats)
    local_bounds(max(2, options.points // 3), options.repeats)


if __name__ == "__main__":
    main()
