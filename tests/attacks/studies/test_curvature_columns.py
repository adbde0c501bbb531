"""The curvature columns of a study: what may be asked for, what is measured, and what it leaves alone."""

import math

import pytest
import torch

import curvature
from attacks import AttackResult, load_network, preset
from attacks.report.study import study_page
from attacks.studies import load_study
from attacks.studies.curvature_columns import CurvatureColumns, curvature_columns, read_curvature
from attacks.studies.folder import Folder
from attacks.studies.plan import plan
from attacks.studies.summary import as_csv, as_parquet, summary
from attacks.studies.table import Table
from attacks.studies.timings import timings
from attacks.studies.worker import run_task
from curvature.certificate import explanation_bounds

STUDY = """
title = "Curvature"
networks = ["digits"]
methods = ["gradient"]
attacks = ["on_level_set"]
batch = 2
[pairs]
data = "digits"
count = 2
[[overrides]]
iterations = 3
reason = "a test"
"""
CURVATURE = """
[curvature]
betas = [2, 0.5]
radii = [0.1, 0.05]
columns = ["geometry", "rungs", "certificate", "attained", "path"]
steps = 5
restarts = 1
"""


def _load(tmp_path, text):
    path = tmp_path / "small.toml"
    path.write_text(text)
    return load_study(str(path))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The study's one task, run in this process and written as the client writes it."""
    folder = Folder(tmp_path_factory.mktemp("curvature"))
    study = _load(folder.path, STUDY + CURVATURE)
    planned = plan(study)
    (task,) = planned.tasks
    folder.prepare()
    threads = torch.get_num_threads()
    try:
        folder.save(task, run_task(task, planned.networks[task.network]))
    finally:
        torch.set_num_threads(threads)
    return study, planned, folder


def test_the_columns_are_those_of_the_core(finished):
    """Oracle: the core's own functions on the same image."""
    _, planned, folder = finished
    table = summary(folder, planned.tasks)
    (task,) = planned.tasks
    cases = [(i, row, beta) for i, row in table.iterrows() for beta in (0.5, 2)]
    for i, row, beta in cases:
        soft = curvature.soften(planned.networks[task.network].module.double(), float(beta))
        x, k = torch.from_numpy(task.x[i]).double(), int(row["target_class"])
        f = curvature.logit(soft, k)
        largest = float(curvature.principal_curvatures(f, x).abs().max())
        assert row[f"curvature_lambda_max_beta{beta}"] == pytest.approx(largest, rel=1e-9)
        assert row[f"curvature_gradient_norm_beta{beta}"] == pytest.approx(
            float(curvature.gradient(f, x).norm()), rel=1e-9
        )
        assert row[f"curvature_hessian_norm_beta{beta}"] == pytest.approx(
            float(torch.linalg.matrix_norm(curvature.hessian(f, x), 2)), rel=1e-9
        )
        certificates = explanation_bounds(soft, x, target_class=k, radii=(0.05, 0.1))
        for radius, proven in zip((0.05, 0.1), certificates, strict=True):
            assert row[f"curvature_change_bound_r{radius}_beta{beta}"] == pytest.approx(proven.change_bound, rel=1e-9)
            rungs = curvature.curvature_bounds(soft, x, target_class=k, radius=radius)
            anchored = row[f"curvature_anchored_gradient_change_bound_r{radius}_beta{beta}"]
            assert anchored == pytest.approx(rungs["anchored"].gradient_change, rel=1e-9)
            expected = rungs["sign_aware"].hessian
            assert row[f"curvature_sign_aware_hessian_bound_r{radius}_beta{beta}"] == pytest.approx(expected, rel=1e-9)
            attained = row[f"curvature_change_attained_r{radius}_beta{beta}"]
            assert (
                0
                < row[f"curvature_change_attained_on_level_set_r{radius}_beta{beta}"]
                <= attained
                <= proven.change_bound
            )
        used = row["path_normal_turn"] / row["path_curvature_budget_estimate"]
        assert row["curvature_path_budget_used"] == pytest.approx(used)
    planned.networks[task.network].module.float()


def test_summary_and_page_carry_the_columns_and_the_reasons(finished):
    """Oracle: the files read back; eq. 9-10 bound the Hessian, and no curvature, so those cells are empty."""
    import io

    import pandas as pd

    study, planned, folder = finished
    table = summary(folder, planned.tasks)
    assert b"curvature_frobenius_paper_curvature_bound_r0.1_beta2" in as_csv(table)
    again = pd.read_parquet(io.BytesIO(as_parquet(table)))
    assert again["curvature_frobenius_paper_curvature_bound_r0.1_beta2"].isna().all()
    assert again.attrs["missing"] == table.attrs["missing"]
    assert set(table.attrs["missing"]) == {"digits, rungs at beta 0.5", "digits, rungs at beta 2"}
    page = study_page(study, table, timings(folder, planned.tasks), failed=0)
    for words in (
        "Curvature of the original images",
        "lambda max beta2",
        "change bound r0.1 beta0.5",
        "Empty cells, digits, rungs at",
    ):
        assert words in page


def test_without_the_table_a_task_is_what_it_was(tmp_path, finished):
    """Oracle: the description holds no word of curvature, and a task with the columns has another name."""
    (plain,) = plan(_load(tmp_path, STUDY)).tasks
    assert "curvature" not in plain.describe()
    assert plain.curvature is None
    (asked,) = finished[1].tasks
    assert {k: v for k, v in asked.describe().items() if k != "curvature"} == plain.describe()
    assert asked.name != plain.name


def test_what_has_no_certificate_is_empty_and_says_why():
    """Oracle: a network with max-pooling has none, yet its geometry and its attained changes exist."""
    network = load_network("mnist_vgg", weights="random")
    x = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    settings = CurvatureColumns(
        betas=(1.0,), radii=(0.1,), columns=("geometry", "certificate", "path"), steps=1, restarts=0, seed=0
    )
    result = _result(x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attacks.geometry.DENSE", 10)
        columns, reasons = curvature_columns(network, result, settings, fingerprint="max-pool")
    assert float(columns["lambda_max_beta1"]) > 0
    assert math.isnan(float(columns["change_bound_r0.1_beta1"]))
    assert "MaxPool2d" in reasons["certificate at beta 1"]
    assert math.isnan(float(columns["hessian_norm_beta1"]))
    assert "dense" in reasons["geometry at beta 1"]
    assert math.isnan(float(columns["path_budget_used"]))
    assert "manipulate" in reasons["path"]


def _result(x):
    """An attack that changed nothing."""
    maps = torch.ones(len(x), 28, 28) / 784
    config = preset("mnist_vgg", "gradient")
    classes = torch.zeros(len(x), dtype=torch.long)
    return AttackResult(
        original=x, adversarial=x, target_map=maps, maps=maps, original_maps=maps, target_class=classes, metrics={},
        history={}, trace=None, config=config, completed=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"betta": 1.0}, "key 'curvature.betta'"),
        ({"betas": [0.8, 0]}, "key 'curvature.betas'"),
        ({"betas": 0.8}, "key 'curvature.betas'"),
        ({"betas": ["high"]}, "key 'curvature.betas'"),
        ({"columns": ["rungs"]}, "key 'curvature.radii'"),
        ({"radii": [0.1]}, "key 'curvature.radii'"),
        ({"columns": ["attained"], "radii": [0.1, -1.0]}, "key 'curvature.radii'"),
        ({"columns": ["attained"], "radii": [0.1, math.nan]}, "key 'curvature.radii'"),
        ({"columns": ["attained"], "radii": []}, "key 'curvature.radii'"),
        ({"columns": ["everything"]}, "key 'curvature.columns'"),
        ({"steps": 0}, "key 'curvature.steps'"),
        ({"restarts": -1}, "key 'curvature.restarts'"),
        ({"seed": 0.5}, "key 'curvature.seed'"),
    ],
)
def test_bad_keys_are_named(values, words):
    """Oracle: the key's path."""
    with pytest.raises(ValueError, match=words):
        read_curvature(Table({"curvature": values}, source="study.toml"))


def test_absent_and_empty_tables():
    """Oracle: the documented defaults."""
    assert read_curvature(Table({}, source="study.toml")) is None
    settings = read_curvature(Table({"curvature": {}}, source="study.toml"))
    assert settings == CurvatureColumns(betas=(1.0,), radii=(), columns=("geometry",), steps=40, restarts=6, seed=0)


def test_the_ready_study_asks_for_all_columns():
    """Oracle: the list of the documentation."""
    study = load_study("curvature")
    assert study.curvature is not None
    assert set(study.curvature.columns) == {"geometry", "rungs", "certificate", "attained", "path"}
