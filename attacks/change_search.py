r"""How far an explanation was found to move within a radius: projected gradient ascent with restarts.

The lower end beside a certificate, and the estimate where there is none. The change is a function
:math:`\varphi` of the gradient G(y), so the direction of ascent is one Hessian-vector product,
:math:`H(y)\,\nabla\varphi(G(y))`. Points may be anywhere in the ball, or on the level set of the explained
logit inside of it; that a pixel stays valid is not asked, as no certificate asks it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attacks.soft_logit import SoftLogit

_NEWTON_ROUNDS = 6  # of Newton's step back to the level set and a pull back into the ball
_OFF_LEVEL = 1e-6  # accepted distance from the level set, of the radius, to first order
_ROUNDINGS = 16  # of the value, if that is more
_INSIDE = 1 - 1e-12  # of the radius, so that rounding does not leave the ball

Change = Callable[[Float[Tensor, "k n"]], Float[Tensor, " k"]]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How hard to search.

    Attributes:
        steps: Of each ascent.
        restarts: Seeded random starts, beside those along the leading directions.
        seed: Of the random starts.
    """

    steps: int = 40
    restarts: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restarts < 0 or self.seed < 0:
            raise ValueError(f"expected steps >= 1, restarts >= 0 and seed >= 0, got {self}")


@dataclass(frozen=True, kw_only=True)
class FoundChange:
    """The largest change that was found, and where.

    Attributes:
        value: The change, from below.
        point: ``[n]``, at most the radius away.
        deviation: ``|f(point) - f(x)|``.
    """

    value: float
    point: Float[Tensor, " n"]
    deviation: float


def normal_change(G: Float[Tensor, " n"]) -> Change:
    r"""The change of the unit normal, :math:`\|n(y) - n(x)\|_2` in [0, 2], as a function of G(y)."""
    normal = G / torch.linalg.vector_norm(G)
    return lambda other: torch.linalg.vector_norm(
        other / torch.linalg.vector_norm(other, dim=1, keepdim=True) - normal, dim=1
    )


def map_change(G: Float[Tensor, " n"], channels: int) -> Change:
    r"""The change of the normalised abs-sum map, :math:`\|h(y) - h(x)\|_2` in [0, sqrt(2)]."""
    original = abs_sum_map(G[None], channels)
    return lambda other: torch.linalg.vector_norm(abs_sum_map(other, channels) - original, dim=1)


def abs_sum_map(G: Float[Tensor, "k n"], channels: int) -> Float[Tensor, "k m"]:
    """``h = a / sum(a)``, a the sum of ``|G|`` over channels, flat."""
    a = G.abs().reshape(len(G), channels, -1).sum(1)
    return a / a.sum(1, keepdim=True)


def search_change(  # noqa: PLR0913
    field: SoftLogit,
    x: Float[Tensor, " n"],
    radius: float,
    *,
    change: Change,
    directions: Float[Tensor, "d n"],
    on_level_set: bool = False,
    effort: Effort,
) -> FoundChange:
    r"""The largest ``change`` found for :math:`\|y - x\| \le r`.

    Args:
        field: The softened logit.
        x: The centre.
        radius: r >= 0, in the network's input space.
        change: Of the gradient at y.
        directions: Unit vectors along which, both ways, an ascent begins at the sphere.
        on_level_set: Only points with ``f(y) = f(x)`` count, up to 1e-6 of the radius or the rounding of f.
        effort: How hard to search.

    Exactness: estimate from below. Cost: a gradient and a Hessian product a step and start; on the level
    set up to six further gradients.
    """
    ball = _ball(field, x, radius, on_level_set)
    points, values, G, good = ball.bring(_starts(x, radius, directions, effort))
    best = FoundChange(value=0.0, point=x.clone(), deviation=0.0)
    if radius == 0:
        return best
    for step in range(effort.steps + 1):
        size, slope = _slope(change, G)
        size = torch.where(good & torch.isfinite(size), size, -1.0)
        top = int(size.argmax())
        if float(size[top]) > best.value:
            off = abs(float(values[top]) - ball.level)
            best = FoundChange(value=float(size[top]), point=points[top].clone(), deviation=off)
        if step == effort.steps:
            break
        ascent = torch.nan_to_num(field.product(points, slope), nan=0.0, posinf=0.0, neginf=0.0)
        if on_level_set:
            ascent = ascent - (ascent * G).sum(1, keepdim=True) / G.square().sum(1, keepdim=True) * G
        length = torch.linalg.vector_norm(ascent, dim=1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        # First half a radius, so that the sphere is reached, then annealed to a hundredth of that.
        rate = 0.5 * 0.01 ** (step / max(1, effort.steps - 1))
        points, values, G, good = ball.bring(points + rate * radius * ascent / length)
    return best


@dataclass(frozen=True)
class _Ball:
    """The ball, or the level set's part of it: points whose value is ``level`` up to ``allowed``."""

    field: SoftLogit
    x: Tensor
    radius: float
    level: float
    allowed: float

    def bring(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The points, moved into the ball and onto the level set; values, gradients, and which arrived."""
        points = self._inside(points)
        values, G = self.field.at(points)
        for _ in range(_NEWTON_ROUNDS):
            if bool(((values - self.level).abs() <= self.allowed).all()):
                break
            correction = (values - self.level) / G.square().sum(1)
            points = self._inside(points - correction[:, None] * G)
            values, G = self.field.at(points)
        return points, values, G, (values - self.level).abs() <= self.allowed

    def _inside(self, points: Tensor) -> Tensor:
        offset = points - self.x
        length = torch.linalg.vector_norm(offset, dim=1, keepdim=True).clamp_min(torch.finfo(points.dtype).tiny)
        return self.x + offset * (self.radius * _INSIDE / length).clamp_max(1.0)


def _ball(field: SoftLogit, x: Tensor, radius: float, on_level_set: bool) -> _Ball:
    value, G = field.at(x[None])
    level, slope = float(value), float(torch.linalg.vector_norm(G))
    allowed = max(_OFF_LEVEL * radius * slope, _ROUNDINGS * torch.finfo(x.dtype).eps * abs(level))
    return _Ball(field, x, radius, level, allowed if on_level_set else math.inf)


def _starts(x: Tensor, radius: float, directions: Tensor, effort: Effort) -> Tensor:
    generator = torch.Generator().manual_seed(effort.seed)
    random = torch.randn(effort.restarts, len(x), generator=generator, dtype=x.dtype).to(x.device)
    random = random / torch.linalg.vector_norm(random, dim=1, keepdim=True)
    return x + radius * torch.cat([directions, -directions, random])


def _slope(change: Change, G: Tensor) -> tuple[Tensor, Tensor]:
    """The change and its derivative with respect to the gradient, ``[k]`` and ``[k, n]``."""
    leaf = G.detach().requires_grad_(True)
    with torch.enable_grad():
        size = change(leaf)
        (slope,) = torch.autograd.grad(size.sum(), leaf)
    return size.detach(), torch.nan_to_num(slope, nan=0.0, posinf=0.0, neginf=0.0)
