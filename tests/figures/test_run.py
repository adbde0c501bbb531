"""What a run of one figure leaves behind; the oracle is how often ``compute`` ran, and the bytes of the files."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from figures._run import OUTPUT, Options, report, run_script
from figures._store import Store
from tests.figures.conftest import Written

ENDINGS = ("npz", "json", "pdf", "png")


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(out=tmp_path / "out")


def record(options: Options) -> dict:
    return json.loads((options.folder / "fig99_three.json").read_text(encoding="utf-8"))


def test_a_run_leaves_data_pictures_and_a_record(written: Written, options: Options):
    """Oracle: the script, which is known."""
    outcome = run_script(written(), options)
    assert sorted(path.suffix[1:] for path in options.folder.iterdir()) == sorted(ENDINGS)
    with np.load(options.folder / "fig99_three.npz") as data:
        assert data["numbers"].tolist() == [0.0, 1.0, 2.0]
    found = record(options)
    assert found["caption"] == "Three numbers. Seed 0."
    assert found["seed"] == 0
    assert found["arguments"] == {"scale": "1.0", "data": "mnist"}
    assert found["versions"]["numpy"] == np.__version__
    assert found["claims"]["the numbers grow"] == {
        "expected": True, "holds": True, "value": 1.0, "n": 3, "note": "", "verdict": "holds", "deviates": False,
    }  # fmt: skip
    assert outcome.judged
    assert not outcome.deviating


def test_the_same_again_computes_nothing_and_gives_the_same_bytes(written: Written, options: Options):
    """Oracle: metamorphic."""
    run_script(written(), options)
    before = {ending: (options.folder / f"fig99_three.{ending}").read_bytes() for ending in ENDINGS}
    run_script(written(), options)
    assert len(written.runs) == 1
    assert before == {ending: (options.folder / f"fig99_three.{ending}").read_bytes() for ending in ENDINGS}


def test_what_draws_judges_or_comments_may_change_without_computing(written: Written, options: Options):
    """Oracle: the log of ``compute``; the picture and the verdict on record do follow."""
    run_script(written(), options)
    picture = (options.folder / "fig99_three.png").read_bytes()
    outcome = run_script(written(colour="blue", expected=False, change=("def draw", "# drawn\ndef draw")), options)
    assert len(written.runs) == 1
    assert (options.folder / "fig99_three.png").read_bytes() != picture
    assert outcome.deviating == ["the numbers grow"]


@pytest.mark.parametrize("change", [("np.arange(3.0)", "np.arange(4.0)"), ("scale=1.0", "scale=2.0")])
def test_a_change_of_what_computes_computes_anew(written: Written, options: Options, change: tuple[str, str]):
    """Oracle: the log of ``compute``."""
    run_script(written(), options)
    run_script(written(change=change), options)
    assert len(written.runs) == 2


@pytest.mark.parametrize("change", [{"seed": 1}, {"quick": True}, {"given": {"scale": "3"}}, {"paper": "pictures"}])
def test_other_arguments_compute_anew(written: Written, options: Options, change: dict):
    """Oracle: the log of ``compute``, with the arguments that it got."""
    run_script(written(), options)
    run_script(written(), dataclasses.replace(options, **change))
    expected = {
        "seed": "1 False 1.0 mnist",
        "quick": "0 True 1.0 mnist",
        "given": "0 False 3.0 mnist",
        "paper": "0 False 1.0 imagenet:pictures",
    }
    assert written.runs == ["0 False 1.0 mnist", expected[next(iter(change))]]


@pytest.mark.parametrize("ending", ["npz", "json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_or_missing_files_count_as_none(written: Written, options: Options, ending: str, damage: str):
    """Oracle: the log of ``compute``."""
    run_script(written(), options)
    path = options.folder / f"fig99_three.{ending}"
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    run_script(written(), options)
    assert len(written.runs) == 2
    assert path.read_bytes() == content


def test_data_of_another_version_of_the_code_count_only_on_demand(
    written: Written, options: Options, monkeypatch: pytest.MonkeyPatch
):
    """Oracle: the log of ``compute``; a record that came about on demand is not taken for a strict one later."""
    run_script(written(), options)
    monkeypatch.setattr("figures._run.code", lambda: "another")
    run_script(written(), dataclasses.replace(options, any_code=True))
    assert len(written.runs) == 1
    run_script(written(), options)
    assert len(written.runs) == 2
    run_script(written(), dataclasses.replace(options, any_code=True, seed=5))
    run_script(written(), dataclasses.replace(options, seed=5))
    assert len(written.runs) == 4


def test_redraw_takes_the_data_as_they_are(written: Written, options: Options):
    """Oracle: the log of ``compute``; without data it is an error, never an empty figure."""
    redraw = dataclasses.replace(options, redraw=True)
    with pytest.raises(ValueError, match="expected data of fig99_three"):
        run_script(written(), redraw)
    run_script(written(), options)
    run_script(written(change=("np.arange(3.0)", "np.arange(4.0)")), redraw)
    assert len(written.runs) == 1
    assert record(options)["shapes"] == {"numbers": [3]}


def test_quick_judges_nothing(written: Written, options: Options):
    """Oracle: the same false record, quick and in full."""
    script = written(expected=False)
    assert run_script(script, options).deviating == ["the numbers grow"]
    quick = run_script(script, dataclasses.replace(options, quick=True))
    assert not quick.deviating
    assert record(options)["judged"] is False


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("{}", "expected data"),
        ('{"numbers": np.array([])}', "missing data"),
        ('{"numbers": np.full(3, np.nan)}', "missing data"),
        ('{"numbers": [1, 2]}', "expected arrays"),
        ('{"numbers": np.array([None])}', "expected arrays"),
    ],
)
def test_missing_data_is_an_error(written: Written, options: Options, returned: str, words: str):
    """Oracle: the message; nothing is written that could be taken for a figure."""
    script = written(change=('{"numbers": scale * np.arange(3.0) + seed}', returned))
    with pytest.raises(ValueError, match=words):
        run_script(script, options)
    assert list(options.folder.iterdir()) == []


@pytest.mark.parametrize(
    "change", [('plot(data["numbers"]', 'plot(data["missing"]'), ('np.diff(data["numbers"]', 'np.diff(data["missing"]')]
)
def test_what_was_computed_outlives_an_error_in_what_judges_or_draws(
    written: Written, options: Options, change: tuple[str, str]
):
    """Oracle: the log of ``compute``; the figure does not count as drawn until it is, with old pictures there too."""
    run_script(written(), dataclasses.replace(options, seed=1))
    with pytest.raises(KeyError):
        run_script(written(change=change), options)
    store = Store(options.folder, "fig99_three")
    assert store.record() is not None
    assert store.drawn() is None
    run_script(written(), options)
    assert written.runs == ["1 False 1.0 mnist", "0 False 1.0 mnist"]
    assert store.drawn() == record(options)


@pytest.mark.parametrize(
    ("change", "compared"),
    [
        ({}, True),
        ({"any_code": True}, True),
        ({"given": {"scale": "1"}}, True),
        ({"seed": 1}, False),
        ({"given": {"scale": "3"}}, False),
        ({"paper": "pictures"}, False),
        ({"quick": True}, False),
    ],
)
def test_only_the_setting_on_record_can_deviate(written: Written, options: Options, change: dict, compared: bool):
    """Oracle: a false record in every setting; the verdict itself is shown in each."""
    chosen = dataclasses.replace(options, **change)
    for again in (chosen, dataclasses.replace(options, redraw=True)):  # drawn again, data keep their setting
        outcome = run_script(written(expected=False), again)
        assert bool(outcome.deviating) == compared
        (line,) = report(outcome)
        assert ("DEVIATES" in line) == compared
        assert ("compared with no record" in line) == (not compared and not chosen.quick)
        found = record(options)
        assert found["compared"] == found["claims"]["the numbers grow"]["deviates"] == compared
        assert found["claims"]["the numbers grow"]["verdict"] == "holds"


def test_the_caption_ends_with_the_seed_and_says_that_a_run_was_quick(written: Written, options: Options):
    """Oracle: by hand; drawn again, the words are those of the data."""
    run_script(written(), dataclasses.replace(options, seed=3, quick=True))
    caption = record(options)["caption"]
    assert caption.startswith("Three numbers. Seed 3. A quick run: images and steps are fewer than")
    run_script(written(), dataclasses.replace(options, redraw=True))
    assert record(options)["caption"] == caption
    run_script(written(), options)
    assert record(options)["caption"] == "Three numbers. Seed 0."


def test_a_script_that_draws_nothing_names_no_seed(written: Written, options: Options):
    """Oracle: by hand; another seed asks for the same data, whose verdicts are compared with those on record."""
    script = written(change=("def compute(*, seed, quick,", "seed = 0\n\n\ndef compute(*, quick,"))
    for seed in (0, 5):
        outcome = run_script(script, dataclasses.replace(options, seed=seed))
        assert outcome.compared
        assert record(options)["caption"] == "Three numbers."
        assert record(options)["seed"] is None
    assert len(written.runs) == 1


def test_the_command_on_record_computes_the_same(written: Written, options: Options):
    """Oracle: by hand; the folder of the user's data is in no word of it, and drawing again changes nothing."""
    many = dataclasses.replace(
        options, quick=True, seed=2, given={"data": "a b", "scale": "3"}, paper="pictures", any_code=True
    )
    run_script(written(), many)
    expected = "--quick --seed 2 --set 'data=a b' --set scale=3 --paper-setting DIR --any-code"
    assert record(options)["command"] == f"python -m figures fig99_three {expected}"
    run_script(written(), dataclasses.replace(options, redraw=True))
    assert record(options)["command"] == f"python -m figures fig99_three {expected}"
    run_script(written(), options)
    assert record(options)["command"] == "python -m figures fig99_three"


def test_the_papers_setting_has_a_folder_of_its_own():
    """Oracle: by hand."""
    folders = [Options(paper=paper, quick=quick).folder for paper in (None, "pictures") for quick in (False, True)]
    assert [folder.relative_to(OUTPUT).as_posix() for folder in folders] == [".", "quick", "paper", "paper/quick"]
    assert Options(paper="pictures", out=Path("here")).folder == Path("here")


def test_unknown_options_and_wrong_types_are_refused(written: Written, options: Options):
    """Oracle: the messages."""
    with pytest.raises(ValueError, match="among scale, data, got 'bate'"):
        run_script(written(), dataclasses.replace(options, given={"bate": "1"}))
    with pytest.raises(ValueError, match="expected a float for fig99_three: scale"):
        run_script(written(), dataclasses.replace(options, given={"scale": "much"}))


def test_a_kill_at_any_moment_leaves_no_half_file(tmp_path: Path):
    """Oracle: files that are there can be read, whenever the process is killed; the next run mends the rest."""
    code = (
        "import sys; from pathlib import Path; from tests.figures.conftest import Written;"
        "from figures._run import Options, run_script;"
        "folder = Path(sys.argv[1]); script = Written(folder)();"
        "print('ready', flush=True);\n"
        "for seed in range(10**6): run_script(script, Options(out=folder / 'out', seed=seed))"
    )
    for milliseconds in (60, 170, 330):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(milliseconds / 1000)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        out = tmp_path / "out"
        if (path := out / "fig99_three.json").exists():
            json.loads(path.read_text(encoding="utf-8"))
        if (path := out / "fig99_three.npz").exists():
            np.load(path).close()
    written = Written(tmp_path)
    run_script(written(), Options(out=tmp_path / "out", seed=7))
    assert not list((tmp_path / "out").glob(".*"))
