r"""Rung 7 for wide layers: the Hessian's deviation on a ball, in operator norms.

With :math:`A_l = \partial z_l/\partial x`, :math:`F_l = \partial f/\partial a_l`, :math:`g_l = F_l s''_l`,
:math:`K_l = \partial F_l/\partial x` at the centre and :math:`\delta_l, \gamma_l, \Delta_l` the changes of
:math:`s'_l, g_l, A_l` at y, exactly

.. math::
    H(y) - H = \sum_l A_l^T\gamma_l A_l + 2\,\mathrm{sym}\,K_l^T\delta_l A_l
      + 2\,\mathrm{sym}\,K_l^T\delta_l\Delta_l + 2\,\mathrm{sym}\,A_l^T\gamma_l\Delta_l + \Delta_l^T g_l(y)\Delta_l .

The first two terms lie between :math:`\pm D`, D one matrix ``[n, n]`` of the form
:math:`\sum A^T\mathrm{diag}(\ge 0)A + K^T\mathrm{diag}(\ge 0)K`; the others are bounded by products of norms,

.. math::
    \|\sqrt c\,\Delta_{l+1}\| \le \|\sqrt c\,W\sqrt{\bar\delta_l}\|\,\|\sqrt{\bar\delta_l}A_l\|
      + \|\sqrt c\,W\sqrt{\bar s'_l}\|\,\|\sqrt{\bar s'_l}\Delta_l\| .

Nothing larger than a layer's matrix or ``[n, n]``
is stored, and all bounds shrink at least linearly with the distance from the centre.
See ``docs/derivations.md``, section 1a.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.bounds.anchor import require_ball, shells_between
from curvature.bounds.bound import Bound
from curvature.bounds.entrywise_local import turned_form_bound
from curvature.bounds.relaxations import Softplus
from curvature.bounds.rounding import (
    TINY,
    gamma,
    gradient_with_error,
    positive_form_bound,
    preactivation_errors,
    relative_error,
    row_norm_bounds,
    spectral_norm_bound,
    up,
)
from curvature.bounds.weighted_forms import Layers, form_bound, small_form, weighted_form, weighted_norm
from curvature.errors import NoCertificateError
from curvature.feedforward import FeedForward

_STEEPEST = {1: 0.0963, 2: 0.1251}  # above the largest third and fourth derivative of softplus at beta = 1


class Deviation(NamedTuple):
    r"""``-D - cI <= H(y) - H <= D + cI`` on a ball; at t times its radius, t (D + cI) + ``fixed`` I is enough.

    ``fixed``, a part of c, is what rounding does to H. ``norm`` bounds ``||D + cI||``, ``normal`` the form at n.
    """

    D: Tensor
    c: float
    norm: float
    normal: float
    fixed: float


class Remainder(NamedTuple):
    r"""Bounds for :math:`G(y) = G + Hu + G_2` and for H(y) on a ball, as in rung 8."""

    whole: float
    tangent: float
    normal: float
    hessian: float
    deviation: Deviation


@dataclass(frozen=True, kw_only=True)
class OperatorExpansion:
    r"""The network's first and second derivatives at one point; serves any number of radii.

    Attributes:
        layers: What is shared by all points.
        beta: The softplus parameter.
        z, errors: Pre-activations and bounds of their errors.
        A: Jacobians of the pre-activations, ``[n_l, n]``.
        K: Jacobians of the sensitivities, one row for each set of equal columns of the next matrix.
        F: Sensitivities.
        A_abs, F_abs, K_abs: Row norms of the same sums of absolute values, which rounding errors are relative to.
        relative: That relative error.
        G, H: Gradient and Hessian.
        gradient_error: Bound on the error of G.
        H_norm, PH_norm, Hn_norm: Bounds of norms, up to the rounding of H.
    """

    layers: Layers
    beta: float
    z: list[Tensor]
    errors: list[Tensor]
    A: list[Tensor]
    K: list[Tensor]
    F: list[Tensor]
    A_abs: list[Tensor]
    F_abs: list[Tensor]
    K_abs: list[Tensor]
    relative: float
    G: Tensor
    H: Tensor
    gradient_error: float
    H_norm: float
    PH_norm: float
    Hn_norm: float

    def gradient_remainders(self, radii: Sequence[float], *, shells: int) -> Iterator[Remainder | None]:
        r"""Bounds of :math:`G_2 = \int_0^1 (H(x + tu) - H)u\,dt` on concentric balls, ascending radii.

        The deviation is at most :math:`(t/s)D(s)` at distance t <= s, so that the shell between s' and s
        adds at most :math:`\|D(s)\|(s^2 - s'^2)/(2s)`, and its width times the rounding error of H. Each is made
        when it is asked for; None from the first radius on that overflows.
        """
        whole, normal, before = 0.0, 0.0, 0.0
        for i, radius in enumerate(radii):
            for below, s in shells_between(before, radius, shells):
                deviation = self.deviation(s)
                share = (s - below) * (s + below) / max(2 * s, TINY)
                fixed = deviation.fixed * (s - below)
                whole += up(deviation.norm * share + fixed)
                normal += up(math.sqrt(max(deviation.norm * deviation.normal, 0.0)) * share + fixed)
            before = radius
            if not math.isfinite(whole + normal):
                yield from [None] * (len(radii) - i)
                return
            rest, part = up(whole + self.gradient_error), up(normal + self.gradient_error)
            yield Remainder(rest, rest, part, up(self.H_norm + deviation.norm), deviation)

    def deviation(self, radius: float) -> Deviation:
        """The Loewner bound of H(y) - H on the ball, rounding included."""
        sweep = _Sweep(self, radius)
        if not sweep.finite:
            return Deviation(torch.zeros_like(self.H), *(math.inf,) * 4)
        D = sweep.D
        n = self.G / torch.linalg.vector_norm(self.G)
        trace = float(D.diagonal().sum())
        c = up(sweep.c + 8 * gamma(4 * max(map(len, self.A)) + len(n) + 64) * trace)
        normal = up(max(float(n @ D @ n), 0.0) + c + 1e-12 * trace)
        return Deviation(D, c, up(positive_form_bound(D) + c), normal, sweep.fixed)

    def curvature(self, radius: float, remainder: Remainder) -> float:
        """The turned form on the ball, as rung 7's.

        Raises:
            NoCertificateError: If the gradient may vanish.
        """
        norm = float(torch.linalg.vector_norm(self.G))
        margin = 1e-12 * norm + self.gradient_error
        n = self.G / norm
        Hn = self.H @ n
        change = up(radius * self.H_norm + remainder.whole + margin)
        lowest = max(norm - change, norm - up(radius * self.Hn_norm + remainder.normal + margin))
        if not lowest > 0:
            raise NoCertificateError(f"the gradient may vanish: its norm {norm:.3e} at x may fall to 0 in the ball")
        theta = math.pi / 2 if change >= norm else math.asin(min(1.0, up(change / norm)))
        top = up(radius * self.PH_norm + remainder.tangent + margin)
        bottom = norm - up(radius * self.Hn_norm + remainder.normal + margin)
        if bottom > 0:
            theta = min(theta, math.atan(up(top / bottom)))
        deviation = remainder.deviation
        slack = 1e-12 * (float(torch.linalg.matrix_norm(self.H)) + deviation.norm)
        PHP = self.H - torch.outer(n, Hn) - torch.outer(Hn, n) + (n @ Hn) * torch.outer(n, n)
        tt = spectral_norm_bound(PHP) + deviation.norm + slack
        tn = _tangent_length(n, Hn) + math.sqrt(deviation.norm * deviation.normal) + slack
        nn = abs(float(n @ Hn)) + deviation.normal + slack
        return up(turned_form_bound(tt, tn, nn, up(theta)) / lowest)


def _tangent_length(n: Tensor, Hn: Tensor) -> float:
    """The length of the tangent part of Hn."""
    return up(float(torch.linalg.vector_norm(Hn - (n @ Hn) * n)))


def operator_local(net: FeedForward, x: Float[Tensor, " n"], radius: float) -> Bound:
    r"""Rung 7 in operator norms: ``||H||``, the gradient's change and curvature on ``B(x, radius)``.

    Looser than the entrywise form on narrow networks, but it needs no entrywise bound of a wide layer's
    Jacobian: a convolution of thousands of neurons costs a few products.

    Args:
        net: A softplus network as matrices.
        x: The centre, float64 ``[n]``.
        radius: Radius of the ball in the units of x, >= 0.

    Returns:
        All three fields of ``Bound``; curvature is None, with the reason, when the gradient may vanish.

    Raises:
        ValueError: If the point or the radius is malformed.

    Exactness: upper bound. Cost: about ten products ``[n, n_l] x [n_l, n]`` a layer.
    """
    start = time.perf_counter()
    require_ball(net, x, radius)
    try:
        expansion = expand_in_norms(net, x)
        (remainder,) = expansion.gradient_remainders([radius], shells=1)
    except NoCertificateError as error:
        return Bound(exactness="none", reason=str(error), seconds=time.perf_counter() - start)
    if remainder is None:
        reason = "the bound of the Hessian's deviation overflows"
        return Bound(exactness="none", reason=reason, seconds=time.perf_counter() - start)
    curvature, reason = None, ""
    try:
        curvature = expansion.curvature(radius, remainder)
    except NoCertificateError as error:
        reason = str(error)
    change = up(radius * expansion.H_norm + remainder.whole)
    return Bound(
        hessian=remainder.hessian, gradient_change=change, curvature=curvature, reason=reason,
        seconds=time.perf_counter() - start,
    )  # fmt: skip


def expand_in_norms(net: FeedForward, x: Float[Tensor, " n"], layers: Layers | None = None) -> OperatorExpansion:
    """The set-up at the point x, shared by all radii.

    Args:
        net: A softplus network as matrices, of any depth.
        x: The centre, float64 ``[n]``.
        layers: Those of ``net.weights``, where they are known already.

    Raises:
        NoCertificateError: If the gradient underflows, or beta is too large for float64.
    """
    layers = Layers(net.weights) if layers is None else layers
    relative = relative_error(net, x)
    G, error = gradient_with_error(net, x)
    curves, z = net.curves(x), net.preactivations(x)
    A, A_abs = [net.weights[0]], [row_norm_bounds(net.weights[0])]
    for W, s in zip(layers.merged, curves.slopes, strict=False):
        A.append(W.C @ W.pool(s[:, None] * A[-1]))
        A_abs.append(W.C.abs() @ W.pool(s * A_abs[-1]) * (1 + 1e-11))
    F_abs = [net.head.abs()]
    K, K_abs = [torch.zeros(1, len(x), dtype=x.dtype)], [torch.zeros(1, dtype=x.dtype)]
    for i in reversed(range(1, len(A))):
        W, s, bend = layers.merged[i - 1], curves.slopes[i], curves.bends[i]
        g, g_abs = (curves.sensitivities[i] * bend)[:, None], F_abs[0] * bend
        index = layers.merged[i].groups if i < len(A) - 1 else torch.zeros(len(s), dtype=torch.long)
        K.insert(0, W.C.T @ (g * A[i] + s[:, None] * K[0][index]))
        K_abs.insert(0, W.C.abs().T @ (g_abs * A_abs[i] + s * K_abs[0][index]) * (1 + 1e-11))
        F_abs.insert(0, (W.C.abs().T @ (s * F_abs[0]))[W.groups] * (1 + 1e-11))
    H = torch.zeros(len(x), len(x), dtype=x.dtype)
    for i, J in enumerate(A):
        w = curves.sensitivities[i] * curves.bends[i]
        H = H + (layers.first_form(w) if i == 0 else weighted_form(J, w))
    H = (H + H.T) / 2
    if not (torch.isfinite(H).all() and all(torch.isfinite(k).all() for k in K)):
        raise NoCertificateError("the Hessian at x overflows")
    n = G / torch.linalg.vector_norm(G)
    Hn = H @ n
    return OperatorExpansion(
        layers=layers, beta=net.beta, z=z, errors=preactivation_errors(net, x), A=A, K=K, F=curves.sensitivities,
        A_abs=A_abs, F_abs=F_abs, K_abs=K_abs, relative=16 * relative, G=G, H=H, gradient_error=error,
        H_norm=spectral_norm_bound(H), PH_norm=spectral_norm_bound(H - torch.outer(n, Hn)),
        Hn_norm=up(float(torch.linalg.vector_norm(Hn))),
    )  # fmt: skip


class _Sweep:
    r"""Everything that depends on the radius, layer by layer.

    ``delta``, ``gamma``, ``phi`` bound the changes of s', of g and of F; ``slope``, ``bend`` bound s' and s'' from
    above on the ball; ``moved`` bounds :math:`\|\sqrt{s'}\Delta_l\|`.
    """

    def __init__(self, centre: OperatorExpansion, radius: float) -> None:
        self.centre, self.radius = centre, radius
        self.delta: list[Tensor] = []
        self.bend_change: list[Tensor] = []
        self.slope: list[Tensor] = []
        self.bend: list[Tensor] = []
        self.turned: list[float] = []  # ||sqrt(delta) A||
        self.moved: list[float] = []
        self._forward()
        self.finite = all(bool(torch.isfinite(v).all()) for v in (*self.delta, *self.bend_change)) and all(
            map(math.isfinite, (*self.turned, *self.moved))
        )
        self.D = torch.zeros_like(centre.H)
        self.c, self.fixed = 0.0, 0.0
        if self.finite:
            self._backward()
            self.finite = math.isfinite(self.c) and bool(torch.isfinite(self.D).all())

    def _forward(self) -> None:
        centre, rows = self.centre, torch.zeros(len(self.centre.A[0]), dtype=self.centre.H.dtype)
        for i, A in enumerate(centre.A):
            if i:
                W = centre.layers.merged[i - 1]
                squares = W.C.square()
                rows = (squares @ W.pool(self.delta[-1])).sqrt() * self.turned[-1]
                rows = (rows + (squares @ W.pool(self.slope[-1])).sqrt() * self.moved[-1]) * (1 + 1e-11)
            rows = row_norm_bounds(A) + rows + centre.relative * centre.A_abs[i]
            self._enclose(centre.z[i], self.radius * rows, centre.errors[i])
            self.turned.append(self._norm(i, self.delta[i]))
            self.moved.append(self.moved_norm(i, self.slope[i]) if i else 0.0)

    def _enclose(self, z: Tensor, reach: Tensor, error: Tensor) -> None:
        r"""Ranges on the reach, and secant changes from the exact pre-activation, which is within the error of z.

        The slope of a secant is a mean of the next derivative, so it moves by at most the error times the largest
        derivative after that one.
        """
        beta = self.centre.beta
        R = reach + error
        softplus = Softplus(z, R, beta)
        changes = []
        for order in (1, 2):
            change = softplus.taylor(order)[1]
            changes.append((change + R * error * (_STEEPEST[order] * beta ** (order + 1))) * (1 + 1e-11))
        self.delta.append(changes[0])
        self.bend_change.append(changes[1])
        self.slope.append(softplus.range(1)[1])
        self.bend.append(softplus.range(2)[1])

    def _backward(self) -> None:
        centre, last = self.centre, len(self.centre.A) - 1
        phi = torch.zeros_like(centre.F[last])
        K_moved = 0.0  # ||sqrt(s') (K(y) - K)||
        for i in reversed(range(last + 1)):
            F = centre.F[i].abs() + centre.relative * centre.F_abs[i]
            gamma_ = F * self.bend_change[i] + phi * self.bend[i]
            g = (F + phi) * self.bend[i]
            parts = [(gamma_, self._norm(i, gamma_)), (g, self.moved_norm(i, g)), (self.slope[i], K_moved)]
            delta_K = self._sensitivity_norm(i, self.delta[i])
            parts.append((self.delta[i], delta_K))
            crossed = self.moved_norm(i, self.delta[i]) if delta_K else 0.0
            self.c += up(2 * parts[0][1] * self.moved_norm(i, gamma_) + 2 * delta_K * crossed + parts[1][1] ** 2)
            self._add_forms(i, gamma_)
            if i == 0:
                break
            W = centre.layers.merged[i - 1]
            squares = W.C.square().T
            rows = torch.stack([(squares @ w).sqrt() * size for w, size in parts]).sum(0) * (1 + 1e-11)
            if i > 1:  # the last one is never asked for
                outer = W.pool(self.slope[i - 1])
                K_moved = up(sum(weighted_norm(W.C, w, outer) * size for w, size in parts))
            rows = row_norm_bounds(centre.K[i - 1]) + rows + centre.relative * centre.K_abs[i - 1]
            direct = W.C.abs().T @ (self.delta[i] * F + self.slope[i] * phi) * (1 + 1e-11)
            phi = torch.minimum(self.radius * rows, direct)[W.groups]
        self.D = (self.D + self.D.T) / 2

    def _add_forms(self, i: int, gamma_: Tensor) -> None:
        """Add layer i to D, and what rounding does to it and to H to c."""
        centre, weights = self.centre, gamma_
        index = self._index(i)
        A, K = row_norm_bounds(centre.A[i]), row_norm_bounds(centre.K[i])[index]
        if i < len(centre.A) - 1:
            ratio = (K / A.clamp_min(TINY)).clamp(1e-100, 1e100)
            weights = gamma_ + self.delta[i] * ratio
            pooled = centre.layers.merged[i].pool(self.delta[i] / ratio)
            self.D = self.D + weighted_form(centre.K[i], pooled)
        self.D = self.D + (centre.layers.first_form(weights) if i == 0 else weighted_form(centre.A[i], weights))
        A_abs, K_abs = centre.A_abs[i], centre.K_abs[i][index]
        scale = (gamma_ * A_abs.square() + 2 * self.delta[i] * K_abs * A_abs).sum()
        fixed = up(centre.relative * float((centre.F_abs[i] * self.bend[i] * A_abs.square()).sum()))
        self.fixed += fixed
        self.c += up(centre.relative * float(scale) + fixed)

    def _index(self, i: int) -> Tensor:
        if i < len(self.centre.A) - 1:
            return self.centre.layers.merged[i].groups
        return torch.zeros(len(self.centre.A[i]), dtype=torch.long)

    def _norm(self, i: int, weights: Tensor) -> float:
        r"""Bound of :math:`\|\sqrt w A_i\|`."""
        centre = self.centre
        form = centre.layers.first_form(weights) if i == 0 else small_form(centre.A[i], weights)
        rounding = centre.relative * math.sqrt(float((weights * centre.A_abs[i].square()).sum()))
        return up(math.sqrt(form_bound(form, len(weights))) + rounding)

    def _sensitivity_norm(self, i: int, weights: Tensor) -> float:
        r"""Bound of :math:`\|\sqrt w K_i\|`."""
        centre = self.centre
        if i == len(centre.A) - 1 or i == 0:  # 0: only multiplied by the change of A_1, which is none
            return 0.0
        pooled = centre.layers.merged[i].pool(weights)
        rounding = centre.relative * math.sqrt(float((pooled * centre.K_abs[i].square()).sum()))
        return up(math.sqrt(form_bound(small_form(centre.K[i], pooled), len(weights))) + rounding)

    def moved_norm(self, i: int, weights: Tensor) -> float:
        r"""Bound of :math:`\|\sqrt w \Delta_i\|` on the ball."""
        if i == 0:
            return 0.0
        W = self.centre.layers.merged[i - 1]
        first = weighted_norm(W.C, weights, W.pool(self.delta[i - 1])) * self.turned[i - 1]
        if not self.moved[i - 1]:
            return up(first)
        return up(first + weighted_norm(W.C, weights, W.pool(self.slope[i - 1])) * self.moved[i - 1])
