"""The targeted manipulation: it works, batches, repeats, stops and refuses."""

import dataclasses

import pytest
import torch
from torch import nn

from attacks import AttackConfig, CurvatureTrace, explain, load_network, load_picture, manipulate, target_map
from attacks.explanations import normalised_map, relevance_and_logits
from attacks.manipulation import Problem, batch_gradient
from attacks.metrics import pcc
from curvature import UnsupportedModuleError
from tests.attacks.conftest import small_convnet

CONFIG = AttackConfig(
    network="small", method="gradient", iterations=50, lr=2e-2, explanation_weight=1e7, output_weight=1e3,
    output="softmax", beta_start=5.0, beta_end=50.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def target(network, images):
    return target_map(network, images.flip(0), config=CONFIG)


@pytest.fixture(scope="module")
def attacked(network, images, target):
    return manipulate(network, images, target, config=CONFIG, trace=CurvatureTrace(every=10))


def test_the_map_moves_to_the_target_and_the_class_stays(attacked):
    """Oracle: the map's error before against after, the loss history, the predicted classes."""
    found = attacked.metrics["explanation"]
    moved = [0, 2]  # the middle image's target is its own map
    assert (found["mse_target"][moved] < found["mse_target_before"][moved] / 2).all()
    assert (attacked.history["loss"][-1][moved] < attacked.history["loss"][0][moved]).all()
    assert attacked.metrics["output"]["class_kept"].all()


def test_the_result_is_a_valid_image(network, attacked):
    """Oracle: the valid range, channel by channel."""
    low, high = network.valid_range(attacked.adversarial)
    assert (attacked.adversarial >= low).all()
    assert (attacked.adversarial <= high).all()


def test_a_batch_equals_its_samples_alone_over_fifty_steps(network, images, target, attacked):
    """Oracle: metamorphic; float64, 1e-10, in one chunk and in three."""
    alone = torch.cat(
        [manipulate(network, x[None], t[None], config=CONFIG).adversarial for x, t in zip(images, target, strict=True)]
    )
    torch.testing.assert_close(attacked.adversarial, alone, rtol=1e-10, atol=1e-10)
    together = manipulate(network, images, target, config=CONFIG, chunk=3)
    torch.testing.assert_close(together.adversarial, alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_each_steps_gradient_in_a_batch_equals_the_samples_alone(network, images, target, dtype, tolerance):
    """Oracle: metamorphic, relative to each sample's gradient norm."""
    soft = dataclasses.replace(network, module=small_convnet(dtype=dtype)).soften(5.0)
    x, t = images.to(dtype), target.to(dtype)
    classes = network.predict(images)

    def gradient(part):
        problem = Problem(soft, t[part], classes[part], soft.module(x[part]).softmax(1), CONFIG, len(x))
        return batch_gradient(problem, x[part], first=False)[0]

    together = gradient(slice(None))
    for i in range(len(x)):
        alone = gradient(slice(i, i + 1))[0]
        assert (together[i] - alone).norm() <= tolerance * alone.norm()


@pytest.mark.parametrize("output", ["softmax", "logits"])
@pytest.mark.parametrize("beta_end", [50.0, 5.0], ids=["growth", "fixed"])
def test_two_steps_equal_the_whole_loss_written_out(network, images, output, beta_end):
    """Oracle: eq. 1 to 3 by hand with autograd and torch's Adam; references at beta = 1000 with growth."""
    config = dataclasses.replace(CONFIG, iterations=2, output=output, beta_end=beta_end, output_weight=1e4)
    reference, classes = network.soften(1000.0 if beta_end > 5 else 5.0).module, network.predict(images)

    def outputs(module, x):
        return module(x).softmax(1) if output == "softmax" else module(x)

    def maps(module, x):
        total = module(x).gather(1, classes[:, None]).sum()
        h = torch.autograd.grad(total, x, create_graph=True)[0].abs().sum(1)
        return h / h.sum((1, 2), keepdim=True)

    target = maps(reference, images.roll(1, 0).requires_grad_(True)).detach()
    held = outputs(reference, images).detach()
    current, losses = images.clone().requires_grad_(True), []
    adam = torch.optim.Adam([current], lr=config.lr)
    for step in range(2):
        soft = network.soften(5.0 * (beta_end / 5.0) ** (step / 2)).module
        loss = config.explanation_weight * (maps(soft, current) - target).square().mean((1, 2))
        loss = loss + config.output_weight * (outputs(soft, current) - held).square().mean(1)
        losses.append(loss.detach())
        current.grad = torch.autograd.grad(loss.sum(), current)[0]
        adam.step()
        current.data = network.clamp(current.data)
    found = manipulate(network, images, target, config=config)
    torch.testing.assert_close(found.history["loss"], torch.stack(losses), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.adversarial, current.detach(), rtol=1e-9, atol=1e-9)
    if beta_end > 5:  # False sibling: without the output's term, or with the references at the attack's beta.
        assert (found.history["output_mse"][0] > 1e-9).all()


def test_the_same_attack_gives_the_same_bytes(network, images, target, attacked):
    """Oracle: a second run."""
    again = manipulate(network, images, target, config=CONFIG, trace=CurvatureTrace(every=10))
    assert torch.equal(again.adversarial, attacked.adversarial)
    assert again.trace.as_dicts() == attacked.trace.as_dicts()


def test_a_step_of_the_loss_is_adams(network, images, target):
    """Oracle: Adam's first step moves every free number by lr against the sign of the gradient."""
    one = dataclasses.replace(CONFIG, iterations=1)
    soft = network.soften(5.0)
    classes = network.predict(images)
    x = images.clone().requires_grad_(True)
    r, _ = relevance_and_logits(soft, x, classes)
    loss = (normalised_map(r) - target).square().flatten(1).mean(1)
    # At the start the output differs from the reference only by softening; its pull is left out here.
    (slope,) = torch.autograd.grad(loss.sum() * one.explanation_weight, x)
    result = manipulate(network, images, target, config=dataclasses.replace(one, output_weight=0.0))
    expected = network.clamp(images - one.lr * slope / (slope.abs() + 1e-8))
    torch.testing.assert_close(result.adversarial, expected, rtol=0, atol=1e-9)


def test_interrupt_keeps_the_state_reached(network, images, target):
    """Oracle: a shorter run of the same schedule, with the interrupt at its end."""

    def stop_after(count):
        def steps(numbers):
            for number in numbers:
                if number == count:
                    raise KeyboardInterrupt
                yield number

        return steps

    result = manipulate(network, images, target, config=CONFIG, steps=stop_after(7))
    assert result.interrupted
    assert result.completed == 7
    assert len(result.history["loss"]) == 7
    whole = manipulate(network, images, target, config=CONFIG)
    torch.testing.assert_close(result.history["loss"], whole.history["loss"][:7])


def test_trace_budget_covers_the_turn_of_the_normal_on_a_short_path(network, images, target):
    """Oracle: to first order the turn is at most the budget; measured with an independent normal."""
    config = dataclasses.replace(CONFIG, iterations=8, lr=1e-3)
    trace = CurvatureTrace(every=1, beta=2.0, rtol=1e-6, max_hvps=400)
    result = manipulate(network, images[:1], target[:1], config=config, trace=trace)
    points = trace.points[0]
    soft = network.soften(2.0)
    normals = []
    for x in (result.original, result.adversarial):
        G = explain_raw(soft, x, result.target_class)
        normals.append(G / G.norm())
    change = float((normals[1] - normals[0]).norm())
    assert abs(points[-1].normal_change - change) < 1e-12
    assert 0 < change <= 1.05 * points[-1].chord_budget_estimate
    assert points[-1].chord_budget_estimate <= points[-1].budget_estimate * 1.01
    assert [p.step for p in points] == list(range(9))


def explain_raw(network, x, classes):
    return relevance_and_logits(network, x, classes)[0]


def test_what_cannot_be_attacked_is_refused(network, images, target):
    """Oracle: the error's text, for a piecewise linear network and for layers without a softplus form."""
    with pytest.raises(ValueError, match="second-order gradient of gradient is zero"):
        manipulate(network, images, target, config=dataclasses.replace(CONFIG, beta_start=None, beta_end=None))
    leaky = nn.Sequential(nn.Flatten(), nn.Linear(432, 8), nn.LeakyReLU(), nn.Linear(8, 4)).double().eval()
    with pytest.raises(UnsupportedModuleError, match=r"'2' \(LeakyReLU\)"):
        manipulate(leaky, images, target, config=CONFIG)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t[:, :4], "expected target maps"),
        (lambda t: t * 2, "sum to 1"),
        (lambda t: t * float("nan"), "sum to 1"),
        (lambda t: t[:2], "target maps"),
    ],
)
def test_bad_targets_are_named(network, images, target, change, words):
    """Oracle: the error's text."""
    with pytest.raises(ValueError, match=words):
        manipulate(network, images, change(target), config=CONFIG)


def test_a_sample_stops_at_its_correlation_and_is_as_if_alone(network, images, target):
    """Oracle: each sample alone; the correlation of the map that the loss sees; NaN in the history afterwards."""
    fixed = dataclasses.replace(CONFIG, beta_start=20.0, beta_end=20.0, iterations=30)
    soft = network.soften(20.0)
    classes = network.predict(images)
    before = pcc(explain(soft, images, classes), target)
    config = dataclasses.replace(fixed, stop_pcc=float(before[0]) + 0.1)
    stopped = manipulate(network, images, target, config=config)
    reached = pcc(explain(soft, stopped.adversarial, classes), target)
    assert before[1] >= config.stop_pcc
    assert torch.equal(stopped.adversarial[1], images[1])
    assert reached[0] >= config.stop_pcc
    assert not stopped.interrupted
    for i in range(3):
        alone = manipulate(network, images[i : i + 1], target[i : i + 1], config=config)
        torch.testing.assert_close(stopped.adversarial[i : i + 1], alone.adversarial, rtol=1e-10, atol=1e-10)
        assert alone.completed <= stopped.completed
        assert torch.isnan(stopped.history["loss"][alone.completed :, i]).all()
    # False sibling: without the stop the first sample goes on.
    assert (
        pcc(explain(soft, manipulate(network, images, target, config=fixed).adversarial, classes), target)[0]
        > reached[0]
    )


def test_the_best_state_is_kept_by_the_networks_own_map(network, images, target):
    """Oracle: all states of the same attack, measured here."""
    rough = dataclasses.replace(CONFIG, lr=0.3, iterations=5)
    states = [images]
    for n in range(1, 6):
        config = dataclasses.replace(rough, iterations=n, beta_start=20.0, beta_end=20.0)
        states.append(manipulate(network, images[:1], target[:1], config=config).adversarial)
    classes = network.predict(images[:1])
    errors = [
        float((explain(network, x[:1], classes) - target[0]).square().mean())
        if network.predict(x[:1]) == classes
        else float("inf")
        for x in states
    ]
    config = dataclasses.replace(rough, keep="best", beta_start=20.0, beta_end=20.0)
    best = manipulate(network, images[:1], target[:1], config=config)
    assert min(errors) < errors[-1]
    torch.testing.assert_close(best.adversarial, states[errors.index(min(errors))][:1], rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_memory_does_not_grow_over_the_steps_and_parameters_get_no_gradients():
    """Oracle: the process's resident memory after 300 and after 1,500 steps, and the parameters."""
    network = load_network("digits")
    x = network.preprocess(load_picture("digits/5", channels=1).image)
    config = dataclasses.replace(CONFIG, network="digits", iterations=1500, lr=1e-4)
    aim = explain(network, network.preprocess(load_picture("digits/9", channels=1).image))
    sizes = {}

    def steps(numbers):
        for number in numbers:
            if number in (300, 1499):
                with open("/proc/self/statm") as file:
                    sizes[number] = int(file.read().split()[1]) * 4096
            yield number

    manipulate(network, x, aim, config=config, steps=steps)
    assert sizes[1499] - sizes[300] < 20e6  # a leaked graph of this network would be 30 KB a step, 36 MB here
    assert all(p.grad is None for p in network.module.parameters())
