r"""Rung 6: the gradient's change away from a fixed point, everywhere.

Telescoping with Jacobians at x on the left and sensitivities at y on the right,

.. math:: G(y) - G(x) = \sum_l B_l(x)^T\,(D_l(y) - D_l(x))\,F_l(y),\qquad D_l = \mathrm{diag}(s'(z_l)).

:math:`|D_l(y) - D_l(x)|_i \le b_i |z_{l,i}(y) - z_{l,i}(x)|` with :math:`b_i` the largest secant
slope of s' from :math:`z_i(x)`, and :math:`z_l(y) - z_l(x) = W_l\,\Delta a` with
:math:`\|\Delta a\| \le r_{l-1}\|y-x\|`. With :math:`|F_{l,i}| \le m_i` the l-th term is
:math:`B_l^T t`, :math:`|t_i| \le m_ib_i|(W_l\Delta a)_i|`, hence at most
:math:`\|\mathrm{diag}\sqrt{mb}\,B_l\|\,\|\mathrm{diag}\sqrt{mb}\,W_l\|\,r_{l-1}\|y-x\|`. It is also
:math:`B_l^T\mathrm{diag}(\delta)F_l` with :math:`|\delta_i| \le b_i\|w_i\|r_{l-1}\|y-x\|`, hence at most
:math:`\|\mathrm{diag}(b_i\|w_i\|)B_l\|\,\|F_l\|\,r_{l-1}\|y-x\|`; the norm of :math:`F_l` must not be
forgotten. The smaller one counts, layer by layer. New here.

**The largest secant slope** of s' from z. In u = beta z and by symmetry for u > 0: g = s'' is even and
falls with |u|, so the best mean of g over [t, u] has t = tau in [-u, 0] with g(tau) = that mean,
and for t in [tau, 0] g(t) is above the mean of g over [t, u]. So every t that passes the test
``g(t) >= mean`` (with its rounding against it) has g(t) >= b; bisection only brings it near. The
slope falls with |u|, so an uncertain z is moved towards 0 first.
"""

from fractions import Fraction

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.bounds.anchor import Anchor, anchor, require_ball
from curvature.bounds.bound import Bound
from curvature.bounds.norms import TINY, UNIT, frobenius_norm_bound, round_up, spectral_norm_bound
from curvature.bounds.sign_aware import Sensitivity, sensitivity_enclosures
from curvature.bounds.spectral import spectral_norms
from curvature.feedforward import FeedForward

_BISECTIONS = 40
_MARGIN = 1e-14  # of one sigmoid in [0, 1], absolute, and of their product, relative


def anchored(net: FeedForward, x: Float[Tensor, " n"], radius: float) -> Bound:
    r"""Bound :math:`\|G(y) - G(x)\| \le K(x)\,\|y - x\|` for all y, at ``radius``.

    Not a bound on the Hessian away from x, so only ``gradient_change`` is filled.

    Raises:
        ValueError: If the point or the radius is malformed.
        NoCertificateError: If a number overflows.

    Exactness: upper bound, everywhere. Cost: three eigenvalue problems a layer, the Jacobians at x.
    """
    require_ball(net, x, radius)
    return Bound(gradient_change=round_up(gradient_lipschitz_from(net, anchor(net, x)) * Fraction(radius)))


def gradient_lipschitz_from(net: FeedForward, at: Anchor) -> Fraction:
    """K(x): the Lipschitz constant of the gradient seen from one point."""
    norms = spectral_norms(net)
    outer = [norms[-1]]
    for norm in reversed(norms[1:-1]):
        outer.append(norm * outer[-1])
    total, reach = Fraction(0), Fraction(1)
    for layer, sensitivity in enumerate(sensitivity_enclosures(net)):
        total += reach * _term(net, at, layer, sensitivity, outer[-1 - layer])
        reach *= norms[layer]
    return total


def _term(net: FeedForward, at: Anchor, layer: int, sensitivity: Sensitivity, outer: Fraction) -> Fraction:
    W, B, d = net.weights[layer], at.jacobians[layer], at.jacobian_errors[layer]
    b = secant_slope_bound(at.preactivations[layer], at.preactivation_errors[layer], net.beta)
    m = torch.maximum(-sensitivity.lo, sensitivity.hi)
    root = (m * b + TINY).sqrt() * (1 + 4 * UNIT)
    split = _scaled_norm(root, B, d) * _scaled_norm(root, W, 0.0)
    rows = b * frobenius_norm_bound(W, rows=True) * (1 + 2 * UNIT)
    whole = _scaled_norm(rows, B, d) * min(Fraction(frobenius_norm_bound(m).item()), outer)
    return min(split, whole)


def _scaled_norm(scale: Tensor, A: Tensor, error: float) -> Fraction:
    """``||diag(scale) A||_2`` when A is off by ``error`` in Frobenius norm."""
    product = scale[:, None] * A
    slack = (2 * UNIT * frobenius_norm_bound(product).item() + scale.max().item() * error) * (1 + 8 * UNIT)
    return Fraction(spectral_norm_bound(product, error=slack + TINY))


def secant_slope_bound(z: Float[Tensor, " m"], error: Float[Tensor, " m"], beta: float) -> Float[Tensor, " m"]:
    r"""Upper bound on :math:`\sup_t |s'(t) - s'(z)|/|t - z|`, ``[m]``, for every z within ``error``."""
    u = (beta * (z.abs() - error).clamp(min=0)) * (1 - 4 * UNIT)
    left, right = -u, torch.zeros_like(u)  # the tangent point lies between; right passes the test
    for _ in range(_BISECTIONS):
        t = (left + right) / 2
        # Opposite signs, so the sum of distances does not cancel; the sigmoids may, hence the margin.
        mean = (torch.sigmoid(u) - torch.sigmoid(t) + _MARGIN) / (u - t) * (1 + _MARGIN)
        passes = _bell(t) * (1 - _MARGIN) >= mean
        left, right = torch.where(passes, left, t), torch.where(passes, t, right)
    return beta * _bell(right) * (1 + _MARGIN) + TINY


def _bell(u: Tensor) -> Tensor:
    r""":math:`\sigma(u)\sigma(-u)`; :math:`\sigma(1-\sigma)` would lose the tails."""
    return torch.sigmoid(u) * torch.sigmoid(-u)
