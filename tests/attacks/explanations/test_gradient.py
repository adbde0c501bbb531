"""The gradient explanation: its graph, its two autodiff orders, its errors."""

import pytest
import torch
from torch import nn

from attacks import Network, explain, relevance
from attacks.explanations import relevance_and_logits
from tests.attacks.conftest import small_convnet


def depthwise_network() -> Network:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.ReLU6(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4),
    )  # fmt: skip
    return Network(module=module.double().eval())


def test_gradient_equals_autograd_of_the_logit(network, images):
    """Oracle: autograd on the unwrapped module, sample by sample."""
    x = images.clone().requires_grad_(True)
    expected = torch.autograd.grad(network.module(x)[:, 2].sum(), x)[0]
    torch.testing.assert_close(relevance(network, images, 2), expected, rtol=1e-13, atol=1e-15)


def test_map_is_nonnegative_and_sums_to_one(network, images):
    """Oracle: the definition h = a / sum(a)."""
    h = explain(network, images)
    assert (h >= 0).all()
    torch.testing.assert_close(h.sum((1, 2)), torch.ones(3, dtype=torch.float64))
    r = relevance(network, images)
    torch.testing.assert_close(h[1], r[1].abs().sum(0) / r[1].abs().sum())


@pytest.mark.parametrize("make", [lambda: Network(module=small_convnet()), depthwise_network])
def test_second_order_gradient_matches_central_differences_of_second_order(make, images):
    """Oracle: central differences, whose error falls by 4 when the step is halved; both autodiff orders."""
    soft = make().soften(3.0)
    weight = torch.rand(images.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    direction = torch.rand(images.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64) - 0.5

    def loss(x):
        r, logits = relevance_and_logits(soft, x, 1)
        return (r * weight).sum() + (logits**2).sum()

    x = images.clone().requires_grad_(True)
    slope = (torch.autograd.grad(loss(x), x)[0] * direction).sum()
    errors = [
        float(((loss(images + e * direction) - loss(images - e * direction)) / (2 * e) - slope).abs())
        for e in (2e-2, 1e-2)
    ]
    assert errors[1] < 1e-3 * float(slope.abs())
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_reverse_over_forward_agrees_with_double_backward(images):
    """Oracle: double backward through the same depthwise network."""
    soft = depthwise_network().soften(5.0)
    x = images.clone().requires_grad_(True)
    r, logits = relevance_and_logits(soft, x, 0)
    (actual,) = torch.autograd.grad((r**3).sum() + logits.exp().sum(), x)
    outputs = soft.module(x)
    (G,) = torch.autograd.grad(outputs[:, 0].sum(), x, create_graph=True)
    (expected,) = torch.autograd.grad((G**3).sum() + outputs.exp().sum(), x)
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-13)


def test_relevance_is_in_the_graph_exactly_when_x_requires_grad(network, images):
    """Oracle: the contract."""
    assert not relevance(network.soften(1.0), images, 0).requires_grad
    assert relevance(network.soften(1.0), images.clone().requires_grad_(True), 0).requires_grad


def test_every_sample_is_explained_as_if_alone(network, images):
    """Oracle: metamorphic, a batch against its samples."""
    alone = torch.cat([explain(network, x[None], k) for x, k in zip(images, (0, 1, 2), strict=True)])
    torch.testing.assert_close(explain(network, images, torch.tensor([0, 1, 2])), alone, rtol=1e-12, atol=1e-15)


def test_the_callers_model_is_left_as_it_was(network, images):
    """Oracle: state before against after."""
    module = small_convnet()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    explain(module, images)
    soft = Network.of(module).soften(2.0)
    explain(soft, images)
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert any(isinstance(m, nn.ReLU) for m in module.modules())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x[0], "batch"),
        (lambda x: x * float("nan"), "finite"),
        (lambda x: x[:, :1], "channels"),
        (lambda x: x.round().long(), "floating-point"),
    ],
)
def test_bad_inputs_are_named(network, images, change, words):
    """Oracle: the error's text."""
    with pytest.raises(ValueError, match=words):
        explain(network, change(images))


def test_unknown_method_class_and_zero_gradient_are_errors(network, images):
    """Oracle: the error's text."""
    with pytest.raises(ValueError, match="among gradient"):
        explain(network, images, method="saliency")
    with pytest.raises(ValueError, match="one class"):
        explain(network, images, torch.tensor([0, 1]))
    dead = nn.Sequential(nn.Flatten(), nn.Linear(432, 4)).double().eval()
    nn.init.zeros_(dead[1].weight)
    with pytest.raises(ValueError, match=r"zero gradient|not zero"):
        explain(dead, images, 0)
