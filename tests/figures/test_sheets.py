"""Figures 22 to 27: true statements hold, false ones are refuted; what a sheet takes as pictures and settings."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attacks import load_network, load_picture, load_table
from figures import _sheets
from figures._run import Options, run_script
from figures._script import load_script

METHODS = {
    22: "gradient",
    23: "grad_times_input",
    24: "integrated_gradients",
    25: "lrp",
    26: "guided_backprop",
    27: "pattern_attribution",
}
SCRIPTS = {number: f"fig{number}_sheet_{method}" for number, method in METHODS.items()}


def _numbers(**changes):
    data = {
        "pair": np.array(["a>b", "c>d"]),
        "pcc_target": np.array([0.8, 0.7]),
        "pcc_original": np.array([0.2, 0.1]),
        "image_ssim": np.array([0.97, 0.95]),
        "class_kept": np.array([True, True]),
    }
    return data | changes


@pytest.mark.parametrize(
    ("change", "refuted"),
    [
        ({}, ()),
        (
            {"pcc_target": np.array([0.8, 0.05])},
            ("the manipulated map is nearer to the target's than to its own former one",),
        ),
        ({"image_ssim": np.array([0.97, 0.5])}, ("the manipulated image looks like the original",)),
        ({"class_kept": np.array([False, True])}, ("the class is kept",)),
    ],
)
def test_one_bad_pair_refutes_its_statement_and_no_other(change, refuted):
    """Oracle: data that were made to violate one statement in one pair."""
    found = _sheets.claims(_numbers(**change))
    assert tuple(words for words, claim in found.items() if not claim.holds) == refuted


def _full(**words):
    numbers = {
        "ssim_target": np.array([0.7, 0.6]), "mse_target": np.array([1e-9, 2e-9]), "pcc_target_before": np.zeros(2),
        "probability_before": np.ones(2), "probability_after": np.ones(2), "original": np.zeros((2, 3, 8, 8)),
        "lr": np.array(2e-3), "iterations": np.array(300), "crops": np.array(0), "network": np.array("a network"),
    }  # fmt: skip
    return _numbers(**numbers) | {key: np.array(value) for key, value in words.items()}


def test_the_caption_says_the_reason_of_another_budget_and_whose_pictures_they_are():
    """Oracle: the words that are in the data; a printed row has no reason."""
    other = _sheets.caption(_full(reason="a fifth of the steps", pictures="drawn by hand"), "gradient")
    assert "instead of the row of table 1: a fifth of the steps" in other
    assert "Pictures: drawn by hand." in other
    printed = _sheets.caption(_full(reason="", pictures="ImageNet validation images"), "gradient")
    assert "as in table 1" in printed
    assert "instead" not in printed


def test_pictures_are_credited_to_their_makers_or_to_the_data_set():
    """Oracle: the words of ``load_picture``, each once; no path of a folder."""
    named = _sheets._credits("chelsea>coffee,coffee>chelsea")
    assert named.split("; ") == [load_picture(name).credit for name in ("chelsea", "coffee")]
    assert _sheets._credits("imagenet:/data/of/mine") == "ImageNet validation images"


@pytest.mark.parametrize("number", SCRIPTS)
def test_a_sheet_takes_the_printed_row_but_for_its_budget(number):
    """Oracle: table 1; on the paper's network the row itself."""
    module = __import__(f"figures.{SCRIPTS[number]}", fromlist=["compute"])
    assert METHODS[number] == module.METHOD
    printed = load_table(1)[module.METHOD]
    assert _sheets.row_for("vgg16", module.METHOD, module.STEPS, module.LR, module.REASON) == printed
    row = _sheets.row_for("efficientnet_lite0", module.METHOD, module.STEPS, module.LR, module.REASON)
    assert row.reason
    changed = {f.name for f in dataclasses.fields(row) if getattr(row, f.name) != getattr(printed, f.name)}
    assert changed <= {"network", "iterations", "lr", "reason"}
    assert load_script(SCRIPTS[number]).budget.steps == row.iterations


def test_pictures_come_by_name_or_from_a_seeded_draw_of_a_folder(tmp_path: Path):
    """Oracle: the names, and the same draw twice."""
    for i in range(6):
        Image.new("RGB", (20, 20), (40 * i, 0, 0)).save(tmp_path / f"{i}.png")
    assert [name for *_, name in _sheets.pairs_of("chelsea>coffee,rocket>astronaut", seed=0)] == [
        "chelsea>coffee",
        "rocket>astronaut",
    ]
    draws = [[name for *_, name in _sheets.pairs_of(f"folder:{tmp_path}", seed=seed)] for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    drawn = [name for pair in draws[0] for name in pair.split(">")]
    assert len(set(drawn)) == 4


@pytest.mark.parametrize("images", ["chelsea", "chelsea>coffee>rocket", "chelsea>no_such_picture", "imagenet:nowhere"])
def test_pictures_that_are_none_are_bad_input(images):
    """Oracle: the message."""
    with pytest.raises(ValueError, match="expected"):
        _sheets.pairs_of(images, seed=0)


def test_a_folder_with_too_few_pictures_is_bad_input(tmp_path: Path):
    """Oracle: the message names the number."""
    Image.new("RGB", (20, 20)).save(tmp_path / "one.png")
    with pytest.raises(ValueError, match=r"at least four pictures .* got 1"):
        _sheets.pairs_of(f"folder:{tmp_path}", seed=0)


def test_crops_are_squares_of_the_photographs_and_seeded():
    """Oracle: the promise of half to full height, and another draw."""
    one, again, other = (
        [np.asarray(crop) for crop in _sheets._crops(9, np.random.default_rng(seed))] for seed in (3, 3, 4)
    )
    assert all(crop.shape[0] == crop.shape[1] >= 100 and crop.shape[2] == 3 for crop in one)
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("number", SCRIPTS)
def test_a_sheet_runs_quickly_and_shows_the_networks_own_maps(number, tmp_path: Path):
    """Oracle: maps computed anew from the saved pixels; three steps change the image."""
    outcome = run_script(load_script(SCRIPTS[number]), Options(quick=True, out=tmp_path))
    assert not outcome.judged
    record = json.loads((tmp_path / f"{SCRIPTS[number]}.json").read_text(encoding="utf-8"))
    assert __import__(f"figures.{SCRIPTS[number]}", fromlist=["REASON"]).REASON in record["caption"]
    data = np.load(tmp_path / f"{SCRIPTS[number]}.npz")
    assert np.abs(data["manipulated"] - data["original"]).max() > 0
    assert data["target_map"].sum((1, 2)) == pytest.approx(1, abs=1e-4)
    if METHODS[number] in ("gradient", "lrp"):
        import torch

        from attacks import explain

        network = load_network("efficientnet_lite0", weights="pretrained")
        x = network.normalise(torch.from_numpy(data["original"]))
        again = explain(network, x, network.predict(x), method=METHODS[number]).detach().numpy()
        assert np.corrcoef(again.ravel(), data["original_map"].ravel())[0, 1] > 0.999
