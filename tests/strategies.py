"""Hypothesis strategies and seeded draws that all tests share."""

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
    for i, (before, after) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        linear = nn.Linear(before, after, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(normal(seed + 17 * i, after, before, dtype=dtype) / before**0.5)
            linear.bias.copy_(normal(seed + 17 * i + 7, after, dtype=dtype) / 2)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()
