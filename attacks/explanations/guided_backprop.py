r"""Guided backpropagation: only positive relevance passes an activation, softly in a softened network.

ReLU: :math:`\max(R, 0)\,[z \ge 0]`; softplus: :math:`s_\beta(R)\,\sigma(\beta z)`; with a cap
c the gate is :math:`[0 \le z \le c]`, softly :math:`\sigma(\beta z) - \sigma(\beta(z - c))`.
The relevance itself is softplussed, so the result is not homogeneous in it and its start,
the logit's value, matters.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attacks.explanations.layers import Gate, Linear, Rules, walk_back
from attacks.networks import Network
from curvature.activations import sigmoid, softplus


def guided_backprop(
    network: Network, x: Float[Tensor, "b c h w"], target_class: Int[Tensor, " b"]
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b k"]]:
    """Guided backpropagation from the class's logit, and the logits.

    Raises:
        UnsupportedModuleError: If a layer has no rule.

    Source: arXiv 1906.07983, main text, section 2; the softened rule is the reference implementation's.
    """
    return walk_back(network.module, x, target_class, rules=_RULES, limits=network.valid_range(x))


def slope(gate: Gate, z: Tensor) -> Tensor:
    """The activation's derivative at ``z``; closed at both ends for the ReLU and its capped form."""
    if gate.beta is None:
        inside = z >= 0 if gate.cap is None else (z >= 0) & (z <= gate.cap)
        return inside.to(z)
    s = sigmoid(z, gate.beta)
    return s if gate.cap is None else s - sigmoid(z - gate.cap, gate.beta)


def _activation(gate: Gate, z: Tensor, r: Tensor) -> Tensor:
    passed = torch.relu(r) if gate.beta is None else softplus(r, gate.beta)
    return passed * slope(gate, z)


def _linear(linear: Linear, a: Tensor, output: Tensor, r: Tensor) -> Tensor:
    return torch.autograd.grad(output, a, r, create_graph=True)[0]


_RULES = Rules(linear=_linear, activation=_activation, scale_passes=False)
