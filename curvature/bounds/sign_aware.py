r"""Rung 5: signs of the sensitivities kept, upper and lower ends of the Hessian apart.

With :math:`F_l = \partial f/\partial a_l \in [lo_l, hi_l]` and slopes in [0, 1],
:math:`s'_iF_i \in [\min(lo_i,0), \max(hi_i,0)]`, so from :math:`lo = hi = w` downwards

.. math:: lo' = W^{+T}\min(lo,0) + W^{-T}\max(hi,0),\quad hi' = W^{+T}\max(hi,0) + W^{-T}\min(lo,0),

clipped by :math:`|F_{l,i}| \le \|W_{l+1}e_i\|\,\|w\|\prod_{l+1<j<L}\|W_j\|`. Since
:math:`v^THv = \sum_l\sum_i F_{l,i}s''_{l,i}(B_lv)_i^2`, :math:`0 \le s'' \le \beta/4` and
:math:`B_l = W_l C` with :math:`\|C\| \le r_{l-1}`,

.. math:: M_+ = \tfrac\beta4\sum_l r_{l-1}^2\lambda_{max}(W_l^T\mathrm{diag}(\max(hi_l,0))W_l) \ge \lambda_{max}(H),

and :math:`M_- \ge -\lambda_{min}(H)` with :math:`\max(-lo_l,0)`. Every sum above is of one
sign, so its rounding is relative. Never above rung 3 (but for rounding); new here.
"""

from fractions import Fraction
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.bounds.anchor import bound_from_hessian
from curvature.bounds.bound import Bound
from curvature.bounds.frobenius import QUARTER
from curvature.bounds.norms import TINY, UNIT, frobenius_norm_bound, product_bound, round_up, spectral_norm_bound
from curvature.bounds.spectral import spectral_norms
from curvature.feedforward import FeedForward


class HessianEnds(NamedTuple):
    r""":math:`\lambda_{max}(H) \le` ``upper`` and :math:`-\lambda_{min}(H) \le` ``lower`` everywhere."""

    upper: Fraction
    lower: Fraction


class Sensitivity(NamedTuple):
    """Enclosure of ``df/da_l`` over all inputs, ``[n_l]`` each."""

    lo: Tensor
    hi: Tensor


def sign_aware(net: FeedForward, x: Float[Tensor, " n"], radius: float) -> Bound:
    """The sign-aware weighted bound on the Hessian, and what follows on the ball.

    Raises:
        ValueError: If the point or the radius is malformed.
        NoCertificateError: If a number overflows.

    Exactness: upper bound on the Hessian everywhere. Cost: three eigenvalue problems a layer.
    """
    return bound_from_hessian(net, x, radius, max(hessian_ends(net)))


def hessian_ends(net: FeedForward) -> HessianEnds:
    """Both ends of the Hessian's spectrum, over all inputs."""
    ends, reach = [Fraction(0), Fraction(0)], Fraction(1)
    for W, norm, (lo, hi) in zip(net.weights, spectral_norms(net)[:-1], sensitivity_enclosures(net), strict=True):
        for end, weight in enumerate((hi, -lo)):
            ends[end] += reach**2 * _weighted_norm(W, weight.clamp(min=0)) ** 2
        reach *= norm
    scale = QUARTER * Fraction(net.beta)
    return HessianEnds(scale * ends[0], scale * ends[1])


def sensitivity_enclosures(net: FeedForward) -> list[Sensitivity]:
    """Enclosures of ``df/da_l`` over all inputs, first layer first."""
    norms = spectral_norms(net)
    found, outer = [Sensitivity(net.head, net.head)], norms[-1]
    for W, norm in zip(reversed(net.weights[1:]), reversed(norms[1:-1]), strict=True):
        down, up = found[-1].lo.clamp(max=0), found[-1].hi.clamp(min=0)
        P, M = W.clamp(min=0).T, W.clamp(max=0).T
        hi = product_bound(P, up) + product_bound(-M, -down)
        lo = -(product_bound(P, -down) + product_bound(-M, up))
        cap = frobenius_norm_bound(W.T, rows=True) * round_up(outer) * (1 + 4 * UNIT) + TINY
        found.append(Sensitivity(torch.maximum(lo * (1 + 2 * UNIT), -cap), torch.minimum(hi * (1 + 2 * UNIT), cap)))
        outer *= norm
    return found[::-1]


def _weighted_norm(W: Tensor, weight: Tensor) -> Fraction:
    r""":math:`\|\mathrm{diag}(\sqrt{weight})\,W\|_2`, rounded up."""
    A = weight.sqrt()[:, None] * W
    return Fraction(spectral_norm_bound(A, error=4 * UNIT * frobenius_norm_bound(A).item() + TINY))
