"""Pattern attribution and its patterns: a naive form, a closed-form linear model, streaming, files."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from attacks import Network, relevance
from attacks.explanations.patterns import PatternFit, fit_patterns, load_patterns, save_patterns
from tests.attacks.explanations import naive
from tests.attacks.families import family, inputs
from tests.strategies import normal


def linear_model(count: int = 400) -> tuple[Network, torch.Tensor, torch.Tensor, torch.Tensor]:
    """x = a s + d e with s and e uncorrelated in the sample; the filter w reads s and is blind to the distractor d."""
    a, d = (torch.tensor(v, dtype=torch.float64) for v in ([1.0, 0.5, 0.0, 2.0], [1.0, 1.0, 0.5, 2.0]))
    w = a - d * (a @ d) / (d @ d)
    w = w / (w @ a)
    s, e = normal(0, 2, count) + 0.5
    e = e - e.mean()
    e = e - (s - s.mean()) * (e @ (s - s.mean())) / ((s - s.mean()) @ (s - s.mean()))
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False)).double().eval()
    module[1].weight.data.copy_(w[None])
    images = (s[:, None] * a + e[:, None] * d).reshape(count, 1, 2, 2)
    return Network(module=module), images, a, w


def test_the_signal_is_recovered_where_the_gradient_is_distracted():
    """Oracle: closed form; in the linear model x = a s + d e the pattern is a, the weight is orthogonal to d."""
    network, images, a, w = linear_model()
    pattern = fit_patterns(network, images.split(64))["1"][0]
    torch.testing.assert_close(pattern, a, rtol=1e-10, atol=1e-12)
    assert torch.nn.functional.cosine_similarity(w, a, dim=0) < 0.9
    r = relevance(
        dataclasses.replace(network, patterns={"1": pattern[None]}), images[:1], 0, method="pattern_attribution"
    )
    torch.testing.assert_close(r.flatten(), w * a * (w @ images[0].flatten()), rtol=1e-10, atol=1e-12)


def test_patterns_of_active_neurons_equal_the_formula_over_the_whole_sample():
    """Oracle: the estimator written with loops over neurons and patches; a convolution and both linear layers."""
    network, images = family("plain"), inputs(6)
    fitted = fit_patterns(network, images.split(4))
    module = network.module
    a = images
    for name, layer in module.named_children():
        y = layer(a)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            last = name == "8"
            if isinstance(layer, nn.Conv2d):
                rows = nn.functional.unfold(a, layer.kernel_size, 1, layer.padding, layer.stride).transpose(1, 2)
                rows, outs = rows.flatten(0, 1), y.flatten(2).transpose(1, 2).flatten(0, 1)
            else:
                rows, outs = a, y
            for j in range(outs.shape[1]):
                on = torch.ones(len(outs), dtype=torch.bool) if last else outs[:, j] > 0
                cov = (rows[on] * outs[on, j : j + 1]).mean(0) - rows[on].mean(0) * outs[:, j].mean()
                expected = cov / (layer.weight[j].flatten() @ cov) if on.any() else torch.zeros_like(cov)
                torch.testing.assert_close(fitted[name][j].flatten(), expected.detach(), rtol=1e-8, atol=1e-10)
        a = y.detach()


@pytest.mark.parametrize("beta", [None, 4.0])
def test_map_equals_a_naive_matrix_form(beta):
    """Oracle: transposed dense matrices times their patterns, gates in between; with strides and padding."""
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 2), nn.ReLU(), nn.Flatten(),
        nn.Linear(18, 3),
    ).double().eval()  # fmt: skip
    x = normal(3, 1, 1, 8, 8)
    network = Network(module=module)
    patterns = fit_patterns(network, [normal(9, 20, 1, 8, 8)])
    steps = naive.matrices(module, (1, 8, 8))
    # A dense matrix is linear in the layer's weights, so a pattern's matrix is that of the layer with it as weights.
    twin = copy.deepcopy(module)
    for name, pattern in patterns.items():
        twin.get_submodule(name).weight.data = pattern
    dense = [step[0] for step in naive.matrices(twin, (1, 8, 8)) if step is not None]
    expected = naive.gated(steps, dense, x.flatten(), 1, beta)
    attributed = dataclasses.replace(network, patterns=patterns)
    actual = relevance(attributed if beta is None else attributed.soften(beta), x, 1, method="pattern_attribution")
    torch.testing.assert_close(actual.flatten(), expected.detach(), rtol=1e-10, atol=1e-12)


def test_new_patterns_are_taken_though_they_lie_where_the_old_ones_did():
    """Oracle: the same patterns on a copy of the network that has explained nothing yet; patterns come and go."""
    network = family("plain")
    for seed in range(12):
        patterns = {name: normal(seed, *t.shape) for name, t in network.patterns.items()}
        expected = relevance(
            dataclasses.replace(network, module=copy.deepcopy(network.module), patterns=patterns),
            inputs(1), 0, method="pattern_attribution",
        )  # fmt: skip
        actual = relevance(dataclasses.replace(network, patterns=patterns), inputs(1), 0, method="pattern_attribution")
        del patterns
        assert torch.equal(actual, expected)


def test_patterns_that_are_changed_in_place_are_taken():
    """Oracle: closed form; the map of a linear model is linear in its pattern."""
    network, images, a, _ = linear_model()
    pattern = a[None].clone()
    attributed = dataclasses.replace(network, patterns={"1": pattern})
    before = relevance(attributed, images[:1], 0, method="pattern_attribution")
    pattern.mul_(2)
    assert torch.equal(relevance(attributed, images[:1], 0, method="pattern_attribution"), 2 * before)


def test_a_fit_goes_on_where_it_stopped(tmp_path):
    """Oracle: metamorphic; one fit over all batches, and one that is saved and loaded in between, bit for bit."""
    network, images = family("densenet"), inputs(6)
    whole = fit_patterns(network, images.split(2))
    half = PatternFit(network)
    half.add(images[:2])
    half.save(tmp_path / "fit.safetensors")
    resumed = PatternFit.load(network, tmp_path / "fit.safetensors")
    assert resumed.samples == 2
    for batch in images[2:].split(2):
        resumed.add(batch)
    patterns = resumed.patterns()
    assert patterns.keys() == whole.keys()
    assert all(torch.equal(patterns[name], whole[name]) for name in whole)


def test_batches_of_any_size_give_the_same_patterns():
    """Oracle: metamorphic, up to rounding of sums."""
    network, images = family("resnet"), inputs(6)
    one, many = fit_patterns(network, [images]), fit_patterns(network, images.split(1))
    for name in one:
        torch.testing.assert_close(one[name], many[name], rtol=1e-8, atol=1e-10)


def test_patterns_are_saved_and_loaded(tmp_path):
    """Oracle: float32 of what was saved."""
    patterns = family("plain").patterns
    save_patterns(patterns, tmp_path / "p.safetensors", samples=8)
    loaded = load_patterns(tmp_path / "p.safetensors")
    assert all(torch.equal(loaded[name], t.float()) for name, t in patterns.items())


def test_missing_damaged_and_foreign_patterns_are_named(tmp_path):
    """Oracle: the error's text."""
    bare = dataclasses.replace(family("plain"), patterns={})
    with pytest.raises(ValueError, match="fit-patterns"):
        relevance(bare, inputs(1), 0, method="pattern_attribution")
    foreign = dataclasses.replace(bare, patterns=family("vgg").patterns)
    with pytest.raises(ValueError, match="expected a pattern of shape"):
        relevance(foreign, inputs(1), 0, method="pattern_attribution")
    with pytest.raises(ValueError, match="does not exist"):
        load_patterns(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("no patterns")
    with pytest.raises(ValueError, match="expected a file of patterns"):
        load_patterns(tmp_path / "text")
    fit = PatternFit(family("plain"))
    with pytest.raises(ValueError, match="at least one batch"):
        fit.patterns()
    fit.add(inputs(1))
    fit.save(tmp_path / "fit")
    with pytest.raises(ValueError, match="unfinished fit"):
        PatternFit.load(family("vgg"), tmp_path / "fit")
