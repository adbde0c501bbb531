"""Tiny networks as matrices, and points in balls, for the tests of the local bounds."""

from itertools import pairwise

import torch
from torch import Tensor

from curvature.feedforward import FeedForward
from tests.strategies import normal


def tiny_network(seed: int, *widths: int, beta: float, kink: Tensor | None = None) -> FeedForward:
    """A seeded softplus network, input width first, hidden widths after; head drawn too.

    With ``kink`` every neuron of the first layer has its kink at that point.
    """
    weights, biases = [], []
    for i, (before, after) in enumerate(pairwise(widths)):
        weights.append(normal(seed + 31 * i, after, before))
        biases.append(normal(seed + 31 * i + 7, after) / 2)
    if kink is not None:
        biases[0] = -weights[0] @ kink
    head = normal(seed + 997, widths[-1])
    return FeedForward(
        weights=tuple(weights),
        biases=tuple(biases),
        head=head,
        head_bias=torch.zeros((), dtype=torch.float64),
        beta=beta,
    )


def in_ball(seed: int, x: Tensor, radius: float, count: int) -> Tensor:
    """Seeded points of the ball, half of them on its sphere, ``[count, n]``."""
    u = normal(seed, count, len(x))
    u = u / torch.linalg.vector_norm(u, dim=1, keepdim=True)
    lengths = torch.rand(count, 1, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    lengths[::2] = 1.0
    return x + (radius * (1 - 1e-12)) * lengths * u


def curvatures(net: FeedForward, points: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest principal curvature at every point, from a dense tangent frame."""
    curves = net.curves(points)
    G, H = curves.gradient(), curves.hessian()
    norm = torch.linalg.vector_norm(G, dim=-1)
    Q = torch.linalg.qr(G[..., None], mode="complete")[0][..., 1:]
    values = torch.linalg.eigvalsh(-(Q.mT @ H @ Q) / norm[:, None, None])
    return values[:, 0], values[:, -1]
