r"""Normals, second fundamental form and curvatures of level sets, dense, for small n.

Signs: the second fundamental form is :math:`L(u,v) = -u^T H v / \|G\|` on the tangent
space, so that for :math:`f(x) = \|x\|^2` every principal curvature is :math:`-1/r`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.derivatives import gradient, hessian
from curvature.errors import DegenerateLevelSetError
from curvature.networks import ScalarField

MIN_GRADIENT = 1e-12  # a smaller gradient gives no normal that float64 can hold


class PrincipalDirections(NamedTuple):
    """Principal curvatures ``[n-1]``, ascending, and unit directions ``[n-1, n]`` in rows."""

    curvatures: Tensor
    directions: Tensor


def unit_normal(
    f: ScalarField, x: Float[Tensor, "*shape"], *, min_gradient: float = MIN_GRADIENT
) -> Float[Tensor, " n"]:
    r"""The unit normal :math:`n = \nabla f / \|\nabla f\|` of the level set through ``x``.

    Returns:
        Shape ``[n]``, pointing to larger values of ``f``.

    Raises:
        DegenerateLevelSetError: If the gradient norm is below ``min_gradient``.
        ValueError: If ``x`` has fewer than two numbers, NaN or infinity.

    Exactness: exact up to rounding. Cost: one backward pass.
    """
    G = _checked_gradient(f, x, min_gradient)
    return G / torch.linalg.vector_norm(G)


def tangent_frame(normal: Float[Tensor, " n"]) -> Float[Tensor, "n n-1"]:
    r"""An orthonormal basis of the tangent space in columns, ``[n, n-1]``.

    Columns 1: of the Householder reflection :math:`I - 2uu^T/u^Tu`, :math:`u = n \pm e_0`, that
    takes the normal to an axis; the sign avoids cancellation. torch's full QR is the same frame
    up to signs, and is not differentiable.

    Args:
        normal: Nonzero, of any length.
    """
    n = normal / torch.linalg.vector_norm(normal)
    first = torch.zeros_like(n)
    first[0] = 1.0
    u = n + torch.where(n[0] < 0, -1.0, 1.0) * first
    return (torch.eye(len(n), dtype=n.dtype, device=n.device) - 2 / (u @ u) * torch.outer(u, u))[:, 1:]


def second_fundamental_form(
    f: ScalarField,
    x: Float[Tensor, "*shape"],
    *,
    frame: Float[Tensor, "n m"] | None = None,
    min_gradient: float = MIN_GRADIENT,
) -> Float[Tensor, "m m"]:
    r"""The matrix :math:`L(e_i, e_j) = -e_i^T H e_j / \|G\|` in a tangent frame.

    Args:
        f: Twice differentiable scalar field.
        x: One point with ``n >= 2`` numbers.
        frame: Tangent vectors in columns, orthonormal or not; default ``tangent_frame``.
        min_gradient: Smallest accepted gradient norm.

    Raises:
        DegenerateLevelSetError: If the gradient norm is below ``min_gradient``.

    Exactness: exact up to rounding. Cost: one dense Hessian.
    Source: arXiv 1906.07983, supplement, eq. 11-13; there "a basis", which eq. 14 needs orthonormal.
    """
    G = _checked_gradient(f, x, min_gradient)
    Q = tangent_frame(G) if frame is None else frame
    L = -(Q.T @ hessian(f, x) @ Q) / torch.linalg.vector_norm(G)
    return (L + L.T) / 2


def shape_operator(
    f: ScalarField, x: Float[Tensor, "*shape"], *, min_gradient: float = MIN_GRADIENT
) -> Float[Tensor, "n n"]:
    r"""The shape operator :math:`-P H P/\|G\|` as a matrix on the whole space, ``[n, n]``.

    It maps tangent vectors to tangent vectors and the normal to zero; its other
    eigenvalues are the principal curvatures.

    Raises:
        DegenerateLevelSetError: If the gradient norm is below ``min_gradient``.
    """
    G = _checked_gradient(f, x, min_gradient)
    n = G / torch.linalg.vector_norm(G)
    H = hessian(f, x)
    Hn = H @ n
    PHP = H - torch.outer(n, Hn) - torch.outer(Hn, n) + (n @ Hn) * torch.outer(n, n)
    return -(PHP + PHP.T) / (2 * torch.linalg.vector_norm(G))


def principal_curvatures(
    f: ScalarField, x: Float[Tensor, "*shape"], *, min_gradient: float = MIN_GRADIENT
) -> Float[Tensor, " m"]:
    r"""Principal curvatures of the level set of ``f`` through ``x``, ascending, ``[n-1]``.

    Eigenvalues of the second fundamental form in an orthonormal tangent frame, in units of
    1/length. Differentiable where they are simple.

    Raises:
        DegenerateLevelSetError: If the gradient norm is below ``min_gradient``.

    Exactness: exact up to rounding. Cost: one dense Hessian, O(n^3).
    Source: arXiv 1906.07983, supplement, eq. 13-14.
    """
    return torch.linalg.eigvalsh(second_fundamental_form(f, x, min_gradient=min_gradient))


def principal_directions(
    f: ScalarField, x: Float[Tensor, "*shape"], *, min_gradient: float = MIN_GRADIENT
) -> PrincipalDirections:
    """Principal curvatures with their unit tangent directions, one a row.

    Raises:
        DegenerateLevelSetError: If the gradient norm is below ``min_gradient``.
    """
    Q = tangent_frame(unit_normal(f, x, min_gradient=min_gradient))
    curvatures, vectors = torch.linalg.eigh(second_fundamental_form(f, x, frame=Q, min_gradient=min_gradient))
    return PrincipalDirections(curvatures, (Q @ vectors).T)


def mean_curvature(
    f: ScalarField, x: Float[Tensor, "*shape"], *, min_gradient: float = MIN_GRADIENT
) -> Float[Tensor, ""]:
    """The mean of the principal curvatures, in 1/length; a trace, so no eigenvalues are needed."""
    L = second_fundamental_form(f, x, min_gradient=min_gradient)
    return L.diagonal().mean()


def gaussian_curvature(
    f: ScalarField, x: Float[Tensor, "*shape"], *, min_gradient: float = MIN_GRADIENT
) -> Float[Tensor, ""]:
    """The product of the principal curvatures (Gauss-Kronecker), in 1/length^(n-1)."""
    return torch.linalg.det(second_fundamental_form(f, x, min_gradient=min_gradient))


def _checked_gradient(f: ScalarField, x: Tensor, min_gradient: float) -> Tensor:
    if x.numel() < 2:
        raise ValueError(
            f"expected a point with at least two numbers, got shape {tuple(x.shape)}; "
            "a level set in R^1 has no normal directions"
        )
    G = gradient(f, x).flatten()
    norm = torch.linalg.vector_norm(G)
    if not norm >= min_gradient:  # written so that NaN is rejected too
        raise DegenerateLevelSetError(
            f"gradient norm is {norm:.2e}, need >= {min_gradient:.2e}; "
            "is x a critical point, or beta so large that the slope underflows?"
        )
    return G
