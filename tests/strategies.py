"""Hypothesis strategies and seeded draws that all tests share."""

import itertools
from collections.abc import Callable

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

EPS = torch.finfo(torch.float64).eps

seeds = st.integers(0, 2**31 - 1)
radii = st.floats(1e-2, 1e2)
betas = st.floats(0.3, 50.0)


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers of the given shape, the same for the same seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def relu_network(seed: int, *widths: int, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """A seeded ReLU network of the given widths, input first, outputs last."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        linear = nn.Linear(before, after, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(normal(seed + 17 * i, after, before, dtype=dtype) / before**0.5)
            linear.bias.copy_(normal(seed + 17 * i + 7, after, dtype=dtype) / 2)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def rotation(seed: int, n: int) -> Tensor:
    """A seeded orthogonal matrix ``[n, n]``."""
    Q: Tensor = torch.linalg.qr(normal(seed, n, n))[0]
    return Q


def tanh_field(seed: int, n: int) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A smooth field of bends of both signs, and a point where its gradient is not small."""
    A, b, x = normal(seed, n + 2, n), normal(seed + 1, n + 2), normal(seed + 2, n) / 2
    linear = normal(seed + 3, n)
    linear = 3 * linear / linear.norm()
    scale = A.norm() * b.norm()

    def f(p: Tensor) -> Tensor:
        # The nonlinear part's gradient is at most one in norm, so the whole is at least two.
        return torch.tanh(A @ p) @ b / scale + linear @ p

    return f, x
