r"""Rung 9: the supremum of :math:`|\kappa|` over a region, from both sides, for at most 4 inputs.

On a box X with centre c the jets of ``intervals`` enclose f, G, H and the third derivatives T; the mean
value forms :math:`G(c) + H(X)(X-c)`, :math:`H(c) + T(X)(X-c)` sharpen them.

**Upper end.** For any fixed b the matrix :math:`N = H - Gb^T - bG^T` has the same quadratic form as H on
vectors orthogonal to G, so :math:`\max|\kappa| \le \|N\|_2/\|G\|`; with :math:`h = Hn` at the centre and
:math:`b = (h_t + \frac12(n\cdot h)n)/\|G\|`, N(c) is PHP, so that nothing is lost there. N is enclosed by its own
mean value form, turned by the eigenvectors V of N(c) and bounded by the largest row sum over
:math:`1-\|V^TV-I\|_F` (:math:`\|N\| \le \|V^TNV\|\,\|V^{-1}\|^2`). In the plane :math:`q = t^THt/\|G\|^3`,
:math:`t = (-G_2, G_1)`, also has its own mean value form, whose error is quadratic in the box.

**Lower end.** At a point, v is made orthogonal to G in intervals: :math:`v\|G\|^2 - G(G\cdot v)`. For a level
set the point is a segment along the normal at whose ends f is certified to lie on both sides of the level.

A box is dropped when the level is outside f(X) or the ball does not meet it, and finished when its upper end is
within the gap of the best lower end; that needs :math:`\|G\| \ge c > 0` on it. New here.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from curvature.bounds.anchor import require_ball
from curvature.bounds.bound import Bound
from curvature.bounds.box_curvature import BoxBounds, box_bounds, segment_floor
from curvature.bounds.intervals import Array
from curvature.errors import NoCertificateError
from curvature.feedforward import FeedForward

_CHUNK = 4_096  # boxes evaluated at once
_PROBES = 64  # points tried for the lower end in each round
_SMALLEST = 1e-5  # of the region's width: where the gradient still may vanish, it is said to
MAX_INPUTS = 4
_RUNG_BOXES = {2: 20_000, 3: 6_000, 4: 3_000}  # a few seconds each


@dataclass(frozen=True, kw_only=True)
class Region:
    """A box, cut with a ball or with a level set where these are given.

    Attributes:
        lo: Lower corner ``[d]``.
        hi: Upper corner ``[d]``.
        centre: Of the ball, ``[d]``, or None.
        radius: Of the ball.
        level: The value of f on the level set, or None for every level.
    """

    lo: Array
    hi: Array
    centre: Array | None = None
    radius: float = math.inf
    level: float | None = None


@dataclass(frozen=True, kw_only=True)
class CurvatureEnclosure:
    r"""Both ends of :math:`\sup|\kappa|`, 1/length.

    Attributes:
        lower: Attained somewhere in the region, rounded down.
        upper: Nowhere exceeded, rounded up; infinite when the gradient may vanish.
        gradient_norm_bound: Positive lower bound on the gradient's norm, 0 when there is none.
        boxes: Boxes evaluated.
        reason: Why the gap was not reached; empty otherwise.
    """

    lower: float
    upper: float
    gradient_norm_bound: float
    boxes: int
    reason: str = ""

    @property
    def gap(self) -> float:
        """Relative gap between the ends."""
        return self.upper / self.lower - 1 if self.lower > 0 else math.inf


def ball(x: Float[Tensor, " d"], radius: float) -> Region:
    """The closed ball; its box is rounded outward."""
    p = x.double().numpy()
    return Region(lo=np.nextafter(p - radius, -np.inf), hi=np.nextafter(p + radius, np.inf), centre=p, radius=radius)


def branch_and_bound(net: FeedForward, x: Float[Tensor, " n"], radius: float) -> Bound:
    r"""The enclosure of :math:`\sup|\kappa|` over ``B(x, radius)`` as a rung.

    Raises:
        ValueError: If the point or the radius is malformed.
        NoCertificateError: If there are fewer than 2 or more than 4 inputs.

    Exactness: enclosure; the lower end stands in ``reason``. Cost: up to ``_RUNG_BOXES`` boxes.
    """
    require_ball(net, x, radius)
    if x.numel() not in _RUNG_BOXES:
        raise NoCertificateError(f"branch and bound is for 2 to {MAX_INPUTS} inputs, got {x.numel()}")
    found = curvature_enclosure(net, ball(x, radius), max_boxes=_RUNG_BOXES[x.numel()])
    if not math.isfinite(found.upper):
        return Bound(exactness="none", reason=found.reason)
    return Bound(
        curvature=found.upper, exactness="enclosure", reason=f"at least {found.lower:.6g}; {found.reason}".rstrip("; ")
    )


def curvature_enclosure(
    net: FeedForward, region: Region, *, gap: float = 1e-2, max_boxes: int = 200_000
) -> CurvatureEnclosure:
    r"""Enclose :math:`\sup|\kappa|` over a region by interval branch and bound.

    Args:
        net: At most 4 inputs.
        region: Box, ball, or the part of a level set in a box.
        gap: Relative distance of the ends at which to stop.
        max_boxes: Budget; when it is spent the ends reached so far are returned, with the reason.

    Raises:
        ValueError: If the region is malformed.
        NoCertificateError: If there are fewer than 2 or more than 4 inputs, or the level set misses the box.

    Exactness: enclosure, rounding included. Cost: exponential in the number of inputs.
    """
    _require_region(net, region)
    lo, hi = region.lo[None], region.hi[None]
    lower, upper, slope, boxes, reason = 0.0, 0.0, math.inf, 0, ""
    while len(lo):
        bounds = _evaluated(net, region, lo, hi)
        boxes += len(lo)
        lo, hi, bounds = lo[bounds.kept], hi[bounds.kept], bounds.where(bounds.kept)
        lower = max(lower, _probed(net, region, lo, hi, bounds.upper))
        done = bounds.upper <= lower * (1 + gap) + 1e-13
        reason = _stop(region, lo[~done], hi[~done], bounds.where(~done), max_boxes - boxes)
        done = done | bool(reason)
        upper = max([upper, *bounds.upper[done].tolist()])
        slope = min([slope, *bounds.slope[done].tolist()])
        lo, hi = _halves(lo[~done], hi[~done])
    if not math.isfinite(slope):
        raise NoCertificateError("the level set does not meet the box, so there is no curvature to bound")
    return CurvatureEnclosure(
        lower=lower, upper=max(upper, lower), gradient_norm_bound=slope, boxes=boxes, reason=reason
    )


def _require_region(net: FeedForward, region: Region) -> None:
    d = net.weights[0].shape[1]
    if not 2 <= d <= MAX_INPUTS:
        raise NoCertificateError(f"branch and bound is for 2 to {MAX_INPUTS} inputs, got {d}")
    ends = np.concatenate([region.lo, region.hi])
    if (
        region.lo.shape != (d,)
        or region.hi.shape != (d,)
        or not np.isfinite(ends).all()
        or (region.lo > region.hi).any()
    ):
        raise ValueError(f"expected finite corners lo <= hi of {d} numbers, got {region.lo} and {region.hi}")


def _evaluated(net: FeedForward, region: Region, lo: Array, hi: Array) -> BoxBounds:
    parts = [box_bounds(net, lo[i : i + _CHUNK], hi[i : i + _CHUNK], region.level) for i in range(0, len(lo), _CHUNK)]
    bounds = BoxBounds(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    if region.centre is None:
        return bounds
    nearest = np.clip(region.centre, lo, hi)
    meets = np.square(nearest - region.centre).sum(1) <= region.radius**2 * (1 + 1e-12) + 1e-300
    return bounds._replace(kept=bounds.kept & meets)


def _stop(region: Region, lo: Array, hi: Array, open_boxes: BoxBounds, budget: int) -> str:
    """Why to stop now, or an empty string."""
    if not len(lo):
        return ""
    widths = (hi - lo).max(1)
    lost = ~np.isfinite(open_boxes.upper) & (widths <= _SMALLEST * (region.hi - region.lo).max())
    if lost.any():
        where = np.array2string((lo[lost][0] + hi[lost][0]) / 2, precision=6)
        return f"no certificate: the gradient may vanish near {where}, a critical point"
    if (widths <= 1e-13 * (1 + np.abs(lo).max(1))).any():
        return "the boxes reached the limit of float64"
    if 2 * len(lo) > budget:
        return f"the budget of boxes was spent with {len(lo)} boxes open"
    return ""


def _halves(lo: Array, hi: Array) -> tuple[Array, Array]:
    """Every box cut in two across its widest side."""
    rows, side = np.arange(len(lo)), (hi - lo).argmax(1) if len(lo) else np.zeros(0, dtype=int)
    middle = (lo[rows, side] + hi[rows, side]) / 2
    left, right = hi.copy(), lo.copy()
    left[rows, side] = right[rows, side] = middle
    return np.concatenate([lo, right]), np.concatenate([left, hi])


def _probed(net: FeedForward, region: Region, lo: Array, hi: Array, upper: Array) -> float:
    """The best certified lower end at points of the most promising boxes."""
    best = np.argsort(-upper)[:_PROBES]
    points = (lo[best] + hi[best]) / 2
    if not len(points):
        return 0.0
    if region.centre is not None:
        offset = points - region.centre
        distance = np.linalg.norm(offset, axis=1, keepdims=True)
        inside = region.radius * (1 - 1e-12)  # rounding of the distance is far below 1e-12
        points = region.centre + offset * np.minimum(1.0, inside / np.maximum(distance, 1e-300))
    if region.level is None:
        return max(0.0, segment_floor(net, points, points, None).max().item())
    points = _projected(net, points, region.level)
    normal = _gradients(net, points)
    step = 1e-8 * normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    ends = (points - step, points + step)
    low, high = np.minimum(*ends), np.maximum(*ends)
    inside_box = ((low >= region.lo) & (high <= region.hi)).all(1) & np.isfinite(low + high).all(1)
    if not inside_box.any():
        return 0.0
    return max(0.0, segment_floor(net, ends[0][inside_box], ends[1][inside_box], region.level).max().item())


def _projected(net: FeedForward, points: Array, level: float) -> Array:
    for _ in range(8):
        G = _gradients(net, points)
        miss = net(torch.from_numpy(points)).numpy() - level
        points = points - (miss / np.maximum(np.square(G).sum(1), 1e-300))[:, None] * G
        points = np.clip(np.nan_to_num(points, nan=0.0), -1e6, 1e6)
    return points


def _gradients(net: FeedForward, points: Array) -> Array:
    gradients: Array = net.curves(torch.from_numpy(points)).gradient().numpy()
    return gradients
