r"""Extreme principal curvatures without a dense Hessian, for any n.

Lanczos on the tangent space: the operator :math:`v \mapsto -P H P v / \|G\|` needs one
Hessian-vector product a step. Full reorthogonalisation keeps the Ritz values free of
ghosts. The residual :math:`\|Av - \kappa v\|` says how good each one is: some principal
curvature lies within it, up to the rounding of the products.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from curvature.derivatives import Order, gradient, hvp, require_finite
from curvature.errors import DegenerateLevelSetError
from curvature.feedforward import FeedForward
from curvature.level_set import MIN_GRADIENT
from curvature.networks import ScalarField

_Vector = NDArray[np.float64]
Which = Literal["magnitude", "largest", "smallest"]


@dataclass(frozen=True)
class ExtremeCurvatures:
    """Curvatures found by Lanczos, an estimate from inside the spectrum.

    Attributes:
        curvatures: ``[k]`` in 1/length, ordered as asked for.
        directions: Unit tangent vectors in rows, ``[k, n]``.
        residuals: ``[k]``, the norm of ``A v - kappa v``, in the curvatures' units; measured
            with a further product each when ``verify`` is set, else Lanczos' own.
        hvps: Number of Hessian-vector products.
        converged: Whether every residual is within ``rtol`` times the largest curvature.
        gradient_norm: ``||grad f||`` at the point.
    """

    curvatures: Tensor
    directions: Tensor
    residuals: Tensor
    hvps: int
    converged: bool
    gradient_norm: float


def extreme_curvatures(  # noqa: PLR0913
    f: ScalarField,
    x: Float[Tensor, "*shape"],
    k: int = 1,
    *,
    which: Which = "magnitude",
    rtol: float = 1e-3,
    max_hvps: int = 200,
    order: Order = "reverse-over-reverse",
    start: Float[Tensor, " n"] | None = None,
    generator: torch.Generator | None = None,
    product: Callable[[Tensor], Tensor] | None = None,
    verify: bool = False,
) -> ExtremeCurvatures:
    r"""The ``k`` most extreme principal curvatures of the level set through ``x``.

    Args:
        f: Twice differentiable scalar field; a ``FeedForward`` gives its gradient and products in closed form.
        x: One point with ``n >= 2`` numbers.
        k: How many; at most ``n - 1``.
        which: Largest in magnitude, largest or smallest algebraic.
        rtol: Accepted error relative to the largest magnitude found. An eigenvalue's error is at most
            its residual, and about the square of it over the gap to the others; both are used.
        max_hvps: Budget; ``converged`` tells whether it sufficed.
        order: Autodiff order of the products.
        start: First direction, for warm starts; random by default.
        generator: Source of the random start; a fixed seed when None.
        product: Hessian-vector product to use in the place of autodiff, on flat vectors.
        verify: Measure the residuals with ``k`` further products.

    Raises:
        DegenerateLevelSetError: If the gradient is about zero.
        ValueError: If ``k``, ``which`` or ``max_hvps`` is out of range, or a product is not finite.

    Exactness: estimate from inside the spectrum. Cost: ``hvps`` products, one gradient, ``hvps * n`` memory.
    """
    n = x.numel()
    if not 1 <= k <= n - 1 or which not in get_args(Which) or max_hvps < k:
        raise ValueError(
            f"expected 1 <= k <= {n - 1}, which among {get_args(Which)}, max_hvps >= k; got {k}, {which!r}, {max_hvps}"
        )
    G, multiply = _derivatives(f, x, order)
    norm = torch.linalg.vector_norm(G)
    if not norm >= MIN_GRADIENT:
        raise DegenerateLevelSetError(
            f"gradient norm is {norm:.2e}, need >= {MIN_GRADIENT:.0e}; is x a critical point?"
        )
    normal = G / norm
    multiply = product or multiply

    def operator(v: Tensor) -> Tensor:
        return multiply(v) / -norm  # Lanczos takes the normal part out with the rest of its basis

    first = (
        start if start is not None else torch.randn(n, generator=generator or _generator(), dtype=x.dtype).to(x.device)
    )
    values, vectors, residuals, hvps, converged = _lanczos(
        operator, normal, first.to(x.dtype), (k, which, rtol, max_hvps)
    )
    if verify:
        products = torch.stack([operator(v) for v in vectors])
        products = products - (products @ normal)[:, None] * normal
        residuals = torch.linalg.vector_norm(products - values[:, None] * vectors, dim=1)
        hvps += k
    return ExtremeCurvatures(values, vectors, residuals, hvps, converged, float(norm))


def _derivatives(f: ScalarField, x: Tensor, order: Order) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The flat gradient and the product with the Hessian on flat vectors."""
    if isinstance(f, FeedForward):
        require_finite(x)
        curves = f.curves(x.flatten())
        return curves.gradient(), curves.hvp
    return gradient(f, x).flatten(), lambda v: hvp(f, x, v.reshape(x.shape), order=order).flatten()


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _lanczos(
    operator: Callable[[Tensor], Tensor], normal: Tensor, first: Tensor, plan: tuple[int, Which, float, int]
) -> tuple[Tensor, Tensor, Tensor, int, bool]:
    """Lanczos with full reorthogonalisation against the basis and the normal."""
    k, which, rtol, max_steps = plan
    steps = min(max_steps, normal.numel() - 1)
    basis = torch.empty(steps + 1, normal.numel(), dtype=normal.dtype, device=normal.device)
    basis[0] = normal
    basis[1] = _orthonormal(first, basis[:1])
    fewest = min(max(k + 2, 4), steps)
    T = np.zeros((steps, steps))  # small: numpy spends a tenth of the time on it
    restarts = torch.Generator().manual_seed(1)  # its numbers differ from those of the first direction
    for j in range(steps):
        w, beta, T[j, j] = _remainder(operator(basis[j + 1]), basis[: j + 2])
        if not (math.isfinite(beta) and math.isfinite(T[j, j])):
            raise ValueError(
                "expected a finite Hessian-vector product, got NaN or infinity; is beta too large for this dtype?"
            )
        if j + 1 >= fewest:
            values, coefficients, residuals, gap = _ritz(T[: j + 1, : j + 1], beta, min(k, j + 1), which)
            error = np.minimum(residuals, residuals**2 / np.maximum(gap, 1e-300))
            done = bool((error <= rtol * np.abs(values).max()).all())
            if done or j + 1 == steps:
                vectors = basis.new_tensor(coefficients.T) @ basis[1 : j + 2]
                complete = done or j + 1 == normal.numel() - 1
                return normal.new_tensor(values), vectors, normal.new_tensor(residuals), j + 1, complete
        scale = float(np.abs(T[: j + 1, : j + 1]).max())
        if beta <= 8 * torch.finfo(normal.dtype).eps * max(scale, 1e-300):
            # The Krylov space is exhausted: go on with a fresh direction, decoupled from it.
            fresh = torch.randn(normal.numel(), generator=restarts, dtype=normal.dtype).to(normal.device)
            basis[j + 2] = _orthonormal(fresh, basis[: j + 2])
        else:
            basis[j + 2] = w / beta
            T[j, j + 1] = T[j + 1, j] = beta
    raise AssertionError("unreachable: the last step returns")


def _remainder(w: Tensor, basis: Tensor) -> tuple[Tensor, float, float]:
    """The part of w that is orthogonal to the basis, its length, and w's component along the last basis vector."""
    components = basis @ w
    w = torch.addmv(w, basis.T, components, alpha=-1)
    w = torch.addmv(w, basis.T, basis @ w, alpha=-1)  # twice is enough (Kahan)
    return w, float(torch.linalg.vector_norm(w)), float(components[-1])


def _orthonormal(v: Tensor, basis: Tensor) -> Tensor:
    w, length, _ = _remainder(v, basis)
    if not length > 0:
        raise ValueError("expected a start direction with a part in the tangent space, got none; leave start=None")
    return w / length


def _ritz(T: _Vector, beta: float, k: int, which: Which) -> tuple[_Vector, _Vector, _Vector, _Vector]:
    """The wanted Ritz values, their coefficients, residuals, and gaps to the other Ritz values."""
    values, vectors = np.linalg.eigh(T)
    key = {"magnitude": -np.abs(values), "largest": -values, "smallest": values}[which]
    wanted = np.argsort(key, kind="stable")[:k]
    residuals = np.abs(beta * vectors[-1, wanted])
    distance = np.abs(values[wanted][:, None] - values[None, :])
    distance[:, wanted] = np.inf
    return values[wanted], vectors[:, wanted], residuals, distance.min(1) - residuals
