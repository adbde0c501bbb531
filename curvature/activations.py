r"""Softplus with derivatives that stay accurate in both tails.

:math:`s_\beta(t) = \log(1 + e^{\beta t})/\beta`, :math:`s' = \sigma(\beta t)`,
:math:`s'' = \beta\,\sigma(\beta t)\,\sigma(-\beta t)`. The usual
:math:`\sigma(1-\sigma)` loses all digits in the right tail, so every order is built from
a sigmoid whose own derivative is again a product of two sigmoids.
"""

from typing import Any

import torch
from torch import Tensor, nn

_THRESHOLD = 40.0  # above threshold / beta the softplus equals the identity to float64's last digit
# In float32 exponents are held at +-30: exp(-30) = 9e-14 is nothing beside any rounding, while
# smaller slopes make denormal numbers in the products of a backward pass, which CPUs compute
# more slowly, some many times (benchmarks/activations.py measures it).
_HELD = 30.0


def _exponent(t: Tensor, beta: float) -> Tensor:
    return beta * t if t.dtype == torch.float64 else torch.clamp(beta * t, -_HELD, _HELD)


def _refuse_nested_forward() -> None:
    """Inside a jvp rule torch drops the tangents of outer forward levels, so the result would silently be 0."""
    levels = torch._C._functorch.get_interpreter_stack() or []
    if sum(level.key() == torch._C._functorch.TransformType.Jvp for level in levels) > 1:
        raise NotImplementedError(
            "expected at most one level of forward-mode differentiation through a softplus; "
            "use torch.func.grad or jacrev for the other orders, or curvature.hvp"
        )


class _Sigmoid(torch.autograd.Function):
    """sigma(beta t); differentiates into products of itself, to any order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(t: Tensor, beta: float) -> Tensor:
        return torch.sigmoid(_exponent(t, beta))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        t, ctx.beta = inputs
        ctx.save_for_backward(t)
        ctx.save_for_forward(t)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (t,) = ctx.saved_tensors
        return grads[0] * _sigmoid_slope(t, ctx.beta), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        _refuse_nested_forward()
        (t,) = ctx.saved_tensors
        slope: Tensor = _sigmoid_slope(t, ctx.beta) * tangents[0]
        return slope


def _sigmoid_slope(t: Tensor, beta: float) -> Tensor:
    return beta * sigmoid(t, beta) * sigmoid(-t, beta)


class _Softplus(torch.autograd.Function):
    """log(1 + exp(beta t)) / beta; its derivative is ``sigmoid(t, beta)``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(t: Tensor, beta: float) -> Tensor:
        if t.dtype == torch.float64:
            return torch.nn.functional.softplus(t, beta=beta, threshold=_THRESHOLD)
        u = torch.exp(-torch.abs(_exponent(t, beta)))
        return torch.clamp(t, min=0) + torch.log(1 + u) / beta

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        t, ctx.beta = inputs
        ctx.save_for_backward(t)
        ctx.save_for_forward(t)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (t,) = ctx.saved_tensors
        return grads[0] * sigmoid(t, ctx.beta), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        _refuse_nested_forward()
        (t,) = ctx.saved_tensors
        slope: Tensor = sigmoid(t, ctx.beta) * tangents[0]
        return slope


def sigmoid(t: Tensor, beta: float) -> Tensor:
    r""":math:`\sigma(\beta t)`, the slope of softplus, of any shape."""
    result: Tensor = _Sigmoid.apply(t, beta)
    return result


def softplus(t: Tensor, beta: float) -> Tensor:
    r""":math:`s_\beta(t)`, elementwise, of any shape; accurate to third order and beyond."""
    result: Tensor = _Softplus.apply(t, beta)
    return result


class Softplus(nn.Module):
    r"""Softplus in the place of a ReLU, or of a ReLU that is capped.

    With ``cap`` the activation is :math:`s_\beta(t) - s_\beta(t - cap)`, the softened
    ReLU6 for ``cap = 6``; its slope lies in (0, 1), its second derivative in
    :math:`[-\beta/4, \beta/4]`.

    Args:
        beta: Sharpness, > 0; the ReLU is the limit of large beta.
        cap: Upper end of the plateau, or None for a plain ReLU.
    """

    def __init__(self, beta: float, *, cap: float | None = None) -> None:
        super().__init__()
        if not 0 < beta < float("inf"):
            raise ValueError(f"expected a finite beta > 0, got {beta}; the ReLU itself needs no softplus")
        self.beta = float(beta)
        self.cap = cap

    def forward(self, t: Tensor) -> Tensor:
        """Apply the activation elementwise."""
        if self.cap is None:
            return softplus(t, self.beta)
        return softplus(t, self.beta) - softplus(t - self.cap, self.beta)

    def extra_repr(self) -> str:
        """Show beta and cap when the module is printed."""
        return f"beta={self.beta}" + ("" if self.cap is None else f", cap={self.cap}")
