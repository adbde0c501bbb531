r"""Rung 1: products of Frobenius norms, the constant of the paper.

.. math:: \|H\|_F \le \beta \sum_{l=1}^{L-1} \|w\| \prod_{l<j<L}\|W_j\|_F \prod_{j\le l}\|W_j\|_F^2

is equation 10 with a linear head. It uses :math:`|g| \le 1` where
:math:`g = \sigma(1-\sigma) \le 1/4`; with 1/4 it is four times smaller and still true, since
:math:`H = \sum_l B_l^T \mathrm{diag}(F_l s''_l) B_l`,
:math:`\|B_l\| \le \prod_{j\le l}\|W_j\|`, :math:`\|F_l\|_\infty \le \|w\|\prod_{l<j}\|W_j\|`.
Norms of convolutions are those of the unrolled matrix.

Source: arXiv 1906.07983, supplement, eq. 9-10.
"""

from fractions import Fraction

from jaxtyping import Float
from torch import Tensor

from curvature.bounds.anchor import bound_from_hessian
from curvature.bounds.bound import Bound
from curvature.bounds.norms import frobenius_norm_bound
from curvature.feedforward import FeedForward

QUARTER = Fraction(1, 4)  # the largest value of sigma (1 - sigma)


def frobenius_paper(net: FeedForward, x: Float[Tensor, " n"], radius: float) -> Bound:
    """Equation 10 as printed, without the factor 1/4: the paper's own constant.

    Raises:
        ValueError: If the point or the radius is malformed.
        NoCertificateError: If a number overflows.

    Exactness: upper bound on the Hessian everywhere. Cost: one pass over the weights.
    """
    return bound_from_hessian(net, x, radius, norm_product(net, _norms(net)))


def frobenius(net: FeedForward, x: Float[Tensor, " n"], radius: float) -> Bound:
    """Equation 10 with the factor 1/4.

    Raises:
        ValueError: If the point or the radius is malformed.
        NoCertificateError: If a number overflows.

    Exactness: upper bound on the Hessian everywhere. Cost: one pass over the weights.
    """
    return bound_from_hessian(net, x, radius, QUARTER * norm_product(net, _norms(net)))


def norm_product(net: FeedForward, norms: list[Fraction]) -> Fraction:
    """Equation 10's sum for any submultiplicative norms ``||W_l||``, head last."""
    *layers, tail = norms
    total, below = Fraction(0), Fraction(1)
    above = [tail]
    for norm in reversed(layers[1:]):
        above.append(norm * above[-1])
    for norm, outer in zip(layers, reversed(above), strict=True):
        below *= norm * norm
        total += below * outer
    return Fraction(net.beta) * total


def _norms(net: FeedForward) -> list[Fraction]:
    return [Fraction(frobenius_norm_bound(W).item()) for W in (*net.weights, net.head)]
