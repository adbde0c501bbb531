r"""Rung 8: curvature on a ball, exact to first order in the radius.

With :math:`H(y) = H_c + T[u] + R`, :math:`-R_- \le R \le R_+` (``third_derivative``,
``loewner``) and :math:`G(y) = G + Hu + G_2`, :math:`\|G_2\| \le \gamma`, :math:`n\cdot G_2 \ge -\gamma_n`:
a direction v is tangent at y exactly when :math:`v \cdot G(y) = 0`, so for any fixed b the form
:math:`N(y) = \pm H(y) - G(y)b^T - bG(y)^T` equals :math:`\pm H(y)` there. As
:math:`|2(v\cdot G_2)(v\cdot b)| \le \gamma(w|v|^2 + (v\cdot b)^2/w)`, w = ||b||, and
:math:`\|G(y)\| \ge n\cdot G(y) \ge \|G\| + Hn\cdot u - \gamma_n`, the number tau bounds every
curvature of that sign in the ball when

.. math::
    N_0 + \textstyle\sum_k u_k S_k + R_\pm + \gamma(wI + bb^T/w) \le \tau(\|G\| - \gamma_n) I
    \quad\text{for all } |u| \le r,

:math:`S_k = \pm T_k - (He_k)b^T - b(He_k)^T - \tau(Hn)_k I`. For any Y > 0,
:math:`\sum u_kS_k \le \frac r2 (Y + \sum_k S_kY^{-1}S_k)`, which leaves one matrix inequality,
accepted by one Cholesky factorisation. The choice of b makes :math:`N_0` block diagonal in
normal and tangent, so the turning of the tangent space costs nothing to first order.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.bounds.anchor import require_ball, shells_between
from curvature.bounds.bound import Bound
from curvature.bounds.entrywise_local import entrywise_local
from curvature.bounds.loewner import remainder
from curvature.bounds.rounding import (
    TINY,
    gradient_with_error,
    largest_eigenvalue_bound,
    preactivation_errors,
    relative_error,
    spectral_norm_bound,
    up,
)
from curvature.bounds.tangent_form import Pencil, largest_tau
from curvature.bounds.third_derivative import Centre, Layer, absolute_scale, chebyshev_model, first_order, taylor_model
from curvature.errors import NoCertificateError
from curvature.feedforward import FeedForward

_LARGEST = 2**26  # numbers in the third derivative, or in the slopes of one layer's Jacobian: half a gigabyte


@dataclass(frozen=True)
class GradientRemainder:
    r"""Bounds for :math:`G(y) = G + Hu + G_2` on the ball, rounding of G and H included.

    Attributes:
        whole: :math:`\|G_2\| \le` this.
        tangent: :math:`\|PG_2\| \le` this.
        normal: :math:`n\cdot G_2 \ge -` this.
        hessian: :math:`\|H(y)\| \le` this for all y in the ball.
    """

    whole: float
    tangent: float
    normal: float
    hessian: float


@dataclass(frozen=True, kw_only=True)
class LocalExpansion:
    r"""The network's derivatives to third order at one point; serves any number of radii.

    Attributes:
        net: The network as given.
        x: The centre, ``[n]``.
        centre: The matrices, restricted to the row space of ``W_1`` where that is smaller.
        model: The Taylor model at radius 0.
        G, H, T: Gradient, Hessian, third derivative in the (restricted) coordinates.
        gradient_error: Bound on the rounding error of G.
        T_norm, T_tangent, T_down: Bounds of :math:`\|T[u]u\|` and :math:`\|PT[u]u\|` for |u| = 1, and
            the largest eigenvalue of :math:`-T[n]`.
        H_norm, PH_norm, Hn_norm: Bounds of the norms of H, of PH and of Hn, up to the rounding of H.
        relative: Relative rounding error of derivatives.
        seconds: Time that the set-up took.
    """

    net: FeedForward
    x: Tensor
    centre: Centre
    model: list[Layer]
    G: Tensor
    H: Tensor
    T: Tensor
    gradient_error: float
    T_norm: float
    T_tangent: float
    T_down: float
    H_norm: float
    PH_norm: float
    Hn_norm: float
    relative: float
    seconds: float

    def gradient_remainder(self, radius: float, *, shells: int = 1) -> GradientRemainder:
        """Bounds of :math:`G_2` on one ball; see ``gradient_remainders``.

        Raises:
            NoCertificateError: If the remainder overflows.
        """
        (result,) = self.gradient_remainders([radius], shells=shells)
        if result is None:
            raise NoCertificateError(f"the remainder of the gradient overflows at radius {radius}")
        return result

    def gradient_remainders(self, radii: Sequence[float], *, shells: int) -> Iterator[GradientRemainder | None]:
        r"""Bounds of :math:`G_2` on concentric balls, from one sequence of shells, each made when it is asked for.

        :math:`G_2 = \tfrac12 T[u]u + \int_0^1 R(tu)u\,dt`; the Taylor model's remainder on the
        ball of radius s obeys :math:`\|R(tu)\| \le t^2\rho(s)` for |u| = s, so that the shell
        between s' and s adds at most :math:`\rho(s)(s^3 - s'^3)/(3s^2)` to the integral.

        Args:
            radii: In ascending order, without repetition.
            shells: Of a ball alone; one that contains another has as many as keep them no wider.

        Yields:
            One result a radius; None from the first on that overflows.
        """
        inner, before = 0.0, 0.0
        for i, radius in enumerate(radii):
            for below, s in shells_between(before, radius, shells):
                layers = taylor_model(self.centre, s, self.model)
                R = remainder(self.centre.weights, layers, s)
                rho = max(largest_eigenvalue_bound(R.upper), largest_eigenvalue_bound(R.lower))
                # s^3 - s'^3 in factors, which do not cancel however near two radii are
                inner += up(rho * (s - below) * (s * s + s * below + below * below) / max(3 * s * s, TINY))
            slack = self.slack(layers, radius)
            rest = up(inner + self.gradient_error + 2 * radius * slack)
            if not math.isfinite(rest):
                yield from [None] * (len(radii) - i)
                return
            half, before = radius * radius / 2, radius
            yield GradientRemainder(
                whole=up(half * self.T_norm + rest),
                tangent=up(half * self.T_tangent + rest),
                normal=up(half * max(self.T_down, 0.0) + rest),
                hessian=up(self.H_norm + radius * self.T_norm + rho + slack),
            )

    def slack(self, layers: list[Layer], radius: float) -> float:
        """Bound on what rounding does to H_c, T[u] and R together, in the spectral norm."""
        return up(16 * self.relative * absolute_scale(self.centre, layers, radius))

    def bound(self, radius: float, G2: GradientRemainder | None = None) -> Bound:
        """Rung 8 on ``B(x, radius)``; the minimum with rung 7 in every field.

        Args:
            radius: Radius of the ball.
            G2: The gradient's remainder on it, where it is known already.

        Raises:
            ValueError: If the radius is negative or not finite.
        """
        start = time.perf_counter()
        rung7 = entrywise_local(self.net, self.x, radius)
        if G2 is None:
            (G2,) = self.gradient_remainders([radius], shells=1)
        if G2 is None:
            return replace(rung7, seconds=time.perf_counter() - start)
        change = up(radius * self.H_norm + G2.whole)
        curvature, reason = rung7.curvature, rung7.reason
        try:
            own = self.curvature(radius, G2)
            curvature, reason = (own if curvature is None else min(own, curvature)), ""
        except NoCertificateError as error:
            reason = "" if curvature is not None else str(error)
        return Bound(
            hessian=_least(G2.hessian, rung7.hessian),
            gradient_change=_least(change, rung7.gradient_change),
            curvature=curvature,
            reason=reason,
            seconds=time.perf_counter() - start,
        )

    def curvature(self, radius: float, G2: GradientRemainder) -> float:
        """The larger of the two smallest accepted tau, one for each sign.

        Raises:
            NoCertificateError: If the gradient may vanish, or no tau is accepted.
        """
        norm = float(torch.linalg.vector_norm(self.G))
        away = up(radius * self.Hn_norm + G2.normal + 1e-12 * norm)
        if not away < norm:
            raise NoCertificateError(
                f"the gradient may vanish: its normal part {norm:.3e} at x falls by up to {away:.3e} in the ball"
            )
        if len(self.G) == 1:
            return 0.0  # f is a function of one linear form: its level sets are hyperplanes
        layers = chebyshev_model(self.centre, radius)
        H, T = first_order(layers)
        R = remainder(self.centre.weights, layers, radius)
        slack = self.slack(layers, radius)
        pencil = Pencil(
            centre=H,
            slopes=T,
            rest=R.upper,
            G=self.G,
            H=self.H,
            radius=radius,
            G2=G2.whole,
            lowest=norm - G2.normal,
            slack=slack,
        )
        return largest_tau(pencil, pencil._replace(centre=-H, slopes=-T, rest=R.lower))


def expand(net: FeedForward, x: Float[Tensor, " n"]) -> LocalExpansion:
    """The set-up of rung 8 at the point x, shared by all radii.

    Args:
        net: A softplus network as matrices, of any depth.
        x: The centre, float64 ``[n]``.

    Raises:
        ValueError: If the point is malformed.
        NoCertificateError: If the gradient underflows, beta is too large for float64, or the third derivative
            too large to be stored.

    Cost: the third derivative, a few products ``[n, N] x [N, n^2]`` a layer.
    """
    start = time.perf_counter()
    require_ball(net, x, 0.0)
    relative = relative_error(net, x)
    G, error = gradient_with_error(net, x)
    z, errors = net.preactivations(x), preactivation_errors(net, x)
    weights = net.weights
    if len(weights[0]) < weights[0].shape[1]:
        # H and G live in the row space of W_1; the ball projects onto a ball of that space.
        Q, triangle = torch.linalg.qr(weights[0].T)
        weights, G = (triangle.T.contiguous(), *weights[1:]), Q.T @ G
        relative += 64 * len(x) * torch.finfo(x.dtype).eps
        error += 64 * len(x) * torch.finfo(x.dtype).eps * float(torch.linalg.vector_norm(G))
        errors = [e + 1e-14 for e in errors]
    _require_size([len(W) for W in weights], len(G))
    centre = Centre(weights=weights, head=net.head, beta=net.beta, z=z, errors=errors)
    model = taylor_model(centre, 0.0)
    H, T = first_order(model)
    n = G / torch.linalg.vector_norm(G)
    if not (torch.isfinite(H).all() and torch.isfinite(T).all()):
        raise NoCertificateError("the Hessian or the third derivative at x overflows")
    unfolded = T.flatten(1) @ T.flatten(1).T
    tangent = unfolded - torch.outer(n, n @ unfolded) - torch.outer(unfolded @ n, n)
    tangent = tangent + (n @ unfolded @ n) * torch.outer(n, n)
    Hn = H @ n
    Tn = -(n @ T.flatten(1)).reshape(len(n), -1)
    return LocalExpansion(
        net=net, x=x, centre=centre, model=model, G=G, H=H, T=T, gradient_error=error, relative=relative,
        T_norm=_root(unfolded), T_tangent=_root(tangent),
        T_down=largest_eigenvalue_bound((Tn + Tn.T) / 2), H_norm=spectral_norm_bound(H),
        PH_norm=spectral_norm_bound(H - torch.outer(n, Hn)), Hn_norm=up(float(torch.linalg.vector_norm(Hn))),
        seconds=time.perf_counter() - start,
    )  # fmt: skip


def _require_size(widths: list[int], n: int) -> None:
    largest = max([n, *widths[1:]]) * n * n
    if largest > _LARGEST:
        raise NoCertificateError(
            f"the third derivative in {n} dimensions needs arrays of {largest:.1e} numbers, at most {_LARGEST:.1e} are "
            "used; the entrywise bound has no such limit"
        )


def first_order_local(net: FeedForward, x: Float[Tensor, " n"], radius: float) -> Bound:
    r"""Rung 8: bounds of ``||H||``, of the gradient's change and of curvature on ``B(x, radius)``.

    For many radii of one point, ``expand(net, x).bound(radius)`` shares the set-up.

    Returns:
        All three fields of ``Bound``, each at most that of rung 7; curvature is None, with
        the reason, when neither rung proves the gradient away from zero.

    Exactness: upper bound; as the radius goes to 0 the curvature bound is exact to first order.
    """
    start = time.perf_counter()
    try:
        expansion = expand(net, x)
    except NoCertificateError as error:
        return Bound(exactness="none", reason=str(error), seconds=time.perf_counter() - start)
    return replace(expansion.bound(radius), seconds=time.perf_counter() - start)


def _least(value: float, other: float | None) -> float:
    return value if other is None else min(value, other)


def _root(unfolded: Tensor) -> float:
    """The norm of an unfolding from its Gram matrix; the margin covers the rounding of that product."""
    symmetric = (unfolded + unfolded.T) / 2
    rounding = 4 * len(unfolded) ** 2 * torch.finfo(unfolded.dtype).eps * float(symmetric.trace())
    return up(math.sqrt(max(largest_eigenvalue_bound(symmetric), 0.0) + rounding))
