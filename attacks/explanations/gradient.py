r"""The gradient of one logit, differentiable once more by the cheapest autodiff order.

The gradient of a loss on the map is one Hessian-vector product :math:`H v`, where v is the
loss gradient with respect to the map; the gradient of a loss on the output shares the
pass. Double backward leaves that to autograd. Reverse-over-forward recomputes: a forward
pass with the tangent v, whose class output is :math:`\langle\nabla f, v\rangle`, then one
backward pass; depthwise convolutions are several times faster this way.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import forward_ad

from attacks.explanations.chosen import chosen
from attacks.networks import Network
from curvature.derivatives import hvp_order


def gradient(
    network: Network, x: Float[Tensor, "b c h w"], target_class: Int[Tensor, " b"]
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b k"]]:
    """The gradient of the logit of each sample's class, and the logits.

    Source: arXiv 1906.07983, main text, section 2 (gradient explanation).
    """
    if not x.requires_grad:
        point = x.detach().requires_grad_(True)
        with torch.enable_grad():
            logits = network.module(point)
            (r,) = torch.autograd.grad(chosen(logits, target_class).sum(), point)
        return r, logits.detach()
    if hvp_order(network.module) == "reverse-over-forward":
        result: tuple[Tensor, Tensor] = _ReverseOverForward.apply(x, network.module, target_class)
        return result
    logits = network.module(x)
    (r,) = torch.autograd.grad(chosen(logits, target_class).sum(), x, create_graph=True)
    return r, logits


class _ReverseOverForward(torch.autograd.Function):
    """Gradient and logits forwards; one joint second-order product backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, module: nn.Module, target_class: Tensor) -> tuple[Tensor, Tensor]:
        ctx.module, ctx.target_class = module, target_class
        ctx.save_for_backward(x)
        with torch.enable_grad():
            point = x.detach().requires_grad_(True)
            logits = module(point)
            (r,) = torch.autograd.grad(chosen(logits, target_class).sum(), point)
        return r, logits.detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, map_grad: Tensor, logits_grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        point = x.detach().requires_grad_(True)
        with torch.enable_grad(), forward_ad.dual_level():
            dual = ctx.module(forward_ad.make_dual(point, map_grad.contiguous()))
            logits, slopes = forward_ad.unpack_dual(dual)
            scalar = chosen(slopes, ctx.target_class).sum() + (logits * logits_grad).sum()
        # After the dual level has ended: within it the backward pass would carry tangents along, for nothing.
        (product,) = torch.autograd.grad(scalar, point)
        return product, None, None
