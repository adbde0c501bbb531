"""The attack on the level set: constant output on the whole path, and as good a map as the free attack."""

import dataclasses

import pytest
import torch

from attacks import (
    AttackConfig,
    Network,
    explain,
    load_images,
    load_network,
    load_picture,
    manipulate,
    preset,
    target_map,
)
from attacks.defences import BetaSmoothing
from attacks.level_surface import PROMISE, LevelSurface
from attacks.metrics import pcc
from attacks.on_level_set import on_level_set

CONFIG = AttackConfig(
    network="small", method="gradient", iterations=40, lr=2e-2, explanation_weight=1e7, output_weight=1e3,
    output="softmax", beta_start=5.0, beta_end=5.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def target(network, images):
    return target_map(network, images.roll(1, 0), config=CONFIG)


@pytest.fixture(scope="module")
def attacked(network, images, target):
    return on_level_set(network, images, target, config=CONFIG)


def in_float64(network: Network, x: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """The explained logits of a network and inputs of any dtype, computed in float64."""
    return network.module.double()(x.double()).gather(1, classes[:, None])[:, 0]


def test_steps_that_are_refused_are_counted(network, images, target, attacked, monkeypatch):
    """Oracle: Newton's method that never arrives for one sample: it stands still, and all its steps are counted."""
    newton = LevelSurface._newton

    def failing(self, x, samples):
        state, arrived = newton(self, x, samples)
        return state, arrived & (samples != 1)

    monkeypatch.setattr(LevelSurface, "_newton", failing)
    short = dataclasses.replace(CONFIG, iterations=3)
    stuck = on_level_set(network, images, target, config=short)
    assert stuck.metrics["path"]["refused_steps"].tolist() == [0, 3, 0]
    assert torch.equal(stuck.adversarial[1], images[1])
    assert attacked.metrics["path"]["refused_steps"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_explained_output_is_constant_on_the_whole_path(dtype):
    """Oracle: every state of the path, evaluated in float64; a false sibling, the free attack, is far off."""
    network = load_network("digits")
    network = dataclasses.replace(network, module=network.module.to(dtype))
    x = torch.cat([network.preprocess(load_picture(f"digits/{i}", channels=1).image) for i in (5, 9)]).to(dtype)
    config = dataclasses.replace(preset("digits", "gradient", attack="on_level_set"), iterations=60, lr=1e-2)
    config = dataclasses.replace(config, beta_start=10.0, beta_end=10.0)
    target = target_map(network, x.flip(0), config=config)
    ends = [on_level_set(network, x, target, config=dataclasses.replace(config, iterations=n)) for n in (1, 7, 60)]
    classes = ends[0].target_class
    soft = network.soften(10.0)
    level = in_float64(soft, x, classes)
    for end in ends:
        assert ((in_float64(soft, end.adversarial, classes) - level).abs() <= PROMISE[dtype] * level.abs()).all()
        assert (end.history["deviation"] <= PROMISE[dtype]).all()
        assert (end.metrics["path"]["largest_deviation"] == end.history["deviation"].amax(0)).all()
    free = manipulate(network, x, target, config=config)
    assert ((in_float64(soft, free.adversarial, classes) - level).abs() > 100 * PROMISE[dtype] * level.abs()).all()


def test_it_reaches_nine_tenths_of_the_free_attacks_correlation(network, images, target, attacked):
    """Oracle: the free attack with the same loss, steps and softened network, and the map before."""
    free = manipulate(network, images, target, config=CONFIG)
    soft = network.soften(5.0)
    reached = pcc(explain(soft, free.adversarial, free.target_class), target)
    before = pcc(explain(soft, images, free.target_class), target)
    found = attacked.metrics["path"]["pcc_target_softened"]
    torch.testing.assert_close(found, pcc(explain(soft, attacked.adversarial, attacked.target_class), target))
    assert (found > before + 0.1).all()
    assert (found >= 0.9 * reached).all()


def test_the_path_stays_in_the_box_and_its_length_is_that_of_its_steps(network, images, target, attacked):
    """Oracle: the valid range; steps added up from shorter runs; a straight line is no longer than a path."""
    low, high = network.valid_range(images)
    assert ((attacked.adversarial >= low) & (attacked.adversarial <= high)).all()
    states, total = [images[:1]], torch.zeros(1, dtype=torch.float64)
    for n in range(1, 4):
        short = dataclasses.replace(CONFIG, iterations=n)
        states.append(on_level_set(network, images[:1], target[:1], config=short).adversarial)
        total += (states[-1] - states[-2]).flatten(1).norm(dim=1)
    torch.testing.assert_close(attacked.history["length"][2, :1], total)
    straight = (attacked.adversarial - images).flatten(1).norm(dim=1)
    assert (attacked.metrics["path"]["length"] >= straight).all()


def test_the_normal_turns_by_no_more_than_the_curvature_along_a_short_path(network, images, target):
    """Oracle: theorem 1, with the turn measured by an independent gradient; 2 % for the estimate of the curvature."""
    short = dataclasses.replace(CONFIG, iterations=8, lr=2e-3)
    result = on_level_set(network, images, target, config=short)
    found = result.metrics["path"]
    soft = network.soften(5.0)
    normals = []
    for x in (images, result.adversarial):
        leaf = x.clone().requires_grad_(True)
        f = soft.module(leaf).gather(1, result.target_class[:, None]).sum()
        (G,) = torch.autograd.grad(f, leaf)
        normals.append(G.flatten(1) / G.flatten(1).norm(dim=1, keepdim=True))
    turn = torch.acos((normals[0] * normals[1]).sum(1))
    torch.testing.assert_close(found["normal_turn"], turn, rtol=1e-6, atol=1e-7)
    assert (found["normal_turn"] > 0).all()
    assert (found["normal_turn"] <= 1.02 * found["curvature_budget_estimate"]).all()


def test_a_batch_equals_its_samples_alone(network, images, target, attacked):
    """Oracle: metamorphic, float64 over 40 steps, in chunks of one and of three."""
    parts = [on_level_set(network, x[None], t[None], config=CONFIG) for x, t in zip(images, target, strict=True)]
    alone = torch.cat([part.adversarial for part in parts])
    torch.testing.assert_close(attacked.adversarial, alone, rtol=1e-9, atol=1e-9)
    together = on_level_set(network, images, target, config=CONFIG, chunk=3)
    torch.testing.assert_close(together.adversarial, alone, rtol=1e-9, atol=1e-9)


def test_the_unsoftened_networks_logit_is_reported(network, attacked):
    """Oracle: the network itself, before and after."""
    logits = [
        network.module(x).gather(1, attacked.target_class[:, None])[:, 0]
        for x in (attacked.original, attacked.adversarial)
    ]
    torch.testing.assert_close(attacked.metrics["path"]["logit_change"], logits[1] - logits[0])


def test_a_defence_goes_along(network, images, target):
    """Oracle: beta-smoothing with the attack's own beta is the attack on the softened map."""
    short = dataclasses.replace(CONFIG, iterations=5)
    defended = on_level_set(network, images, target, config=short, defence=BetaSmoothing(beta=5.0))
    plain = on_level_set(network, images, target, config=short)
    torch.testing.assert_close(defended.adversarial, plain.adversarial)
    torch.testing.assert_close(
        defended.metrics["explanation"]["pcc_target"], defended.metrics["path"]["pcc_target_softened"]
    )


def test_interrupt_keeps_the_point_reached(network, images, target):
    """Oracle: a run of as many steps."""

    def steps(numbers):
        for number in numbers:
            if number == 3:
                raise KeyboardInterrupt
            yield number

    stopped = on_level_set(network, images, target, config=CONFIG, steps=steps)
    short = on_level_set(network, images, target, config=dataclasses.replace(CONFIG, iterations=3))
    assert stopped.completed == 3
    assert torch.equal(stopped.adversarial, short.adversarial)


def test_a_growing_or_missing_beta_is_refused(network, images, target):
    """Oracle: the error's text."""
    for start, end in ((5.0, 50.0), (None, None)):
        with pytest.raises(ValueError, match="one fixed beta"):
            on_level_set(network, images, target, config=dataclasses.replace(CONFIG, beta_start=start, beta_end=end))


def test_what_only_the_free_attack_can_do_is_refused(network, images, target):
    """Oracle: the error's text."""
    with pytest.raises(ValueError, match="only manipulate"):
        on_level_set(network, images, target, config=dataclasses.replace(CONFIG, stop_pcc=0.9))


def test_pixels_that_were_held_do_not_jump_when_they_are_let_go():
    """Oracle: a step is at most a learning rate a pixel, the way back no longer; most pixels are held at first."""
    network = load_network("mnist_lenet", weights="random")
    x = load_images("mnist", indices=[125, 250]).inputs(network)
    config = preset("mnist_lenet", "gradient", attack="on_level_set")
    config = dataclasses.replace(config, iterations=4, lr=1e-3, beta_start=10.0, beta_end=10.0)
    target = target_map(network, x.roll(1, 0), config=config)
    result = on_level_set(network, x, target, config=config, chunk=len(x))
    steps = result.history["length"].diff(dim=0)
    assert (steps <= 2 * config.lr * 28).all()
    assert (steps > 0).all()
