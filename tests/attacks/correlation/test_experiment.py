"""The experiment as a whole: parts, resuming, violations, claims, page and command line."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from multiprocessing import resource_sharer
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from attacks.__main__ import main
from attacks.correlation.analysis import (
    certificate_claims,
    certified_radii,
    claims,
    correlations,
    end_of_local_picture,
    in_words,
)
from attacks.correlation.ascent import Ascent
from attacks.correlation.measurements import measure
from attacks.correlation.plan import Settings, plan
from attacks.correlation.run import run_parts
from attacks.correlation.store import Store
from attacks.correlation.subjects import load_subject
from attacks.correlation.table import AT_THE_IMAGE, as_table, broken_bounds, violations

ROOT = Path(__file__).parents[3]
SMALL = Settings(betas=(1.0, 20.0), radii=(0.01, 0.3), images=24, ascent=Ascent(steps=6, restarts=4), local_images=2)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """As in the workers: the number of threads decides the last digits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("parts"))
    subject = load_subject("digits")
    parts = plan(SMALL, subject)
    run_parts(parts, store, workers=1, measure=measure)
    return store, subject, parts, as_table([(part, store.load(part)) for part in parts], subject)


def test_every_triple_is_there_once(measured):
    """Oracle: counting; held-out images come first."""
    *_, table = measured
    assert len(table) == SMALL.triples == 24 * 4
    assert not table.duplicated(["image", "beta", "radius"]).any()
    assert not table["trained_on"].any()


def test_no_violation_and_a_planted_one_is_counted(measured):
    """Oracle: the theorem; and a false sibling, one attained change a hair above its certificate."""
    *_, table = measured
    assert violations(table).empty
    for column in ("attained_surface", "attained_free"):
        planted = table.copy()
        row = planted.index[planted["certificate"] < 2][0]
        planted.loc[row, column] = np.nextafter(planted.loc[row, "certificate"], 3)
        assert list(violations(planted).index) == [row]
        found = pd.DataFrame(columns=["attack", "predictor", "beta", "radius", "rho", "n"])
        assert not claims(planted, found)["no certificate that says something is violated"]["holds"]
    first = table.index[table["certificate"] < 2][0]
    for columns in (["attained_surface", "attained_free"], ["certificate"]):
        nan = table.copy()
        nan.loc[first, columns] = np.nan
        assert list(violations(nan).index) == [first]


def test_a_ball_in_which_the_attack_failed_is_counted_and_in_no_correlation(measured):
    """Oracle: false siblings; NaN where nothing was reached, as the attack writes it."""
    *_, table = measured
    name = "both attacks ended where they may in every ball"
    assert certificate_claims(table)[name] == {"holds": True, "value": 0, "n": len(table)}
    failed = table.copy()
    failed.loc[failed.index[0], ["attained_surface", "deviation", "distance_surface"]] = np.nan
    assert certificate_claims(failed)[name] == {"holds": False, "value": 1, "n": len(table)}
    assert violations(failed).empty
    found = correlations(failed, permutations=99)
    cell = (found["beta"] == table["beta"].iloc[0]) & (found["radius"] == table["radius"].iloc[0])
    assert (found.loc[cell & (found["predictor"] == "g"), "n"] == 23).all()
    assert (found.loc[~cell & (found["predictor"] == "g"), "n"] == 24).all()


def test_bounds_below_their_values_at_the_image_are_counted(measured):
    """Oracle: false siblings, one bound a hair below the number that it bounds."""
    *_, table = measured
    assert not any(broken_bounds(table).values())
    siblings = {"rung8": "lambda_max", "sign_aware_over_g": "h_over_g", "anchored_over_g": "ph_over_g"}
    for name, attained in siblings.items():
        planted = table.copy()
        row = planted.index[np.isfinite(planted[name])][0]
        planted.loc[row, name] = np.nextafter(planted.loc[row, attained], 0)
        assert broken_bounds(planted) == {key: int(key == name) for key in broken_bounds(table)}


def test_what_was_not_compared_is_not_said_to_hold(measured):
    """Oracle: by hand: a table without a finite bound, then with a single one."""
    *_, table = measured
    bare = table.assign(certificate=2.0, **dict.fromkeys(AT_THE_IMAGE, math.inf)).assign(rung7=math.nan)
    assert list(certificate_claims(bare)) == ["both attacks ended where they may in every ball"]
    bare.loc[bare.index[0], "rung8"] = 1e9
    words = "no bound of the Hessian or of curvature is below its value at the image"
    assert certificate_claims(bare)[words] == {"holds": True, "value": 0, "n": 1}


def test_where_certificates_and_the_local_picture_end_is_said_in_words():
    """Oracle: by hand, with no certificate, with no cell below the end, and with no end."""
    ends = {"surface": {"holds_to": 0.2, "lost_from": 1.0}, "free": {"holds_to": math.nan, "lost_from": 0.5}}

    words = in_words({"1": 0.2, "5": 0.0}, {"level": 0.9, **ends})

    assert words[0].endswith("at least 90 % of images up to r = 0.2")
    assert words[1].endswith("at least 90 % of images at no radius here")
    assert words[2].endswith(">= 0.9 in every cell up to beta r = 0.2, in none from 1 on")
    assert words[3].endswith(">= 0.9 not even at the smallest beta r here, in none from 0.5 on")
    ends["surface"]["lost_from"] = math.inf
    assert in_words({}, {"level": 0.9, **ends})[0].endswith("up to beta r = 0.2")


def test_certified_radii_by_hand():
    """Oracle: worked by hand."""
    rows = [(1.0, 0.1, 1.0), (1.0, 0.2, 0.9), (1.0, 0.3, 0.89), (5.0, 0.1, 0.5)]
    middle = pd.DataFrame(rows, columns=["beta", "radius", "certified_share"])
    assert certified_radii(middle) == {"1": 0.2, "5": 0.0}


def test_images_that_are_no_sample_get_no_interval_and_no_p(measured):
    """Oracle: the same correlations, with NaN in the place of all that supposes a sample."""
    *_, table = measured
    sample, parts = (correlations(table, permutations=99, independent=kind) for kind in (True, False))
    assert np.array_equal(sample["rho"], parts["rho"], equal_nan=True)
    for name in ("low", "high", "p", "p_holm", "partial_p", "given_g_low"):
        assert parts[name].isna().all()
        assert sample[name].notna().any()


def test_rungs_bound_the_curvature_at_the_image(measured):
    """Oracle: the theorem; the global constants, rung 7 and rung 8 are above what is found at the centre."""
    *_, table = measured
    local = table[np.isfinite(table["rung8"])]
    assert len(local) >= 4
    assert (local["rung8"] >= local["lambda_max"]).all()
    assert (local["rung7"] > local["rung8"]).any()
    assert (table["attained_free"] >= table["attained_surface"]).all()
    assert (table["sign_aware_over_g"] >= table["h_over_g"]).all()
    assert (table["anchored_over_g"] >= table["ph_over_g"]).all()


def test_a_killed_run_goes_on(measured, tmp_path):
    """Oracle: metamorphic; an interrupted run, resumed, measures the rest only and ends with the same numbers."""
    _, subject, parts, table = measured
    store, calls = Store(tmp_path), []

    def interrupted(part):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(part)
        return measure(part)

    with pytest.raises(KeyboardInterrupt):
        run_parts(parts, store, workers=1, measure=interrupted)
    assert sum(store.load(part) is not None for part in parts) == 3
    calls.clear()

    def counted(part):
        calls.append(part)
        return measure(part)

    store.file(parts[0]).write_bytes(store.file(parts[0]).read_bytes()[:-100])  # a damaged file counts as missing
    assert run_parts(parts, store, workers=1, measure=counted) == 2
    assert len(calls) == len(parts) - 2
    again = as_table([(part, store.load(part)) for part in parts], subject)
    pd.testing.assert_frame_equal(again, table, check_exact=True)


def test_two_processes_give_the_same_bytes(measured, tmp_path):
    """Oracle: metamorphic."""
    whole, _, parts, _ = measured
    store = Store(tmp_path)
    run_parts(parts[:2], store, workers=2, measure=measure)
    for part in parts[:2]:
        assert store.file(part).read_bytes() == whole.file(part).read_bytes()


def _is_serving(part):
    """A ``measure`` that tells whether this process has something to be fetched by handle."""
    serving = resource_sharer._resource_sharer._listener is not None
    return {"position": torch.tensor(part.positions), "serving": torch.tensor([serving])}


def test_a_worker_leaves_nothing_to_be_fetched(measured, tmp_path):
    """Oracle: the standard library's server of handles, which is started by the first tensor that is sent as such."""
    _, _, parts, _ = measured
    assert len(parts) > 3  # so that one of two workers has sent before
    store = Store(tmp_path)
    run_parts(parts, store, workers=2, measure=_is_serving)
    assert not any(store.load(part)["serving"].item() for part in parts)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_of_two_processes_that_is_stopped_goes_on_to_the_same_triples(number, tmp_path, capsys):
    """Oracle: an undisturbed run, byte for byte, and the system's table of processes: no worker outlives its parent.

    Ctrl-C goes to the whole process group, as from a terminal, and a kill to the parent alone, as where memory ends.
    """
    words = ["correlate", "--betas", "1", "2", "--radii", "0.01", "0.3", "--images", "40", "--steps", "4", "--quick"]
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    command = [sys.executable, "-m", "attacks", *words, "--workers", "2", "--out", str(stopped)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not list(stopped.glob("parts/*.safetensors")):
        assert process.poll() is None
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, number) if number == signal.SIGKILL else os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=400)
    assert process.returncode == (1 if number == signal.SIGINT else -number)
    assert ("the same command goes on" in errors) == (number == signal.SIGINT)
    assert "Traceback" not in errors
    assert len(workers) >= 2
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    assert not (stopped / "triples.csv").exists()
    assert main([*words, "--workers", "1", "--out", str(whole)]) == 0
    capsys.readouterr()
    assert main([*words, "--workers", "1", "--out", str(stopped), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parts_before"] > 0
    assert (stopped / "triples.csv").read_bytes() == (whole / "triples.csv").read_bytes()


def test_a_parts_name_says_what_determines_it(measured):
    """Oracle: metamorphic; other settings, other names, and none twice."""
    _, subject, parts, _ = measured
    names = {part.name for part in parts}
    assert len(names) == len(parts)
    for other in (
        Settings(betas=(1.0, 20.0), radii=(0.01, 0.4), images=24, ascent=SMALL.ascent, local_images=2),
        Settings(betas=(1.0, 20.0), radii=(0.01, 0.3), images=24, ascent=Ascent(steps=7, restarts=4), local_images=2),
    ):
        assert names.isdisjoint(part.name for part in plan(other, subject))


def test_correlations_find_the_planted_order(measured):
    """Oracle: closed form; a change that is made a function of curvature has rho = 1."""
    *_, table = measured
    made = table.copy()
    made["attained_surface"] = made["lambda_max"] ** 3
    found = correlations(made, permutations=999).set_index(["attack", "predictor", "beta", "radius"]).sort_index()
    assert np.allclose(found.loc[("surface", "lambda_max")]["rho"], 1)
    assert (found.loc[("surface", "lambda_max")]["p"] == 1 / 1000).all()
    assert (found["p_holm"].dropna() >= found["p"][found["p_holm"].notna()]).all()
    assert (found.loc[("surface", "g")]["rho"].abs() < 1).all()


def test_end_of_the_local_picture_by_hand():
    """Oracle: worked by hand."""
    rows = [(1, 0.1, 0.99), (1, 0.2, 0.95), (2, 0.2, 0.8), (1, 0.5, 0.93), (2, 0.5, 0.3)]
    found = pd.DataFrame(rows, columns=["beta", "radius", "rho"]).assign(attack="surface", predictor="lambda_max")
    assert end_of_local_picture(found, "surface") == {"holds_to": 0.2, "lost_from": 1.0}
    assert end_of_local_picture(found[found["rho"] > 0.9], "surface")["lost_from"] == float("inf")


def test_the_command_writes_a_page_that_needs_nothing_else(tmp_path, capsys):
    """Oracle: the files themselves; a second run measures nothing and writes the same triples."""
    words = ["correlate", "--betas", "1", "--radii", "0.01", "0.3", "--images", "30", "--steps", "4", "--quick"]
    words += ["--out", str(tmp_path), "--workers", "1", "--json"]
    assert main(words) == 0
    first = json.loads(capsys.readouterr().out)
    triples = (tmp_path / "triples.csv").read_bytes()
    claim = first["claims"]["no certificate that says something is violated"]
    assert claim == {"holds": True, "value": 0, "n": first["certified_triples"]}
    assert str(tmp_path / "report.json") in first["files"]
    assert first["triples"] == 60
    page = (tmp_path / "report.html").read_text()
    assert 'src="http' not in page
    assert "data:image/svg+xml" in page
    assert (tmp_path / "overview.png").read_bytes()[:4] == b"\x89PNG"
    assert main(words) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["parts_before"] == second["parts"] == first["parts"]
    assert (tmp_path / "triples.csv").read_bytes() == triples


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--network", "no_such"], "expected --network among digits"),
        (["--radii", "0.1", "-1"], "finite, > 0 and distinct"),
        (["--radii", "0.2", "0.1"], "ascending"),
        (["--betas", "nan"], "finite, > 0 and distinct"),
        (["--images", "1798"], "at most 1797"),
        (["--images", "0"], "images >= 1"),
        (["--workers", "0"], "--workers >= 1"),
        (["--steps", "0"], "steps >= 1"),
        (["--images", "19"], "at least 20 --images"),
        (["--experiment", "training", "--steps", "0"], "steps >= 1"),
        (["--experiment", "training", "--network", "mnist_vgg"], "no --network with --experiment training"),
        (["--experiment", "targeted", "--radii", "0.1", "--seed", "1"], "no --radii and no --seed"),
        (["--out", "/proc/no_such"], "can be written"),
    ],
)
def test_bad_input_is_refused_in_one_line(words, expected, tmp_path, capsys):
    """Oracle: the promise of exit status 2 and a message that says what was expected."""
    given = words if "--out" in words else [*words, "--out", str(tmp_path)]
    assert main(["correlate", *given]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error:")
    assert expected in error


def test_held_out_images_come_first():
    """Oracle: the split itself."""
    subject = load_subject("digits")
    positions = [i for part in plan(Settings(betas=(1.0,), images=397), subject) for i in part.positions]
    assert not subject.trained_on[torch.tensor(positions)].any()
    assert int(subject.trained_on.sum()) == 1400
