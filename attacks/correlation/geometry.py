r"""What the geometry at an image says: curvature of the level set, sizes of Hessian and gradient, margin."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.feedforward import FeedForward

_NUMBERS = 2**20  # in the Hessians that are held at once


@dataclass(frozen=True)
class Geometry:
    r"""Numbers at every image, ``[B]``, and directions to start attacks along, ``[B, k, n]``.

    Attributes:
        columns: ``lambda_max`` (largest :math:`|\kappa_i|`, 1/length), ``ph_over_g`` (:math:`\|PH\|_2/\|G\|`,
            1/length), ``h`` (:math:`\|H\|_2`), ``h_over_g``, ``g`` (:math:`\|G\|`).
        principal: Principal directions of the curvatures largest in magnitude.
        singular: Leading right singular vectors of PH.
    """

    columns: dict[str, Tensor]
    principal: Tensor
    singular: Tensor


def dense_geometry(net: FeedForward, x: Float[Tensor, "B n"], *, k: int = 2) -> Geometry:
    """Exact up to rounding, from the dense Hessian; O(n^3) an image."""
    parts = [_dense(net, rows, k) for rows in x.split(max(1, _NUMBERS // x.shape[1] ** 2))]
    columns = {name: torch.cat([part.columns[name] for part in parts]) for name in parts[0].columns}
    return Geometry(
        columns, torch.cat([part.principal for part in parts]), torch.cat([part.singular for part in parts])
    )


def _dense(net: FeedForward, x: Tensor, k: int) -> Geometry:
    curves = net.curves(x)
    G, H = curves.gradient(), curves.hessian()
    norm = G.norm(dim=1)
    n = G / norm[:, None]
    Hn = (H @ n[..., None])[..., 0]
    shift = Hn - (n * Hn).sum(1, keepdim=True) * n / 2
    outer = n[:, :, None] * shift[:, None, :]
    curvatures, directions = torch.linalg.eigh(H - outer - outer.mT)
    PH = H - n[:, :, None] * Hn[:, None, :]
    squares, singular = torch.linalg.eigh(PH.mT @ PH)
    order = curvatures.abs().argsort(dim=1, descending=True)[:, :k]
    principal = directions.mT.gather(1, order[..., None].expand(-1, -1, x.shape[1]))
    size = torch.linalg.eigvalsh(H).abs().amax(1)
    columns = {
        "lambda_max": curvatures.abs().amax(1) / norm,
        "ph_over_g": squares[:, -1].clamp_min(0).sqrt() / norm,
        "h": size,
        "h_over_g": size / norm,
        "g": norm,
    }
    return Geometry(columns, principal, singular.mT.flip(1)[:, :k])
