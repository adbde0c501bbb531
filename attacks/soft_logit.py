"""One logit of a softened network as a scalar field on flat points: the object that a diagnosis speaks of."""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

import curvature
from attacks.networks import Network
from curvature import FeedForward, UnsupportedModuleError
from curvature.derivatives import Order
from curvature.feedforward import chain
from curvature.networks import Roughness

_SMALL = 2**18  # numbers in the matrices up to which the closed form beats autodiff of the layers
LARGEST_UNROLLED = 8_192  # numbers in a point; above, a layer's matrix would not fit into memory, and float32 is used


@dataclass(frozen=True, kw_only=True)
class SoftLogit:
    """The explained logit of a network with softplus activations.

    Attributes:
        module: Softened, in eval mode, of the dtype in which all is computed.
        target_class: Whose logit it is.
        shape: Of one point, ``(C, H, W)``.
        beta: Of the softplus.
        dtype: float64 up to ``LARGEST_UNROLLED`` numbers in a point, else float32.
        rough: Layers at which the softened network is not twice differentiable.
        matrices: The same field in matrices, which the certificates speak of; None where there is none.
        reason: Why there are no matrices; empty where there are.
        order: Autodiff order of the Hessian's products.
    """

    module: nn.Module
    target_class: int
    shape: tuple[int, ...]
    beta: float
    dtype: torch.dtype
    rough: tuple[Roughness, ...]
    matrices: FeedForward | None
    reason: str
    order: Order

    @property
    def size(self) -> int:
        """Numbers in a point."""
        return torch.Size(self.shape).numel()

    def at(self, points: Float[Tensor, "k n"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k n"]]:
        """Values and gradients at flat points, outside of any graph."""
        if (small := self._small()) is not None:
            with torch.no_grad():
                return small(points), small.curves(points).gradient()
        leaf = points.detach().requires_grad_(True)
        with torch.enable_grad():
            values = self._logits(leaf)
            (gradients,) = torch.autograd.grad(values.sum(), leaf)
        return values.detach(), gradients

    def product(self, points: Float[Tensor, "k n"], v: Float[Tensor, "k n"]) -> Float[Tensor, "k n"]:
        """``H(p) v`` for each point and its own direction; kinks of rough layers count as flat."""
        if (small := self._small()) is not None:
            with torch.no_grad():
                return small.curves(points).hvp(v)
        # The Hessian of a sum over points is block diagonal, so one product does them all.
        return curvature.hvp(lambda p: self._logits(p).sum(), points.detach(), v.detach(), order=self.order).detach()

    def hessian(self, point: Float[Tensor, " n"]) -> Float[Tensor, "n n"]:
        """The dense Hessian, exactly symmetric."""
        if self.matrices is not None:
            with torch.no_grad():
                return self.matrices.curves(point).hessian()
        return curvature.hessian(lambda p: self._logits(p[None])[0], point.detach()).detach()

    def _small(self) -> FeedForward | None:
        few = self.matrices is not None and sum(W.numel() for W in self.matrices.weights) <= _SMALL
        return self.matrices if few else None

    def _logits(self, points: Tensor) -> Tensor:
        logits: Tensor = self.module(points.reshape(-1, *self.shape))[:, self.target_class]
        return logits


def soft_logit(network: Network, x: Float[Tensor, "c h w"], target_class: int, *, beta: float) -> SoftLogit:
    """Soften a network and read it as matrices where that is possible.

    Args:
        network: Left untouched.
        x: One input; only its shape and device are used.
        target_class: Whose logit is explained.
        beta: Of the softplus, finite and > 0.

    Raises:
        ValueError: If beta or the class is out of range.
        UnsupportedModuleError: If an activation has no softened form; names its path.
    """
    classes = network.logits(x[None]).shape[1]
    if not 0 <= target_class < classes:
        raise ValueError(f"expected a class from 0 to {classes - 1} of {network.name}, got {target_class}")
    dtype = torch.float64 if x.numel() <= LARGEST_UNROLLED else torch.float32
    module = curvature.soften(copy.deepcopy(network.module).to(dtype), beta)
    rough = tuple(curvature.hypotheses(module))
    matrices, reason = _matrices(module, x.to(dtype), target_class, rough)
    return SoftLogit(
        module=module, target_class=target_class, shape=tuple(x.shape), beta=beta, dtype=dtype, rough=rough,
        matrices=matrices, reason=reason, order=curvature.hvp_order(module),
    )  # fmt: skip


def _matrices(
    module: nn.Module, x: Tensor, target_class: int, rough: tuple[Roughness, ...]
) -> tuple[FeedForward | None, str]:
    if rough:
        named = ", ".join(f"'{found.path}' ({found.kind})" for found in rough)
        return None, f"the network is not twice differentiable, as theorem 1 needs it, at {named}"
    try:
        if x.numel() <= LARGEST_UNROLLED:
            return curvature.feed_forward(module, x, target_class), ""
        chain(module)
        return None, (
            f"an input of {x.numel()} numbers is too large to write the layers as matrices, which certificates need; "
            f"at most {LARGEST_UNROLLED}"
        )
    except UnsupportedModuleError as error:
        return None, f"the network is not a plain stack of layers, which certificates need: {error}"
