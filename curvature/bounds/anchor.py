r"""The network at the centre of the ball, with the rounding errors of all that is computed there.

:math:`B_1 = W_1,\; B_{l+1} = W_{l+1}\,\mathrm{diag}(s'(z_l))\,B_l` are the Jacobians of the
pre-activations; with the head as a last layer of one row the recursion ends in the gradient.
Errors: if :math:`|z_l - \hat z_l| \le e_l`, softplus being 1-Lipschitz,
:math:`e_{l+1} = |W_{l+1}|(e_l + \text{softplus's own error}) + \gamma(|W||a|+|b|)`; the slope
is relatively off by at most :math:`e^{\beta e_l}-1` plus that of the sigmoid, as
:math:`|(\log s')'| \le \beta`; so with :math:`C_l = \mathrm{diag}(s')B_l`,
:math:`d_{l+1} = \|W_{l+1}\|_2(d_l + \rho_l\|C_l\|_F) + \gamma\|W_{l+1}\|_F\|C_l\|_F` bounds the
Frobenius error of the next Jacobian.

Shared here too: a bound on the Hessian gives the gradient's change by multiplication with the
radius, and the curvature :math:`\|PHP\|/\|G\| \le M/(\|G(x)\| - Mr)` where that is positive.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.activations import sigmoid, softplus
from curvature.bounds.bound import Bound
from curvature.bounds.norms import (
    TINY,
    UNIT,
    frobenius_norm_bound,
    gamma,
    product_bound,
    round_up,
    spectral_norm_bound,
)
from curvature.errors import NoCertificateError
from curvature.feedforward import FeedForward

_FUNCTION_ROUNDINGS = 16  # of a sigmoid or a softplus, besides the product beta * z in its argument


@dataclass(frozen=True)
class Anchor:
    """Jacobians at one point, and how far they may be from the exact ones.

    Attributes:
        preactivations: ``z_l``, each ``[n_l]``.
        preactivation_errors: Componentwise bounds, each ``[n_l]``.
        jacobians: ``B_l``, each ``[n_l, n]``.
        jacobian_errors: Bounds on the Frobenius norm of each error.
        gradient: ``[n]``.
        gradient_error: Bound on the 2-norm of its error.
    """

    preactivations: list[Tensor]
    preactivation_errors: list[Tensor]
    jacobians: list[Tensor]
    jacobian_errors: list[float]
    gradient: Tensor
    gradient_error: float

    @property
    def gradient_norm_bound(self) -> float:
        """Lower bound on the gradient's norm at the centre; may be negative."""
        norm = torch.linalg.vector_norm(self.gradient).item()
        return norm * (1 - 4 * gamma(self.gradient.numel() + 4)) - self.gradient_error * (1 + 4 * UNIT) - TINY


def anchor(net: FeedForward, x: Float[Tensor, " n"]) -> Anchor:
    """Evaluate the network at ``x`` with error bounds.

    Raises:
        NoCertificateError: If a number overflows.
    """
    a, error, B, d = (
        x.double(),
        torch.zeros(x.numel(), dtype=torch.float64),
        torch.eye(x.numel(), dtype=torch.float64),
        0.0,
    )
    zs: list[Tensor] = []
    errors: list[Tensor] = []
    jacobians: list[Tensor] = []
    deviations: list[float] = []
    for layer, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        z = W @ a + b
        e = product_bound(W.abs(), error) + gamma(W.shape[1] + 4) * (W.abs() @ a.abs() + b.abs()) * 1.01 + TINY
        B, d = (W, 0.0) if layer == 0 else _chained(W, B, d)
        for name, numbers in (("preactivations", z), ("errors", e), ("jacobians", B)):
            if not torch.isfinite(numbers).all():
                raise NoCertificateError(f"the {name} of layer {layer + 1} overflow at this point")
        for numbers, kept in ((z, zs), (e, errors), (B, jacobians)):
            kept.append(numbers)
        deviations.append(d)
        a = softplus(z, net.beta)
        error = e + _FUNCTION_ROUNDINGS * UNIT * (a + 1 / net.beta) + TINY
        s = sigmoid(z, net.beta)
        steep = torch.expm1(net.beta * e).max().item() + UNIT * (_FUNCTION_ROUNDINGS + net.beta * z.abs().max().item())
        d = (d + (1.01 * steep + 4 * UNIT) * frobenius_norm_bound(B).item()) * (1 + 8 * UNIT) + TINY
        B = s[:, None] * B
    gradient, d = _chained(net.head[None], B, d)
    if not (torch.isfinite(gradient).all() and math.isfinite(d)):
        raise NoCertificateError("the gradient overflows at this point")
    return Anchor(zs, errors, jacobians, deviations, gradient[0], d)


def _chained(W: Tensor, C: Tensor, deviation: float) -> tuple[Tensor, float]:
    """``W C`` and its error when ``C`` is off by ``deviation``."""
    product = gamma(W.shape[1] + 4) * frobenius_norm_bound(W).item() * frobenius_norm_bound(C).item()
    return W @ C, (spectral_norm_bound(W) * deviation + product) * (1 + 8 * UNIT) + TINY


def bound_from_hessian(net: FeedForward, x: Float[Tensor, " n"], radius: float, hessian: Fraction) -> Bound:
    """What a global bound on the Hessian's norm says about the ball ``B(x, radius)``."""
    require_ball(net, x, radius)
    change = hessian * Fraction(radius)
    bound = Bound(hessian=round_up(hessian), gradient_change=round_up(change))
    if x.numel() < 2:
        return replace(bound, reason="no curvature: a level set in R^1 has no tangent directions")
    try:
        slope = anchor(net, x).gradient_norm_bound
    except NoCertificateError as error:
        return replace(bound, reason=f"no curvature: {error}")
    rest = Fraction(slope) - change
    if rest <= 0:
        return replace(bound, reason=vanishing(slope, round_up(change)))
    return replace(bound, curvature=round_up(hessian / rest))


def vanishing(slope: float, change: float) -> str:
    """The reason why no curvature is certified when the gradient may vanish."""
    numbers = f"its norm is at least {slope:.3g} at the centre and may change by {change:.3g}"
    return f"no curvature: the gradient may vanish in the ball, {numbers}"


def shells_between(inner: float, outer: float, shells: int) -> list[tuple[float, float]]:
    """Radii of consecutive shells from one ball to the next, no wider than ``shells`` of the outer ball alone are."""
    parts = max(1, math.ceil(shells * (outer - inner) / max(outer, TINY) - 1e-9))
    return list(pairwise([*(inner + (outer - inner) * j / parts for j in range(parts)), outer]))


def require_ball(net: FeedForward, x: Tensor, radius: float) -> None:
    """Reject a point of the wrong size, NaN, or a radius that is not finite and non-negative."""
    n = net.weights[0].shape[1]
    if x.shape != (n,) or not torch.isfinite(x).all():
        raise ValueError(
            f"expected a finite point of shape [{n}], got shape {tuple(x.shape)}; flatten it and check for NaN"
        )
    if not 0 <= radius < math.inf:
        raise ValueError(f"expected a finite radius >= 0, got {radius}")
