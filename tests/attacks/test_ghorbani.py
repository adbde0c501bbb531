"""The attacks of Ghorbani et al.: their steps, their ball, the iterate that is kept."""

import dataclasses

import pytest
import torch

from attacks import ATTACKS, explain, preset, target_map
from attacks.defences import BetaSmoothing
from attacks.ghorbani import RADIUS, dissimilarity, ghorbani
from attacks.metrics import mass_centre

CONFIG = dataclasses.replace(preset("small", "gradient", attack="ghorbani_top_k"), iterations=12)
VARIANTS = ("top_k", "mass_centre", "target_region")


@pytest.fixture(scope="module")
def target(network, images):
    return target_map(network, images.flip(0), config=CONFIG)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_best_iterate_is_that_of_a_plain_loop(network, images, target, variant):
    """Oracle: the algorithm written again for one image, with autograd on the softened network."""
    x0, k, steps = images[:1], 7, CONFIG.iterations
    soft, kept = network.soften(1.0).module, int(network.predict(x0))
    top = explain(network, x0).flatten().topk(k).indices
    centre = mass_centre(explain(network, x0))

    def d(h):
        if variant == "top_k":
            return -h.flatten()[top].sum()
        if variant == "target_region":
            return h[target[:1] > target[0].mean()].sum()
        return (mass_centre(h) - centre).square().sum()

    x, best, best_value = x0.clone(), x0.clone(), d(explain(network, x0))
    for step in range(steps):
        point = x.clone().requires_grad_(True)
        (G,) = torch.autograd.grad(soft(point)[0, kept], point, create_graph=True)
        a = G.abs().sum(1)
        (slope,) = torch.autograd.grad(d(a / a.sum()), point)
        moved = network.pixels(x) + CONFIG.lr * slope.sign()
        moved = moved.clamp(network.pixels(x0) - RADIUS, network.pixels(x0) + RADIUS).clamp(0, 1)
        x = network.normalise(moved)
        value = d(explain(network, x, kept))
        if value > best_value and int(network.predict(x)) == kept:
            best, best_value, best_step = x.clone(), value, step + 1
    result = ghorbani(network, x0, target[:1], config=CONFIG, variant=variant, k=k)
    torch.testing.assert_close(result.adversarial, best, rtol=1e-9, atol=1e-9)
    found = result.metrics["dissimilarity"]
    assert int(found["best_step"]) == best_step
    torch.testing.assert_close(found["after"], best_value[None].double())


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_equals_its_samples_alone(network, images, target, variant):
    """Oracle: metamorphic, in chunks of one and of three."""
    attack = ATTACKS[f"ghorbani_{variant}"]
    together = attack(network, images, target, config=CONFIG)
    alone = [attack(network, x[None], t[None], config=CONFIG) for x, t in zip(images, target, strict=True)]
    torch.testing.assert_close(together.adversarial, torch.cat([r.adversarial for r in alone]), rtol=1e-9, atol=1e-9)
    chunked = attack(network, images, target, config=CONFIG, chunk=3)
    torch.testing.assert_close(together.adversarial, chunked.adversarial, rtol=1e-9, atol=1e-9)
    assert together.attack == f"ghorbani_{variant}"


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_result_stays_in_ball_and_box_keeps_the_class_and_never_gets_worse(network, images, target, variant):
    """Oracle: the definition; a false sibling: the ball is reached, so it is what holds the pixels."""
    result = ghorbani(network, images, target, config=dataclasses.replace(CONFIG, iterations=40), variant=variant)
    assert (result.metrics["image"]["linf"] <= RADIUS + 1e-12).all()
    low, high = network.valid_range(images)
    assert ((result.adversarial >= low) & (result.adversarial <= high)).all()
    assert result.metrics["output"]["class_kept"].all()
    found = result.metrics["dissimilarity"]
    assert (found["after"] > found["before"]).all()
    if variant == "top_k":
        assert (result.metrics["image"]["linf"] > RADIUS - 1e-9).any()


def test_dissimilarities_by_hand():
    """Oracle: worked by hand on maps of 2x2 pixels."""
    original = torch.tensor([[[0.4, 0.3], [0.2, 0.1]]], dtype=torch.float64)
    target = torch.tensor([[[0.1, 0.1], [0.1, 0.7]]], dtype=torch.float64)
    maps = torch.tensor([[[0.1, 0.2], [0.3, 0.4]]], dtype=torch.float64)
    part = torch.tensor([0])
    values = {v: float(dissimilarity(v, original=original, target=target, k=2)(maps, part)) for v in VARIANTS}
    assert values["top_k"] == pytest.approx(-0.3)
    assert values["target_region"] == pytest.approx(0.4)
    assert values["mass_centre"] == pytest.approx((0.7 - 0.3) ** 2 + (0.6 - 0.4) ** 2)


def test_mass_centre_leaves_the_original_even_where_the_squares_slope_is_zero(network, images, target):
    """Oracle: a network that is its own surrogate, whose centre is at the reference in the first step."""
    soft = network.soften(1.0)
    result = ghorbani(soft, images, target, config=CONFIG, variant="mass_centre")
    assert (result.metrics["dissimilarity"]["mass_centre_shift"] > 0).all()


def test_a_defence_is_attacked_and_measured(network, images, target):
    """Oracle: the defended map of the result; the same path as on the softened network, which the defence is."""
    defence = BetaSmoothing(beta=1.0)
    result = ghorbani(network, images, target, config=CONFIG, defence=defence)
    expected = explain(network, result.adversarial, result.target_class, defence=defence)
    torch.testing.assert_close(result.maps, expected)


def test_interrupt_keeps_the_best_so_far(network, images, target):
    """Oracle: a run of as many steps."""

    def steps(numbers):
        for number in numbers:
            if number == 5:
                raise KeyboardInterrupt
            yield number

    stopped = ghorbani(network, images, target, config=CONFIG, steps=steps)
    short = ghorbani(network, images, target, config=dataclasses.replace(CONFIG, iterations=5))
    assert stopped.interrupted
    assert stopped.completed == 5
    assert torch.equal(stopped.adversarial, short.adversarial)


def test_bad_arguments_are_named(network, images, target):
    """Oracle: the error's text."""
    with pytest.raises(ValueError, match=r"k in 1\.\.144"):
        ghorbani(network, images, target, config=CONFIG, variant="top_k", k=145)
    with pytest.raises(ValueError, match="radius"):
        ghorbani(network, images, target, config=CONFIG, radius=0.0)
    with pytest.raises(ValueError, match="chunk"):
        ghorbani(network, images, target, config=CONFIG, chunk=0)
    with pytest.raises(ValueError, match="one class for each"):
        ghorbani(network, images, target, config=CONFIG, target_class=torch.tensor([0]))
    with pytest.raises(ValueError, match="only manipulate"):
        ghorbani(network, images, target, config=dataclasses.replace(CONFIG, keep="best"))
    rough = dataclasses.replace(CONFIG, beta_start=None, beta_end=None)
    with pytest.raises(ValueError, match="second-order gradient"):
        ghorbani(network, images, target, config=rough)
