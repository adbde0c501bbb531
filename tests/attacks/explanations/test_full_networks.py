"""The full networks, with seeded random weights, at 64x64.

Every method runs on each of them in float32, as attacks do, and is right to second order on
EfficientNet-Lite0 in float64: it has no max-pooling, whose changing winners leave no derivative
to compare. The small members of all families are compared in ``test_all_methods``.
"""

import dataclasses
import functools

import pytest
import torch
from torch import Tensor

from attacks import EXPLANATIONS, Network, load_network
from attacks.explanations.integrated_gradients import integrated_gradients
from attacks.explanations.patterns import fit_patterns

NETWORKS = ("vgg16", "alexnet", "resnet18", "densenet121", "efficientnet_lite0")


@functools.lru_cache(maxsize=1)
def prepared(name: str, dtype: torch.dtype) -> Network:
    """The network, weights drawn so that signals neither die nor explode, patterns fitted on noise."""
    network = load_network(name, weights="random")
    module = network.module.to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5, generator=torch.Generator().manual_seed(0))
    network = dataclasses.replace(network, module=module)
    return dataclasses.replace(network, patterns=fit_patterns(network, [inputs(4, dtype)])).soften(5.0)


def inputs(count: int, dtype: torch.dtype) -> Tensor:
    return 2 * torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(2), dtype=dtype) - 1


def explained(network: Network, x: Tensor, method: str) -> Tensor:
    function = (
        functools.partial(integrated_gradients, steps=2) if method == "integrated_gradients" else EXPLANATIONS[method]
    )
    return function(network, x, torch.zeros(len(x), dtype=torch.long))[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_method_runs_on_every_network(name):
    """Oracle: relevance and its second-order gradient are finite, and not zero everywhere."""
    network = prepared(name, torch.float32)
    for method in EXPLANATIONS:
        x = inputs(1, torch.float32).requires_grad_(True)
        r = explained(network, x, method)
        (slope,) = torch.autograd.grad((r * r.detach()).sum(), x)
        for values in (r, slope):
            assert torch.isfinite(values).all(), method
            assert values.abs().max() > 0, method


@pytest.mark.slow
@pytest.mark.parametrize("method", EXPLANATIONS)
def test_second_order_gradient_matches_central_differences_of_second_order(method):
    """Oracle: central differences of the relevance, whose error falls by 4 when the step is halved."""
    network, x = prepared("efficientnet_lite0", torch.float64), inputs(1, torch.float64)
    generator = torch.Generator().manual_seed(3)
    weight, direction = (torch.rand(x.shape, generator=generator, dtype=torch.float64) - 0.5 for _ in range(2))
    direction[..., :20, :] = direction[..., 26:, :] = direction[..., :20] = direction[..., 26:] = 0
    # z^+ of signed inputs has a kink where one of them is zero; a short way meets none.
    longest = 1e-4 if method == "lrp" else 1e-3
    point = x.clone().requires_grad_(True)
    r = explained(network, point, method)
    unit = r.detach().abs().mean()
    (gradient,) = torch.autograd.grad((r * weight).sum() / unit, point)
    slope = float((gradient * direction).sum())

    def value(step: float) -> float:
        return float((explained(network, x + step * direction, method) * weight).sum() / unit)

    errors = [abs((value(step) - value(-step)) / (2 * step) - slope) for step in (longest, longest / 2)]
    assert errors[1] < 1e-5 * float(gradient.norm() * direction.norm())
    assert 3.5 < errors[0] / errors[1] < 4.5
