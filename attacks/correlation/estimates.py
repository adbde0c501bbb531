r"""Geometry where dense Hessians are too large: Lanczos with double backward, from inside the spectrum."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from attacks.correlation.fields import Field
from attacks.correlation.geometry import Geometry

_RTOL = 1e-3  # of each eigenvalue


class _Extreme(NamedTuple):
    """The k eigenvalues that are largest in magnitude, from inside, and unit vectors in rows."""

    values: Tensor
    vectors: Tensor


def estimated_geometry(field: Field, x: Float[Tensor, "B n"], *, k: int = 2) -> Geometry:
    """As ``dense_geometry``, by Lanczos: every norm is an estimate from below; some 100 products an image."""
    parts = [_image(field, row[None], k) for row in x]
    columns = {name: torch.cat([part.columns[name] for part in parts]) for name in parts[0].columns}
    return Geometry(
        columns, torch.cat([part.principal for part in parts]), torch.cat([part.singular for part in parts])
    )


def _image(field: Field, x: Tensor, k: int) -> Geometry:
    jet = field.second(x)
    norm = jet.gradient.norm()
    n = jet.gradient / norm

    def across(v: Tensor) -> Tensor:
        return v - (v * n).sum() * n

    curvatures = _largest(lambda v: across(jet.product(across(v))), x, k)
    sizes = _largest(jet.product, x, 1)
    squares = _largest(lambda v: jet.product(across(jet.product(v))), x, k)  # (PH)^T PH
    columns = {
        "lambda_max": curvatures.values[:1].abs() / norm,
        "ph_over_g": squares.values[:1].clamp_min(0).sqrt() / norm,
        "h": sizes.values[:1].abs(),
        "h_over_g": sizes.values[:1].abs() / norm,
        "g": norm[None],
    }
    return Geometry(columns, curvatures.vectors[None], squares.vectors[None])


def _largest(operator: Callable[[Tensor], Tensor], x: Tensor, k: int) -> _Extreme:
    n = x.shape[1]

    def apply(v: np.ndarray) -> np.ndarray:
        return operator(torch.from_numpy(np.ascontiguousarray(v)).reshape(1, n).to(x)).double().flatten().numpy()

    matrix = LinearOperator((n, n), matvec=apply, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(n)
    try:
        values, vectors = eigsh(matrix, k, which="LM", v0=start, tol=_RTOL, ncv=min(n, 20))
    except ArpackNoConvergence as error:
        if len(error.eigenvalues) < k:
            raise ValueError(
                f"expected {k} eigenvalues of a Hessian with {n} inputs, Lanczos found {len(error.eigenvalues)}"
            ) from error
        values, vectors = error.eigenvalues, error.eigenvectors
    order = np.argsort(-np.abs(values))
    return _Extreme(torch.from_numpy(values[order].copy()), torch.from_numpy(vectors.T[order].copy()))
