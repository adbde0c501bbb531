r"""Rung 2: the product formula of rung 1 with spectral norms and the factor 1/4.

Source: the same derivation as ``frobenius``, :math:`\|AB\|_2 \le \|A\|_2\|B\|_2` in its place.
"""

from fractions import Fraction

from jaxtyping import Float
from torch import Tensor

from curvature.bounds.anchor import bound_from_hessian
from curvature.bounds.bound import Bound
from curvature.bounds.frobenius import QUARTER, norm_product
from curvature.bounds.norms import frobenius_norm_bound, spectral_norm_bound
from curvature.feedforward import FeedForward


def spectral(net: FeedForward, x: Float[Tensor, " n"], radius: float) -> Bound:
    """Spectral product bound on the Hessian, and what follows on the ball.

    Raises:
        ValueError: If the point or the radius is malformed.
        NoCertificateError: If a number overflows.

    Exactness: upper bound on the Hessian everywhere. Cost: one eigenvalue problem a layer.
    """
    return bound_from_hessian(net, x, radius, QUARTER * norm_product(net, spectral_norms(net)))


def spectral_norms(net: FeedForward) -> list[Fraction]:
    """Bounds on ``||W_1||, .., ||W_{L-1}||, ||w||``."""
    return [*(Fraction(spectral_norm_bound(W)) for W in net.weights), Fraction(frobenius_norm_bound(net.head).item())]
