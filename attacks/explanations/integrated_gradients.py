r"""Integrated gradients of the softmax score from a zero baseline.

:math:`r = x \odot \frac1m \sum_{k=1}^m \nabla s_c(\tfrac km x)`, the right Riemann sum. The
:math:`m` gradients are computed a few at a time; differentiating r recomputes each of them
together with one Hessian-vector product, so memory is that of one group of steps, and the
result does not depend on the size of the groups beyond rounding.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import forward_ad

from attacks.explanations.chosen import chosen
from attacks.networks import Network
from curvature.derivatives import hvp_order

STEPS = 30  # reference implementation


def integrated_gradients(
    network: Network,
    x: Float[Tensor, "b c h w"],
    target_class: Int[Tensor, " b"],
    *,
    steps: int = STEPS,
    chunk: int | None = 1,
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b k"]]:
    """Integrated gradients of the class's softmax score, and the logits.

    Args:
        network: The network.
        x: Inputs ``[B, C, H, W]``.
        target_class: ``[B]``.
        steps: Points on the way from zero to x.
        chunk: Points in one pass; None holds the graph of all of them, which is faster and takes ``steps``
            times the memory.

    Raises:
        ValueError: If ``steps`` or ``chunk`` is not positive.

    Source: arXiv 1703.01365; the softmax, the baseline and the 30 steps are the reference implementation's.
    """
    if steps < 1 or (chunk is not None and chunk < 1):
        raise ValueError(f"expected steps >= 1 and chunk >= 1 or None, got {steps} and {chunk}")
    if chunk is None and x.requires_grad:
        return _held(network.module, x, target_class, steps)
    r, logits = _Recomputed.apply(x, network.module, target_class, steps, chunk or 1)
    return r, logits


def _held(module: nn.Module, x: Tensor, classes: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    total = torch.zeros_like(x)
    for k in range(1, steps + 1):
        point = x * (k / steps)
        logits = module(point)
        total = total + torch.autograd.grad(_score(logits, classes), point, create_graph=True)[0]
    return x * total / steps, logits


def _score(logits: Tensor, classes: Tensor) -> Tensor:
    return chosen(logits.softmax(1), classes).sum()


def _points(x: Tensor, classes: Tensor, steps: int, chunk: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Groups of points on the way as one batch, their fractions ``[chunk, 1, 1, 1, 1]``, their classes; x is last."""
    fractions = torch.arange(1, steps + 1, dtype=x.dtype, device=x.device) / steps
    for part in fractions.split(chunk):
        shaped = part[:, None, None, None, None]
        yield (x[None] * shaped).flatten(0, 1), shaped, classes.repeat(len(part))


class _Recomputed(torch.autograd.Function):
    """The map and the logits forwards; backwards the groups once more, with a product each."""

    @staticmethod
    def forward(  # noqa: PLR0913 - autograd's own form
        ctx: Any, x: Tensor, module: nn.Module, classes: Tensor, steps: int, chunk: int
    ) -> tuple[Tensor, Tensor]:
        total = torch.zeros_like(x)
        with torch.enable_grad():
            for points, _, repeated in _points(x.detach(), classes, steps, chunk):
                points.requires_grad_(True)
                logits = module(points)
                (grads,) = torch.autograd.grad(_score(logits, repeated), points)
                total += grads.unflatten(0, (-1, len(x))).sum(0)
        mean = total / steps
        ctx.module, ctx.classes, ctx.steps, ctx.chunk = module, classes, steps, chunk
        ctx.save_for_backward(x, mean)
        return x * mean, logits[-len(x) :].detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, map_grad: Tensor, logits_grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        x, mean = ctx.saved_tensors
        result = map_grad * mean
        for points, fractions, classes in _points(x.detach(), ctx.classes, ctx.steps, ctx.chunk):
            v = (x * map_grad).repeat(len(fractions), 1, 1, 1) / ctx.steps
            weights = torch.zeros(len(points), logits_grad.shape[1], dtype=x.dtype, device=x.device)
            if float(fractions[-1]) == 1.0:
                weights[-len(x) :] = logits_grad
            product = _product(ctx.module, points, (v, weights), classes)
            result = result + (product.unflatten(0, (-1, len(x))) * fractions).sum(0)
        return result, None, None, None, None


def _product(module: nn.Module, points: Tensor, cotangents: tuple[Tensor, Tensor], classes: Tensor) -> Tensor:
    """Derivative of ``<v, gradient of the score> + <w, logits>``, by the network's cheaper autodiff order."""
    v, w = cotangents
    points = points.detach().requires_grad_(True)
    with torch.enable_grad():
        if hvp_order(module) == "reverse-over-forward":
            with forward_ad.dual_level():
                dual = module(forward_ad.make_dual(points, v.contiguous()))
                logits, slopes = forward_ad.unpack_dual(dual)
                # The softmax's own forward mode overwrites what its backward pass needs.
                share = logits.softmax(1)
                score, slope = chosen(share, classes), chosen(slopes, classes)
                scalar = (score * (slope - (share * slopes).sum(1))).sum() + (logits * w).sum()
            return torch.autograd.grad(scalar, points)[0]  # outside of the level: in it, tangents would come along
        logits = module(points)
        (grads,) = torch.autograd.grad(_score(logits, classes), points, create_graph=True)
        return torch.autograd.grad((grads * v).sum() + (logits * w).sum(), points)[0]
