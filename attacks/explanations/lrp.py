r"""Layer-wise relevance propagation: z^B on the first layer, z^+ on every other.

z^+ (alpha = 1, beta = 0): :math:`R_i = \sum_j \frac{z_{ij}^+}{\sum_k z_{kj}^+ + \epsilon} R_j` with
:math:`z_{ij} = a_i W_{ij}`; an input that can be negative counts with the negative weights too,
:math:`z^+ = a^+ W^+ + a^- W^-`. z^B: :math:`z_{ij} = x_i W_{ij} - l_i W_{ij}^+ - h_i W_{ij}^-` with the
smallest and largest valid inputs l and h. Biases do not count. Average pooling is a linear
layer with positive weights, a sum divides relevance by the positive parts of its summands,
max-pooling gives all to the winner, activations pass relevance on. Where a window or a sum has
no positive part at all, its members get equal shares, so that relevance is conserved.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attacks.explanations.layers import Gate, Limits, Linear, Pool, Rules, walk_back
from attacks.networks import Network

STABILISER = 1e-9  # in every denominator; reference implementation


def lrp(
    network: Network, x: Float[Tensor, "b c h w"], target_class: Int[Tensor, " b"]
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b k"]]:
    """Relevance of the class's logit, and the logits.

    The valid range of the first layer's rule is the network's own, channel by channel;
    ``Network.low`` and ``Network.high`` set another.

    Raises:
        UnsupportedModuleError: If a layer has no rule.

    Source: arXiv 1906.07983, main text, section 2; rules of arXiv 1512.02479.
    """
    low, high = (limit.expand_as(x) for limit in network.valid_range(x))
    return walk_back(network.module, x, target_class, rules=_RULES, limits=(low, high))


def _first(linear: Linear, x: Tensor, limits: Limits, r: Tensor) -> Tensor:
    low, high = limits
    positive, negative = linear.positive_part, linear.negative_part
    # The part of the limits is the same for all samples and steps.
    floor = linear(low[:1], positive) + linear(high[:1], negative)
    s = r / _stabilised(linear(x) - floor)
    back = linear.transposed(s, x) * x
    return back - linear.transposed(s, x, positive) * low - linear.transposed(s, x, negative) * high


def _linear(linear: Linear, a: Tensor, output: Tensor, r: Tensor) -> Tensor:
    if linear.nonnegative:
        z = linear(a, linear.positive_part)
        return a * linear.transposed(r / _stabilised(z), a, linear.positive_part)
    up, down = a.clamp(min=0), a.clamp(max=0)
    s = r / _stabilised(linear(up, linear.positive_part) + linear(down, linear.negative_part))
    return up * linear.transposed(s, a, linear.positive_part) + down * linear.transposed(s, a, linear.negative_part)


def _stabilised(z: Tensor) -> Tensor:
    """``z + 1e-9``, away from zero on either side; z is not negative but for rounding."""
    return z + torch.where(z < 0, -STABILISER, STABILISER)


def _activation(gate: Gate, z: Tensor, r: Tensor) -> Tensor:
    return r


def _total(summands: Sequence[Tensor], r: Tensor) -> list[Tensor]:
    positive = [a.clamp(min=0) + STABILISER for a in summands]
    share = r / sum(positive[1:], positive[0])
    return [p * share for p in positive]


def _average(pool: Pool, a: Tensor, r: Tensor) -> Tensor:
    if pool.nonnegative:
        mean = pool.apply(a)
        return a * torch.autograd.grad(mean, a, r / _stabilised(mean), create_graph=True)[0]
    up = a.clamp(min=0) + STABILISER
    mean = pool.apply(up)
    return up * torch.autograd.grad(mean, up, r / mean, create_graph=True)[0]


_RULES = Rules(linear=_linear, first=_first, activation=_activation, total=_total, average=_average)
