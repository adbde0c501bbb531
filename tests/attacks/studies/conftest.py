"""A small study on the digits network, run once."""

import pytest

from benchmarks.study_kills import STUDY, start


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "small.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="session")
def finished(study):
    """The folder of an undisturbed run, in processes of its own."""
    out = study.parent / "undisturbed"
    assert start(study, out).wait(timeout=600) == 0, out.with_name("undisturbed.log").read_text()
    return out
