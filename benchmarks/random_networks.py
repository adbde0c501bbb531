"""Random softplus networks for the soundness run: tiny ones for the oracle, larger ones for ascent."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from curvature import soften
from proofs_check.softplus_ball import PlainNetwork


@dataclass(frozen=True)
class Case:
    """One network, point and ball, with a name that says what was drawn."""

    name: str
    module: nn.Module
    x: Tensor
    radius: float


def tiny_case(seed: int) -> Case:
    """2-4 inputs, 1-3 hidden layers, 4-8 units, beta in [0.3, 50], radius in [0.003, 1], both log-uniform."""
    g = torch.Generator().manual_seed(seed)
    d, depth = _integer(g, 2, 4), _integer(g, 1, 3)
    widths = [d, *(_integer(g, 4, 8) for _ in range(depth)), 1]
    beta, radius = _log_uniform(g, 0.3, 50.0), _log_uniform(g, 0.003, 1.0)
    module = soften(_perceptron(g, widths, gain=_log_uniform(g, 0.5, 2.0)), beta)
    x = torch.randn(d, generator=g, dtype=torch.float64)
    if seed % 4 == 0:  # a kink of the first layer through x: the worst place for anchored bounds
        module[0].bias.data = -(module[0].weight @ x) * (torch.rand(widths[1], generator=g) < 0.7)
    return Case(f"tiny {seed}: widths {widths}, beta {beta:.3g}, r {radius:.3g}", module, x, radius)


def large_case(seed: int) -> Case:
    """Up to 784 inputs: perceptrons of 1-3 hidden layers and small convolutional networks."""
    g = torch.Generator().manual_seed(10**6 + seed)
    beta, radius = _log_uniform(g, 0.3, 50.0), _log_uniform(g, 0.003, 0.5)
    if seed % 3 == 2:
        network, x = _convolutional(g)
        kind = f"convolutional, {x.numel()} inputs"
    else:
        d = (16, 64, 196, 784)[_integer(g, 0, 3)]
        widths = [d, *(_integer(g, 8, 48) for _ in range(_integer(g, 1, 3))), 3]
        network, x = _perceptron(g, widths, gain=1.0), torch.rand(d, generator=g, dtype=torch.float64)
        kind = f"widths {widths}"
    return Case(f"large {seed}: {kind}, beta {beta:.3g}, r {radius:.3g}", soften(network, beta), x, radius)


def plain(case: Case, beta: float) -> PlainNetwork:
    """The same numbers as plain lists, read from the module without unrolling code."""
    linears = [layer for layer in case.module.modules() if isinstance(layer, nn.Linear)]
    *hidden, last = linears
    return PlainNetwork(
        weights=[layer.weight.tolist() for layer in hidden],
        biases=[layer.bias.tolist() for layer in hidden],
        head=last.weight[0].tolist(),
        head_bias=float(last.bias[0]),
        beta=beta,
    )


def _perceptron(g: torch.Generator, widths: list[int], *, gain: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        linear = nn.Linear(before, after, dtype=torch.float64)
        linear.weight.data = gain * torch.randn(after, before, generator=g, dtype=torch.float64) / before**0.5
        linear.bias.data = torch.randn(after, generator=g, dtype=torch.float64) / 2
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _convolutional(g: torch.Generator) -> tuple[nn.Sequential, Tensor]:
    side, channels = (8, 12, 16, 28)[_integer(g, 0, 3)], _integer(g, 1, 2)
    channels = 1 if side == 28 else channels
    inner = _integer(g, 2, 4)
    layers: list[nn.Module] = [nn.Conv2d(channels, inner, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)]
    if _integer(g, 0, 1):
        layers += [nn.Conv2d(inner, inner, 3, stride=2, padding=1), nn.BatchNorm2d(inner), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Flatten()).double().eval()
    features = network(torch.zeros(1, channels, side, side, dtype=torch.float64)).shape[1]
    network = network.append(nn.Linear(features, 3).double())
    with torch.no_grad():
        for parameter in network.parameters():
            fan = math.prod(parameter.shape[1:]) if parameter.ndim > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=g, dtype=torch.float64) / fan**0.5)
        for layer in network:
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean = torch.randn(inner, generator=g, dtype=torch.float64) / 4
                layer.running_var = 0.5 + torch.rand(inner, generator=g, dtype=torch.float64)
    return network.eval(), torch.rand(channels, side, side, generator=g, dtype=torch.float64)


def _integer(g: torch.Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, (), generator=g))


def _log_uniform(g: torch.Generator, low: float, high: float) -> float:
    return float(low * (high / low) ** torch.rand((), generator=g, dtype=torch.float64))
