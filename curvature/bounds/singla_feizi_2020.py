r"""Rung 3: absolute sensitivities in the place of a product of norms.

:math:`\frac\beta4 \sum_l r_{l-1}^2 \|W_l\|^2 \max_i S_{l,i}` with :math:`r_0 = 1`,
:math:`r_l = \|W_l\| r_{l-1}`, :math:`S_{L-1} = |w|`, :math:`S_{l-1} = |W_l|^T S_l`. S bounds
:math:`|\partial f/\partial a_l|` as slopes lie in [0, 1], and
:math:`\|B_l\| \le r_{l-1}\|W_l\|`.

Source: Singla and Feizi 2020, "Second-order provable defenses against adversarial attacks",
theorem 4.
"""

from fractions import Fraction

from jaxtyping import Float
from torch import Tensor

from curvature.bounds.anchor import bound_from_hessian
from curvature.bounds.bound import Bound
from curvature.bounds.frobenius import QUARTER
from curvature.bounds.norms import product_bound
from curvature.bounds.spectral import spectral_norms
from curvature.feedforward import FeedForward


def singla_feizi_2020(net: FeedForward, x: Float[Tensor, " n"], radius: float) -> Bound:
    """Singla and Feizi's bound on the Hessian, and what follows on the ball.

    Raises:
        ValueError: If the point or the radius is malformed.
        NoCertificateError: If a number overflows.

    Exactness: upper bound on the Hessian everywhere. Cost: one eigenvalue problem a layer.
    """
    total, reach = Fraction(0), Fraction(1)
    for norm, S in zip(spectral_norms(net)[:-1], absolute_sensitivities(net), strict=True):
        reach *= norm
        total += reach * reach * Fraction(S.max().item())
    return bound_from_hessian(net, x, radius, QUARTER * Fraction(net.beta) * total)


def absolute_sensitivities(net: FeedForward) -> list[Tensor]:
    r""":math:`S_l \ge |\partial f/\partial a_l|` everywhere, each ``[n_l]``, first layer first."""
    S = [net.head.abs()]
    for W in reversed(net.weights[1:]):
        S.append(product_bound(W.abs().T, S[-1]))
    return S[::-1]
