r"""Pattern attribution: the backward pass with each weight multiplied by its pattern.

A pattern says what signal a neuron finds in its input, where the weight says how the noise
is filtered out: :math:`A = \mathrm{cov}/(w^T \mathrm{cov})` per neuron with
:math:`\mathrm{cov} = E_+[x y] - E_+[x] E[y]`, where E+ runs over samples with y > 0. Patterns are
fitted on data once (``attacks.explanations.patterns``) and travel with the network.
"""

import weakref

from jaxtyping import Float, Int
from torch import Tensor, nn

from attacks.explanations.guided_backprop import slope
from attacks.explanations.layers import Gate, Linear, Rules, walk_back
from attacks.networks import Network

_PRODUCTS: "weakref.WeakKeyDictionary[nn.Module, tuple[tuple[tuple[int, int], ...], Tensor]]"
_PRODUCTS = weakref.WeakKeyDictionary()


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


def _product(layer: Linear, pattern: Tensor) -> Tensor:
    """Weights times pattern, kept until one of them changes; in wide layers it costs as much as a pass."""
    state = tuple((t.data_ptr(), t._version) for t in (layer.weight, pattern))
    known = _PRODUCTS.get(layer.layer)
    if known is None or known[0] != state:
        known = _PRODUCTS[layer.layer] = (state, layer.weight * pattern.to(layer.weight))
    return known[1]


def _activation(gate: Gate, z: Tensor, r: Tensor) -> Tensor:
    return r * slope(gate, z)
