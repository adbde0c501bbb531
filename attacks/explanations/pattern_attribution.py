r"""Pattern attribution: the backward pass with each weight multiplied by its pattern.

A pattern says what signal a neuron finds in its input, where the weight says how the noise
is filtered out: :math:`A = \mathrm{cov}/(w^T \mathrm{cov})` per neuron with
:math:`\mathrm{cov} = E_+[x y] - E_+[x] E[y]`, where E+ runs over samples with y > 0. Patterns are
fitted on data once (``attacks.explanations.patterns``) and travel with the network.
"""

import weakref
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from attacks.explanations.guided_backprop import slope
from attacks.explanations.layers import Gate, Linear, Rules, walk_back
from attacks.networks import Network

_PRODUCTS: "weakref.WeakKeyDictionary[nn.Module, _Product]" = weakref.WeakKeyDictionary()


def pattern_attribution(
    network: Network, x: Float[Tensor, "b c h w"], target_class: Int[Tensor, " b"]
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b k"]]:
    """Pattern attribution of the class's logit, and the logits.

    Raises:
        ValueError: If the network has no patterns, or they do not fit its layers.
        UnsupportedModuleError: If a layer has no rule.

    Source: arXiv 1705.05598; arXiv 1906.07983, main text, section 2.
    """
    patterns = network.patterns
    if not patterns:
        raise ValueError(
            "expected a network with patterns, got none; fit them with 'python -m attacks fit-patterns', "
            "or pass those of fit_patterns to Network(patterns=...)"
        )

    def linear(layer: Linear, a: Tensor, output: Tensor, r: Tensor) -> Tensor:
        weight = layer.weight
        pattern = patterns.get(layer.name)
        if pattern is None or pattern.shape != weight.shape:
            got = "none" if pattern is None else str(tuple(pattern.shape))
            raise ValueError(f"expected a pattern of shape {tuple(weight.shape)} for layer '{layer.name}', got {got}")
        return layer.transposed(r, a, _product(layer, pattern))

    rules = Rules(linear=linear, activation=_activation)
    return walk_back(network.module, x, target_class, rules=rules, limits=network.valid_range(x))


@dataclass(frozen=True)
class _Product:
    """Weights times pattern, with both: as long as they are kept, no others can take their place in memory."""

    weight: Tensor
    pattern: Tensor
    version: int
    value: Tensor

    def is_of(self, weight: Tensor, pattern: Tensor) -> bool:
        return weight is self.weight and pattern is self.pattern and pattern._version == self.version


def _product(layer: Linear, pattern: Tensor) -> Tensor:
    """Weights times pattern, kept until one of them changes; in wide layers it costs as much as a pass.

    The weights of ``layer`` are a new tensor whenever the network's have changed. Of a pattern a write through
    ``.data`` goes unseen, as reading it again would cost as much as the product.
    """
    known = _PRODUCTS.get(layer.layer)
    if known is None or not known.is_of(layer.weight, pattern):
        value = layer.weight * pattern.to(layer.weight)
        known = _PRODUCTS[layer.layer] = _Product(layer.weight, pattern, pattern._version, value)
    return known.value


def _activation(gate: Gate, z: Tensor, r: Tensor) -> Tensor:
    return r * slope(gate, z)
