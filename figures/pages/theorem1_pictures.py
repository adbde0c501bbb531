"""Pictures beside the claims of Theorem 1, each computed from the networks and functions that its claim is about."""

import functools

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor

from curvature import (
    contour_network,
    digits_network,
    geodesic,
    gradient,
    logit,
    principal_curvatures,
    soften,
    unit_normal,
)
from curvature.activations import softplus
from curvature.certificate import map_change_bound
from curvature.demo_networks import digits_split
from curvature.geodesics import Geodesic
from curvature.networks import ScalarField

Array = NDArray[np.float64]
_START = torch.tensor([0.45, -0.35], dtype=torch.float64)
_BETA = 4.0  # of the path: sharp enough to bend it visibly


def any_basis() -> Figure:
    """||L||_F of two unit tangents against the angle between them; the curvatures stay."""
    f, p = _bowl, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    kappa = principal_curvatures(f, p)
    H, length = torch.func.hessian(f)(p), gradient(f, p).norm()
    angles = torch.linspace(5, 175, 171, dtype=torch.float64).deg2rad()
    zero = torch.zeros_like(angles)
    bases = torch.stack([torch.stack([zero + 1, zero, zero]), torch.stack([angles.cos(), angles.sin(), zero])])
    L = -torch.einsum("ika,kl,jla->aij", bases, H, bases) / length
    figure, axes = _panel(r"angle between two unit tangents $e_1, e_2$ [degrees]", r"curvature [1/length]")
    axes.plot(angles.rad2deg(), L.flatten(1).norm(dim=1), label=r"$\|L\|_F$ in this basis")
    axes.axhline(float(kappa.norm()), color="C1", ls="--", label=r"$\sqrt{\lambda_1^2+\lambda_2^2}$")
    axes.plot(90, float(kappa.norm()), "o", color="black", ms=4)
    axes.annotate("orthonormal", (90, float(kappa.norm())), (0, -12), textcoords="offset points", ha="center")
    axes.legend()
    axes.margins(y=0.2)
    return figure


def small_circles() -> Figure:
    """Level sets of the bowl, and the curvature at (r, 0.3 r): the same weights all along."""
    radii = np.geomspace(1e-3, 1, 13)
    points = torch.tensor(np.stack([radii, 0.3 * radii], 1))
    kappa = np.array([float(principal_curvatures(_bowl, p).abs()) for p in points])
    figure = Figure(figsize=(6.6, 2.9))
    left, right = figure.subplots(1, 2)
    grid = torch.linspace(-1.2, 1.2, 161, dtype=torch.float64)
    values = torch.func.vmap(torch.func.vmap(_bowl))(torch.stack(torch.meshgrid(grid, grid, indexing="xy"), -1))
    levels = [float(_bowl(p)) for p in points[-6:]]
    left.contour(grid, grid, values, levels=levels, colors="C0", linewidths=1)
    left.plot(*points[-6:].T, "o", color="black", ms=3)
    left.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal", title=r"$f=\sum_i s(x_i)+s(-x_i)$, $\beta=2$")
    right.loglog(radii, kappa, "o-")
    for r in (0, 4, 8, 12):
        right.annotate(f"{kappa[r]:.3g}", (radii[r], kappa[r]), (6, 2), textcoords="offset points")
    right.set(xlabel="distance from the minimum, $r$ at $(r, 0.3\\,r)$", ylabel=r"$|\kappa|$ [1/length]")
    right.margins(x=0.15)
    return figure


def sign() -> Figure:
    """A circle: how the normal turns, and what (17) as printed says."""

    def f(p: Tensor) -> Tensor:
        return p @ p

    figure, axes = _panel("$x_1$", "$x_2$", size=(3.6, 3.4))
    angles = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(angles), np.sin(angles), color="0.6")
    for place, angle in enumerate(np.deg2rad([-30, 60, 150])):
        p = torch.tensor([np.cos(angle), np.sin(angle)])
        n = unit_normal(f, p)
        u = torch.stack([-n[1], n[0]])
        turn = torch.func.jvp(lambda q: unit_normal(f, q), (p,), (u,))[1]
        printed = principal_curvatures(f, p)[0] * u  # L(u, u) u
        names = ["normal n", "how n turns along u", "(17) as printed: L(u, u) u"] if place == 0 else [None] * 3
        for vector, name, color in zip((0.5 * n, 0.6 * turn, 0.6 * printed), names, ("0.3", "C0", "C1"), strict=True):
            axes.quiver(*p, *vector, angles="xy", scale_units="xy", scale=1, width=0.009, color=color, label=name)
    axes.set(aspect="equal", xlim=(-1.6, 1.7), ylim=(-1.35, 2.3))
    axes.legend(loc="upper center")
    return figure


def path() -> Figure:
    """A path on a level set of the contour network with its normals, the bound growing along it."""
    f, walk, kappa = _walk()
    normals = torch.stack([unit_normal(f, p) for p in walk.points])
    figure = Figure(figsize=(6.6, 2.9))
    left, right = figure.subplots(1, 2)
    grid = torch.linspace(-1, 1, 121, dtype=torch.float64)
    values = torch.func.vmap(torch.func.vmap(f))(torch.stack(torch.meshgrid(grid, grid, indexing="xy"), -1))
    left.contour(grid, grid, values, levels=14, colors="0.75", linewidths=0.7, linestyles="solid")
    left.plot(*walk.points.T, color="C0", lw=2)
    left.quiver(*walk.points[::4].T, *normals[::4].T, color="C1", width=0.008, scale=7)
    left.annotate("$p_0$", walk.points[0].tolist(), (5, 4), textcoords="offset points")
    left.annotate("$p$", walk.points[-1].tolist(), (5, 3), textcoords="offset points")
    left.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    _growth(right, walk.arc_length.numpy(), (normals - normals[0]).norm(dim=1).numpy(), kappa)
    return figure


def theorem() -> Figure:
    """The theorem's terms along that path: the normal's change and the bounds, beta C left to the words."""
    f, walk, kappa = _walk()
    normals = torch.stack([unit_normal(f, p) for p in walk.points])
    s, change = walk.arc_length.numpy(), (normals - normals[0]).norm(dim=1).numpy()
    turn = kappa.max() * s
    figure, axes = _panel(r"length of the path [length]", r"$\|n(p)-n(p_0)\|$", size=(4.4, 2.9))
    axes.plot(s, turn, "--", color="C1", label=r"largest $|\kappa|$ times length")
    axes.plot(s, 2 * np.sin(np.minimum(turn, np.pi) / 2), color="C3", label=r"$2\sin$ of half of that")
    axes.plot(s, change, color="C0", label="change of the normal")
    axes.legend()
    C = _constant(walk.points)
    axes.set_title(rf"on this path: largest $|\kappa|$ = {kappa.max():.3g}, $\beta\,\tilde C/c$ = {C:.3g}")
    return figure


def raw_gradient() -> Figure:
    """A flat level set along which the gradient grows."""

    def f(p: Tensor) -> Tensor:
        return softplus(p.sum(), beta=2.0) - softplus(p[0] - p[1], beta=2.0)

    xs = torch.linspace(-1.4, 1.4, 9, dtype=torch.float64)
    points = torch.stack([xs, torch.zeros_like(xs)], 1)
    G = torch.stack([gradient(f, p) for p in points])
    figure, axes = _panel("$x$", "$y$", size=(4.4, 2.6))
    grid = torch.linspace(-1.6, 1.6, 121, dtype=torch.float64)
    values = torch.func.vmap(torch.func.vmap(f))(torch.stack(torch.meshgrid(grid, grid, indexing="xy"), -1))
    axes.contour(
        grid, grid, values, levels=np.linspace(-1.5, 1.5, 7), colors="0.75", linewidths=0.7, linestyles="solid"
    )
    axes.axhline(0, color="C0", lw=2)
    axes.quiver(*points.T, *G.T, color="C1", angles="xy", scale_units="xy", scale=2.2, width=0.006)
    axes.set(
        xlim=(-1.6, 1.6), ylim=(-0.7, 1.2), title=r"$f=s(x+y)-s(x-y)$: on $y=0$ the curvature is 0, $\nabla f$ grows"
    )
    return figure


def flip() -> Figure:
    """s(x) + s(-x) along x: no tangential Hessian, and a normal that flips."""
    xs = torch.linspace(-2, 2, 201, dtype=torch.float64)
    values = softplus(xs, beta=2.0) + softplus(-xs, beta=2.0)
    figure, axes = _panel("$x$", "value", size=(4.4, 2.6))
    axes.plot(xs, values, label="$f=s(x)+s(-x)$")
    slopes = torch.func.vmap(torch.func.grad(lambda x: softplus(x, beta=2.0) + softplus(-x, beta=2.0)))(xs)
    normal = np.where(slopes == 0, np.nan, slopes.sign())
    axes.plot(xs, normal, color="C1", label=r"normal $n=\nabla f/\|\nabla f\|$")
    axes.legend(loc="lower right")
    return figure


def maps() -> Figure:
    """Change of the gradient's map on the digits network against its bound."""
    f = logit(soften(digits_network().double(), 1.0), 0)
    images = torch.tensor(load_digits().images / 16)[digits_split()[1][:60]][:, None]
    generator = torch.Generator().manual_seed(0)
    change, bound, delta = [], [], []
    for i, x in enumerate(images):
        size = 10 ** (-2.5 + 3 * i / len(images))
        y = x + size * torch.nn.functional.normalize(
            torch.randn(64, generator=generator, dtype=x.dtype), dim=0
        ).view_as(x)
        n, m = unit_normal(f, x).flatten(), unit_normal(f, y).flatten()
        delta.append(float((n - m).norm()))
        change.append(float((n.abs() / n.abs().sum() - m.abs() / m.abs().sum()).norm()))
        bound.append(map_change_bound(n, delta[-1]))
    figure, axes = _panel(r"$\delta=\|n(x)-n(x_0)\|$", r"$\|h-h_0\|_2$", size=(4.4, 2.9))
    axes.loglog(delta, bound, "_", color="C1", label="bound")
    axes.loglog(delta, change, "o", color="C0", label="60 held-out digits, one random step each")
    axes.legend()
    return figure


def diamond() -> Figure:
    """The level set in a ball, the double cone about its tangent plane, and a diamond that holds the way to q."""
    f, r = logit(soften(contour_network(seed=0), _BETA), 0), 0.3
    G = gradient(f, _START)
    turns = torch.linspace(0, 2 * torch.pi, 121, dtype=torch.float64)
    ball = _START + torch.cat([s * r * torch.stack([turns.cos(), turns.sin()], 1) for s in np.linspace(0.05, 1, 20)])
    delta = (torch.func.vmap(torch.func.grad(f))(ball) - G).norm(dim=1).max()
    T = float(torch.tan(torch.asin(delta / G.norm())))
    n = G / G.norm()
    e = torch.stack([n[1], -n[0]])
    walk = geodesic(f, _START, 0.24 * e, steps=12, rtol=1e-9)
    q = walk.points[-1]
    a, b = float((q - _START) @ e), float((q - _START) @ n)
    upper = torch.stack(
        [_START, _START + (a / 2 + b / (2 * T)) * (e + T * n), q, _START + (a / 2 - b / (2 * T)) * (e - T * n)]
    )
    figure, axes = _panel("$x_1$", "$x_2$", size=(3.6, 3.4))
    axes.plot(*(_START + r * torch.stack([turns.cos(), turns.sin()], 1)).T, color="0.6", lw=0.8)
    for side in (T, -T):
        for way in (r, -r):
            end = _START + way * (e + side * n) / (1 + T * T) ** 0.5
            axes.plot(
                *torch.stack([_START, end]).T,
                color="C2",
                lw=0.9,
                label="double cone" if side == T and way == r else None,
            )
    axes.fill(*upper.T, color="C1", alpha=0.3, label="diamond")
    axes.plot(
        *torch.cat([geodesic(f, _START, -0.28 * e, steps=12, rtol=1e-9).points.flip(0), walk.points]).T,
        color="C0",
        label="S",
    )
    for point, name in ((_START, "$p$"), (q, "$q$")):
        axes.plot(*point, "o", color="black", ms=4)
        axes.annotate(name, tuple(point.tolist()), (4, 6), textcoords="offset points")
    axes.set(aspect="equal", title=rf"sampled $\sin\theta$ = {float(delta / G.norm()):.3f}, r = {r}")
    axes.legend(loc="lower left", fontsize=6)
    return figure


def kinks() -> Figure:
    """The angle of the normal along a level set, with ReLU and with softplus."""
    network = contour_network(seed=0)
    figure, axes = _panel("length along the level set [length]", "angle of the normal [degrees]", size=(4.4, 2.9))
    for label, f in (("ReLU", logit(network, 0)), (r"softplus, $\beta=1$", logit(soften(network, 1.0), 0))):
        s, angle = _angles(f)
        axes.plot(s, angle, label=label)
    axes.legend()
    return figure


def _angles(f: ScalarField, step: float = 1.5e-3) -> tuple[Array, Array]:
    """Follow the level set by short steps along the tangent, each brought back along the normal."""
    p, level, angles = _START.clone(), f(_START).detach(), []
    for _ in range(600):
        G = gradient(f, p)
        p = (p - (f(p) - level) * G / (G @ G)).detach()
        n = G / G.norm()
        angles.append(float(torch.atan2(n[1], n[0]).detach()))
        p = p + step * torch.stack([n[1], -n[0]])
        if p.abs().max() > 1:
            break
    turned = np.asarray(np.rad2deg(np.unwrap(angles)), dtype=np.float64)
    return step * np.arange(len(angles), dtype=np.float64), turned


@functools.cache
def _walk() -> tuple[ScalarField, Geodesic, Array]:
    f = logit(soften(contour_network(seed=0), _BETA), 0)
    n = unit_normal(f, _START)
    walk = geodesic(f, _START, 1.1 * torch.stack([n[1], -n[0]]), steps=40, rtol=1e-9)
    return f, walk, np.array([float(principal_curvatures(f, p).abs()) for p in walk.points])


def _growth(axes: Axes, s: Array, change: Array, kappa: Array) -> None:
    integral = np.concatenate([[0], np.cumsum((kappa[1:] + kappa[:-1]) / 2 * np.diff(s))])
    axes.plot(s, kappa.max() * s, "--", color="C1", label=r"largest $|\kappa|$ times length")
    axes.plot(s, integral, color="C2", label=r"$\int|\kappa|\,ds$")
    axes.plot(s, change, color="C0", label=r"$\|n(p)-n(p_0)\|$")
    axes.set(xlabel="length of the path [length]", ylabel="change of the normal")
    axes.legend()


def _constant(points: Tensor) -> float:
    network = contour_network(seed=0)
    first, last = (p.detach().norm() for p in network.parameters())
    f = logit(soften(network, _BETA), 0)
    return float(_BETA * last * first**2 / min(gradient(f, p).norm() for p in points))


def _bowl(p: Tensor) -> Tensor:
    return (softplus(p, beta=2.0) + softplus(-p, beta=2.0)).sum()


def _panel(xlabel: str, ylabel: str, size: tuple[float, float] = (4.4, 2.6)) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size)
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


PICTURES = {
    draw.__name__: draw
    for draw in (any_basis, small_circles, sign, path, theorem, raw_gradient, flip, maps, diamond, kinks)
}
