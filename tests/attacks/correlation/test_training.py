"""Networks trained for low curvature, and the targeted attack: pairs, effects, pages."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from attacks.__main__ import main
from attacks.correlation.subjects import digits_images, load_subject
from attacks.correlation.targeted import OUTCOMES, PREDICTORS, targeted_correlations, targeted_parts
from attacks.correlation.training import MEASURES, accuracy_differences, training_effects
from attacks.correlation.variants import DigitsRecipe, trained_digits


@pytest.fixture
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CURVATURE_BOUNDS_CACHE", str(tmp_path))


def _trained(**recipe):
    images, labels, trained_on = digits_images()
    few = trained_on.nonzero().flatten()[:128]
    return trained_digits(DigitsRecipe(epochs=3, **recipe), images=images[few], labels=labels[few])


@pytest.mark.usefixtures("_cache")
def test_training_is_seeded_cached_and_depends_on_its_recipe(tmp_path):
    """Oracle: metamorphic; the same recipe gives the same weights, trained anew or read, another one does not."""
    first = _trained().state_dict()
    (file,) = tmp_path.glob("*.safetensors")
    read = _trained().state_dict()
    file.unlink()
    again = _trained().state_dict()
    for name, tensor in first.items():
        assert torch.equal(tensor, read[name])
        assert torch.equal(tensor, again[name])
    for other in (_trained(seed=1), _trained(weight_decay=1.0), _trained(curvature_weight=0.1)):
        assert not torch.equal(other.state_dict()["1.weight"], first["1.weight"])
    assert len(_trained(hidden=4)) == 1 + 2 * 4 + 1


@pytest.mark.usefixtures("_cache")
def test_decay_shrinks_the_weights_and_the_global_generator_is_left_alone():
    """Oracle: closed form for decay alone: it can only shrink; and the generator's state before and after."""
    state = torch.get_rng_state()
    plain, decayed = (_trained(weight_decay=decay).state_dict()["1.weight"].norm() for decay in (0.0, 5.0))
    assert decayed < plain
    assert torch.equal(torch.get_rng_state(), state)


def test_a_cache_that_cannot_be_written_is_said(monkeypatch):
    """Oracle: the promise of a ValueError that names the variable."""
    monkeypatch.setenv("CURVATURE_BOUNDS_CACHE", "/proc/no_such")
    with pytest.raises(ValueError, match="CURVATURE_BOUNDS_CACHE"):
        _trained()


def test_effects_find_a_planted_factor():
    """Oracle: closed form; a recipe that halves every change has ratio 1/2, a copy has delta 0."""
    rng = np.random.default_rng(0)
    tables = {}
    for seed in (0, 1):
        base = pd.DataFrame({name: rng.uniform(1, 2, 50) for name in MEASURES}).assign(beta=1.0, radius=0.1)
        base["image"] = range(50)
        tables |= {f"digits_plain_{seed}": base, f"digits_decay_{seed}": base}
        tables[f"digits_penalty_{seed}"] = base.assign(**{name: base[name] / 2 for name in MEASURES})
    found = training_effects(tables).set_index(["recipe", "measure"]).sort_index()
    assert np.allclose(found.loc["penalty"][["ratio", "ratio_by_seed_low", "ratio_by_seed_high"]], 0.5)
    assert (found.loc["penalty"]["delta_high"] < 0).all()
    assert np.allclose(found.loc["decay"]["ratio"], 1)
    assert (found.loc["decay"]["delta"] == 0).all()
    assert (found["images"] == 50).all()
    assert (found["seeds"] == 2).all()
    assert (found.loc["penalty"]["ratio_high"] == 0.5).all()  # the same images are drawn for both recipes


def test_accuracies_are_compared_with_the_plain_recipe():
    """Oracle: the accuracies themselves."""
    names = ["digits_plain_0", "digits_decay_0"]
    plain, decay = (load_subject(name).accuracy for name in names)
    ((recipe, (value, low, high)),) = accuracy_differences(names).items()
    assert recipe == "decay"
    assert value == pytest.approx(decay - plain)
    assert low <= value <= high


def test_pairs_are_held_out_and_of_different_classes():
    """Oracle: the definition."""
    subject = load_subject("digits")
    parts = targeted_parts(pairs=50, iterations=5)
    assert len({part.name for part in parts}) == len(parts) == 6
    for i, j in zip(parts[0].positions, parts[0].targets, strict=True):
        assert subject.classes[i] != subject.classes[j]
        assert not subject.trained_on[i]
        assert not subject.trained_on[j]


def test_the_targeted_attack_moves_maps_and_is_judged(tmp_path, capsys):
    """Oracle: the attack's aim: maps come nearer to their targets; the table has a row a test."""
    words = ["correlate", "--experiment", "targeted", "--images", "20", "--steps", "25", "--workers", "1", "--json"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out)
    found = pd.read_csv(tmp_path / "correlations.csv")
    assert len(found) == report["family"] == 6 * 2 * len(OUTCOMES) * len(PREDICTORS)
    assert found["rho"].abs().max() <= 1
    assert "<svg" not in (tmp_path / "report.html").read_text().split("data:image", 1)[0]
    parts = list((tmp_path / "parts").glob("*.safetensors"))
    assert len(parts) == 6
    gains = {safe_open(p, "pt").metadata()["part"]: load_file(p)["pcc_gain"].median() for p in parts}
    (gradient,) = (gain for part, gain in gains.items() if json.loads(part)["config"]["method"] == "gradient")
    assert gradient > 0.01


def test_targeted_correlations_see_a_planted_order():
    """Oracle: closed form; an outcome that is the curvature itself has rho = 1 there."""
    (part, *_) = targeted_parts(pairs=30, iterations=1)
    rng = np.random.default_rng(0)
    names = ["pcc_target", "pcc_before", "pcc_gain", "mse_target"]
    names += [f"{name}@{beta}" for name in PREDICTORS for beta in ("1", "10")]
    tensors = {name: torch.tensor(rng.standard_normal(30)) for name in names}
    tensors["pcc_gain"] = tensors["lambda_max@10"].exp()
    found = targeted_correlations([(part, tensors)]).set_index(["beta", "outcome", "predictor"]).sort_index()
    assert found.loc[(10.0, "pcc_gain", "lambda_max"), "rho"] == pytest.approx(1)
    assert found.loc[(10.0, "pcc_gain", "lambda_max"), "p_holm"] < 0.01
    assert abs(found.loc[(10.0, "mse_target", "h"), "rho"]) < 0.7


@pytest.mark.parametrize(
    ("words", "expected"), [(["--images", "5"], "20 to 397 pairs"), (["--steps", "0"], "iterations")]
)
def test_bad_pairs_are_refused(words, expected, tmp_path, capsys):
    """Oracle: the promise of exit status 2 and one line."""
    assert main(["correlate", "--experiment", "targeted", *words, "--out", str(tmp_path)]) == 2
    assert expected in capsys.readouterr().err
