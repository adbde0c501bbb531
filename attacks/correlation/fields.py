"""Scalar fields on rows of points: value, gradient and Hessian products of many points at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from curvature.activations import sigmoid, softplus
from curvature.feedforward import FeedForward


class Jet(NamedTuple):
    """Value ``[N]``, gradient ``[N, n]`` and the product of each row's Hessian with a row ``[N, n]``."""

    value: Tensor
    gradient: Tensor
    product: Callable[[Tensor], Tensor]


@runtime_checkable
class Field(Protocol):
    """What an attack in a ball asks of a network's logit."""

    def first(self, y: Float[Tensor, "N n"]) -> tuple[Tensor, Tensor]:
        """Value and gradient at every row."""

    def second(self, y: Float[Tensor, "N n"]) -> Jet:
        """Value, gradient and Hessian products at every row."""


@dataclass(frozen=True)
class MatrixField:
    """A logit in matrices: derivatives in closed form, no graph."""

    net: FeedForward

    def first(self, y: Float[Tensor, "N n"]) -> tuple[Tensor, Tensor]:
        """Value and gradient at every row."""
        net = self.net
        z = net.preactivations(y)
        value = softplus(z[-1], net.beta) @ net.head + net.head_bias
        back = net.head * sigmoid(z[-1], net.beta)
        for W, t in zip(reversed(net.weights[1:]), reversed(z[:-1]), strict=True):
            back = (back @ W) * sigmoid(t, net.beta)
        return value, back @ net.weights[0]

    def second(self, y: Float[Tensor, "N n"]) -> Jet:
        """Value, gradient and Hessian products at every row."""
        curves = self.net.curves(y)
        return Jet(self.net(y), curves.gradient(), curves.hvp)


@dataclass(frozen=True)
class AutogradField:
    """A logit of any smooth module by double backward; rows are flattened inputs of ``shape``."""

    module: nn.Module
    shape: tuple[int, ...]
    target_class: int

    def first(self, y: Float[Tensor, "N n"]) -> tuple[Tensor, Tensor]:
        """Value and gradient at every row."""
        with torch.enable_grad():
            point = y.detach().requires_grad_(True)
            value = self._value(point)
            (G,) = torch.autograd.grad(value.sum(), point)
        return value.detach(), G

    def second(self, y: Float[Tensor, "N n"]) -> Jet:
        """Value, gradient and Hessian products at every row; the graph lives as long as the product."""
        with torch.enable_grad():
            point = y.detach().requires_grad_(True)
            value = self._value(point)
            (G,) = torch.autograd.grad(value.sum(), point, create_graph=True)

        def product(v: Tensor) -> Tensor:
            (Hv,) = torch.autograd.grad(G, point, grad_outputs=v, retain_graph=True)
            return Hv

        return Jet(value.detach(), G.detach(), product)

    def _value(self, point: Tensor) -> Tensor:
        return self.module(point.reshape(-1, *self.shape))[:, self.target_class]
