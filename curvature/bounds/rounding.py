r"""Outward margins: what keeps a float64 bound a bound.

Three facts are used. A sum of products with at most k roundings on any path is wrong by at
most :math:`\gamma_k = ku/(1-ku)` times the same expression of absolute values (Higham,
Accuracy and Stability, 3.4). The pre-activations that float64 computes are wrong by a running
error bound, which ``preactivation_errors`` carries along. A floating Cholesky factorisation
that runs to completion proves its matrix positive semidefinite up to
:math:`\gamma_{n+1}/(1-\gamma_{n+1})` times the trace (Rump 2006).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.activations import softplus
from curvature.errors import NoCertificateError
from curvature.feedforward import FeedForward

UNIT = torch.finfo(torch.float64).eps / 2
TINY = 1e-140  # absolute margin for everything that may underflow: torch's norms lose squares, so numbers below 1e-154
_SCALES = (1e-15, 1e15)  # of beta and of every layer's largest weight: what underflows is not multiplied up to matter
RELATIVE = 1e-12  # covers exp, the product beta * z and z + xi for |beta z| up to the underflow of exp
_LANCZOS = 256  # rows from which a Lanczos process is cheaper than all eigenvalues


def gamma(k: int) -> float:
    r"""Higham's :math:`\gamma_k = ku/(1-ku)`, u = 2^-53, for k roundings on a path."""
    if not k * UNIT < 0.01:
        raise ValueError(
            f"expected at most 0.01/u roundings on a path, got {k}; the network is too large for float64 margins"
        )
    return k * UNIT / (1 - k * UNIT)


def up(value: float, relative: float = RELATIVE) -> float:
    """The number moved outward (towards plus infinity) by a relative and a tiny absolute margin."""
    return value + abs(value) * relative + TINY


def spectral_norm_bound(W: Float[Tensor, "m n"]) -> float:
    r"""Upper bound on :math:`\|W\|_2`: the SVD's largest value, moved outward.

    The backward error of the SVD is a small multiple of n u; the margin is 16 (m + n) u,
    relative to the Frobenius norm.

    Exactness: upper bound. Cost: O(mn min(m, n)).
    """
    if W.numel() == 0:
        return 0.0
    frobenius = float(torch.linalg.matrix_norm(W))
    if not math.isfinite(frobenius):
        return math.inf
    largest = float(torch.linalg.svdvals(W)[0])
    return min(largest + 16 * sum(W.shape) * UNIT * frobenius, up(frobenius)) + TINY


def largest_eigenvalue_bound(S: Float[Tensor, "n n"]) -> float:
    """Upper bound on the largest eigenvalue of a symmetric matrix; 0 for the empty matrix, inf for NaN.

    Exactness: upper bound, margin as in ``spectral_norm_bound``. Cost: O(n^3).
    """
    if S.numel() == 0:
        return 0.0
    frobenius = float(torch.linalg.matrix_norm(S))
    if not math.isfinite(frobenius):
        return math.inf
    return float(torch.linalg.eigvalsh(S)[-1]) + 32 * len(S) * UNIT * frobenius + TINY


def row_norm_bounds(A: Float[Tensor, "*batch m n"]) -> Float[Tensor, "*batch m"]:
    """Upper bounds on the Euclidean norms of the rows."""
    norms: Tensor = torch.linalg.vector_norm(A, dim=-1) * (1 + gamma(A.shape[-1] + 4)) + TINY
    return norms


def symmetric_norm_bounds(M: Float[Tensor, "k n n"], *, squarings: int = 3) -> Float[Tensor, " k"]:
    r"""Upper bounds on the spectral norms of symmetric matrices by Gram iteration.

    :math:`\|M\|_2 \le \|M^{2^s}\|_F^{2^{-s}}`, from above for every s; each squaring is scaled.

    Exactness: upper bound, above the norm by at most the factor :math:`n^{2^{-s-1}}`. Cost: s batched products.
    """
    scale = torch.zeros(len(M), dtype=M.dtype)
    power, other = M.clone(), torch.empty_like(M)  # two buffers: fresh pages cost as much as the products
    for _ in range(squarings):
        norm = torch.linalg.matrix_norm(power).clamp_min(TINY)
        power.div_(norm[:, None, None])
        power, other = torch.matmul(power, power, out=other), power
        scale = 2 * (scale + norm.log())
    log_norm = (scale + torch.linalg.matrix_norm(power).clamp_min(TINY).log()) / 2**squarings
    # Each squaring loses gamma_n of a matrix of Frobenius norm 1, relative to its own norm.
    margin = 64 * M.shape[-1] ** 1.5 * UNIT
    return torch.minimum(log_norm.exp() * (1 + margin), torch.linalg.matrix_norm(M) * (1 + margin)) + TINY


def cholesky_accepts(M: Float[Tensor, "n n"], slack: float) -> bool:
    r"""Whether a floating Cholesky proves that M - slack I is positive semidefinite.

    The factorisation is run on :math:`M - (\mathrm{slack} + c) I` with
    :math:`c \ge \frac{\gamma_{n+1}}{1-\gamma_{n+1}} \mathrm{tr}(M)` plus underflow and the
    rounding of the diagonal. False says nothing.

    Source: S. M. Rump, Verification of positive definiteness, BIT 46 (2006), Theorem 2.3.
    """
    n = len(M)
    diagonal = M.diagonal()
    if not (torch.isfinite(M).all() and (diagonal > 0).all() and math.isfinite(slack) and torch.equal(M, M.T)):
        return False
    g = gamma(n + 3)
    shift = (
        (2 * g / (1 - g)) * float(diagonal.sum()) + 4 * UNIT * (float(diagonal.max()) + abs(slack)) + n * TINY + slack
    )
    shifted = M.clone()
    shifted.diagonal().sub_(shift)
    _, info = torch.linalg.cholesky_ex(shifted)
    return int(info) == 0


def preactivation_errors(net: FeedForward, x: Float[Tensor, " n"]) -> list[Tensor]:
    r"""Bounds on the error of the float64 pre-activations at x, each ``[n_l]``.

    :math:`\epsilon_l = \gamma_{k+2}(|W_l||a| + |b_l|) + |W_l|\epsilon_{l-1}^a`,
    :math:`\epsilon^a = \epsilon_l + 8u(|a| + 1/\beta)`, as softplus has slope below 1;
    k is the largest number of nonzeros in a row of :math:`W_l`.
    """
    a, error, errors = x, torch.zeros_like(x), []
    for W, b in zip(net.weights, net.biases, strict=True):
        magnitude = W.abs()
        z = W @ a + b
        terms = int((W != 0).sum(1).max())  # adding a zero does not round
        own = gamma(terms + 2) * (magnitude @ a.abs() + b.abs())
        errors.append((own + magnitude @ error) * (1 + gamma(W.shape[1] + 8)) + TINY)
        a = softplus(z, net.beta)
        # A few ulps of log1p(exp), and what the threshold of softplus drops, at most e^-40 / beta.
        error = errors[-1] + 8 * UNIT * (a.abs() + 1 / net.beta)
    return errors


def relative_error(net: FeedForward, x: Float[Tensor, " n"]) -> float:
    r"""Relative error of derivatives computed at x, against the same sums of absolute values.

    :math:`\gamma_q + 4(L+1)\beta\max\epsilon_l`: q bounds the roundings on a path through the
    network; a pre-activation error :math:`\epsilon` changes s' and s'' by a relative
    :math:`\beta\epsilon` to first order, and there are at most L + 1 such factors.
    """
    for what, size in _sizes(net).items():
        if size and not _SCALES[0] <= size <= _SCALES[1]:
            raise NoCertificateError(
                f"{what} is {size:.1e}, need {_SCALES[0]:.0e} to {_SCALES[1]:.0e}: float64 might lose digits unseen; "
                "rescale the inputs or the output"
            )
    q = 8 * (sum(len(b) for b in net.biases) + len(x)) + 256
    drift = net.beta * max(float(error.max()) for error in preactivation_errors(net, x))
    if not drift < 1e-3:
        raise NoCertificateError(
            f"float64 cannot place the pre-activations: beta times their error is {drift:.1e}, need < 1e-3; lower beta"
        )
    return gamma(q) + 4 * (len(net.biases) + 2) * drift + 64 * RELATIVE


def _sizes(net: FeedForward) -> dict[str, float]:
    """Beta and the largest weight of every layer."""
    layers = {f"the largest weight of layer {i}": W for i, W in enumerate((*net.weights, net.head), 1)}
    return {"beta": net.beta} | {name: float(W.abs().max()) for name, W in layers.items()}


def gradient_with_error(net: FeedForward, x: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], float]:
    r"""The gradient at x and an upper bound on the norm of its rounding error.

    Raises:
        NoCertificateError: If the gradient underflows, or is not larger than its error.
    """
    curves = net.curves(x)
    G = curves.gradient()
    back = net.head.abs()
    for W, slope in zip(reversed(net.weights), reversed(curves.slopes), strict=True):
        back = W.abs().T @ (slope * back)
    error = up(2 * relative_error(net, x) * float(torch.linalg.vector_norm(back)))
    norm = float(torch.linalg.vector_norm(G))
    if not norm > max(error, 1e-140):  # NaN too; squares of smaller numbers underflow
        raise NoCertificateError(
            f"the gradient norm {norm:.2e} at x is not above {max(error, 1e-140):.1e}, what float64 resolves here"
        )
    return G, error


def positive_form_bound(S: Float[Tensor, "n n"]) -> float:
    r"""Upper bound on the largest eigenvalue of a symmetric positive semidefinite matrix, within about 1 %.

    A Lanczos value is raised until a Cholesky factorisation of tI - S accepts it; nothing else is believed of
    it. On small matrices, or where none is accepted, ``largest_eigenvalue_bound``.

    Exactness: upper bound. Cost: some products with a vector and one Cholesky.
    """
    if len(S) > _LANCZOS and bool(torch.isfinite(S).all()):
        guess = _largest_ritz_value(S)
        for factor in (1.002, 1.02, 1.2):
            M = -S
            M.diagonal().add_(guess * factor)
            if cholesky_accepts(M, 0.0):
                return up(guess * factor)
    return largest_eigenvalue_bound(S)


def _largest_ritz_value(S: Tensor) -> float:
    """The largest eigenvalue of S on a Krylov space of 24 dimensions, from below."""
    Q = [torch.full((len(S),), 1 / math.sqrt(len(S)), dtype=S.dtype)]
    for _ in range(24):
        v = S @ Q[-1]
        basis = torch.stack(Q)
        v = v - basis.T @ (basis @ v)
        norm = float(torch.linalg.vector_norm(v))
        if not norm > 1e-12 * float(S.diagonal().abs().max()):
            break
        v = v / norm
        Q.append(v - basis.T @ (basis @ v))
    V = torch.stack(Q)
    T = V @ S @ V.T
    return float(torch.linalg.eigvalsh((T + T.T) / 2)[-1])
