"""Newton's method back to a level set, for one point or many at once."""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad_and_value, vmap

from curvature.derivatives import require_finite
from curvature.errors import DegenerateLevelSetError, NotConvergedError
from curvature.level_set import MIN_GRADIENT
from curvature.networks import ScalarField

_HALVINGS = 40  # of one Newton step, before the field is declared too rough to follow


def project_to_level_set(
    f: ScalarField,
    x: Float[Tensor, "*shape"],
    level: float | Float[Tensor, ""],
    *,
    tolerance: float | None = None,
    max_steps: int = 50,
) -> Float[Tensor, "*shape"]:
    r"""Move ``x`` along the gradient until ``f`` equals ``level`` to rounding.

    Newton's method :math:`x \leftarrow x - (f(x) - level)\,G/\|G\|^2`, with the step halved
    until :math:`|f - level|` falls. The result is near the closest point of the level set,
    up to second order in the distance, not the closest point itself.

    Args:
        f: Differentiable scalar field.
        x: Start.
        level: Wanted value, such as ``f(p)``.
        tolerance: Accepted ``|f - level|``; default four roundings of the level and of x:
            ``4 eps (|level| + ||G|| ||x||)``.
        max_steps: Newton steps before giving up.

    Returns:
        A new tensor of the shape of ``x``, outside of any graph.

    Raises:
        ValueError: If ``x`` or ``level`` holds NaN or infinity.
        DegenerateLevelSetError: If a gradient norm on the way is below 1e-12.
        NotConvergedError: If the tolerance is not reached.

    Exactness: ``|f - level|`` at rounding. Cost: a gradient a step, commonly 2 to 5.
    """
    require_finite(x)
    if not math.isfinite(float(level)):
        raise ValueError(f"expected a finite level, got {float(level)}")
    return project_rows(f, x.detach()[None], float(level), tolerance=tolerance, max_steps=max_steps)[0]


def project_rows(
    f: ScalarField, points: Tensor, level: float, *, tolerance: float | None = None, max_steps: int = 50
) -> Tensor:
    """Newton's method for every row of ``[k, *shape]`` at once, each with its own step size."""
    eps = torch.finfo(points.dtype).eps
    x = points
    values, G = values_and_gradients(f, x)
    damping = torch.ones_like(values)
    for step in range(max_steps + _HALVINGS):
        gap, norm = values - level, row_norms(G)
        accepted = (
            4 * eps * (abs(level) + norm * row_norms(x)) if tolerance is None else torch.full_like(gap, tolerance)
        )
        todo = ~(gap.abs() <= accepted)
        if not todo.any():
            return x
        if not (norm[todo] >= MIN_GRADIENT).all():  # written so that NaN is rejected too
            raise DegenerateLevelSetError(
                f"gradient norm is {norm[todo].min():.2e} on the way to the level set, need >= {MIN_GRADIENT:.2e}"
            )
        moved = x - rowwise(torch.where(todo, damping * gap / norm**2, 0.0), x) * G
        new_values, new_G = values_and_gradients(f, moved)
        better = (new_values - level).abs() < gap.abs()
        x, values = torch.where(rowwise(better, x), moved, x), torch.where(better, new_values, values)
        G = torch.where(rowwise(better, x), new_G, G)
        damping = torch.where(better, 1.0, damping / 2)
        if step >= max_steps or damping.min() < 2.0**-_HALVINGS:
            break
    raise NotConvergedError(
        f"|f - level| is {(values - level).abs().max():.2e} after Newton's method, need {accepted.min():.2e}; "
        "start closer, or pass a larger tolerance"
    )


def values_and_gradients(f: ScalarField, points: Tensor) -> tuple[Tensor, Tensor]:
    """Values ``[k]`` and gradients ``[k, *shape]``; one point needs no vmap, which some fields refuse."""
    evaluate: Callable[[Tensor], Any] = grad_and_value(f)
    if len(points) == 1:
        slope, value = evaluate(points[0])
        return value[None].detach(), slope[None].detach()
    slopes, values = vmap(evaluate)(points)
    return values.detach(), slopes.detach()


def row_norms(rows: Tensor) -> Tensor:
    """Euclidean norm of every row of ``[k, *shape]``, flattened."""
    return torch.linalg.vector_norm(rows.flatten(1), dim=1)


def rowwise(scale: Tensor, like: Tensor) -> Tensor:
    """Numbers ``[k]`` in a shape that broadcasts against ``[k, *shape]``."""
    return scale.reshape(-1, *[1] * (like.ndim - 1))


def tangential(vectors: Tensor, G: Tensor) -> Tensor:
    """Rows without their part along the rows of G."""
    n = G / rowwise(row_norms(G), G)
    return vectors - rowwise((vectors * n).flatten(1).sum(1), n) * n
