"""``python -m figures``: which figures it runs, and the exit status."""

import json
from pathlib import Path

import pytest

from figures import __main__ as command
from figures._run import Options
from figures._script import load_script, named, script_names
from tests.figures.conftest import Written


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


@pytest.mark.parametrize("arguments", [["fig98"], ["--set", "beta"], ["--seed", "-1"], ["all", "--set", "no=1"]])
def test_bad_input_gives_status_two(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    """Oracle: the status and a message on stderr."""
    assert command.main([*arguments, "--list"]) == 2
    assert capsys.readouterr().err.startswith("error: expected")


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
    """Oracle: the status; every figure leaves its four files, and no verdict."""
    assert command.main(["all", "--quick", "--out", str(tmp_path / "out"), "--studies", str(tmp_path)]) == 0
    for name in script_names():
        assert json.loads((tmp_path / "out" / f"{name}.json").read_text(encoding="utf-8"))["judged"] is False
        assert all((tmp_path / "out" / f"{name}.{ending}").stat().st_size for ending in ("npz", "pdf", "png"))
