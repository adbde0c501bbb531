"""A curvature penalty that training can descend."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.derivatives import require_finite
from curvature.errors import DegenerateLevelSetError
from curvature.level_set import MIN_GRADIENT


def curvature_penalty(
    outputs: Callable[[Tensor], Tensor],
    x: Float[Tensor, " b *shape"],
    *,
    generator: torch.Generator,
    samples: int = 1,
    min_gradient: float = MIN_GRADIENT,
) -> Float[Tensor, ""]:
    r"""Sum of squared principal curvatures, averaged over a batch; an unbiased estimate.

    :math:`\sum_i \kappa_i^2 = \|PHP\|_F^2/\|G\|^2 = E\,\|P H P v\|^2/\|G\|^2` for v of independent
    random signs (Hutchinson). The graph is kept, so that it can be added to a training loss.

    Args:
        outputs: One scalar a sample, ``[batch]``, each a function of its own sample only, such
            as ``lambda x: model(x)[range, y]`` in eval mode; twice differentiable.
        x: The points, ``[batch, *shape]``.
        generator: Source of the random directions.
        samples: Directions for each point.
        min_gradient: Smallest accepted gradient norm.

    Returns:
        A 0-d tensor in 1/length^2.

    Raises:
        ValueError: If ``x`` is not finite, ``samples`` < 1, or ``outputs`` gives another shape.
        DegenerateLevelSetError: If a gradient norm is below ``min_gradient``.

    Exactness: estimate, unbiased. Cost: one gradient and ``samples`` Hessian-vector products.
    """
    if samples < 1:
        raise ValueError(f"expected samples >= 1, got {samples}")
    require_finite(x)
    with torch.enable_grad():
        point = x if x.requires_grad else x.detach().requires_grad_(True)
        values = outputs(point)
        if values.shape != point.shape[:1]:
            raise ValueError(f"expected outputs of shape {tuple(point.shape[:1])}, got {tuple(values.shape)}")
        (G,) = torch.autograd.grad(values.sum(), point, create_graph=True)
        norms = torch.linalg.vector_norm(G.flatten(1), dim=1)
        if not bool((norms >= min_gradient).all()):  # written so that NaN is rejected too
            raise DegenerateLevelSetError(f"gradient norm is {norms.min().item():.2e}, need >= {min_gradient:.2e}")
        squares = [_squared_product(G, norms, point, generator) for _ in range(samples)]
    return torch.stack(squares).mean()


def _squared_product(G: Tensor, norms: Tensor, point: Tensor, generator: torch.Generator) -> Tensor:
    n = G.flatten(1) / norms[:, None]
    signs = torch.randint(2, n.shape, generator=generator, device=generator.device).to(n) * 2 - 1
    v = signs - (signs * n).sum(1, keepdim=True) * n
    # As grad_outputs, v is held fixed in the product, yet its own dependence on the weights stays in the graph.
    (Hv,) = torch.autograd.grad(G, point, grad_outputs=v.reshape(G.shape), create_graph=True)
    Hv = Hv.flatten(1)
    PHv = Hv - (Hv * n).sum(1, keepdim=True) * n
    return (PHv.square().sum(1) / norms.square()).mean()
