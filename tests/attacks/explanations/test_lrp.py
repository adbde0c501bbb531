"""Layer-wise relevance propagation against zennit, a naive matrix form, and conservation."""

import copy

import pytest
import torch
from torch import Tensor, nn
from zennit.attribution import Gradient
from zennit.composites import SpecialFirstLayerMapComposite
from zennit.rules import Norm, Pass, ZBox, ZPlus
from zennit.types import Activation, AvgPool, Convolution
from zennit.types import Linear as AnyLinear

from attacks import Network, relevance
from attacks.explanations.lrp import STABILISER
from tests.attacks.explanations import naive
from tests.attacks.families import densenet, family, inputs, resnet, vgg
from tests.strategies import normal


def convolutional() -> nn.Sequential:
    """Signed inputs, strides, overlapping max-pool and average pooling, 3x32x32 to 4 classes."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(6, 8, 3, padding=1),
        nn.Conv2d(8, 8, 1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(72, 10), nn.ReLU(), nn.Linear(10, 4),
    ).double().eval()  # fmt: skip


def zennit_relevance(module: nn.Module, x: Tensor, k: int, limits: tuple[float, float]) -> Tensor:
    """zennit's z^B and z^+ with biases zeroed, from the logit's value."""
    positive = ZPlus(stabilizer=STABILISER, zero_params="bias")
    composite = SpecialFirstLayerMapComposite(
        layer_map=[
            (Activation, Pass()), (AvgPool, Norm(stabilizer=STABILISER)),
            (Convolution, positive), (AnyLinear, positive),
        ],
        first_map=[(AnyLinear, ZBox(*limits, stabilizer=STABILISER, zero_params="bias"))],
    )  # fmt: skip
    chosen = nn.functional.one_hot(torch.tensor([k] * len(x)), 4).double()
    with Gradient(model=module, composite=composite, create_graph=True) as attributor:
        return attributor(x, lambda logits: logits * chosen)[1]


def test_map_and_second_order_gradient_equal_zennits():
    """Oracle: zennit, float64, 1e-10 relative, on signed hidden inputs, strides and both poolings."""
    network = Network(module=convolutional(), mean=(0.5,) * 3, std=(0.25,) * 3)
    weight = normal(7, 2, 3, 32, 32)
    results = []
    for call in (
        lambda x: relevance(network, x, 2, method="lrp"),
        lambda x: zennit_relevance(network.module, x, 2, (-2.0, 2.0)),
    ):
        x = inputs(2).requires_grad_(True)
        r = call(x)
        (slope,) = torch.autograd.grad((r * weight).sum(), x)
        results.append((r.detach(), slope))
    (r, slope), (expected, expected_slope) = results
    assert (r - expected).norm() <= 1e-10 * expected.norm()
    assert (slope - expected_slope).norm() <= 1e-10 * expected_slope.norm()


def test_map_equals_a_naive_matrix_form():
    """Oracle: neuron by neuron over dense matrices."""
    module = nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Conv2d(2, 3, 2, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3),
    ).double().eval()  # fmt: skip
    for i, parameter in enumerate(module.parameters()):
        parameter.data.copy_(normal(i, *parameter.shape) / 2)
    network = Network(module=module, mean=(0.25,), std=(0.5,))
    x = 2 * torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    # The average pool is a linear layer with positive weights, so one more step of z^+.
    expected = naive.lrp(naive.matrices(module, (1, 8, 8)), x.flatten(), 1, -0.5, 1.5)
    actual = relevance(network, x, 1, method="lrp").flatten()
    torch.testing.assert_close(actual, expected.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["plain", "vgg", "alexnet", "resnet", "densenet"])
def test_relevance_is_conserved(name):
    """Oracle: the logit; through residual sums, concats, overlapping max-pools, folded batch norm, signed inputs.

    A neuron that lives by its bias alone has no input to give relevance to; in the DenseNet, with
    few channels, the norms' shifts are raised so that there is none.
    """
    network, x = copy.deepcopy(family(name)), inputs(3)
    if name == "densenet":
        for norm in (m for m in network.module.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.bias.data += 3.0
    logits = network.module(x)[:, 2].detach()
    r = relevance(network, x, 2, method="lrp").flatten(1).sum(1)
    torch.testing.assert_close(r, logits, rtol=1e-5, atol=1e-7)


def test_relevance_is_conserved_where_nothing_is_positive():
    """Oracle: the logit; a residual sum and an average pool whose members are negative, then a signed convolution."""

    class Negative(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3)
            self.pool, self.third, self.head = nn.AvgPool2d(2), nn.Conv2d(2, 2, 1), nn.Linear(18, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.third(self.pool(self.first(x) + self.second(x))).flatten(1))

    module = Negative().double().eval()
    for i, parameter in enumerate(module.parameters()):
        parameter.data.copy_(normal(i, *parameter.shape).abs() * (-1.0 if i < 6 else 1.0))
        if parameter.ndim == 1:
            parameter.data.zero_()
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    assert (module.first(x) < 0).all()
    assert (module.second(x) < 0).all()
    r = relevance(module, x, 1, method="lrp").flatten(1).sum(1)
    torch.testing.assert_close(r, module(x)[:, 1].detach(), rtol=1e-5, atol=1e-9)


def test_sums_divide_relevance_in_proportion_to_positive_parts():
    """Oracle: by hand; relevance 6 of a sum of 1, 2 and of -1, 3."""
    from attacks.explanations.lrp import _total

    a, b = (torch.tensor([[v]], dtype=torch.float64) for v in ([1.0, -1.0], [2.0, 3.0]))
    left, right = _total([a, b], torch.full((1, 1, 2), 6.0, dtype=torch.float64))
    torch.testing.assert_close(left, torch.tensor([[[2.0, 0.0]]], dtype=torch.float64), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(right, torch.tensor([[[4.0, 6.0]]], dtype=torch.float64), rtol=1e-8, atol=1e-8)


def test_the_valid_range_is_the_networks_and_can_be_set():
    """Oracle: the naive form with the reference's scalar limits, which differ from the per-channel ones."""
    import dataclasses

    network, x = family("plain"), inputs(1)
    scalar = dataclasses.replace(network, low=(-3.0,) * 3, high=(3.0,) * 3)
    own, other = (relevance(n, x, 0, method="lrp") for n in (network, scalar))
    assert (own - other).norm() > 1e-3 * own.norm()


def test_batch_norm_is_folded_and_reused_layers_are_not():
    """Oracle: the logits of the walked network are those of the module."""
    from attacks.explanations import relevance_and_logits

    for module in (resnet(), densenet(), vgg()):
        network = Network(module=module.double().eval())
        x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
        _, logits = relevance_and_logits(network, x, 0, method="lrp")
        torch.testing.assert_close(logits, module(x).detach(), rtol=1e-9, atol=1e-12)
