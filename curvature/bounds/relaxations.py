r"""Ranges and affine enclosures of the derivatives of softplus on an interval.

With :math:`p = \sigma(\beta z)`, :math:`q = \sigma(-\beta z)`: :math:`s' = p`,
:math:`s'' = \beta pq`, :math:`s''' = \beta^2 pq(q-p)`, :math:`s'''' = \beta^3 pq(1-6pq)`.
In :math:`\tau = \tanh(\beta z/2)` these are polynomials, so their extrema lie at fixed
arguments: :math:`s''` at 0; :math:`s'''` at :math:`\tau^2 = 1/3`; :math:`s''''` at 0 and
:math:`\tau^2 = 2/3`. No root has to be found, and a range is the range over the ends of the
interval and those arguments clamped into it.
"""

import math
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.bounds.rounding import RELATIVE, TINY

_THIRD, _FOURTH = (2 * math.atanh(math.sqrt(t)) for t in (1 / 3, 2 / 3))
_EXTREMA = (0.0, _THIRD, -_THIRD, _FOURTH, -_FOURTH)  # beta times the arguments of extrema, of any order
_RELEVANT = {1: [0, 1], 2: [0, 1, 2], 3: [0, 1, 3, 4], 4: [0, 1, 2, 5, 6]}  # the ends, and the order's own extrema
_NODES = 24
_LARGEST = {3: 0.0963, 4: 0.1251, 5: 0.13}  # above |s^(k)| / beta^(k-1) everywhere


class Affine(NamedTuple):
    r"""Per neuron: :math:`|f(z + \xi) - c - \lambda\xi| \le e` for all :math:`|\xi| \le R`."""

    centre: Tensor
    slope: Tensor
    error: Tensor


class _Sigmoids(NamedTuple):
    """Both sigmoids at some points, which give the derivatives of all orders there."""

    p: Tensor
    q: Tensor
    beta: float

    @classmethod
    def at(cls, z: Tensor, beta: float) -> "_Sigmoids":
        # Plain sigmoids: a differentiable derivative costs ten times as much.
        return cls(torch.sigmoid(beta * z), torch.sigmoid(-beta * z), beta)

    def derivative(self, order: int) -> Tensor:
        p, q, beta = self
        if order == 1:
            return p
        if order == 2:
            return beta * p * q
        if order == 3:
            return beta**2 * p * q * (q - p)
        if order == 4:
            return beta**3 * p * q * (1 - 6 * p * q)
        raise ValueError(f"expected an order from 1 to 4, got {order}")


def derivative(z: Float[Tensor, "*shape"], beta: float, order: int) -> Float[Tensor, "*shape"]:
    """The derivative of softplus of order 1 to 4, elementwise."""
    return _Sigmoids.at(z, beta).derivative(order)


class Softplus:
    r"""The derivatives of softplus on :math:`[z - R, z + R]`, one interval a neuron.

    All orders share their sigmoids, which take most of the time.
    """

    def __init__(self, z: Float[Tensor, "*shape"], R: Float[Tensor, "*shape"], beta: float) -> None:
        self.z, self.R, self.beta = z, R, beta
        self._ranges: dict[int, tuple[Tensor, Tensor]] = {}

    @cached_property
    def _centre(self) -> _Sigmoids:
        return _Sigmoids.at(self.z, self.beta)

    @cached_property
    def _points(self) -> _Sigmoids:
        """At the ends of the interval and at ``_EXTREMA`` clamped into it."""
        low, high = self.z - self.R, self.z + self.R
        extrema = [torch.clamp(torch.full_like(self.z, t / self.beta), low, high) for t in _EXTREMA]
        return _Sigmoids.at(torch.stack([low, high, *extrema]), self.beta)

    @cached_property
    def _xi(self) -> Tensor:
        nodes = torch.arange(1, _NODES + 1, dtype=self.z.dtype)
        return (torch.cat([-nodes, nodes])[:, None] / _NODES) * self.R.clamp_min(TINY)

    @cached_property
    def _nodes(self) -> _Sigmoids:
        return _Sigmoids.at(self.z + self._xi, self.beta)

    def range(self, order: int) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
        r"""Lower and upper bound of :math:`s^{(order)}`.

        Exactness: enclosure; the exact range, moved outward by a rounding margin.
        """
        if order not in self._ranges:
            values = self._points.derivative(order)[_RELEVANT[order]]
            low, high = values.amin(0), values.amax(0)
            # (q - p) and 1 - 6pq cancel, so their margin is relative to beta times the largest s''.
            scale = torch.maximum(-low, high)
            if order > 2:
                scale = scale + self.beta ** (order - 2) * self._points.derivative(2)[2]
            margin = RELATIVE * scale + TINY
            self._ranges[order] = low - margin, high + margin
        return self._ranges[order]

    def magnitude(self, order: int) -> Float[Tensor, "*shape"]:
        r"""Upper bound of :math:`|s^{(order)}|`."""
        low, high = self.range(order)
        return torch.maximum(-low, high)

    def affine(self, order: int) -> Affine:
        r"""A nearly best affine enclosure of s' (order 1) or s'' (order 2).

        The slope is the Chebyshev projection on 25 nodes :math:`R\cos(\pi j/24)`. Between two
        nodes at distance h the residual exceeds its larger end value by at most
        :math:`h^2/8 \max|f''|`, so the error is one-sided without any root finding.

        Exactness: enclosure, wider than the best one by about 2 %.
        """
        z, R, beta = self.z, self.R, self.beta
        angles = torch.arange(_NODES + 1, dtype=z.dtype) * (math.pi / _NODES)
        nodes = angles.cos()[:, None]
        weights = torch.full((_NODES + 1, 1), 2.0 / _NODES, dtype=z.dtype)
        weights[0] = weights[-1] = 1.0 / _NODES
        values = derivative(z + R * nodes, beta, order)
        slope = (weights * nodes * values).sum(0) / R.clamp_min(TINY)
        # For tiny R the difference quotient is only noise; any slope is sound, the derivative is best.
        slope = torch.where(R * beta > 1e-5, slope, self._centre.derivative(order + 1))
        residual = values - slope * R * nodes
        gap = (R * (math.pi / _NODES)) ** 2 / 8 * self.magnitude(order + 2)
        low, high = residual.amin(0) - gap, residual.amax(0) + gap
        margin = 4 * RELATIVE * (values.amax(0) + slope.abs() * R) + TINY
        return Affine((low + high) / 2, slope, (high - low) / 2 + margin)

    def taylor(self, order: int) -> tuple[Affine, Float[Tensor, " n"]]:
        r"""The enclosure with the value and slope at z: :math:`e = R^2 \max|f(z+\xi) - f(z) - f'(z)\xi|/\xi^2`.

        And R times the steepest secant from z, which bounds :math:`|f(z+\xi) - f(z)|` and shrinks with
        :math:`|\xi|`. Both come from the same nodes, and hold up to the rounding of the value, which the slack of
        ``LocalExpansion`` covers for all parts at once. Wider than ``affine``, but the error on a smaller
        :math:`|\xi| \le tR` is at most :math:`t^2 e`, which is what integrals over the radius need.
        """
        value, slope = self._centre.derivative(order), self._centre.derivative(order + 1)
        values, xi, R = self._nodes.derivative(order), self._xi, self.R
        size, linear = values.abs() + value.abs(), slope * xi
        secant = ((values - value).abs() + RELATIVE * size + TINY) / xi.abs()
        second = ((values - (value + linear)).abs() + RELATIVE * (size + linear.abs()) + TINY) / xi.square()
        change = R * self._largest_quotient(secant, order, 1) * (1 + RELATIVE)
        error = R**2 * self._largest_quotient(second, order, 2) * (1 + RELATIVE)
        return Affine(value, slope, error), change

    def _largest_quotient(self, quotient: Tensor, order: int, k: int) -> Tensor:
        r"""Bound of :math:`|f(z+\xi) - T_{k-1}(\xi)|/|\xi|^k` for :math:`0 < |\xi| \le R`, k = 1 or 2, f = s^(order).

        ``quotient`` holds it at the nodes. It is an average of :math:`f^{(k)}/k!`, so the largest of these bounds it;
        and its slope is at most :math:`\max|f^{(k+1)}|/(k+1)!`, so that nodes with half a gap bound it more
        tightly, except where :math:`\beta R` is so small that the quotient cancels.
        """
        R, beta = self.R, self.beta
        crude = self.magnitude(order + k) / k
        here = self._centre.derivative(order + k).abs() / k
        steepest = _LARGEST[order + k + 1] * beta ** (order + k) / math.factorial(k + 1)
        step = R / (2 * _NODES) * steepest
        fine = torch.maximum(quotient.amax(0), here) + step * (1 + RELATIVE)
        return torch.where(R * beta > 0.02, torch.minimum(crude, fine), crude)
