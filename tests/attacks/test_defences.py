"""Defences: what they average and soften, how attacks go through them, and their errors."""

import dataclasses
import inspect

import pytest
import torch
from torch import nn

import attacks.defences
import curvature
from attacks import (
    ATTACKS,
    DEFENCES,
    EXPLANATIONS,
    AttackConfig,
    explain,
    load_result,
    manipulate,
    preset,
    relevance,
    save_result,
    target_map,
)
from attacks.defences import BetaSmoothing, SmoothGrad, SphericalLogistic
from attacks.explanations import relevance_and_logits
from attacks.explanations.patterns import PatternFit
from tests.attacks.conftest import small_convnet

CONFIG = AttackConfig(
    network="small", method="gradient", iterations=15, lr=2e-2, explanation_weight=1e7, output_weight=1e3,
    output="softmax", beta_start=5.0, beta_end=50.0,
)  # fmt: skip
ALL = [
    BetaSmoothing(beta=1.5),
    SmoothGrad(noise=0.1, samples=4),
    SmoothGrad(noise=0.1, samples=4, average="maps"),
    SphericalLogistic(beta=3.0, samples=4),
]


def test_beta_smoothing_explains_the_softened_network_and_predicts_with_the_given_one(network, images):
    """Oracle: ``soften`` by hand; the logits of the network itself; the same for a network softened otherwise."""
    for given in (network, network.soften(20.0), network.soften(1.5)):
        r, logits = relevance_and_logits(given, images, 1, defence=BetaSmoothing(beta=1.5))
        torch.testing.assert_close(r, relevance(network.soften(1.5), images, 1))
        torch.testing.assert_close(logits, given.module(images))


def test_beta_smoothing_follows_the_weights_and_keeps_one_copy(network, images, monkeypatch):
    """Oracle: the number of softened copies made; a network whose weights were changed in place."""
    made = []
    soften = curvature.soften
    monkeypatch.setattr(attacks.defences.curvature, "soften", lambda m, b: made.append(b) or soften(m, b))
    module, defence = small_convnet(), BetaSmoothing(beta=2.0)
    for _ in range(3):
        explain(module, images / 5 + 0.4, 0, defence=defence)
    assert made == [2.0]
    with torch.no_grad():
        module[0].weight.mul_(-1)
    changed = relevance(module, images, 0, defence=defence)
    torch.testing.assert_close(changed, relevance(soften(module, 2.0), images, 0))
    assert made == [2.0, 2.0]


def test_smoothgrad_is_the_mean_over_noisy_copies(network, images):
    """Oracle: a plain loop over the copies, one sample and one copy at a time; both averages."""
    defence = SmoothGrad(noise=0.1, samples=5, seed=3)
    noise = defence.displacements(network, images)
    assert noise.shape == (5, 3, 12, 12)
    copies = torch.stack([torch.cat([relevance(network, x[None] + n, 2) for n in noise]) for x in images])
    torch.testing.assert_close(relevance(network, images, 2, defence=defence), copies.mean(1))
    maps = torch.stack([torch.cat([explain(network, x[None] + n, 2) for n in noise]) for x in images])
    by_maps = dataclasses.replace(defence, average="maps")
    torch.testing.assert_close(explain(network, images, 2, defence=by_maps), maps.mean(1))
    # False sibling: the two averages differ, as relevance of different signs cancels in one of them.
    assert not torch.allclose(explain(network, images, 2, defence=defence), maps.mean(1), rtol=1e-3)


def test_noise_has_the_scale_of_each_channels_valid_range():
    """Oracle: sigma = noise (x_max - x_min) by hand, to 5 standard errors."""
    network = dataclasses.replace(attacks.Network(module=small_convnet()), mean=(0.5, 0.4, 0.1), std=(0.5, 0.25, 0.125))
    x = torch.zeros(1, 3, 64, 64, dtype=torch.float64)
    noise = SmoothGrad(noise=0.2, samples=16).displacements(network, x)
    measured = noise.transpose(0, 1).flatten(1).std(1)
    expected = 0.2 / torch.tensor(network.std, dtype=torch.float64)
    assert ((measured / expected - 1).abs() < 5 / (2 * 16 * 64 * 64) ** 0.5).all()


def test_spherical_noise_turns_one_relu_layer_into_softplus():
    """Oracle: closed form, theorem 2: the mean gradient is that of softplus with beta over the weights' norms."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3)).double().eval()
    x = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    defence = SphericalLogistic(beta=4.0, samples=40_000)
    weight, bias, head = module[1].weight.detach(), module[1].bias.detach(), module[3].weight.detach()[2]
    gate = torch.sigmoid(4.0 / weight.norm(dim=1) * (weight @ x.flatten() + bias))
    expected = (head * gate) @ weight
    actual = relevance(module, x, 2, defence=defence).flatten()
    # A gate's standard error is at most 1/2 over the root of the samples; five of them, summed over neurons.
    tolerance = 5 * 0.5 / 200 * (head.abs() @ weight.abs())
    assert ((actual - expected).abs() < tolerance).all()
    plain = relevance(module, x, 2).flatten()
    assert ((plain - expected).abs() > tolerance).any()


def test_evaluations_share_their_noise_and_attack_steps_do_not(network, images):
    """Oracle: the contract of seed and step."""
    defence = SmoothGrad(noise=0.1, samples=3, seed=1)
    first, second = (defence.displacements(network, images) for _ in range(2))
    assert torch.equal(first, second)
    draws = [defence, defence.at_step(0), defence.at_step(1), dataclasses.replace(defence, seed=2)]
    tensors = [d.displacements(network, images) for d in draws]
    assert all(not torch.equal(a, b) for i, a in enumerate(tensors) for b in tensors[:i])
    assert torch.equal(defence.at_step(1).displacements(network, images[:1]), tensors[2])
    smoothing = BetaSmoothing()
    assert smoothing.at_step(7) is smoothing


@pytest.mark.parametrize("defence", ALL, ids=lambda d: f"{d.settings()['name']}-{getattr(d, 'average', '')}")
def test_defended_relevance_is_differentiable_and_its_graph_follows_x(network, images, defence):
    """Oracle: central differences of second order; the error falls by 4 when the step is halved."""
    soft = network.soften(3.0)
    weight = torch.rand(images.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    direction = torch.rand(images.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64) - 0.5

    def loss(x):
        r, logits = relevance_and_logits(soft, x, 1, defence=defence)
        return (r * weight).sum() + logits.square().sum()

    assert not loss(images).requires_grad
    x = images.clone().requires_grad_(True)
    slope = (torch.autograd.grad(loss(x), x)[0] * direction).sum()
    # With maps the absolute value has kinks, so the step is small and only the agreement is asked for.
    steps = (2e-6, 1e-6) if getattr(defence, "average", "") == "maps" else (2e-2, 1e-2)
    errors = [
        float(((loss(images + e * direction) - loss(images - e * direction)) / (2 * e) - slope).abs()) for e in steps
    ]
    assert errors[1] < 1e-3 * float(slope.abs())
    if steps[0] > 1e-3:
        assert 3.5 < errors[0] / errors[1] < 4.5


@pytest.mark.parametrize("average", ["relevance", "maps"])
def test_the_bounded_memory_way_gives_the_same_gradient(network, images, monkeypatch, average):
    """Oracle: the whole graph held at once."""
    soft, defence = network.soften(3.0), SmoothGrad(noise=0.1, samples=5, average=average)

    def gradient():
        x = images.clone().requires_grad_(True)
        r, logits = relevance_and_logits(soft, x, 1, defence=defence)
        return r.detach(), torch.autograd.grad((r**3).sum() + logits.exp().sum(), x)[0]

    held = gradient()
    monkeypatch.setattr(attacks.defences, "_NUMBERS_A_PASS", 2 * images.numel())
    for actual, expected in zip(gradient(), held, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("defence", ALL, ids=lambda d: f"{d.settings()['name']}-{getattr(d, 'average', '')}")
def test_an_attack_goes_through_the_defence_and_batches(network, images, defence):
    """Oracle: the defended map's error falls; each sample is as if alone; the result names the defence."""
    target = target_map(network, images.flip(0), config=CONFIG, defence=defence)
    result = manipulate(network, images, target, config=CONFIG, defence=defence)
    found = result.metrics["explanation"]
    assert (found["mse_target"][[0, 2]] < 0.95 * found["mse_target_before"][[0, 2]]).all()
    torch.testing.assert_close(
        result.maps, explain(network, result.adversarial, result.target_class, defence=defence), rtol=1e-11, atol=1e-13
    )
    alone = manipulate(network, images[:1], target[:1], config=CONFIG, defence=defence)
    torch.testing.assert_close(result.adversarial[:1], alone.adversarial, rtol=1e-10, atol=1e-10)
    together = manipulate(network, images, target, config=CONFIG, defence=defence, chunk=3)
    torch.testing.assert_close(result.adversarial, together.adversarial, rtol=1e-10, atol=1e-10)


def test_an_attack_that_does_not_know_the_defence_moves_as_without_it(network, images):
    """Oracle: the undefended attack's path, and the defended map of its end."""
    defence = BetaSmoothing(beta=1.0, adaptive=False)
    target = target_map(network, images.flip(0), config=CONFIG)
    blind = manipulate(network, images, target, config=CONFIG, defence=defence)
    plain = manipulate(network, images, target, config=CONFIG)
    assert torch.equal(blind.adversarial, plain.adversarial)
    expected = explain(network, plain.adversarial, plain.target_class, defence=defence)
    torch.testing.assert_close(blind.maps, expected)
    adaptive = manipulate(network, images, target, config=CONFIG, defence=BetaSmoothing(beta=1.0))
    assert not torch.equal(adaptive.adversarial, plain.adversarial)


@pytest.mark.parametrize("method", EXPLANATIONS)
@pytest.mark.parametrize("attack", ["manipulate", "on_level_set", "ghorbani_target_region"])
def test_every_method_is_attacked_through_every_defence(network, images, method, attack):
    """Oracle: a batch against its samples alone, and the defended map of the result; three steps of each."""
    fit = PatternFit(network)
    fit.add(images)
    patterned = dataclasses.replace(network, patterns=fit.patterns())
    config = dataclasses.replace(CONFIG, method=method, iterations=3, beta_start=5.0, beta_end=5.0)
    if attack.startswith("ghorbani"):
        config = dataclasses.replace(preset("small", method, attack=attack), iterations=3)
    x = images[:2]
    for defence in ALL if attack == "manipulate" else ALL[1:2]:
        target = target_map(patterned, images[1:], config=config, defence=defence)
        result = ATTACKS[attack](patterned, x, target, config=config, defence=defence, chunk=2)
        last = ATTACKS[attack](patterned, x[1:], target[1:], config=config, defence=defence)
        torch.testing.assert_close(result.adversarial[1:], last.adversarial, rtol=1e-9, atol=1e-9)
        expected = explain(patterned, result.adversarial, result.target_class, method=method, defence=defence)
        torch.testing.assert_close(result.maps, expected, rtol=1e-9, atol=1e-12)
        # Ghorbani's attacks may find no better state than the first.
        assert attack.startswith("ghorbani") or not torch.equal(result.adversarial[0], x[0])


def test_a_result_file_says_attack_and_defence(network, images, tmp_path):
    """Oracle: the file read back."""
    target = target_map(network, images.flip(0), config=CONFIG)
    short = dataclasses.replace(CONFIG, iterations=1)
    defence = SmoothGrad(noise=0.2, samples=2, seed=4)
    save_result(manipulate(network, images, target, config=short, defence=defence), tmp_path / "result.safetensors")
    _, metadata = load_result(tmp_path / "result.safetensors")
    assert metadata["attack"] == "manipulate"
    settings = {"adaptive": True, "samples": 2, "average": "relevance", "seed": 4, "step": None, "noise": 0.2}
    assert metadata["defence"] == {"name": "smoothgrad", **settings}


def test_every_attack_and_defence_of_the_tables_has_the_common_call():
    """Oracle: the signature of the targeted manipulation, and the names of the table."""
    expected = list(inspect.signature(manipulate).parameters)
    for attack in ATTACKS.values():
        assert list(inspect.signature(attack).parameters)[: len(expected)] == expected
    assert {name: DEFENCES[name]().settings()["name"] for name in DEFENCES} == {name: name for name in DEFENCES}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SmoothGrad(noise=-0.1), "noise level"),
        (lambda: SmoothGrad(noise=float("nan")), "noise level"),
        (lambda: SmoothGrad(samples=0), "samples >= 1"),
        (lambda: SmoothGrad(seed=-1), "seed >= 0"),
        (lambda: BetaSmoothing(beta=0.0), "beta > 0"),
        (lambda: SphericalLogistic(beta=float("inf")), "beta > 0"),
    ],
)
def test_bad_settings_are_named(make, words):
    """Oracle: the error's text."""
    with pytest.raises(ValueError, match=words):
        make()


def test_an_attack_on_an_averaged_relu_network_is_refused(network, images):
    """Oracle: the error's text; an average of constant gradients is constant, beta-smoothing is not."""
    target = target_map(network, images.flip(0), config=CONFIG)
    rough = dataclasses.replace(CONFIG, beta_start=None, beta_end=None, iterations=2)
    with pytest.raises(ValueError, match="second-order gradient"):
        manipulate(network, images, target, config=rough, defence=SmoothGrad(samples=2))
    assert manipulate(network, images, target, config=rough, defence=BetaSmoothing()).completed == 2


def test_an_unknown_average_is_named():
    """Oracle: the error's text; the field is set past the tests' type check, as a caller without it may."""
    defence = SmoothGrad()
    object.__setattr__(defence, "average", "median")
    with pytest.raises(ValueError, match="average among"):
        defence.__post_init__()
