r"""Certificates of many balls around one image: bounds of :math:`\|n(y) - n(x)\|`, sharing their set-up.

The three forms of ``curvature.certificate`` with the remainder of rung 8, and the anchored constant of rung 6
in the arcsine form; the curvature over the ball, which costs most, is left out.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.bounds import BOUNDS
from curvature.bounds.first_order_local import LocalExpansion, expand
from curvature.bounds.rounding import gamma, gradient_with_error, spectral_norm_bound, up
from curvature.certificate import certify_radii
from curvature.errors import NoCertificateError
from curvature.feedforward import FeedForward

VACUOUS = 2.0
CONSTANTS = ("frobenius_paper", "frobenius", "spectral", "singla_feizi_2020", "entesari_2024", "sign_aware")


def hessian_constants(net: FeedForward, x: Float[Tensor, " n"]) -> dict[str, float]:
    r"""The global rungs: :math:`\sup_y \|H(y)\|_2 \le` each; they depend on the network, class and beta alone."""
    found = {name: BOUNDS[name](net, x, 0.0).hessian for name in CONSTANTS}
    return {name: value for name, value in found.items() if value is not None}


def change_bounds(net: FeedForward, x: Float[Tensor, " n"], radii: list[float]) -> tuple[list[float], float]:
    r"""Bounds of :math:`\|n(y) - n(x)\|` on each ball, 2 where nothing is proven, and the anchored constant K(x).

    Args:
        net: The logit in matrices.
        x: The image.
        radii: Ascending. Once a ball has no certificate, larger ones are not tried.

    Exactness: upper bounds, rounding included.
    """
    anchored = BOUNDS["anchored"](net, x, 1.0).gradient_change
    constant = math.inf if anchored is None else anchored
    try:
        G, error = gradient_with_error(net, x)
    except NoCertificateError:
        return [VACUOUS] * len(radii), constant
    norm = float(torch.linalg.vector_norm(G))
    known = _Norm(norm, 1e-12 * norm + error)
    try:
        expansion = expand(net, x)
    except NoCertificateError:  # too large for a third derivative
        return [certificate.change_bound for certificate in certify_radii(net, x, radii)], constant
    bounds: list[float] = []
    for radius in radii:
        if bounds and bounds[-1] >= VACUOUS:
            bounds.append(VACUOUS)
            continue
        angle = min(_arcsine(known, up(constant * radius)), _angle(expansion, known, radius))
        bounds.append(min(VACUOUS, up(2 * math.sin(angle / 2))) if angle < math.pi else VACUOUS)
    return bounds, constant


class _Norm(NamedTuple):
    """The gradient's norm at the image, and how far off it may be."""

    value: float
    margin: float


def _angle(expansion: LocalExpansion, known: _Norm, radius: float) -> float:
    """The least of tangent, arcsine and displacement form; inf if none holds."""
    try:
        G2 = expansion.gradient_remainder(radius)
    except NoCertificateError:
        return math.inf
    H, n = expansion.H, expansion.G / torch.linalg.vector_norm(expansion.G)
    norm, margin = known.value, known.margin + expansion.gradient_error
    Hn = H @ n
    change = up(radius * spectral_norm_bound(H) + G2.whole)
    angles = [_arcsine(known, change)]
    if change + margin < norm:
        angles.append(up(radius * G2.hessian / (norm - change - margin)))
    top = radius * spectral_norm_bound(H - torch.outer(n, Hn)) + G2.tangent + margin
    bottom = norm - radius * float(torch.linalg.vector_norm(Hn)) * (1 + gamma(4 * len(n) + 64)) - G2.normal - margin
    if bottom > 0:
        angles.append(up(math.atan(up(top / bottom))))
    return min(angles)


def _arcsine(known: _Norm, change: float) -> float:
    change = change + known.margin
    return up(math.asin(min(1.0, up(change / known.value)))) if change < known.value else math.inf


def curvature_bounds_on_balls(
    net: FeedForward, x: Float[Tensor, " n"], radii: list[float]
) -> tuple[list[float], list[float]]:
    """Rungs 7 and 8: bounds of the largest curvature in magnitude on each ball; infinite where none holds."""
    try:
        expansion = expand(net, x)
    except NoCertificateError:
        expansion = None
    rung7: list[float] = []
    rung8: list[float] = []
    for radius in radii:
        if rung8 and math.isinf(rung8[-1]):  # what fails on a ball fails on those that hold it
            rung7.append(math.inf)
            rung8.append(math.inf)
            continue
        entrywise = BOUNDS["entrywise_local"](net, x, radius).curvature
        first_order = None if expansion is None else expansion.bound(radius).curvature
        rung7.append(math.inf if entrywise is None else entrywise)
        rung8.append(rung7[-1] if first_order is None else first_order)
    return rung7, rung8
