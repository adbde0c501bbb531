r"""The matrix inequality of rung 8: the smallest tau that a Cholesky factorisation accepts.

Everything happens in coordinates :math:`v = Vv'` in which the part without u is nearly
diagonal. A congruence by a floating matrix V is exact, only the identity becomes
:math:`V^TV = I + E`, :math:`\|E\| \le \eta`, which is charged to the right-hand side.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from curvature.bounds.rounding import TINY, UNIT, cholesky_accepts, gamma, up
from curvature.errors import NoCertificateError


class Pencil(NamedTuple):
    r"""One sign of the inequality.

    Attributes:
        G, H: Gradient ``[n]`` and Hessian ``[n, n]`` at the centre.
        centre: :math:`\pm H_c`.
        slopes: :math:`\pm T_k`, ``[n, n, n]``.
        rest: The Loewner bound of the remainder on this side.
        radius: r.
        G2: Bound of :math:`\|G_2\|`.
        lowest: :math:`\|G\| - \gamma_n`.
        slack: Rounding error of centre, slopes and rest together.
    """

    G: Tensor
    H: Tensor
    centre: Tensor
    slopes: Tensor
    rest: Tensor
    radius: float
    G2: float
    lowest: float
    slack: float


class _Reduced(NamedTuple):
    r"""The inequality for all tau: :math:`B - \tau X_1 + \tau^2 X_2 + \mathrm{slack} \le \tau g I`."""

    fixed: Tensor
    linear: Tensor
    square: Tensor
    right: float
    slack: float

    def matrix(self, tau: float) -> Tensor:
        """The right-hand side minus the left without the slack, exactly symmetric."""
        M = -(self.fixed - tau * self.linear + tau**2 * self.square)
        M = (M + M.T) / 2
        M.diagonal().add_(tau * self.right)
        return M


def smallest_tau(pencil: Pencil, *, start: float = 0.0, attempts: int = 8) -> float:
    """A number that bounds all curvatures of one sign on the ball, clamped at 0.

    Y is chosen at the centre's own curvature, or at ``start`` if that is larger, and tau solved for; while
    Cholesky does not accept it, the next attempt chooses Y for a tau half as large again. Choosing Y once
    more at the tau that was found gained nothing on any of 275 inequalities of random networks.

    Raises:
        NoCertificateError: If no tau is accepted.
    """
    tau = max(_at_centre(pencil), start)
    for _ in range(attempts):
        accepted = _accepted(_reduce(pencil, tau), tau)
        if accepted < math.inf:
            return accepted
        tau *= 1.5
    raise NoCertificateError(f"no curvature bound is accepted at radius {pencil.radius}; the ball is too large")


def largest_tau(pencil: Pencil, mirrored: Pencil) -> float:
    """A number that bounds the curvatures of both signs: the larger of the two smallest tau.

    The sign that is larger at the centre is solved for; the other one mostly needs no more than
    to be accepted at the same number.

    Raises:
        NoCertificateError: If no tau is accepted.
    """
    first, second = sorted((pencil, mirrored), key=_at_centre, reverse=True)
    tau = smallest_tau(first)
    return tau if _proven(_reduce(second, tau), tau) else max(tau, smallest_tau(second, start=tau))


def _at_centre(pencil: Pencil) -> float:
    norm = float(torch.linalg.vector_norm(pencil.G))
    n = pencil.G / norm
    Hn = pencil.centre @ n
    T = pencil.centre - torch.outer(n, Hn) - torch.outer(Hn, n) + (n @ Hn) * torch.outer(n, n)
    return max(float(torch.linalg.eigvalsh(T)[-1]), 0.0) / norm


def _reduce(pencil: Pencil, tau: float) -> _Reduced:
    """Choose b, the frame and Y for this tau, and expand the left-hand side in tau."""
    r, n = pencil.radius, len(pencil.G)
    b = _multiplier(pencil, tau)
    w = max(float(torch.linalg.vector_norm(b)), TINY) * (1 + gamma(n + 8))
    Gb = torch.outer(pencil.G, b)
    base = pencil.centre - Gb - Gb.T + pencil.rest + pencil.G2 / w * torch.outer(b, b)
    base = (base + base.T) / 2
    _, V = torch.linalg.eigh(base)
    eta = float(torch.linalg.matrix_norm(V.T @ V - torch.eye(n, dtype=V.dtype))) + gamma(n + 8) * n
    S = _rotated_slopes(pencil, V, b)
    squares = torch.linalg.vector_norm(S, dim=0).square()  # G_jm = sum_k (S_k)_jm^2
    base = V.T @ base @ V
    base = (base + base.T) / 2
    pull = pencil.H @ (pencil.G / torch.linalg.vector_norm(pencil.G))
    y = _weights(base.diagonal(), (squares, S.diagonal(dim1=1, dim2=2)), pull, tau, r)
    Z = torch.einsum("k,kij->ij", pull, S) / y[:, None]
    flat = S.reshape(-1, n)  # rows (k, j): sum_k S_k Y^-1 S_k as one product
    X = (flat / y.repeat(n)[:, None]).T @ flat
    size = math.sqrt(float(squares.sum()))
    scale = float(torch.linalg.matrix_norm(base)) + r * size + 2 * w * float(torch.linalg.vector_norm(pencil.G))
    trace = float((base.diagonal().abs() + r * (y + X.diagonal() + tau**2 * (pull @ pull) / y)).sum())
    slack = 8 * n * gamma(4 * n + 64) * scale + 4 * gamma(n * n + 64) * trace + pencil.slack * (1 + eta)
    g2 = pencil.G2 * w * (1 + eta)
    return _Reduced(
        fixed=base + r / 2 * (torch.diag(y) + X) + g2 * torch.eye(n, dtype=X.dtype),
        linear=r / 2 * (Z + Z.T),
        square=r / 2 * float(pull @ pull) * torch.diag(1 / y),
        right=(
            pencil.lowest
            - 2 * eta * float(torch.linalg.vector_norm(pencil.G))
            - 2 * eta * r * float(torch.linalg.vector_norm(pull))
        ),
        slack=up(slack),
    )


def _multiplier(pencil: Pencil, tau: float) -> Tensor:
    r"""The vector b: :math:`N_0` block diagonal, its normal entry at most :math:`0.5\tau\|G\|`."""
    norm = float(torch.linalg.vector_norm(pencil.G))
    n = pencil.G / norm
    h = pencil.centre @ n
    along = float(n @ h)
    keep = min(along, 0.5 * tau * norm)  # what stays in the normal entry; b pays for the rest
    return (h - along * n) / norm + (along - keep) / (2 * norm) * n


def _rotated_slopes(pencil: Pencil, V: Tensor, b: Tensor) -> Tensor:
    r""":math:`V^T(\pm T_k - (He_k)b^T - b(He_k)^T)V` for all k, ``[n, n, n]``."""
    n = len(b)
    half = (pencil.slopes.reshape(-1, n) @ V).reshape(n, n, n)
    S = torch.matmul(V.T, half)
    HV, bV = pencil.H @ V, b @ V
    S.addcmul_(HV[:, :, None], bV[None, None, :], value=-2)  # its mirror image comes with the symmetric part
    return torch.add(S, S.mT, out=half).mul_(0.5)


def _weights(diagonal: Tensor, slopes: tuple[Tensor, Tensor], pull: Tensor, tau: float, radius: float) -> Tensor:
    r"""The diagonal of Y in the eigenbasis of the part without u: any positive numbers are sound.

    :math:`y_m = \sqrt{G_{mm}} + 0.7\,\mathrm{gap}_m/r`, plus 0.3 of the row norm where the row is
    larger than the gap, :math:`G_{jm} = \sum_k (S_k)_{jm}^2`. ``slopes`` holds G and the diagonals of the S_k.
    """
    squares, diagonals = slopes
    # G of S_k - tau (Hn)_k I: only the diagonal changes.
    shift = tau**2 * float(pull @ pull) - 2 * tau * (pull @ diagonals)
    own = (squares.diagonal() + shift).clamp_min(0).sqrt()
    rows = (squares.sum(1) + shift).clamp_min(0).sqrt()
    gap = diagonal.max() - diagonal
    y = own + 0.7 * gap / max(radius, TINY) + torch.where(radius * rows > gap, 0.3 * rows, 0.0)
    return y.clamp_min(1e-9 * float(rows.max()) + UNIT * float(diagonal.abs().max()) + TINY)


def _accepted(reduced: _Reduced, start: float) -> float:
    """Solve for the smallest tau by fixed-point steps on the largest eigenvalue, then let Cholesky decide."""
    if not (reduced.right > 0 and torch.isfinite(reduced.fixed).all() and torch.isfinite(reduced.linear).all()):
        return math.inf
    tau = start
    for _ in range(30):
        left = reduced.right * tau - float(torch.linalg.eigvalsh(reduced.matrix(tau))[0]) + reduced.slack
        following = max(left / reduced.right, 0.0)
        if not following < 1e3 * start:
            return math.inf
        if following <= tau * (1 + 1e-7):
            break
        tau = following
    for inflation in (1e-9, 1e-6, 1e-3, 1e-1):
        trial = up(tau * (1 + inflation))
        if _proven(reduced, trial):
            return trial
    return math.inf


def _proven(reduced: _Reduced, tau: float) -> bool:
    """Whether Cholesky proves the inequality at this tau."""
    if not reduced.right > 0:
        return False
    M = reduced.matrix(tau)
    # The tau that Y was chosen for may be smaller: charge the rounding of the tau^2 term at this one.
    grown = 8 * gamma(len(M) ** 2 + 64) * tau**2 * float(reduced.square.trace())
    return cholesky_accepts(M, reduced.slack + grown)
