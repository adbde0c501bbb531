r"""Attained values: what projected gradient ascent with restarts finds in a ball.

Lower ends for the certificates. Random sampling underestimates them by far; ascent from the
directions in which the quantity grows fastest at the centre, and from random ones, does not.
All restarts run as one batch.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.feedforward import Curves, FeedForward

_DENSE = 256  # dimensions from which Hessians are only multiplied with, not formed


class Attained(NamedTuple):
    """The largest value found and the point, ``[n]``, at which it was found."""

    value: float
    point: Tensor


class Ascent(NamedTuple):
    """How hard to search: steps of each ascent, how many run as one batch, and their seed."""

    steps: int = 80
    restarts: int = 8
    seed: int = 0


_DEFAULT = Ascent()


def attained_curvature(
    net: FeedForward, x: Float[Tensor, " n"], radius: float, *, search: Ascent = _DEFAULT
) -> Attained:
    r"""Largest :math:`\max_i|\kappa_i(y)|` that gradient ascent finds for :math:`\|y - x\| \le r`.

    For a fixed direction v the ascent follows
    :math:`|v_t^T H(y) v_t| / (\|G(y)\| \|v_t\|^2)`, :math:`v_t = P(y)v`, whose derivative at the
    leading principal direction is that of the curvature; v is renewed in every step.

    Returns:
        The value in 1/length with its point; curvature 0 where the gradient underflows.

    Exactness: estimate from below. Cost: one batched eigendecomposition and gradient a step.
    """
    starts = _starts(x, radius, search)
    if radius == 0:
        starts = starts[:1]
    best, best_value = x.clone(), -math.inf
    v = starts
    for step in range(search.steps if radius > 0 else 1):
        values, v = _leading(net, starts, v if step else None)
        top = int(values.argmax())
        if float(values[top]) > best_value:
            best, best_value = starts[top].clone(), float(values[top])
        points = starts.detach().requires_grad_(True)
        with torch.enable_grad():
            objective = _rayleigh(net.curves(points), v).abs()
            (ascent,) = torch.autograd.grad(objective.sum(), points)
        starts = _step(x, radius, starts, ascent, _rate(step, search.steps))
    values, _ = _leading(net, starts, v)
    top = int(values.argmax())
    return Attained(float(values[top]), starts[top]) if float(values[top]) > best_value else Attained(best_value, best)


def attained_change(net: FeedForward, x: Float[Tensor, " n"], radius: float, *, search: Ascent = _DEFAULT) -> Attained:
    r"""Largest :math:`\|n(y) - n(x)\|_2` that gradient ascent finds for :math:`\|y - x\| \le r`.

    An attack free in the ball, not on the level set. Half of the restarts begin along the
    leading singular directions of :math:`PH`, the optimum for small r.

    Exactness: estimate from below. Cost: two batched gradients a step.
    """
    if radius == 0:
        return Attained(0.0, x.clone())
    curves = net.curves(x)
    normal = curves.gradient() / torch.linalg.vector_norm(curves.gradient())
    points = _starts(x, radius, search)
    H = curves.hessian()
    PH = H - torch.outer(normal, normal @ H)
    if torch.isfinite(PH).all():
        leading = torch.linalg.svd(PH)[2][: max(1, search.restarts // 4)]
        points = torch.cat([x + radius * leading, x - radius * leading, points])
    best, best_value = x.clone(), 0.0
    for step in range(search.steps + 1):
        free = points.detach().requires_grad_(True)
        with torch.enable_grad():
            change = _normal_change(net, free, normal)
            (ascent,) = torch.autograd.grad(change.sum(), free)
        values = torch.nan_to_num(change.detach(), nan=0.0)
        top = int(values.argmax())
        if float(values[top]) > best_value:
            best, best_value = points[top].clone(), float(values[top])
        points = _step(x, radius, points, ascent, _rate(step, search.steps))
    return Attained(best_value, best)


def _normal_change(net: FeedForward, points: Tensor, normal: Tensor) -> Tensor:
    G = net.curves(points).gradient()
    norm = torch.linalg.vector_norm(G, dim=-1, keepdim=True)
    return torch.linalg.vector_norm(G / norm - normal + 1e-300, dim=-1)


def _starts(x: Tensor, radius: float, search: Ascent) -> Tensor:
    """The centre and seeded points in the ball, half of them on its sphere."""
    generator = torch.Generator().manual_seed(search.seed)
    directions = torch.randn(search.restarts - 1, len(x), generator=generator, dtype=x.dtype)
    directions = directions / torch.linalg.vector_norm(directions, dim=-1, keepdim=True)
    lengths = torch.rand(search.restarts - 1, 1, generator=generator, dtype=x.dtype)
    lengths[::2] = 1.0
    return _project(x, radius, torch.cat([x[None], x + radius * lengths * directions]))


def _rate(step: int, steps: int) -> float:
    """Step length in radii: large first, so that the sphere is reached, then annealed."""
    return 0.5 * 0.01 ** (step / max(1, steps - 1))


def _step(x: Tensor, radius: float, points: Tensor, ascent: Tensor, rate: float) -> Tensor:
    ascent = torch.nan_to_num(ascent.detach(), nan=0.0, posinf=0.0, neginf=0.0)
    norm = torch.linalg.vector_norm(ascent, dim=-1, keepdim=True).clamp_min(1e-300)
    return _project(x, radius, points + rate * radius * ascent / norm)


def _project(x: Tensor, radius: float, points: Tensor) -> Tensor:
    """Onto the ball, and inside it by a hair, so that rounding does not leave it."""
    offset = points - x
    length = torch.linalg.vector_norm(offset, dim=-1, keepdim=True).clamp_min(1e-300)
    return x + offset * (radius * (1 - 1e-12) / length).clamp_max(1.0)


def _leading(net: FeedForward, points: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
    """``max|kappa|`` and its unit direction at every point.

    By dense eigendecomposition; in many dimensions from below, by power iteration from the directions before.
    """
    if points.shape[1] > _DENSE:
        return _power(net, points, before)
    curves = net.curves(points)
    G, H = curves.gradient(), curves.hessian()
    norm = torch.linalg.vector_norm(G, dim=-1)
    n = G / norm[:, None].clamp_min(1e-300)
    Hn = (H @ n[..., None])[..., 0]
    outer = n[:, :, None] * (Hn - (n * Hn).sum(-1, keepdim=True) * n / 2)[:, None, :]
    T = torch.nan_to_num((H - outer - outer.mT) / norm[:, None, None], nan=0.0, posinf=0.0, neginf=0.0)
    values, vectors = torch.linalg.eigh((T + T.mT) / 2)
    index = values.abs().argmax(-1)
    v = vectors.gather(-1, index[:, None, None].expand(-1, vectors.shape[1], 1))[..., 0]
    return values.abs().gather(-1, index[:, None])[:, 0], v


def _power(net: FeedForward, points: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
    """A Rayleigh quotient of the shape operator at every point, its magnitude from below, and the direction."""
    curves = net.curves(points)
    G = curves.gradient()
    norm = torch.linalg.vector_norm(G, dim=-1).clamp_min(1e-300)
    n = G / norm[:, None]
    v = curves.hvp(torch.roll(n, 1, dims=-1)) if before is None else before
    for _ in range(20 if before is None else 2):
        v = curves.hvp(v - (v * n).sum(-1, keepdim=True) * n)
        v = v - (v * n).sum(-1, keepdim=True) * n
        v = v / torch.linalg.vector_norm(v, dim=-1, keepdim=True).clamp_min(1e-300)
    return torch.nan_to_num(_rayleigh(curves, v).abs(), nan=0.0), v


def _rayleigh(curves: Curves, v: Tensor) -> Tensor:
    G = curves.gradient()
    norm = torch.linalg.vector_norm(G, dim=-1).clamp_min(1e-300)
    n = G / norm[:, None]
    tangent = v - (v * n).sum(-1, keepdim=True) * n
    return (tangent * curves.hvp(tangent)).sum(-1) / (norm * (tangent * tangent).sum(-1))
