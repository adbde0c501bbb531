"""The gallery, in a browser."""

import json
import shutil
from pathlib import Path

import pytest

from figures import _run
from figures._script import load_script, script_names
from figures.pages import gallery
from proofs_check.registry import CLAIMS
from tests.figures.pages.conftest import Open, shows_well

DRAWN = ("fig20_contours", "extra_theorem2_gap")


@pytest.fixture(scope="module")
def results() -> list[dict[str, object]]:
    """The recorded verdicts, in the form of the command's JSON."""
    return [
        {
            "id": c.id,
            "statement": c.statement,
            "source": c.source,
            "verdict": c.expected.value,
            "expected": c.expected.value,
        }
        for c in CLAIMS.values()
    ]


@pytest.fixture(scope="module")
def page(results: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures") / "output"
    for name in DRAWN:
        _run.run_script(load_script(name), _run.Options(quick=True, out=folder))
    path = folder.parent / "gallery.html"
    path.write_text(gallery.page(folder, path, results), encoding="utf-8")
    return path


def test_the_gallery_shows_in_a_browser(page: Path, opened: Open):
    """Oracle: headless Chromium; each picture has loaded, every file that is linked is there."""
    driver = opened(page, width=380)
    driver.execute_script(
        "document.images.forEach?.(i => i.loading = 'eager'); [...document.images].map(i => i.loading = 'eager')"
    )
    driver.execute_async_script("Promise.all([...document.images].map(i => i.decode())).then(arguments[0])")
    shows_well(driver)
    texts = gallery.theorems.texts()
    pictures = sum("picture" in texts[claim] for name in DRAWN for claim in gallery.SHOWS[name])
    assert pictures
    assert driver.execute_script("return document.images.length") == len(DRAWN) + pictures
    links = driver.execute_script("return [...document.querySelectorAll('section a')].map(a => a.getAttribute('href'))")
    files = [link for link in links if link.startswith("output/")]
    assert len(files) == 4 * len(DRAWN)
    assert all((page.parent / link).is_file() for link in files)


def test_verdicts_theorems_and_missing_figures_are_listed(page: Path, opened: Open):
    """Oracle: the folder and the registry; a quick run is not judged."""
    driver = opened(page)
    cells = driver.execute_script(
        "return [...document.querySelectorAll('#claims tbody tr')].map(r => r.cells[2].textContent)"
    )
    assert cells
    assert set(cells) == {"not judged"}
    missing = driver.execute_script("return [...document.querySelectorAll('#missing code')].map(c => c.textContent)")
    assert missing == [f"python -m figures {name}" for name in script_names() if name not in DRAWN]
    for name in DRAWN:
        found = driver.execute_script(
            f"return [...document.querySelectorAll('#{name} details .badge')].map(b => b.textContent)"
        )
        assert found == [CLAIMS[claim].expected.value for claim in gallery.SHOWS[name]]


def test_what_figures_show_exists():
    """Oracle: the folder and the registry."""
    assert set(gallery.SHOWS) <= set(script_names())
    assert {claim for claims in gallery.SHOWS.values() for claim in claims} <= set(CLAIMS)


@pytest.mark.parametrize(
    ("deviates", "holds", "judged", "compared", "mark"),
    [
        (False, True, True, True, "holds"),
        (False, False, True, True, "not"),
        (True, True, True, True, "deviates"),
        (True, True, True, False, "holds"),
        (True, False, True, False, "not"),
        (True, True, False, False, "not"),
    ],
)
def test_the_mark_is_that_of_the_verdict(deviates: bool, holds: bool, judged: bool, compared: bool, mark: str):
    """Oracle: by hand."""
    assert gallery._mark({"deviates": deviates, "holds": holds}, judged=judged, compared=compared) == mark


@pytest.mark.parametrize("change", ["none", "setting", "code", "any_code", "undrawn"])
def test_the_gallery_says_what_the_data_are_of(
    page: Path, tmp_path: Path, results: list[dict[str, object]], change: str
):
    """Oracle: by hand, from a record that was changed in one place."""
    folder, name = tmp_path / "output", DRAWN[0]
    shutil.copytree(page.parent / "output", folder)
    record = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    record |= {"judged": True, "compared": change != "setting", "quick": False}
    record["command"] = f"python -m figures {name} --seed 4"
    record |= {"code": "another"} if change == "code" else {"any_code": True} if change == "any_code" else {}
    if change == "undrawn":
        del record["claims"]
    (folder / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")
    text = gallery.page(folder, tmp_path / "gallery.html", results)
    assert (f'<section id="{name}">' in text) == (change != "undrawn")
    assert (f"<li>{name}: <code>" in text) == (change == "undrawn")
    assert ("python -m figures fig20_contours --seed 4" in text) == (change != "undrawn")
    assert ("compared with none" in text) == (change == "setting")
    assert ("data are from another version of the code" in text) == (change == "code")
    assert ("were allowed (<code>--any-code</code>)" in text) == (change == "any_code")


@pytest.mark.parametrize(("judged", "verdict"), [(True, "does not hold here"), (False, "not judged")])
def test_markdown_has_a_row_a_claim(judged: bool, verdict: str):
    """Oracle: by hand; a bar or a bracket in the words breaks no table."""
    claim = {"verdict": "does not hold here", "holds": False, "deviates": False, "value": 0.123456, "n": 7}
    record = {"judged": judged, "compared": judged, "claims": {"|a_b| < c": claim}}
    assert gallery.markdown({"fig05_ghorbani": record}).splitlines()[2:] == [
        f"| Figure 5 | \\|a\\_b\\| &lt; c | {verdict} | 0.1235 | 7 |"
    ]


def test_the_command_prints_the_table(page: Path, capsys: pytest.CaptureFixture[str]):
    """Oracle: the folder."""
    assert gallery.main(["--markdown", "--out", str(page.parent / "output")]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert {row.split(" | ")[0] for row in rows} == {f"| {gallery.title(name)}" for name in DRAWN}


def test_an_empty_folder_is_refused(tmp_path: Path, results: list[dict[str, object]]):
    """Oracle: the error."""
    with pytest.raises(ValueError, match="found none"):
        gallery.page(tmp_path, tmp_path / "gallery.html", results)


def test_titles():
    """Oracle: by hand."""
    assert gallery.title("fig05_ghorbani") == "Figure 5"
    assert gallery.title("extra_ladder") == "Extra figure, ladder"
    words = "Figure 4: LRP maps of the ReLU network and of softplus networks"
    assert gallery.heading("fig04_lrp_over_beta") == words


def test_a_page_that_is_not_there_is_not_linked(
    page: Path, tmp_path: Path, results: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
):
    """Oracle: the files; the command stands in its place."""
    for there in (False, True):
        for module in (gallery.theorems, gallery.contours):
            path = tmp_path / f"{module.__name__}.html"
            monkeypatch.setattr(module, "OUTPUT", path)
            if there:
                path.touch()
        text = gallery.page(page.parent / "output", tmp_path / "gallery.html", results)
        for word in ("theorems", "contours"):
            assert (f'href="figures.pages.{word}.html' in text) == there
            assert (f"<code>python -m figures {word}</code>" in text) == (not there)
