"""A small softened convolutional network and images for it, shared by the tests of the attacks."""

import pytest
import torch
from torch import nn

from attacks import Network
from tests.strategies import normal


def small_convnet(seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Convolutions with stride, depthwise and average pooling: 3x12x12 to 4 classes."""
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU6(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(54, 4),
    ).to(dtype)  # fmt: skip
    with torch.no_grad():
        for i, parameter in enumerate(network.parameters()):
            parameter.copy_(normal(seed + i, *parameter.shape, dtype=dtype) / parameter[0].numel() ** 0.5)
    return network.eval()


def small_float_network() -> Network:
    """The same in single precision, as a user's factory would return it."""
    return Network(module=small_convnet(dtype=torch.float32), mean=(0.0,) * 3, std=(1.0,) * 3)


@pytest.fixture(scope="session")
def network() -> Network:
    return Network(module=small_convnet(), mean=(0.5,) * 3, std=(0.25,) * 3, name="small")


@pytest.fixture(scope="session")
def images() -> torch.Tensor:
    """Three valid inputs of the small network, [3, 3, 12, 12] in [-2, 2]."""
    return 4 * torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 2
