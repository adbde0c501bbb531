"""``python -m figures``: which figures it runs, and the exit status."""

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from figures import __main__ as command
from figures._claim import Claim
from figures._run import Options, Outcome
from figures._script import load_script, named, script_names
from figures.pages import gallery
from tests.figures.conftest import Written

DOCS = Path(__file__).parents[2] / "docs" / "figures.md"


def test_a_deviating_verdict_and_a_failure_give_status_one(
    written: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Oracle: the statuses; a failed figure does not keep the next from running."""
    options = Options(out=tmp_path / "out")
    assert command.run_all([written()], options) == 0
    assert command.run_all([written(expected=False)], options) == 1
    assert "DEVIATES" in capsys.readouterr().out
    broken = written(change=("return {", "raise RuntimeError('no'); return {"))
    assert command.run_all([broken, written(colour="blue")], options) == 1
    assert "1 failed" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "fig99_three.json").read_text(encoding="utf-8"))["judged"]


def test_a_claim_of_the_paper_recorded_as_not_holding_is_no_error(written: Written, tmp_path: Path):
    """Oracle: the status, with the statement turned round."""
    script = written(expected=False, change=("growth > 0", "growth > 5"))
    assert command.run_all([script], Options(out=tmp_path)) == 0


def test_an_interrupt_ends_with_130_and_the_next_run_goes_on(written: Written, tmp_path: Path):
    """Oracle: the status and the log of ``compute``."""
    interrupted = written(change=("return {", "raise KeyboardInterrupt; return {"))
    assert command.run_all([written(), interrupted], Options(out=tmp_path / "out")) == 130
    assert command.run_all([written()], Options(out=tmp_path / "out")) == 0


@pytest.mark.parametrize(
    "arguments",
    [["fig98"], ["--set", "beta"], ["--seed", "-1"], ["--paper-setting", "nowhere"], ["all", "--set", "no=1"]],
)
def test_bad_input_gives_status_two(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    """Oracle: the status and a message on stderr."""
    assert command.main([*arguments, "--list"]) == 2
    assert capsys.readouterr().err.startswith("error: expected")


def test_there_is_a_script_for_every_figure_and_every_extra():
    """Oracle: by hand; the supplement has 27 figures."""
    figures = [name for name in script_names() if name.startswith("fig")]
    assert [int(name[3:5]) for name in figures] == list(range(1, 28))
    extras = ["extra_attack_vs_curvature", "extra_ladder", "extra_level_set_path", "extra_theorem2_gap"]
    assert script_names() == figures + extras


def test_what_the_papers_setting_costs_is_not_made_up(written: Written, tmp_path: Path):
    """Oracle: the table's words; a script without such a setting keeps its numbers."""
    ours = dataclasses.replace(written(), paper={})
    default = command.table([written(), ours], Options(out=tmp_path)).splitlines()
    assert default[1].split() == default[2].split() == ["fig99_three", "none", "3", "0", "0.1"]
    assert default[3].startswith("2 figures, about 0.0 hours")
    paper = command.table([written(), ours], Options(out=tmp_path, paper="pictures")).splitlines()
    assert paper[1].split() == ["fig99_three", "the", "paper's", "unknown", "unknown", "unknown"]
    assert paper[2:] == [
        default[2],
        "2 figures, about 0.0 hours if nothing is there yet for 1 of them, unknown for the others",
    ]
    alone = command.table([written()], Options(out=tmp_path, paper="pictures")).splitlines()
    assert alone[2:] == ["1 figures, how long they take is unknown"]


def test_a_run_that_found_shared_attacks_gives_no_time(written: Written, tmp_path: Path):
    """Oracle: the budget of 0.1 minutes; a script that shares none is believed."""
    alone, sharing = written(), written(change=('data="mnist"', 'data="mnist", studies=None'))
    options = Options(out=tmp_path)
    for script, minutes in ((alone, 12), (sharing, 0.1)):
        command.remember(tmp_path, Outcome(script.name, {}, options.content(script), 720, judged=True, compared=True))
        assert command.estimates([script], options) == {script.name: minutes}


def test_the_time_of_other_data_is_no_estimate(written: Written, tmp_path: Path):
    """Oracle: the budget of 0.1 minutes; a file of times that is damaged, or of another shape, is no error."""
    script, options = written(), Options(out=tmp_path)
    command.remember(tmp_path, Outcome(script.name, {}, "of more steps", 720, judged=True, compared=True))
    assert command.estimates([script], options) == {script.name: 0.1}
    for text in ("{", '{"fig99_three": 720}'):
        (tmp_path / "seconds.json").write_text(text, encoding="utf-8")
        assert command.estimates([script], options) == {script.name: 0.1}


@pytest.mark.parametrize(("failing", "status"), [("", 0), ("figures all --any-code", 1), ("figures contours", 2)])
def test_make_builds_every_page_whatever_deviates(tmp_path: Path, failing: str, status: int):
    """Oracle: a Python that writes down what it was asked for, and fails where it is told to; -n asks for nothing."""
    for name in ("pyproject.toml", "constraints.txt", ".dev"):
        (tmp_path / name).touch()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$*" >> log\n[ "$*" != "-m {failing}" ] || exit {status}\n', encoding="utf-8")
    python.chmod(0o755)
    shutil.copy(Path(command.__file__).parent.parent / "Makefile", tmp_path)
    outer = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    words = ["make", "BIN=.", "VENV=.", "figures", "OPTIONS=--any-code"]
    subprocess.run([*words, "-n"], cwd=tmp_path, env=outer, capture_output=True, check=True)
    assert not (tmp_path / "log").exists()
    done = subprocess.run(words, cwd=tmp_path, env=outer, capture_output=True, text=True)
    *log, last = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert "docs/contour.png" in last
    assert log == [f"-m figures {what}" for what in ("all --any-code", "theorems", "contours", "gallery")]
    assert done.returncode == (2 if failing else 0), done.stderr  # 2 is make's own
    assert (f"Error {status}" in done.stderr) == bool(failing)


def test_every_script_is_complete_and_in_the_table(capsys: pytest.CaptureFixture[str]):
    """Oracle: the folder."""
    assert command.main(["--list"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == script_names() == named(["all"])
    for name in script_names():
        script = load_script(name)
        assert set(script.paper) <= set(script.options())
        lines_of = script.path.read_text(encoding="utf-8").splitlines()
        assert len(lines_of) < 120, name
        assert not any("from figures.fig" in line or "from figures.extra" in line for line in lines_of), name


def test_numbers_are_enough_to_name_a_figure():
    """Oracle: the name."""
    assert named(["fig06", "fig06_output_change"]) == ["fig06_output_change"]


@pytest.mark.slow
def test_all_figures_run_quickly(tmp_path: Path):
    """Oracle: the status; every figure leaves its four files and no verdict; those on record are those of the docs."""
    assert command.main(["all", "--quick", "--out", str(tmp_path / "out"), "--studies", str(tmp_path)]) == 0
    records = gallery.records_in(tmp_path / "out")
    assert list(records) == script_names()
    assert not any(record["judged"] for record in records.values())
    for name in script_names():
        assert all((tmp_path / "out" / f"{name}.{ending}").stat().st_size for ending in ("npz", "pdf", "png"))
    page = DOCS.read_text(encoding="utf-8")
    shown = {name: record for name, record in records.items() if f"- {gallery.title(name)}\n" not in page}
    on_record, told = _verdicts(gallery.markdown(_as_on_record(shown))), _verdicts(page)
    # A quick figure 3 is on a smaller network in the large one's place, and its claims name it.
    assert {figure for figure, _ in told.keys() ^ on_record.keys()} <= {"| Figure 3"}
    common = told.keys() & on_record.keys()
    assert {claim: told[claim] for claim in common} == {claim: on_record[claim] for claim in common}


def _as_on_record(records: dict[str, Any]) -> dict[str, Any]:
    """The records as if each verdict were the one that the claim expects."""

    def claim(told: dict[str, Any]) -> dict[str, Any]:
        return told | {"verdict": Claim(expected=True, holds=told["expected"], value=0.0, n=1).verdict}

    return {
        name: record | {"judged": True, "claims": {words: claim(told) for words, told in record["claims"].items()}}
        for name, record in records.items()
    }


def _verdicts(table: str) -> dict[tuple[str, str], str]:
    """Verdicts by figure and claim."""
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith(("| Figure", "| Extra"))]
    return {(figure, claim): verdict for figure, claim, verdict, *_ in rows}
