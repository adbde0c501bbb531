"""What every explanation method must do, on every family of networks."""

import copy
import dataclasses
import functools
import gc
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from attacks import EXPLANATIONS, Network, manipulate, preset, relevance, target_map
from attacks.defences import BetaSmoothing
from attacks.explanations import normalised_map
from attacks.explanations.integrated_gradients import integrated_gradients
from tests.attacks.families import FAMILIES, family, inputs

PAIRS = [(name, method) for name in FAMILIES for method in EXPLANATIONS]
FEW_STEPS = functools.partial(integrated_gradients, steps=3)  # the sum's length changes nothing in its derivative


@functools.cache
def softened(name: str, beta: float) -> Network:
    return family(name).soften(beta)


def explained(network: Network, x: Tensor, method: str) -> tuple[Tensor, Tensor]:
    """Relevance of class 1 and logits; integrated gradients in few steps."""
    function = FEW_STEPS if method == "integrated_gradients" else EXPLANATIONS[method]
    return function(network, x, torch.ones(len(x), dtype=torch.long))


def central_difference(loss: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor, step: float) -> float:
    return float((loss(x + step * direction) - loss(x - step * direction)) / (2 * step))


@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_second_order_gradient_matches_central_differences_of_second_order(name, method):
    """Oracle: central differences of relevance and logits, whose error falls by 4 when the step is halved."""
    soft, x = softened(name, 4.0), inputs(1)
    generator = torch.Generator().manual_seed(4)
    weight, direction = (torch.rand(x.shape, generator=generator, dtype=torch.float64) - 0.5 for _ in range(2))
    # A patch only: where the winner of a max-pool window changes on the way, there is no derivative to compare.
    direction[..., :8, :] = direction[..., 14:, :] = direction[..., :8] = direction[..., 14:] = 0
    unit = explained(soft, x, method)[0].abs().mean()  # so that neither part of the loss drowns the other

    def loss(point):
        r, logits = explained(soft, point, method)
        return ((r * weight).sum() + (logits**2).sum() * unit) / unit

    point = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(point), point)
    slope = float((gradient * direction).sum())
    errors = [abs(central_difference(loss, x, direction, step) - slope) for step in (1e-3, 5e-4)]
    assert errors[1] < 1e-6 * float(gradient.norm() * direction.norm())
    assert 3.5 < errors[0] / errors[1] < 4.5


@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_every_sample_of_a_batch_is_explained_and_attacked_as_if_alone(name, method):
    """Oracle: metamorphic; relevance, and the gradient of a loss on the map, of a batch against its samples."""
    soft = softened(name, 4.0)
    x = inputs(2).requires_grad_(True)
    r, _ = explained(soft, x, method)
    (slope,) = torch.autograd.grad(normalised_map(r).square().sum(), x)
    for i, sample in enumerate(inputs(2)):
        alone = sample[None].requires_grad_(True)
        r_alone, _ = explained(soft, alone, method)
        (slope_alone,) = torch.autograd.grad(normalised_map(r_alone).square().sum(), alone)
        assert (r[i] - r_alone[0]).norm() <= 1e-12 * r_alone.norm()
        assert (slope[i] - slope_alone[0]).norm() <= 1e-10 * slope_alone.norm()


@pytest.mark.parametrize("method", EXPLANATIONS)
def test_relevance_is_in_the_graph_exactly_when_x_requires_grad(method):
    """Oracle: the contract."""
    soft, x = softened("plain", 4.0), inputs(2)
    with torch.no_grad():
        still = relevance(soft, x, 0, method=method)
    moving = relevance(soft, x.clone().requires_grad_(True), 0, method=method)
    assert not still.requires_grad
    assert moving.requires_grad
    torch.testing.assert_close(still, moving.detach(), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_softplus_maps_converge_to_those_of_the_relu_network(name, method):
    """Oracle: the ReLU (ReLU6) network itself.

    Guided backpropagation softens the relevance too, whose numbers are as small as 1e-12: it needs a larger beta.
    """
    x, large = inputs(1), 1e16 if method == "guided_backprop" else 1e6
    sharp = normalised_map(explained(family(name), x, method)[0])
    errors = [
        float((normalised_map(explained(softened(name, beta), x, method)[0]) - sharp).abs().sum())
        for beta in (100.0, large)
    ]
    assert errors[1] < 1e-6
    assert errors[0] > 1e-5  # it is another network that converges


@pytest.mark.parametrize("method", EXPLANATIONS)
def test_the_callers_model_comes_back_as_it_was(method):
    """Oracle: weights, gradients, mode, hooks before against after success, error and Ctrl-C."""
    network = family("resnet")
    module = network.module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    kinds = [type(m) for m in module.modules()]
    relevance(network, inputs(1).requires_grad_(True), 0, method=method)
    with pytest.raises(ValueError, match="expected"):
        relevance(network, inputs(1) * float("nan"), 0, method=method)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    handle = module[8].register_forward_hook(interrupt)  # the last layer: everything before it has run
    with pytest.raises(KeyboardInterrupt):
        relevance(network, inputs(1).requires_grad_(True), 0, method=method)
    handle.remove()
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert [type(m) for m in module.modules()] == kinds
    assert not any(m.training or m._forward_hooks or m._backward_hooks for m in module.modules())


WRITES: dict[str, Callable[[nn.Module], object]] = {
    "in place": lambda m: [p.detach().mul_(-1) for p in m.parameters()],
    "through data": lambda m: [p.data.mul_(-1) for p in m.parameters()],
    "new data": lambda m: [setattr(p, "data", -p.data) for p in m.parameters()],
    "flipped": lambda m: [p.data.copy_(p.data.flip(0)) for p in m.parameters()],
    "assigned": lambda m: m.load_state_dict({k: -t for k, t in m.state_dict().items()}, assign=True),
    "another precision": lambda m: m.float(),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("method", ["lrp", "pattern_attribution"])
@pytest.mark.parametrize("defence", [None, BetaSmoothing(beta=2.0)], ids=["plain", "beta_smoothing"])
def test_weights_that_change_after_a_map_was_made_are_seen(method, write, defence):
    """Oracle: a copy of the network that has explained nothing before; signs, order and precision changed."""
    given = family("plain")
    network, x = dataclasses.replace(given, module=copy.deepcopy(given.module)), inputs(1)
    before = relevance(network, x, 1, method=method, defence=defence)
    WRITES[write](network.module)
    x = x.to(next(network.module.parameters()))
    actual = relevance(network, x, 1, method=method, defence=defence)
    fresh = dataclasses.replace(network, module=copy.deepcopy(network.module))
    assert torch.equal(actual, relevance(fresh, x, 1, method=method, defence=defence))
    assert not torch.equal(actual.double(), before)


def test_a_thousand_calls_leak_nothing():
    """Oracle: the number of live tensors and modules after 1,000 calls and 20 softened copies, and after 60."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double().eval()
    network = Network(module=module, patterns={"1": torch.ones(3, 4), "3": torch.ones(2, 3)})
    x = torch.rand(1, 1, 2, 2, dtype=torch.float64)

    def live_after(count: int) -> int:
        for i in range(count):
            soft = network.soften(4.0) if i % 50 == 0 else soft  # noqa: F821 - set in the first turn
            point = x.clone().requires_grad_(True)
            r, _ = explained(soft, point, list(EXPLANATIONS)[i % len(EXPLANATIONS)])
            torch.autograd.grad(r.sum(), point)
        del soft, point, r
        for _ in range(3):  # what a weak dictionary lets go of is collected in the next round
            gc.collect()
        return sum(issubclass(type(o), Tensor | nn.Module) for o in gc.get_objects())

    few = live_after(60)
    assert live_after(1000) <= few


@pytest.mark.parametrize("method", ["gradient", "guided_backprop", "pattern_attribution"])
def test_an_attack_with_nothing_to_follow_is_refused_before_the_first_step(method):
    """Oracle: on a ReLU network these maps are constant on each linear piece, up to a common factor."""
    network, x = family("vgg"), inputs(1)
    target = torch.full((1, 32, 32), 1 / 1024, dtype=torch.float64)
    row = dataclasses.replace(preset("vgg16", method, table=1), beta_start=None, beta_end=None, iterations=2)
    steps = []
    with pytest.raises(ValueError, match="second-order gradient of"):
        manipulate(network, x, target, config=row, steps=lambda r: (steps.append(i) or i for i in r))
    assert steps == [0]  # refused within it, before x moved


@pytest.mark.parametrize("method", EXPLANATIONS)
def test_an_attack_follows_every_method(method, monkeypatch):
    """Oracle: false sibling of the refusal; three steps at one beta bring every map nearer to the target."""
    monkeypatch.setitem(EXPLANATIONS, "integrated_gradients", FEW_STEPS)
    network, x = family("plain"), inputs(2)
    row = dataclasses.replace(
        preset("vgg16", method, table=1), iterations=3, lr=1e-3, explanation_weight=1e9, beta_start=4.0, beta_end=4.0
    )
    target = target_map(network, x.flip(0), config=row)
    result = manipulate(network, x, target, config=row)
    assert (result.history["map_mse"][-1] < result.history["map_mse"][0]).all()


@pytest.mark.parametrize("method", ["lrp", "guided_backprop", "pattern_attribution"])
def test_a_network_without_rules_is_refused_with_the_layer_named(method):
    """Oracle: the error's text."""
    from curvature import UnsupportedModuleError

    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(3600, 4)).double().eval()
    network = Network(module=module, patterns={"0": torch.zeros(1)})
    with pytest.raises(UnsupportedModuleError, match="GELU"):
        relevance(network, inputs(1), 0, method=method)
