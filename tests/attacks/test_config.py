"""The paper's tables as data."""

import dataclasses

import pytest

from attacks import AttackConfig, load_table, preset

GROWTH, BETA_08, NO_BETA = (10.0, 100.0), (0.8, 0.8), (None, None)
# Iterations, rate, factors of explanation and output, output, betas; typed from the supplement (A, C.1, C.2, D).
PRINTED = {
    1: {
        "gradient": (1500, 1e-3, 1e11, 1e6, "softmax", GROWTH),
        "grad_times_input": (1500, 1e-3, 1e11, 1e6, "softmax", GROWTH),
        "integrated_gradients": (500, 5e-3, 1e11, 1e6, "softmax", GROWTH),
        "lrp": (1500, 2e-4, 1e11, 1e6, "softmax", NO_BETA),
        "guided_backprop": (1500, 1e-3, 1e11, 1e6, "softmax", GROWTH),
        "pattern_attribution": (1500, 2e-3, 1e11, 1e6, "softmax", GROWTH),
    },
    2: {
        "vgg16": (1500, 1e-3, 1e11, 10.0, "logits", GROWTH),
        "alexnet": (4000, 1e-3, 1e11, 10.0, "logits", GROWTH),
        "densenet121": (2000, 5e-4, 1e11, 10.0, "logits", (30.0, 300.0)),
        "resnet18": (2000, 1e-3, 1e11, 10.0, "logits", GROWTH),
    },
    3: {"lrp": (1500, 2e-4, 1e7, 1e2, "logits", NO_BETA)},
    4: {
        "gradient": (1500, 3e-3, 1e11, 1e6, "softmax", GROWTH),
        "lrp": (1500, 3e-4, 1e11, 1e6, "softmax", NO_BETA),
    },
    5: {
        "gradient": (500, 2.5e-4, 1e11, 1e6, "softmax", BETA_08),
        "grad_times_input": (500, 2.5e-4, 1e11, 1e6, "softmax", BETA_08),
        "integrated_gradients": (200, 2.5e-3, 1e11, 1e6, "softmax", BETA_08),
        "lrp": (1500, 2e-4, 1e11, 1e6, "softmax", BETA_08),
        "guided_backprop": (500, 5e-4, 1e11, 1e6, "softmax", BETA_08),
        "pattern_attribution": (500, 5e-4, 1e11, 1e6, "softmax", BETA_08),
    },
}


@pytest.mark.parametrize("number", PRINTED)
def test_tables_hold_the_printed_rows(number):
    """Oracle: the supplement's tables 1 to 5, typed again: every number, network, method and nothing else."""
    expected = {}
    for key, (iterations, lr, explanation, output_weight, output, betas) in PRINTED[number].items():
        network = key if number == 2 else "vgg16_cifar10" if number == 3 else "vgg16"
        expected[key] = AttackConfig(
            network=network, method="gradient" if number == 2 else key, iterations=iterations, lr=lr,
            explanation_weight=explanation, output_weight=output_weight, output=output, beta_start=betas[0],
            beta_end=betas[1],
        )  # fmt: skip
    assert load_table(number) == expected


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
    assert preset("vgg16_cifar10", "lrp") == load_table(3)["lrp"]


@pytest.mark.parametrize(
    ("network", "method", "table"),
    [("efficientnet_lite0", "lrp", None), ("users:factory", "gradient", None), ("resnet18", "lrp", None),
     ("vgg16_cifar10", "gradient", None), ("digits", "gradient", 5)],
)  # fmt: skip
def test_a_row_that_was_printed_for_another_network_says_so(network, method, table):
    """Oracle: the numbers of VGG-16's row, under the network's own name, and words that name VGG-16."""
    row, printed = preset(network, method, table=table), load_table(table or 1)[method]
    assert row == dataclasses.replace(printed, network=network, reason=row.reason)
    assert "vgg16" in row.reason
    assert network in row.reason
    assert "printed for vgg16" in preset(network, method, table=table, attack="on_level_set").reason


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
    with pytest.raises(ValueError, match="expected no table for ghorbani_top_k"):
        preset("vgg16", "gradient", table=1, attack="ghorbani_top_k")
    with pytest.raises(ValueError, match="expected a method among"):
        preset("vgg16", "nonsense", attack="ghorbani_top_k")
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
