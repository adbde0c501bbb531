"""Guided backpropagation against zennit on ReLUs, and the soft rule by hand."""

import pytest
import torch
from torch import nn
from zennit.attribution import Gradient
from zennit.composites import GuidedBackprop

from attacks import Network, relevance
from tests.attacks.families import family, inputs


@pytest.mark.parametrize("name", ["plain_relu", "vgg", "alexnet", "resnet", "densenet"])
def test_map_on_relu_networks_equals_zennits(name):
    """Oracle: zennit, float64, from the logit's value; batch norms that cannot be folded included."""
    if name == "plain_relu":
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4500, 4)).double().eval()
        network = Network(module=module)
    else:
        network = family(name)
    x = inputs(2)
    chosen = nn.functional.one_hot(torch.tensor([2, 2]), network.module(x).shape[1]).double()
    with Gradient(model=_modules_only(network.module), composite=GuidedBackprop()) as attributor:
        _, expected = attributor(x.clone().requires_grad_(True), lambda logits: logits * chosen)
    actual = relevance(network, x, 2, method="guided_backprop")
    assert (actual - expected).norm() <= 1e-10 * expected.norm()


def _modules_only(module: nn.Module) -> nn.Module:
    """zennit hooks modules: every call of an activation becomes a module of its own, none in place."""
    from torch import fx

    traced = fx.symbolic_trace(module)
    for i, node in enumerate(list(traced.graph.nodes)):
        called = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(called, nn.ReLU) or node.target is nn.functional.relu:
            traced.add_module(f"relu_{i}", nn.ReLU())
            with traced.graph.inserting_after(node):
                new = traced.graph.call_module(f"relu_{i}", (node.args[0],))
            node.replace_all_uses_with(new)
            traced.graph.erase_node(node)
    traced.recompile()
    return traced


def test_the_soft_rule_is_softplus_of_relevance_times_sigmoid_of_the_input():
    """Oracle: by hand for one neuron, with and without a cap."""
    x, beta = torch.tensor([[[[0.3]]]], dtype=torch.float64), 4.0
    for cap, activation in ((None, nn.ReLU()), (6.0, nn.ReLU6())):
        module = nn.Sequential(nn.Flatten(), nn.Linear(1, 1), activation, nn.Linear(1, 1)).double().eval()
        for layer, (w, b) in zip((module[1], module[3]), ((2.0, -0.5), (1.5, 0.25)), strict=True):
            nn.init.constant_(layer.weight, w)
            nn.init.constant_(layer.bias, b)
        network = Network(module=module).soften(beta)
        z = torch.tensor(2.0 * 0.3 - 0.5, dtype=torch.float64)
        gate = torch.sigmoid(beta * z) - (0.0 if cap is None else torch.sigmoid(beta * (z - cap)))
        incoming = 1.5 * network.module(x)[0, 0]
        expected = 2.0 * torch.log1p(torch.exp(beta * incoming)) / beta * gate
        actual = relevance(network, x, 0, method="guided_backprop")
        torch.testing.assert_close(actual[0, 0, 0, 0], expected.detach(), rtol=1e-12, atol=0)
