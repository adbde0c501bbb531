"""Whole runs: files, resuming, damage, a full disk, kills, a scheduler started by hand."""

import errno
import gc
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest
from distributed import Future, Worker
from distributed.scheduler import KilledWorker

from attacks import load_result
from attacks.__main__ import main
from attacks.storage import write_atomically
from attacks.studies.folder import Folder, StoppedError
from attacks.studies.run import _NETWORKS, Networks, TaskFailedError, output_of
from benchmarks.study_kills import SUMMARIES, kill_run, kill_worker, same_summary

ROOT = Path(__file__).parents[3]


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished folder, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_a_run_writes_its_files_and_one_row_an_image(finished):
    """Oracle: the documented names; the pairs' number; the results themselves."""
    assert {p.name for p in finished.iterdir()} == {"results", "timings", "timings.csv", "report.html", *SUMMARIES}
    table = pd.read_csv(finished / "summary.csv")
    assert len(table) == 12
    assert list(table["pair"]) == list(range(12))
    pd.testing.assert_frame_equal(table, pd.read_parquet(finished / "summary.parquet"), check_dtype=False)
    assert not [name for name in table.columns if "second" in name or "time" in name]
    _, metadata = load_result(finished / "results" / f"{table['task'][7]}.safetensors")
    assert metadata["metrics"]["explanation"]["pcc_target"] == [table["explanation_pcc_target"][7]]
    times = pd.read_csv(finished / "timings.csv")
    assert len(times) == 12
    assert (times["seconds_one_at_a_time"] > 0).all()


def test_a_second_run_does_nothing_and_says_so(study, finished, capsys):
    """Oracle: the JSON object; the files' times of change."""
    before = {p: p.stat().st_mtime_ns for p in (finished / "results").iterdir()}
    assert main(["study", str(study), "--out", str(finished), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["done_before"] == found["tasks"] == 12
    assert {p: p.stat().st_mtime_ns for p in (finished / "results").iterdir()} == before


def test_a_dry_run_counts_and_estimates_and_writes_nothing(study, finished, tmp_path, capsys):
    """Oracle: counts by hand; a bound on the estimate from the steps that are left."""
    assert main(["study", str(study), "--out", str(tmp_path / "new"), "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["tasks"], found["done_before"], found["kinds"][0]["images"]) == (12, 0, 12)
    assert found["seconds_left"] > 0
    assert not (tmp_path / "new").exists()
    assert main(["study", str(study), "--out", str(finished), "--dry-run"]) == 0
    assert "12 tasks, 12 done; about 0 s" in capsys.readouterr().out


def test_damaged_results_are_named_moved_aside_and_run_again(study, finished, copied, capsys):
    """Oracle: the undisturbed run. A file is cut short, a bit of another differs, a third is another task's."""
    cut, flipped, taken, other = sorted((copied / "results").iterdir())[:4]
    shutil.copy(other, taken)
    cut.write_bytes(cut.read_bytes()[:-7])
    content = bytearray(flipped.read_bytes())
    content[-5] ^= 1
    flipped.write_bytes(content)
    assert main(["study", str(study), "--out", str(copied), "--dry-run"]) == 0
    assert "12 tasks, 9 done" in capsys.readouterr().out
    assert main(["study", str(study), "--out", str(copied), "--workers", "1"]) == 0
    gc.collect()  # what was left open would be an error here
    errors = capsys.readouterr().err
    for path in (cut, flipped, taken):
        assert f"'{path}'" in errors
        assert path.with_name(f"{path.name}.damaged").exists()
    assert "checksum" in errors
    assert "that of another" in errors
    assert same_summary(finished, copied)


def test_a_full_disk_is_a_clear_error_and_loses_nothing(study, finished, copied, capsys, monkeypatch):
    """Oracle: the contract; the undisturbed run after there is room again."""
    gone = sorted((copied / "results").iterdir())[:4]
    for path in gone:
        path.unlink()

    def full(path: Path, content: bytes | str) -> None:
        if path.parent.name == "results" and len(list(path.parent.iterdir())) >= 10 and path.name[0] != ".":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_atomically(path, content)

    monkeypatch.setattr("attacks.studies.folder.write_atomically", full)
    assert main(["study", str(study), "--out", str(copied), "--workers", "1"]) == 1
    gc.collect()
    errors = capsys.readouterr().err
    assert "No space left on device" in errors
    assert "10 of 12 tasks are finished" in errors
    assert not list((copied / "results").glob(".*"))
    monkeypatch.undo()
    assert main(["study", str(study), "--out", str(copied), "--workers", "1"]) == 0
    assert same_summary(finished, copied)


@pytest.mark.parametrize("name", ["summary.csv", "report.html"])
def test_a_disk_that_is_full_when_the_summary_is_written_is_a_clear_error(study, copied, name, capsys, monkeypatch):
    """Oracle: the contract: status 1 and what to do; the same command ends well once there is room."""

    def full(path: Path, content: bytes | str) -> None:
        if path.name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_atomically(path, content)

    monkeypatch.setattr("attacks.commands.study.write_atomically", full)
    (copied / name).unlink()
    assert main(["study", str(study), "--out", str(copied)]) == 1
    errors = capsys.readouterr().err
    assert f"could not write '{copied / name}': No space left on device" in errors
    assert "12 of 12 tasks are finished" in errors
    monkeypatch.undo()
    assert main(["study", str(study), "--out", str(copied)]) == 0
    assert (copied / name).exists()


def test_two_runs_do_not_share_a_folder(study, copied, capsys):
    """Oracle: a second process; what the first one is writing stays, and the folder is free when it ends."""
    half_written = copied / "results" / ".half.1.part"
    half_written.write_text("")
    command = [sys.executable, "-m", "attacks", "study", str(study), "--out", str(copied)]
    folder = Folder(copied)
    folder.prepare()
    folder.prepare()
    assert not half_written.exists()
    half_written.write_text("")
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert refused.returncode == 2
    assert f"expected a folder that no other run writes to, got '{copied}'" in refused.stderr
    assert half_written.exists()
    second = Folder(copied)
    second.prepare()  # one process may ask again: it waits for nobody but itself
    del folder
    gc.collect()
    assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=400).returncode == 2
    del second
    gc.collect()
    assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=400).returncode == 0


def test_two_studies_on_one_scheduler_keep_each_others_networks(network):
    """Oracle: two plugins with the same network, by hand; the first study ends while the second runs."""
    worker = Mock(spec=Worker)
    first, second = Networks({"print": network}), Networks({"print": network})
    assert first.name != second.name
    first.setup(worker)
    second.setup(worker)
    second.setup(worker)  # Dask may set one up again
    first.teardown(worker)
    assert {"print": network} == _NETWORKS
    second.teardown(worker)
    assert not _NETWORKS


def test_ctrl_c_stops_a_run_and_its_workers_and_keeps_what_is_finished(study, tmp_path):
    """Oracle: the contract; the signal goes to the whole process group, as from a terminal."""
    out = tmp_path / "stopped"
    command = [sys.executable, "-m", "attacks", "study", str(study), "--out", str(out), "--workers", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not list(out.glob("results/*.safetensors")):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=400)
    done = len(list(out.glob("results/*.safetensors")))
    assert process.returncode == 1
    assert "interrupted; the same command goes on from here" in errors
    assert f"{done} of 12 tasks are finished" in errors
    assert "Traceback" not in errors


def test_a_task_that_kills_its_workers_is_named_and_nothing_else_stops():
    """Oracle: the error that Dask raises then, from a future made by hand."""
    future = Mock(spec=Future)
    future.result.side_effect = KilledWorker("task", None, 10)
    with pytest.raises(TaskFailedError, match="memory"):
        output_of(future)
    future.result.side_effect = ModuleNotFoundError("No module named 'attacks'")
    with pytest.raises(StoppedError, match="No module named 'attacks'"):
        output_of(future)


def test_kills_do_not_show_in_the_summary(study, finished, tmp_path):
    """Oracle: the undisturbed run, byte for byte.

    The whole run is killed twice at random moments, then a worker as soon as it exists: that once ended the run.
    """
    rng = random.Random(5)
    out = tmp_path / "killed"
    for _ in range(2):
        kill_run(study, out, after=rng.uniform(4, 12))
    assert kill_worker(study, out, after=0)
    assert same_summary(finished, out)


def test_a_scheduler_and_two_workers_started_by_hand_give_the_same_summary(study, finished, tmp_path):
    """Oracle: the local cluster's run, byte for byte."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    port = address.rsplit(":", 1)[1]
    with (tmp_path / "log").open("wb") as log:
        scheduler = ["dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
        worker = ["dask_worker", address, "--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path)]
        started = [
            subprocess.Popen([sys.executable, "-m", f"distributed.cli.{words[0]}", *words[1:]], stdout=log, stderr=log)
            for words in (scheduler, worker, worker)
        ]
        try:
            out = tmp_path / "out"
            command = [sys.executable, "-m", "attacks", "study", str(study), "--out", str(out), "--scheduler", address]
            subprocess.run(command, check=True, cwd=ROOT, timeout=600, capture_output=True)
        finally:
            for process in reversed(started):
                process.terminate()
            for process in started:
                process.wait(timeout=60)
    assert same_summary(finished, out)


def test_no_scheduler_at_the_address_is_status_two(study, tmp_path, capsys, monkeypatch):
    """Oracle: the contract."""
    monkeypatch.setattr("attacks.studies.cluster._PATIENCE", 1)
    address = "tcp://127.0.0.1:9"
    assert main(["study", str(study), "--out", str(tmp_path / "out"), "--scheduler", address]) == 2
    gc.collect()
    assert f"expected a Dask scheduler at '{address}'" in capsys.readouterr().err


def test_bad_usage_is_status_two_and_leaves_nothing_behind(study, tmp_path, capsys):
    """Oracle: the contract."""
    bad = tmp_path / "bad.toml"
    bad.write_text(study.read_text().replace("[pairs]", "colour = 1\n[pairs]"))
    for words in (["none"], [str(bad)], [str(study), "--workers", "0"]):
        assert main(["study", *words, "--out", str(tmp_path / "out")]) == 2
        assert "expected" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    assert main(["study", str(study), "--out", str(tmp_path / "file")]) == 2


def test_a_task_that_fails_is_named_and_the_others_are_kept(tmp_path, capsys):
    """Oracle: an attack that has nothing to follow, beside one that has."""
    text = """
title = "One of two fails"
networks = ["digits"]
methods = ["gradient"]
attacks = ["manipulate", "second"]
[pairs]
data = "digits"
count = 2
[attack.second]
kind = "manipulate"
[[overrides]]
iterations = 2
reason = "a test"
[[overrides]]
attack = ["second"]
softplus = false
reason = "a ReLU network has no second-order gradient"
"""
    (tmp_path / "study.toml").write_text(text)
    assert main(["study", str(tmp_path / "study.toml"), "--out", str(tmp_path / "out"), "--workers", "1"]) == 1
    gc.collect()
    errors = capsys.readouterr().err
    assert "failed: digits, gradient, second" in errors
    assert "second-order gradient" in errors
    assert list(pd.read_csv(tmp_path / "out" / "summary.csv")["attack"]) == ["manipulate"] * 2
    assert "1 tasks failed" in (tmp_path / "out" / "report.html").read_text()
