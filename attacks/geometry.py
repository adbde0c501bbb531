r"""The level set of a softened logit at one point: its curvatures, and how fast its normal turns.

To first order a step d turns the unit normal by :math:`PHd/\|G\|`: along the level set at most by the largest
principal curvature in magnitude times the length, in any direction by :math:`\|PH\|_2/\|G\|` times it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

import curvature
from attacks.soft_logit import SoftLogit
from curvature import DegenerateLevelSetError

DENSE = 1_024  # numbers in a point up to which the whole Hessian is formed
_SMALLEST_GRADIENT = 1e-12


@dataclass(frozen=True, kw_only=True)
class LocalGeometry:
    r"""Curvature at a point. Lengths are in the network's input space.

    Attributes:
        gradient_norm: :math:`\|G\|`.
        curvatures: Principal curvatures, ascending, 1/length: all n - 1, or those largest in magnitude.
        complete: Whether they are all; then they are exact up to rounding, else Ritz values, from inside.
        largest: The one largest in magnitude, signed.
        residual: Some principal curvature lies within this of ``largest``; 0 when complete.
        turn_rate: :math:`\|PH\|_2/\|G\|`; from below unless complete.
        hessian_norm: :math:`\|H\|_2`, or None when not complete.
        direction: Unit tangent vector of ``largest``, ``[n]``.
        turn_direction: Unit vector along which the normal turns fastest, ``[n]``.
        products: Hessian-vector products that it took.
    """

    gradient_norm: float
    curvatures: Float[Tensor, " m"]
    complete: bool
    largest: float
    residual: float
    turn_rate: float
    hessian_norm: float | None
    direction: Float[Tensor, " n"]
    turn_direction: Float[Tensor, " n"]
    products: int


def local_geometry(
    field: SoftLogit, x: Float[Tensor, " n"], *, count: int = 6, max_products: int = 40
) -> LocalGeometry:
    """Measure it: densely up to ``DENSE`` numbers, by Lanczos above.

    Args:
        field: The softened logit.
        x: A flat point.
        count: Curvatures to find by Lanczos.
        max_products: Hessian-vector products to find them with; as many again for the turn's rate.

    Raises:
        DegenerateLevelSetError: If the gradient is about zero.
        ValueError: If a product is not finite.

    Exactness: see ``LocalGeometry.complete``. Cost: a dense Hessian and two decompositions, or the products.
    """
    _, G = field.at(x[None])
    norm = float(torch.linalg.vector_norm(G))
    if not norm >= _SMALLEST_GRADIENT:
        raise DegenerateLevelSetError(
            f"expected a gradient of the explained logit whose norm is at least {_SMALLEST_GRADIENT:.0e}, got "
            f"{norm:.2e}; is beta so large that its slope underflows, or another class to be explained?"
        )
    if x.numel() <= DENSE:
        return _dense(field.hessian(x), G[0], norm)
    return _matrix_free(field, x, count, max_products)


def _dense(H: Tensor, G: Tensor, norm: float) -> LocalGeometry:
    if not torch.isfinite(H).all():
        raise ValueError("expected a finite Hessian, got NaN or infinity; is beta too large for the network's weights?")
    Q = curvature.tangent_frame(G)
    L = -(Q.T @ H @ Q) / norm
    curvatures, vectors = torch.linalg.eigh((L + L.T) / 2)
    top = int(curvatures.abs().argmax())
    n = G / norm
    singular = torch.linalg.svd(H - torch.outer(n, n @ H))
    return LocalGeometry(
        gradient_norm=norm,
        curvatures=curvatures,
        complete=True,
        largest=float(curvatures[top]),
        residual=0.0,
        turn_rate=float(singular.S[0]) / norm,
        hessian_norm=float(torch.linalg.matrix_norm(H, 2)),
        direction=Q @ vectors[:, top],
        turn_direction=singular.Vh[0],
        products=0,
    )


def _matrix_free(field: SoftLogit, x: Tensor, count: int, max_products: int) -> LocalGeometry:
    f = curvature.logit(field.module, field.target_class)
    point = x.reshape(field.shape)

    def product(v: Tensor) -> Tensor:
        return field.product(x[None], v[None])[0]

    found = curvature.extreme_curvatures(f, point, count, max_hvps=max_products, product=product)
    # Of P H H P, whose largest eigenvalue is ||PH||^2, Lanczos sees -(P H H P)/||G||: its most negative one.
    squared = curvature.extreme_curvatures(
        f, point, 1, which="smallest", max_hvps=max(2, max_products // 2), rtol=1e-2, start=found.directions[0],
        product=lambda v: product(product(v)),
    )  # fmt: skip
    turn = product(squared.directions[0])
    return LocalGeometry(
        gradient_norm=found.gradient_norm,
        curvatures=found.curvatures.sort().values,
        complete=False,
        largest=float(found.curvatures[0]),
        residual=float(found.residuals[0]),
        # The norm of PH is at least that of what it does to one direction, which the level set's own bounds too.
        turn_rate=max(abs(float(found.curvatures[0])), (-float(squared.curvatures[0]) / found.gradient_norm) ** 0.5),
        hessian_norm=None,
        direction=found.directions[0],
        turn_direction=turn / torch.linalg.vector_norm(turn),
        products=found.hvps + 2 * squared.hvps + 1,
    )
