r"""Certificates of many balls around one image: bounds of :math:`\|n(y) - n(x)\|`, sharing their set-up.

Those of ``curvature.certificate``, and the anchored constant of rung 6 in the arcsine form; the curvature over
the ball, which costs most, is left out.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.bounds import BOUNDS
from curvature.bounds.bound import Bound
from curvature.bounds.first_order_local import LocalExpansion, expand
from curvature.bounds.rounding import gradient_with_error, up
from curvature.certificate import certify_radii, turn_bound
from curvature.errors import NoCertificateError
from curvature.feedforward import FeedForward

VACUOUS = 2.0
CONSTANTS = ("frobenius_paper", "frobenius", "spectral", "singla_feizi_2020", "entesari_2024", "sign_aware")


def hessian_constants(net: FeedForward, x: Float[Tensor, " n"]) -> dict[str, float]:
    r"""The global rungs: :math:`\sup_y \|H(y)\|_2 \le` each; they depend on the network, class and beta alone."""
    found = {name: _bound(name, net, x, 0.0).hessian for name in CONSTANTS}
    return {name: value for name, value in found.items() if value is not None}


def _bound(name: str, net: FeedForward, x: Tensor, radius: float) -> Bound:
    """A rung, empty where it proves nothing."""
    try:
        return BOUNDS[name](net, x, radius)
    except NoCertificateError as error:
        return Bound(exactness="none", reason=str(error))


def change_bounds(net: FeedForward, x: Float[Tensor, " n"], radii: list[float]) -> tuple[list[float], float]:
    r"""Bounds of :math:`\|n(y) - n(x)\|` on each ball, 2 where nothing is proven, and the anchored constant K(x).

    Args:
        net: The logit in matrices.
        x: The image.
        radii: Of the balls.

    Exactness: upper bounds, rounding included.
    """
    anchored = _bound("anchored", net, x, 1.0).gradient_change
    constant = math.inf if anchored is None else anchored
    certified = [certificate.change_bound for certificate in certify_radii(net, x, radii)]
    try:
        G, error = gradient_with_error(net, x)
    except NoCertificateError:
        return certified, constant
    norm = float(torch.linalg.vector_norm(G))
    for i, radius in enumerate(radii):
        anchor = Bound(gradient_change=up(constant * radius))
        angle = turn_bound(norm, 1e-12 * norm + error, anchor, radius)
        if angle < math.pi:
            certified[i] = min(certified[i], up(2 * math.sin(angle / 2)))
    return certified, constant


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
        if rung8 and math.isinf(rung7[-1]) and math.isinf(rung8[-1]):  # it fails on what holds such a ball, too
            rung7.append(math.inf)
            rung8.append(math.inf)
            continue
        entrywise = _bound("entrywise_local", net, x, radius).curvature
        first_order = None if expansion is None else _first_order(expansion, radius)
        rung7.append(math.inf if entrywise is None else entrywise)
        rung8.append(math.inf if first_order is None else first_order)
    return rung7, rung8


def _first_order(expansion: LocalExpansion, radius: float) -> float | None:
    try:
        return expansion.bound(radius).curvature
    except NoCertificateError:
        return None
