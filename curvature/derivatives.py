r"""Gradients, Hessian-vector products and Hessians of scalar fields.

Three autodiff orders give the same product :math:`Hv` at different prices. Double
backward is the cheapest for ordinary convolutions; for depthwise convolutions its second
pass is slow and reverse-over-forward wins. ``hvp_order`` holds the rule.
"""

import time
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import grad, jvp

from curvature.networks import ScalarField

Order = Literal["reverse-over-reverse", "reverse-over-forward", "forward-over-reverse"]
ORDERS: tuple[Order, ...] = get_args(Order)


def gradient(f: ScalarField, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The gradient of ``f`` at the point ``x``, of its shape.

    Stays in the graph when ``x`` requires grad or a functorch transform is active.

    Raises:
        ValueError: If ``x`` holds NaN or infinity.

    Exactness: exact up to rounding. Cost: one backward pass.
    """
    require_finite(x)
    result: Tensor = grad(f)(x)
    return result


def hvp(
    f: ScalarField, x: Float[Tensor, "*shape"], v: Float[Tensor, "*shape"], *, order: Order = "reverse-over-reverse"
) -> Float[Tensor, "*shape"]:
    r"""The Hessian-vector product :math:`\nabla^2 f(x)\,v`, of the shape of ``x``.

    Args:
        f: Twice differentiable scalar field.
        x: One point.
        v: The direction, of the shape of ``x``.
        order: The autodiff order; ``hvp_order(model)`` gives the rule's choice and
            ``fastest_order(f, x)`` measures.

    Raises:
        ValueError: If the shapes differ, a number is not finite, or the order is unknown.

    Exactness: exact up to rounding. Cost: 2 to 4 gradients (8 for double backward through
    depthwise convolutions).
    """
    if v.shape != x.shape:
        raise ValueError(f"expected a direction of the point's shape {tuple(x.shape)}, got {tuple(v.shape)}")
    require_finite(x)
    require_finite(v)
    if order == "reverse-over-reverse":
        return _reverse_over_reverse(f, x, v)
    if order == "reverse-over-forward":
        return _reverse_over_forward(f, x, v)
    if order == "forward-over-reverse":
        result: Tensor = jvp(grad(f), (x,), (v,))[1]
        return result
    raise ValueError(f"expected an order among {', '.join(ORDERS)}, got {order!r}")


def hessian(f: ScalarField, x: Float[Tensor, "*shape"]) -> Float[Tensor, "n n"]:
    """The dense Hessian at the point ``x``, flattened to ``[n, n]`` and exactly symmetric.

    Raises:
        ValueError: If ``x`` holds NaN or infinity.

    Exactness: exact up to rounding. Cost: n Hessian-vector products, vectorised.
    """
    require_finite(x)

    def flat(p: Tensor) -> Tensor:
        return f(p.reshape(x.shape))

    H: Tensor = torch.func.jacrev(grad(flat))(x.flatten())
    return (H + H.T) / 2


def hvp_order(model: nn.Module) -> Order:
    """The rule: reverse-over-forward for depthwise convolutions, else double backward."""
    depthwise = any(isinstance(m, nn.Conv2d) and m.groups > 1 and m.groups == m.in_channels for m in model.modules())
    return "reverse-over-forward" if depthwise else "reverse-over-reverse"


def fastest_order(f: ScalarField, x: Float[Tensor, "*shape"], *, repeats: int = 3) -> Order:
    """The order that is fastest here and now; not reproducible, so an opt-in."""
    v = torch.ones_like(x)

    def seconds(order: Order) -> float:
        hvp(f, x, v, order=order)
        start = time.perf_counter()
        for _ in range(repeats):
            hvp(f, x, v, order=order)
        return time.perf_counter() - start

    return min(ORDERS, key=seconds)


def require_finite(x: Tensor) -> None:
    """Reject NaN and infinity at the door."""
    if torch._C._functorch.is_functorch_wrapped_tensor(x):
        return  # inside a transform values cannot be read; the caller checked them outside
    if not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).sum())
        raise ValueError(
            f"expected finite numbers, got {bad} NaN or infinite of {x.numel()}; check the input's preprocessing"
        )


def _reverse_over_reverse(f: ScalarField, x: Tensor, v: Tensor) -> Tensor:
    result: Tensor = grad(lambda p: (grad(f)(p) * v).sum())(x)
    return result


def _reverse_over_forward(f: ScalarField, x: Tensor, v: Tensor) -> Tensor:
    def slope(p: Tensor) -> Tensor:
        return jvp(f, (p,), (v,))[1]

    result: Tensor = grad(slope)(x)
    return result
