"""Gradient times input: the first-order share of every input number in the logit."""

from jaxtyping import Float, Int
from torch import Tensor

from attacks.explanations.gradient import gradient
from attacks.networks import Network


def grad_times_input(
    network: Network, x: Float[Tensor, "b c h w"], target_class: Int[Tensor, " b"]
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b k"]]:
    """The gradient of the class's logit times the input, and the logits; x stays in the graph of the product.

    Source: arXiv 1906.07983, main text, section 2.
    """
    r, logits = gradient(network, x, target_class)
    return r * x, logits
