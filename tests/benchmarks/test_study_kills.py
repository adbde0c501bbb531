"""The benchmark of killed studies must not pass where it has shown nothing."""

import subprocess
import sys
from unittest.mock import Mock

import pytest

from benchmarks import study_kills


def planted(monkeypatch, *, status: int, hit: bool) -> None:
    """Runs that take no time: the undisturbed one ends with a status, a worker is there to be killed or not."""

    def start(study, out):
        out.with_name(f"{out.name}.log").write_text("what went wrong")
        return Mock(spec=subprocess.Popen, wait=Mock(return_value=status))

    monkeypatch.setattr(study_kills, "start", start)
    monkeypatch.setattr(study_kills, "kill_run", lambda study, out, after: None)
    monkeypatch.setattr(study_kills, "kill_worker", lambda study, out, after: hit)
    monkeypatch.setattr(study_kills, "same_summary", lambda a, b: True)
    monkeypatch.setattr(sys, "argv", ["study_kills", "--kills", "2"])


@pytest.mark.parametrize(("hit", "status"), [(True, 0), (False, 1)])
def test_it_passes_only_if_a_worker_was_killed(hit, status, monkeypatch):
    """Oracle: the contract of its exit status."""
    planted(monkeypatch, status=0, hit=hit)
    assert study_kills.main() == status


def test_an_undisturbed_run_that_fails_is_an_error(monkeypatch):
    """Oracle: the error's text, with the end of the run's log."""
    planted(monkeypatch, status=1, hit=True)
    with pytest.raises(SystemExit, match="the undisturbed run failed: what went wrong"):
        study_kills.main()
