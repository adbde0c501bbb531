r"""Arrays of intervals with outward rounding, and jets of a softplus network over boxes.

After every operation both ends move outward by one unit in the last place (``numpy.nextafter``), matrix
products by :math:`\gamma_n` of their absolute sums. exp, log1p and tanh are trusted to 4 ulp.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curvature.bounds.norms import TINY, UNIT, gamma

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_LIBM = 16 * UNIT  # relative error of a composed sigmoid, tanh or log1p
_INFLECTION = 1.3169578969248166  # log(2 + sqrt 3): where |g'| is largest, g = sigma(1 - sigma)
_STEEPEST = 0.09622504486493764 * (1 + 1e-15)  # that largest value, 1 / (6 sqrt 3)


class Interval(NamedTuple):
    """Lower and upper ends of the same shape."""

    lo: Array
    hi: Array

    def __add__(self, other: "Interval") -> "Interval":  # type: ignore[override]
        """Sum."""
        return outward(self.lo + other.lo, self.hi + other.hi)

    def __sub__(self, other: "Interval") -> "Interval":
        """Difference."""
        return outward(self.lo - other.hi, self.hi - other.lo)

    def __mul__(self, other: "Interval") -> "Interval":  # type: ignore[override]
        """Product."""
        products = (self.lo * other.lo, self.lo * other.hi, self.hi * other.lo, self.hi * other.hi)
        low = np.minimum(np.minimum(products[0], products[1]), np.minimum(products[2], products[3]))
        high = np.maximum(np.maximum(products[0], products[1]), np.maximum(products[2], products[3]))
        return outward(low, high)

    def __neg__(self) -> "Interval":
        """Negation."""
        return Interval(-self.hi, -self.lo)

    def __truediv__(self, other: "Interval") -> "Interval":
        """Quotient by a positive interval."""
        return self * outward(1 / other.hi, 1 / other.lo)

    @property
    def magnitude(self) -> Array:
        """The largest absolute value."""
        return np.maximum(np.abs(self.lo), np.abs(self.hi))

    @property
    def mignitude(self) -> Array:
        """The smallest absolute value."""
        return np.maximum(np.maximum(self.lo, -self.hi), 0.0)

    def part(self, index: Any) -> "Interval":
        """Both ends, indexed."""
        return Interval(self.lo[index], self.hi[index])


def thin(a: Array) -> Interval:
    """The interval of one number."""
    return Interval(a, a)


def outward(low: Array, high: Array) -> Interval:
    """One unit in the last place outward on both sides."""
    return Interval(np.nextafter(low, -np.inf), np.nextafter(high, np.inf))


def square(a: Interval) -> Interval:
    """The square, which unlike ``a * a`` is never negative."""
    low, high = a.mignitude, a.magnitude
    return Interval(np.maximum(np.nextafter(low * low, -np.inf), 0.0), np.nextafter(high * high, np.inf))


def root(a: Interval) -> Interval:
    """The square root of a non-negative interval."""
    low = np.nextafter(np.sqrt(np.maximum(a.lo, 0.0)), -np.inf)
    return Interval(np.maximum(low, 0.0), np.nextafter(np.sqrt(np.maximum(a.hi, 0.0)), np.inf))


def intersection(a: Interval, b: Interval) -> Interval:
    """Numbers that both enclose, when both enclose the same one."""
    return Interval(np.maximum(a.lo, b.lo), np.minimum(a.hi, b.hi))


def total(terms: list[Interval]) -> Interval:
    """The sum of a non-empty list."""
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def matrix_product(a: Interval, W: Array) -> Interval:
    """``a @ W.T`` for a thin matrix ``[m, n]`` and intervals ``[..., n]``."""
    P, M = np.maximum(W, 0.0).T, np.minimum(W, 0.0).T
    slack = gamma(2 * W.shape[1] + 4) * (a.magnitude @ np.abs(W).T) * 1.01 + TINY
    return outward(a.lo @ P + a.hi @ M - slack, a.hi @ P + a.lo @ M + slack)


def softplus(z: Interval, beta: float) -> Interval:
    """The range of softplus, monotone."""

    def value(t: Array) -> Array:
        return np.maximum(t, 0.0) + np.log1p(np.exp(-beta * np.abs(t))) / beta

    low, high = value(z.lo), value(z.hi)
    slack = _LIBM * (1 / beta)
    return outward(low * (1 - _LIBM) - slack, high * (1 + _LIBM) + slack)


def slopes(z: Interval, beta: float) -> tuple[Interval, Interval, Interval]:
    """Ranges of the first, second and third derivative of softplus."""
    u = thin(np.full_like(z.lo, beta)) * z
    s_lo, s_hi = _sigmoid(u.lo), _sigmoid(u.hi)
    first = Interval(np.maximum(s_lo * (1 - 2 * _LIBM) - TINY, 0.0), np.minimum(s_hi * (1 + 2 * _LIBM) + TINY, 1.0))
    near, far = u.mignitude, u.magnitude
    bell = Interval(_bell(far) * (1 - 4 * _LIBM) - TINY, np.minimum(_bell(near) * (1 + 4 * _LIBM) + TINY, 0.25))
    ends = (_bell_slope(u.lo), _bell_slope(u.hi))
    slack = 8 * _LIBM * np.maximum(np.abs(ends[0]), np.abs(ends[1])) + TINY
    low, high = np.minimum(*ends) - slack, np.maximum(*ends) + slack
    # Monotone between the two extremes, with a margin for their own rounding.
    reach = 1e-12
    high = np.where((u.lo <= -_INFLECTION + reach) & (u.hi >= -_INFLECTION - reach), _STEEPEST, high)
    low = np.where((u.lo <= _INFLECTION + reach) & (u.hi >= _INFLECTION - reach), -_STEEPEST, low)
    b = np.array([beta])
    return first, thin(b) * bell, square(thin(b)) * Interval(low, high)


@dataclass(frozen=True)
class Jet:
    """Values and partial derivatives, keyed by sorted indices such as ``(0, 1)``."""

    value: Interval
    partial: dict[tuple[int, ...], Interval]

    def __getitem__(self, key: tuple[int, ...]) -> Interval:
        """The partial derivative in these directions, in any order."""
        return self.partial[tuple(sorted(key))]


def identity_jet(box: Interval, order: int) -> Jet:
    """The jet of the identity on boxes ``[N, d]``, to third order at most."""
    d, zero = box.lo.shape[1], np.zeros_like(box.lo)
    partial: dict[tuple[int, ...], Interval] = {
        key: thin(zero) for k in range(1, order + 1) for key in combinations_with_replacement(range(d), k)
    }
    for i in range(d):
        unit = zero.copy()
        unit[:, i] = 1.0
        partial[(i,)] = thin(unit)
    return Jet(box, partial)


def linear_jet(jet: Jet, W: Array, b: Array) -> Jet:
    """The jet after an affine layer."""
    value = matrix_product(jet.value, W) + thin(np.broadcast_to(b, (len(jet.value.lo), len(b))))
    return Jet(value, {key: matrix_product(p, W) for key, p in jet.partial.items()})


def softplus_jet(z: Jet, beta: float) -> Jet:
    """The jet after a softplus: the chain rule to third order."""
    s1, s2, s3 = slopes(z.value, beta)
    partial: dict[tuple[int, ...], Interval] = {}
    for key in z.partial:
        if len(key) == 1:
            partial[key] = s1 * z[key]
        elif len(key) == 2:
            i, j = key
            product = square(z[(i,)]) if i == j else z[(i,)] * z[(j,)]
            partial[key] = s2 * product + s1 * z[key]
        else:
            i, j, k = key
            cubic = z[(i,)] * z[(j,)] * z[(k,)]
            mixed = z[(i, j)] * z[(k,)] + z[(i, k)] * z[(j,)] + z[(j, k)] * z[(i,)]
            partial[key] = s3 * cubic + s2 * mixed + s1 * z[key]
    return Jet(softplus(z.value, beta), partial)


def _sigmoid(u: Array) -> Array:
    tail = np.exp(-np.abs(u))
    return np.where(u >= 0, 1 / (1 + tail), tail / (1 + tail))


def _bell(u: Array) -> Array:
    tail = np.exp(-np.abs(u))
    return tail / np.square(1 + tail)


def _bell_slope(u: Array) -> Array:
    return -_bell(u) * np.tanh(u / 2)
