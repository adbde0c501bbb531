r"""Ranges and affine enclosures of the derivatives of softplus on an interval.

With :math:`p = \sigma(\beta z)`, :math:`q = \sigma(-\beta z)`: :math:`s' = p`,
:math:`s'' = \beta pq`, :math:`s''' = \beta^2 pq(q-p)`, :math:`s'''' = \beta^3 pq(1-6pq)`.
In :math:`\tau = \tanh(\beta z/2)` these are polynomials, so their extrema lie at fixed
arguments: :math:`s''` at 0; :math:`s'''` at :math:`\tau^2 = 1/3`; :math:`s''''` at 0 and
:math:`\tau^2 = 2/3`. No root has to be found, and a range is the range over the ends of the
interval and those arguments clamped into it.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.bounds.rounding import RELATIVE, TINY

_EXTREMA = {2: (0.0,), 3: (2 * math.atanh(math.sqrt(1 / 3)),), 4: (0.0, 2 * math.atanh(math.sqrt(2 / 3)))}
_NODES = 24
_LARGEST = {3: 0.0963, 4: 0.1251, 5: 0.13}  # above |s^(k)| / beta^(k-1) everywhere


class Affine(NamedTuple):
    r"""Per neuron: :math:`|f(z + \xi) - c - \lambda\xi| \le e` for all :math:`|\xi| \le R`."""

    centre: Tensor
    slope: Tensor
    error: Tensor


def derivative(z: Float[Tensor, "*shape"], beta: float, order: int) -> Float[Tensor, "*shape"]:
    """The derivative of softplus of order 1 to 4, elementwise."""
    p, q = torch.sigmoid(beta * z), torch.sigmoid(-beta * z)  # plain: a differentiable one costs ten times as much
    if order == 1:
        return p
    if order == 2:
        return beta * p * q
    if order == 3:
        return beta**2 * p * q * (q - p)
    if order == 4:
        return beta**3 * p * q * (1 - 6 * p * q)
    raise ValueError(f"expected an order from 1 to 4, got {order}")


def derivative_range(
    z: Float[Tensor, "*shape"], R: Float[Tensor, "*shape"], beta: float, order: int
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    r"""Lower and upper bound of :math:`s^{(order)}` on :math:`[z - R, z + R]`.

    Exactness: enclosure; the exact range, moved outward by a rounding margin.
    """
    points = [z - R, z + R]
    for extremum in _EXTREMA.get(order, ()):
        points += [torch.clamp(torch.full_like(z, t / beta), points[0], points[1]) for t in {extremum, -extremum}]
    values = derivative(torch.stack(points), beta, order)
    low, high = values.amin(0), values.amax(0)
    # (q - p) and 1 - 6pq cancel, so their margin is relative to beta times the order below.
    scale = values.abs().amax(0) + (beta ** (order - 2) * _even_range(z, R, beta) if order > 2 else 0.0)
    margin = RELATIVE * scale + TINY
    return low - margin, high + margin


def derivative_magnitude(
    z: Float[Tensor, "*shape"], R: Float[Tensor, "*shape"], beta: float, order: int
) -> Float[Tensor, "*shape"]:
    r"""Upper bound of :math:`|s^{(order)}|` on :math:`[z - R, z + R]`."""
    low, high = derivative_range(z, R, beta, order)
    return torch.maximum(-low, high)


def affine_enclosure(z: Float[Tensor, " n"], R: Float[Tensor, " n"], beta: float, order: int) -> Affine:
    r"""A nearly best affine enclosure of s' (order 1) or s'' (order 2) on :math:`[z-R, z+R]`.

    The slope is the Chebyshev projection on 25 nodes :math:`R\cos(\pi j/24)`. Between two
    nodes at distance h the residual exceeds its larger end value by at most
    :math:`h^2/8 \max|f''|`, so the error is one-sided without any root finding.

    Exactness: enclosure, wider than the best one by about 2 %.
    """
    angles = torch.arange(_NODES + 1, dtype=z.dtype) * (math.pi / _NODES)
    nodes = angles.cos()[:, None]
    weights = torch.full((_NODES + 1, 1), 2.0 / _NODES, dtype=z.dtype)
    weights[0] = weights[-1] = 1.0 / _NODES
    values = derivative(z + R * nodes, beta, order)
    slope = (weights * nodes * values).sum(0) / R.clamp_min(TINY)
    # For tiny R the difference quotient is only noise; any slope is sound, the derivative is best.
    slope = torch.where(R * beta > 1e-5, slope, derivative(z, beta, order + 1))
    residual = values - slope * R * nodes
    gap = (R * (math.pi / _NODES)) ** 2 / 8 * derivative_magnitude(z, R, beta, order + 2)
    low, high = residual.amin(0) - gap, residual.amax(0) + gap
    margin = 4 * RELATIVE * (values.amax(0) + slope.abs() * R) + TINY
    return Affine((low + high) / 2, slope, (high - low) / 2 + margin)


def taylor_enclosure(z: Float[Tensor, " n"], R: Float[Tensor, " n"], beta: float, order: int) -> Affine:
    r"""The enclosure with the value and slope at z: :math:`e = R^2 \max|f(z+\xi) - f(z) - f'(z)\xi|/\xi^2`.

    Up to the rounding of the value, which the slack of ``LocalExpansion`` covers for all parts at once.
    Wider than ``affine_enclosure``, but the error on a smaller :math:`|\xi| \le tR` is at
    most :math:`t^2 e`, which is what integrals over the radius need.
    """
    return taylor_with_change(z, R, beta, order)[0]


def taylor_with_change(
    z: Float[Tensor, " n"], R: Float[Tensor, " n"], beta: float, order: int
) -> tuple[Affine, Float[Tensor, " n"]]:
    r"""``taylor_enclosure``, and R times the steepest secant from z.

    The latter bounds :math:`|f(z+\xi) - f(z)|` and shrinks with :math:`|\xi|`. Both come from the same nodes.
    """
    nodes = torch.arange(1, _NODES + 1, dtype=z.dtype)
    xi = (torch.cat([-nodes, nodes])[:, None] / _NODES) * R.clamp_min(TINY)
    value, slope, values = derivative(z, beta, order), derivative(z, beta, order + 1), derivative(z + xi, beta, order)
    size, linear = values.abs() + value.abs(), slope * xi
    secant = ((values - value).abs() + RELATIVE * size + TINY) / xi.abs()
    second = ((values - (value + linear)).abs() + RELATIVE * (size + linear.abs()) + TINY) / xi.square()
    change = R * _largest_quotient(secant, z, R, beta, (order, 1)) * (1 + RELATIVE)
    error = R**2 * _largest_quotient(second, z, R, beta, (order, 2)) * (1 + RELATIVE)
    return Affine(value, slope, error), change


def _largest_quotient(quotient: Tensor, z: Tensor, R: Tensor, beta: float, orders: tuple[int, int]) -> Tensor:
    r"""Bound of :math:`|f(z+\xi) - T_{k-1}(\xi)|/|\xi|^k` for :math:`0 < |\xi| \le R`, k = 1 or 2, f = s^(order).

    ``quotient`` holds it at the nodes. It is an average of :math:`f^{(k)}/k!`, so the largest of these bounds it;
    and its slope is at most :math:`\max|f^{(k+1)}|/(k+1)!`, so that nodes with half a gap bound it more
    tightly, except where :math:`\beta R` is so small that the quotient cancels.
    """
    order, k = orders
    crude = derivative_magnitude(z, R, beta, order + k) / k
    here = derivative(z, beta, order + k).abs() / k
    steepest = _LARGEST[order + k + 1] * beta ** (order + k) / math.factorial(k + 1)
    step = R / (2 * _NODES) * steepest
    fine = torch.maximum(quotient.amax(0), here) + step * (1 + RELATIVE)
    return torch.where(R * beta > 0.02, torch.minimum(crude, fine), crude)


def _even_range(z: Tensor, R: Tensor, beta: float) -> Tensor:
    """The largest s'' on the interval."""
    return derivative(torch.clamp(torch.zeros_like(z), z - R, z + R), beta, 2)
