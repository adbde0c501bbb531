"""The paper's tables as data."""

import dataclasses

import pytest

from attacks import load_table, preset


@pytest.mark.parametrize(("number", "rows"), [(1, 6), (2, 4), (3, 1), (4, 2), (5, 6)])
def test_tables_hold_the_printed_rows(number, rows):
    """Oracle: the supplement's tables 1 to 5."""
    assert len(load_table(number)) == rows


def test_printed_numbers_are_read_as_printed():
    """Oracle: the supplement, row by row where the tables differ."""
    assert (load_table(1)["integrated_gradients"].iterations, load_table(1)["integrated_gradients"].lr) == (500, 5e-3)
    assert load_table(1)["lrp"].beta_start is None
    assert (load_table(2)["densenet121"].beta_start, load_table(2)["densenet121"].beta_end) == (30, 300)
    assert (load_table(2)["alexnet"].iterations, load_table(2)["alexnet"].output) == (4000, "logits")
    assert (load_table(3)["lrp"].explanation_weight, load_table(3)["lrp"].output_weight) == (1e7, 1e2)
    assert load_table(4)["lrp"].lr == 3e-4
    assert {row.beta_end for row in load_table(5).values()} == {0.8}


def test_beta_grows_geometrically():
    """Oracle: eq. 1, at its start and half way: sqrt(10 * 100)."""
    row = load_table(1)["gradient"]
    assert row.beta(0) == 10
    assert abs(row.beta(row.iterations // 2) - 1000**0.5) < 1e-9


def test_presets_that_differ_from_the_paper_give_a_reason():
    """Oracle: the contract of an override."""
    assert preset("efficientnet_lite0", "gradient").reason
    assert not preset("vgg16", "lrp").reason
    assert preset("resnet18", "gradient") == load_table(2)["resnet18"]


@pytest.mark.parametrize(
    "change", [{"lr": 0.0}, {"iterations": 0}, {"beta_start": None}, {"beta_end": -1.0}, {"lr": float("nan")}]
)
def test_bad_rows_are_refused(change):
    """Oracle: ValueError from the row itself."""
    with pytest.raises(ValueError, match="expected"):
        dataclasses.replace(load_table(1)["gradient"], **change)


def test_unknown_tables_and_rows_are_named():
    """Oracle: the error's text."""
    with pytest.raises(ValueError, match="1 to 5"):
        load_table(6)
    with pytest.raises(ValueError, match="no row for"):
        preset("vgg16", "guided_backprop", table=4)


def test_attacks_have_rows_of_their_own():
    """Oracle: the published numbers of Ghorbani et al.; one fixed beta on the level set; table 1 on MNIST."""
    ghorbani = preset("mnist_lenet", "lrp", attack="ghorbani_top_k")
    assert (ghorbani.iterations, ghorbani.lr, ghorbani.beta_start, ghorbani.beta_end) == (300, 0.5 / 255, 1.0, 1.0)
    assert (ghorbani.network, ghorbani.method) == ("mnist_lenet", "lrp")
    level = preset("vgg16", "gradient", attack="on_level_set")
    printed = load_table(1)["gradient"]
    assert level == dataclasses.replace(printed, beta_start=100.0, reason=level.reason)
    assert level.reason
    row = preset("mnist_vgg", "lrp")
    assert row.reason
    changed = {"network": "mnist_vgg", "explanation_weight": row.explanation_weight, "reason": row.reason}
    assert row == dataclasses.replace(load_table(1)["lrp"], **changed)
    assert row.explanation_weight == pytest.approx(1e11 / 64**2, rel=0.05)


def test_early_stop_and_best_state_are_checked():
    """Oracle: the error's text; attacks that cannot do it say so."""
    row = load_table(1)["gradient"]
    for bad in (-1.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="stop_pcc in"):
            dataclasses.replace(row, stop_pcc=bad)
    row.require_plain("on_level_set")
    for change in ({"stop_pcc": 0.9}, {"keep": "best"}):
        with pytest.raises(ValueError, match="only manipulate"):
            dataclasses.replace(row, **change).require_plain("on_level_set")
