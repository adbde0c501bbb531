r"""True upper bounds on norms, and the rounding model that all global rungs share.

**Model.** IEEE binary64, round to nearest, unit roundoff :math:`u = 2^{-53}`,
:math:`\gamma_k = ku/(1-ku)`. Covered: every rounding of this package, of matrix products in
any order of summation (also with fused multiply-add), and of a Cholesky factorisation
(Higham, *Accuracy and Stability*, 2nd ed., theorems 3.5 and 10.3; complex products cost at
most four times the constant). ``exp`` and ``log1p`` are trusted to 4 ulp, ``cos`` and ``sin`` to an
absolute :math:`4u`. Not covered: Strassen-like products, flushing of subnormals in
operands above :math:`10^{-290}`, and broken hardware.

**Largest eigenvalue.** For a Hermitian matrix G (computed, with
:math:`\|G_{exact}-G\|_F \le e`) let a floating Cholesky factorisation of
:math:`M = \mathrm{fl}(TI - G)` succeed. Then :math:`M + \Delta = R^*R` with
:math:`\|\Delta\|_2 \le \gamma'\,\mathrm{tr} M`, :math:`\gamma' = \gamma_{k+1}/(1-\gamma_{k+1})`, so

.. math:: \lambda_{max}(G_{exact}) \le T + \gamma'\,\mathrm{tr} M + u \max_i M_{ii} + e.

An eigensolver only proposes T; nothing is believed of it.

**Scalars** are exact rationals (``Fraction``): products of dozens of norms neither round, nor
overflow, nor underflow; the one rounding is outward, in ``round_up``.
"""

import math
from fractions import Fraction

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.errors import NoCertificateError

UNIT = 2.0**-53
TINY = 1e-290  # above every error that gradual underflow can make in a product of scaled numbers
_COMPLEX = 4  # real operations in a complex one
_TRIALS = 60


def gamma(k: int) -> float:
    r""":math:`\gamma_k = ku/(1-ku)`, rounded outward; the relative error of k roundings."""
    if k * UNIT > 0.01:
        raise NoCertificateError(
            f"expected fewer than 9e13 roundings in a row, got {k}; the matrix is too large to certify"
        )
    return k * UNIT / (1 - k * UNIT) * (1 + 4 * UNIT)


def round_up(value: Fraction) -> float:
    """The least float64 that is not below an exact rational.

    Raises:
        NoCertificateError: If it is above the largest float64.
    """
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if result < value:
        result = math.nextafter(result, math.inf)
    if not math.isfinite(result):
        raise NoCertificateError("the bound is above the largest float64 number; the weights or beta are too large")
    return result


def sqrt_up(value: Fraction) -> Fraction:
    r"""A rational just above :math:`\sqrt{q}` (64 bits), for an exact rational :math:`q \ge 0`."""
    if value == 0:
        return Fraction(0)
    shift = 64 - (value.numerator.bit_length() - value.denominator.bit_length()) // 2
    scaled = value * Fraction(4) ** shift
    return Fraction(math.isqrt(math.ceil(scaled)) + 1) / Fraction(2) ** shift


def spectral_norm_bound(A: Float[Tensor, "m n"], *, error: float = 0.0) -> float:
    r"""Upper bound on :math:`\|A\|_2`, tight to about :math:`k^2 u`, k the smaller side.

    Args:
        A: Any real matrix, float64.
        error: Bound on :math:`\|A_{exact} - A\|_F` when A itself was computed.

    Raises:
        NoCertificateError: If an entry is NaN or infinite.

    Exactness: upper bound. Cost: one Gram matrix, one eigenvalue problem, one Cholesky.
    """
    return batch_norm_bound(A[None], error=error)


def batch_norm_bound(A: Tensor, *, error: float = 0.0) -> float:
    r"""Upper bound on :math:`\max_i \|A_i\|_2` over a batch ``[b, m, n]``, real or complex."""
    if A.numel() == 0:
        return error
    scale = _scale(A)
    A = A / scale  # exact: a power of two
    if A.shape[-1] < A.shape[-2]:
        A = A.mH
    G = A @ A.mH
    G = (G + G.mH) / 2
    size = frobenius_norm_bound(A.flatten(1), rows=True).max().item()
    slack = gamma(_COMPLEX * (A.shape[-1] + 2)) * size**2 * (1 + 8 * UNIT)
    largest = _largest_eigenvalue_bound(G, slack)
    return math.sqrt(largest) * (1 + 4 * UNIT) * scale * (1 + 4 * UNIT) + error * (1 + 4 * UNIT) + TINY


def frobenius_norm_bound(A: Tensor, *, rows: bool = False) -> Tensor:
    r"""Upper bound on :math:`\|A\|_F`, 0-d, or with ``rows`` on each row's 2-norm, ``[m]``."""
    scale = _scale(A)
    B = (A / scale).abs()
    squares = B.square().sum(-1) if rows else B.square().sum()
    k = A.shape[-1] if rows else A.numel()
    # 2^-530: the root of what underflow takes from a sum of k squares is below sqrt(k) 2^-537.
    return ((squares.sqrt() * (1 + gamma(_COMPLEX * (k + 4))) + math.sqrt(k) * 2.0**-530) * scale) * (
        1 + 4 * UNIT
    ) + TINY


def product_bound(A: Tensor, v: Tensor) -> Tensor:
    """``A @ v`` for non-negative operands, rounded up; nothing cancels, so the error is relative."""
    return (A @ v) * (1 + gamma(A.shape[-1] + 3)) + TINY


def _largest_eigenvalue_bound(G: Tensor, slack: float) -> float:
    """The largest eigenvalue over a batch of computed Hermitian matrices, error ``slack`` included."""
    k = G.shape[-1]
    if k == 1:
        return (G.real.max().item() + slack) * (1 + 4 * UNIT) + TINY
    sizes = frobenius_norm_bound(G.flatten(1), rows=True)
    largest, eye = sizes.max().item(), torch.eye(k, dtype=G.dtype)
    T, margin = 0.0, 0.0
    for trial in range(_TRIALS):
        T = max(T, _proposal(G, sizes)) * (1 + 4 * k * UNIT * 2**trial) + TINY
        M = T * eye - G
        factor, info = torch.linalg.cholesky_ex(M)
        failed = (info != 0) | ~torch.isfinite(factor.real.sum((-1, -2)))
        diagonal = M.diagonal(dim1=-2, dim2=-1).real
        g = gamma(_COMPLEX * (k + 2))
        margin = max(margin, g / (1 - g) * diagonal.sum(-1).max().item() * (1 + g) + UNIT * diagonal.max().item())
        if not failed.any():
            return min((T + margin + slack) * (1 + 8 * UNIT) + TINY, (largest + slack) * (1 + 4 * UNIT))
        G, sizes = G[failed], sizes[failed]  # a larger T holds for those that passed
    return (largest + slack) * (1 + 4 * UNIT)  # the Frobenius norm, always true


def _proposal(G: Tensor, sizes: Tensor) -> float:
    """A guess at the largest eigenvalue of the batch, from its largest members."""
    count = max(4, 2**23 // G.shape[-1] ** 3)  # as many as cost about as much as the test itself
    members = sizes.topk(min(count, len(sizes))).indices
    guess: float = torch.linalg.eigvalsh(G[members]).max().item()
    return max(guess, 0.0)


def _scale(A: Tensor) -> float:
    """A power of two just above the largest entry, so that products of A / scale are harmless."""
    largest = A.abs().max().item() if A.numel() else 1.0
    if not math.isfinite(largest):
        raise NoCertificateError(
            "expected finite numbers, got NaN or infinity in a matrix; beta or the weights are too large"
        )
    return 2.0 ** min(math.frexp(largest)[1], 1000) if largest else 1.0
