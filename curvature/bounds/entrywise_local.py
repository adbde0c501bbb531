r"""Rung 7: interval arithmetic on the ball, entry by entry.

On :math:`B(x, r)` the Jacobians :math:`A_l = \partial z_l/\partial x`, the slopes s', the
bends s'' and the sensitivities :math:`F_l = \partial f/\partial a_l` are enclosed in
midpoint-radius form, layer by layer; by the mean value theorem
:math:`|z_{l,i}(y) - z_{l,i}(x)| \le r \max\|A_{l,i}\|`. Then
:math:`H = \sum_l A_l^T \mathrm{diag}(F_l s''_l) A_l = M + E_1 + E_2` with
:math:`-L \le E_1 \le L` (Loewner; the range of :math:`F_l s''_l` at the midpoint of A) and
:math:`|E_2| \le \Delta` entrywise.

**Turning the frame.** Let v be a unit vector tangent at y and n the normal at x, with
:math:`\angle(n, n(y)) \le \theta`. Then :math:`|v \cdot n| = |v\cdot(n - \cos\theta' n(y))| \le \sin\theta'`,
so :math:`v = \cos a\, t + \sin a\, n` with :math:`|a| \le \theta`, and

.. math:: |v^T H v| \le \max_{0\le a\le\theta} \cos^2 a\, tt + \sin 2a\, tn + \sin^2 a\, nn,

where tt, tn, nn bound :math:`\|PHP\|, \|PHn\|, |n^T H n|` on the ball. The sinusoid in 2a
peaks at :math:`a^* = \mathrm{atan2}(2tn, tt - nn)/2`, so its maximum is at
:math:`\min(\theta, a^*)`. Dividing by :math:`c = \|G(x)\| - \delta \le \|G(y)\|`,
:math:`\delta = r \max\|H\|`, :math:`\sin\theta \le \delta/\|G(x)\|`, bounds the curvature.
"""

import math
import time
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.bounds.anchor import require_ball
from curvature.bounds.bound import Bound
from curvature.bounds.relaxations import Softplus
from curvature.bounds.rounding import (
    gamma,
    gradient_with_error,
    largest_eigenvalue_bound,
    preactivation_errors,
    row_norm_bounds,
    spectral_norm_bound,
    up,
)
from curvature.errors import NoCertificateError
from curvature.feedforward import FeedForward


class Ranges(NamedTuple):
    """Midpoints and radii of everything that ``H`` is made of, one entry a layer."""

    jacobians: list[tuple[Tensor, Tensor]]
    slopes: list[tuple[Tensor, Tensor]]
    bends: list[tuple[Tensor, Tensor]]


class HessianEnclosure(NamedTuple):
    r"""``H(y) = M + E_1 + E_2`` with ``-L <= E_1 <= L`` (Loewner) and ``|E_2| <= D`` entrywise."""

    M: Tensor
    L: Tensor
    D: Tensor


def entrywise_local(net: FeedForward, x: Float[Tensor, " n"], radius: float) -> Bound:
    r"""Rung 7: bounds of ``||H||``, of the gradient's change and of curvature on ``B(x, radius)``.

    Args:
        net: A softplus network as matrices.
        x: The centre, float64 ``[n]``.
        radius: Radius of the ball in the units of x, >= 0.

    Returns:
        All three fields of ``Bound``; curvature is None, with the reason, when no positive
        lower bound of the gradient norm exists on the ball.

    Raises:
        ValueError: If the point or the radius is malformed.

    Exactness: upper bound. Cost: about ten products a layer and four dense norms.
    """
    start = time.perf_counter()
    require_ball(net, x, radius)
    try:
        enclosure = hessian_enclosure(net, x, radius)
    except NoCertificateError as error:
        return Bound(exactness="none", reason=str(error), seconds=time.perf_counter() - start)
    norm = up(
        spectral_norm_bound(enclosure.M) + largest_eigenvalue_bound(enclosure.L) + spectral_norm_bound(enclosure.D)
    )
    if not math.isfinite(norm):
        return Bound(
            exactness="none", reason="the enclosure of the Hessian overflows", seconds=time.perf_counter() - start
        )
    curvature, reason = None, ""
    try:
        curvature = _curvature(net, x, enclosure, up(radius * norm))
    except NoCertificateError as error:
        reason = str(error)
    seconds = time.perf_counter() - start
    return Bound(hessian=norm, gradient_change=up(radius * norm), curvature=curvature, reason=reason, seconds=seconds)


def turned_form_bound(tt: float, tn: float, nn: float, theta: float) -> float:
    r"""Maximum over :math:`0 \le a \le \theta` of :math:`\cos^2 a\,tt + \sin 2a\,tn + \sin^2 a\,nn`.

    Bounds :math:`|v^T H v|` for every unit v with :math:`|v \cdot n| \le \sin\theta`, when tt, tn,
    nn bound the blocks of H. All arguments are >= 0, theta in radians up to pi/2.
    """
    a = min(theta, math.atan2(2 * tn, tt - nn) / 2)
    value = math.cos(a) ** 2 * tt + math.sin(2 * a) * tn + math.sin(a) ** 2 * nn
    return up(value)


def hessian_enclosure(net: FeedForward, x: Float[Tensor, " n"], radius: float) -> HessianEnclosure:
    """The Hessian on the whole ball, as a midpoint with a Loewner and an entrywise radius.

    Raises:
        NoCertificateError: If an enclosure is not finite.
    """
    ranges = _ranges(net, x, radius)
    n = len(x)
    M, L, D = (torch.zeros(n, n, dtype=x.dtype) for _ in range(3))
    F_mid, F_rad = net.head, torch.zeros_like(net.head)
    g = gamma(4 * max(max(W.shape) for W in net.weights) + 64)
    for k in reversed(range(len(net.weights))):
        (A, A_rad), (s, s_rad), (c, c_rad) = ranges.jacobians[k], ranges.slopes[k], ranges.bends[k]
        mid = F_mid * c
        rad = F_mid.abs() * c_rad + F_rad * (c.abs() + c_rad) + 4 * g * (F_mid.abs() + F_rad) * (c.abs() + c_rad)
        M = M + A.T @ (mid[:, None] * A)
        L = L + A.T @ (rad[:, None] * A)
        whole = A.abs() + A_rad
        cross = whole.T @ ((mid.abs() + rad)[:, None] * (A_rad + g * whole))
        D = D + cross + cross.T
        pull = net.weights[k].T
        F_rad = pull.abs() @ (F_rad * (s + s_rad) + F_mid.abs() * (s_rad + g * s)) * (1 + g)
        F_mid = pull @ (F_mid * s)
    if not (torch.isfinite(M).all() and torch.isfinite(D).all()):
        raise NoCertificateError(f"the enclosure of the Hessian overflows at radius {radius}")
    return HessianEnclosure((M + M.T) / 2, (L + L.T) / 2, (D + D.T) / 2 * (1 + g))


def _ranges(net: FeedForward, x: Tensor, radius: float) -> Ranges:
    """Forward sweep: Jacobians, slopes and bends on the ball, rounding included in the radii."""
    errors, z = preactivation_errors(net, x), net.preactivations(x)
    A, A_rad = net.weights[0], torch.zeros_like(net.weights[0])
    jacobians: list[tuple[Tensor, Tensor]] = []
    slopes: list[tuple[Tensor, Tensor]] = []
    bends: list[tuple[Tensor, Tensor]] = []
    for k, W in enumerate(net.weights):
        if k:
            (s, s_rad), g = slopes[-1], gamma(W.shape[1] + 64)
            spread = s_rad[:, None] * (A.abs() + A_rad) + s[:, None] * (A_rad + g * A.abs())
            A, A_rad = W @ (s[:, None] * A), W.abs() @ spread * (1 + g)
        jacobians.append((A, A_rad))
        reach = radius * row_norm_bounds(A.abs() + A_rad if k else A) + errors[k]
        softplus = Softplus(z[k], reach, net.beta)
        slopes.append(_middle(*softplus.range(1)))
        bends.append(_middle(*softplus.range(2)))
    return Ranges(jacobians, slopes, bends)


def _middle(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    return (low + high) / 2, (high - low) / 2 + 1e-15 * high.abs()


def _curvature(net: FeedForward, x: Tensor, enclosure: HessianEnclosure, change: float) -> float:
    G, error = gradient_with_error(net, x)
    norm = float(torch.linalg.vector_norm(G))
    away = up(change + error + 1e-12 * norm)  # the last term covers the rounding of norm and n
    if not away < norm:
        raise NoCertificateError(
            f"the gradient may vanish: its norm {norm:.3e} at x changes by up to {away:.3e} in the ball"
        )
    tt, tn, nn = _blocks(enclosure, G / norm)
    return up(turned_form_bound(tt, tn, nn, up(math.asin(min(1.0, away / norm)))) / (norm - away))


def _blocks(enclosure: HessianEnclosure, n: Tensor) -> tuple[float, float, float]:
    """Bounds of ``||P H P||, ||P H n||, |n^T H n|`` on the ball."""
    M, L, D = enclosure
    slack = 1e-12 * float(torch.linalg.matrix_norm(M) + torch.linalg.matrix_norm(L) + torch.linalg.matrix_norm(D))
    PLP, nLn = largest_eigenvalue_bound(_tangent(L, n)), max(float(n @ L @ n), 0.0)
    Mn = M @ n
    tt = spectral_norm_bound(_tangent(M, n)) + PLP + spectral_norm_bound(D)
    # |t^T E n| <= sqrt(t^T L t n^T L n) for -L <= E <= L.
    tn = (
        float(torch.linalg.vector_norm(Mn - (n @ Mn) * n))
        + math.sqrt(PLP * nLn)
        + float(torch.linalg.vector_norm(D @ n.abs()))
    )
    nn = abs(float(n @ Mn)) + nLn + float(n.abs() @ D @ n.abs())
    # sqrt has an infinite slope at 0: nLn may be wrong by slack, so the root by sqrt(PLP slack).
    return tt + slack, tn + slack + math.sqrt(PLP * slack), nn + slack


def _tangent(S: Tensor, n: Tensor) -> Tensor:
    Sn = S @ n
    T = S - torch.outer(n, Sn) - torch.outer(Sn, n) + (n @ Sn) * torch.outer(n, n)
    return (T + T.T) / 2
