r"""Attacks inside balls: projected gradient ascent on :math:`\|n(y) - n(x)\|`, on the level set or free.

For :math:`\varphi = \frac12\|n(y) - n(x)\|^2` the gradient is :math:`H P (n(y) - n(x))/\|G\| = -HPn(x)/\|G\|`:
one Hessian-vector product. On the level set its part along the normal is taken out (the Riemannian
gradient) and the retraction solves f = f(x), and the sphere's equation where the ball is left, by
Newton steps of least length. All radii, images and restarts run as one batch.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from attacks.correlation.fields import Field

DEVIATION = 1e-10  # accepted |f(y) - f(x)| / (1 + |f(x)|) of a point that counts as on the level set
_INSIDE = 1e-9  # how far inside of the sphere the attack stays, relative to the radius
_FIRST_RATE, _LAST_RATE = 0.5, 5e-3  # steps in radii, annealed
_POLISH = 12  # Newton steps of the points that are reported


@dataclass(frozen=True, kw_only=True)
class Ascent:
    """How hard to attack.

    Attributes:
        steps: Of each ascent.
        restarts: Starts of every ball: as many as ``leading`` directions allow, the others random.
        seed: Of the random starts.
    """

    steps: int = 30
    restarts: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restarts < 2:
            raise ValueError(
                f"expected steps >= 1 and restarts >= 2 of an attack, got {self.steps} and {self.restarts}"
            )


class Attained(NamedTuple):
    """What the attack reached in each ball, ``[R, B]``; points ``[R, B, n]``.

    ``deviation`` is ``|f(y) - f(x)| / (1 + |f(x)|)``, ``distance`` is ``||y - x|| / r``. A ball in which
    no restart ended where it may has NaN for all three, and its centre for the point.
    """

    change: Tensor
    deviation: Tensor
    distance: Tensor
    point: Tensor


class _Balls(NamedTuple):
    """One row a ball and restart."""

    x: Tensor
    normal: Tensor
    level: Tensor
    radius: Tensor


def attack_on_level_set(
    field: Field,
    x: Float[Tensor, "B n"],
    radii: Float[Tensor, " R"],
    leading: Float[Tensor, "B k n"],
    *,
    ascent: Ascent,
) -> Attained:
    r"""Largest :math:`\|n(y) - n(x)\|` found with f(y) = f(x) and ||y - x|| <= r.

    Args:
        field: The logit.
        x: Centres.
        radii: Of the balls around every centre, each > 0.
        leading: Unit directions to start along, both ways: the principal directions of largest curvature.
        ascent: Steps and restarts.

    Exactness: estimate from below. Cost: three gradients a step and row.
    """
    return _attack(field, x, radii, leading, ascent=ascent, on_surface=True)


def attack_in_ball(
    field: Field,
    x: Float[Tensor, "B n"],
    radii: Float[Tensor, " R"],
    leading: Float[Tensor, "B k n"],
    *,
    ascent: Ascent,
) -> Attained:
    r"""Largest :math:`\|n(y) - n(x)\|` found with ||y - x|| <= r, on the level set or not.

    As ``attack_on_level_set``; ``leading`` are the leading right singular vectors of PH.
    """
    return _attack(field, x, radii, leading, ascent=ascent, on_surface=False)


def _attack(  # noqa: PLR0913
    field: Field, x: Tensor, radii: Tensor, leading: Tensor, *, ascent: Ascent, on_surface: bool
) -> Attained:
    if not bool((radii > 0).all()):
        raise ValueError(f"expected radii > 0, got {radii.tolist()}")
    starts = _starts(x, leading, ascent)
    shape = (len(radii), len(x), starts.shape[1])
    balls, directions = _balls(field, x, radii, starts, on_surface=on_surface)
    y = _retract(field, balls, balls.x + balls.radius[:, None] * directions, on_surface=on_surface, newton=4)
    best, best_change = y, torch.full_like(balls.level, -1.0)
    for step in range(ascent.steps + 1):
        jet = field.second(y)
        norm = jet.gradient.norm(dim=1, keepdim=True).clamp_min(1e-300)
        n = jet.gradient / norm
        change = torch.nan_to_num((n - balls.normal).norm(dim=1), nan=-1.0)
        better = change > best_change
        best, best_change = torch.where(better[:, None], y, best), torch.where(better, change, best_change)
        if step == ascent.steps:
            break
        uphill = -jet.product(balls.normal - (balls.normal * n).sum(1, keepdim=True) * n)
        if on_surface:
            uphill = uphill - (uphill * n).sum(1, keepdim=True) * n
        uphill = torch.nan_to_num(uphill / uphill.norm(dim=1, keepdim=True).clamp_min(1e-300))
        rate = _FIRST_RATE * (_LAST_RATE / _FIRST_RATE) ** (step / max(1, ascent.steps - 1))
        y = _retract(field, balls, y + rate * balls.radius[:, None] * uphill, on_surface=on_surface, newton=1)
    best = _retract(field, balls, best, on_surface=on_surface, newton=_POLISH)
    return _reported(field, balls, best, shape, on_surface=on_surface)


def _starts(x: Tensor, leading: Tensor, ascent: Ascent) -> Tensor:
    """Unit directions ``[B, restarts, n]``: both ways along the leading ones, then random ones."""
    both = torch.stack([leading, -leading], 2).flatten(1, 2)[:, : ascent.restarts]
    generator = torch.Generator().manual_seed(ascent.seed)
    random = torch.randn(
        (len(x), ascent.restarts - both.shape[1], x.shape[1]), generator=generator, dtype=torch.float64
    ).to(x)
    return torch.cat([both, random / random.norm(dim=2, keepdim=True)], 1)


def _balls(field: Field, x: Tensor, radii: Tensor, starts: Tensor, *, on_surface: bool) -> tuple[_Balls, Tensor]:
    value, G = field.first(x)
    normal = G / G.norm(dim=1, keepdim=True)
    if on_surface:
        starts = starts - (starts * normal[:, None]).sum(2, keepdim=True) * normal[:, None]
        starts = starts / starts.norm(dim=2, keepdim=True).clamp_min(1e-300)
    R, K = len(radii), starts.shape[1]

    def rows(t: Tensor) -> Tensor:
        return t[None, :, None].expand(R, -1, K, *[-1] * (t.ndim - 1)).flatten(0, 2)

    radius = radii[:, None, None].expand(R, len(x), K).flatten()
    return _Balls(rows(x), rows(normal), rows(value), radius), starts[None].expand(R, -1, -1, -1).flatten(0, 2)


def _retract(field: Field, balls: _Balls, y: Tensor, *, on_surface: bool, newton: int) -> Tensor:
    """Into the ball, and towards the level set by Newton steps that also stay on the sphere where it is met."""
    rho = balls.radius * (1 - _INSIDE)
    offset = y - balls.x
    length = offset.norm(dim=1).clamp_min(1e-300)
    outside = length >= rho
    y = torch.where(outside[:, None], balls.x + offset * (rho / length)[:, None], y)
    if not on_surface:
        return y
    for _ in range(newton):
        value, G = field.first(y)
        u = y - balls.x
        outside = outside | (u.norm(dim=1) > rho)
        y = y - torch.nan_to_num(_correction(value - balls.level, G, u, rho, outside))
    return y


def _correction(gap: Tensor, G: Tensor, u: Tensor, rho: Tensor, outside: Tensor) -> Tensor:
    """The shortest step that solves the linearised equations: f = level, and ||u|| = rho where outside."""
    GG, Gu, uu = (G * G).sum(1), (G * u).sum(1), (u * u).sum(1)
    over = (uu - rho**2) / 2
    det = GG * uu - Gu**2
    both = outside & (det > 1e-6 * GG * uu)
    det = torch.where(both, det, 1.0)
    a = torch.where(both, (gap * uu - over * Gu) / det, gap / GG)
    b = torch.where(both, (over * GG - gap * Gu) / det, 0.0)
    return a[:, None] * G + b[:, None] * u


def _reported(field: Field, balls: _Balls, y: Tensor, shape: tuple[int, int, int], *, on_surface: bool) -> Attained:
    """The best restart of every ball among those that ended where they may."""
    value, G = field.first(y)
    change = (G / G.norm(dim=1, keepdim=True) - balls.normal).norm(dim=1)
    deviation = (value - balls.level).abs() / (1 + balls.level.abs())
    distance = (y - balls.x).norm(dim=1) / balls.radius
    allowed = distance <= 1
    if on_surface:
        allowed &= deviation <= DEVIATION
    allowed &= torch.isfinite(change)
    ranked = torch.where(allowed, change, -1.0).reshape(shape)
    top = ranked.argmax(2, keepdim=True)
    found = ranked.gather(2, top)[..., 0] >= 0

    def chosen(values: Tensor) -> Tensor:
        return torch.where(found, values.reshape(shape).gather(2, top)[..., 0], torch.nan)

    points = y.reshape(*shape, -1).gather(2, top[..., None].expand(-1, -1, -1, y.shape[1]))[:, :, 0]
    centre = balls.x.reshape(*shape, -1)[:, :, 0]
    return Attained(chosen(change), chosen(deviation), chosen(distance), torch.where(found[..., None], points, centre))
