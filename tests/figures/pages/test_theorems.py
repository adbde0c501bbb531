"""The page of the theorems."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from figures.pages import theorems
from figures.pages._page import typeset
from proofs_check.claim import Evidence, Outcome, Strength, Verdict
from proofs_check.registry import CLAIMS
from tests.figures.pages.conftest import Open, shows_well


@pytest.fixture(scope="module")
def results() -> list[dict[str, object]]:
    """An outcome for each claim in the form of the command's JSON; the checks themselves have tests of their own."""
    found = []
    for claim in CLAIMS.values():
        verdict = claim.expected
        evidence = Evidence(
            strength=Strength.RIGOROUS, scope="one <network>", verdict=verdict, covers=True, margin=0.125, witness="w"
        )
        found.append(json.loads(json.dumps(Outcome(claim, (evidence,)).as_json())))
    return found


@pytest.fixture(scope="module")
def page(results: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "theorems.html"
    path.write_text(theorems.page(results), encoding="utf-8")
    return path


def test_there_is_a_text_for_each_claim_and_every_formula_converts():
    """Oracle: the registry; a formula that is not understood raises."""
    found = theorems.texts()
    assert list(found) == list(CLAIMS)
    for text in found.values():
        assert "<math" in typeset(text["statement"])
        assert "$" not in typeset(text["statement"] + text["idea"])
        assert text.get("picture", "sign") in theorems.PICTURES
    assert {text["picture"] for text in found.values() if "picture" in text} == set(theorems.PICTURES)


def test_a_claim_that_changed_since_its_text_was_written_is_refused(monkeypatch: pytest.MonkeyPatch):
    """Oracle: a registry with one statement turned round."""
    name = "thm1.theorem"
    monkeypatch.setitem(theorems.CLAIMS, name, replace(CLAIMS[name], statement="The opposite."))
    with pytest.raises(ValueError, match=name):
        theorems.texts()


def test_claims_that_a_text_names_exist():
    """Oracle: the registry."""
    for text in theorems.texts().values():
        for name in re.findall(r"`(thm[^`]+)`", text["statement"] + text["idea"]):
            assert name in CLAIMS


@pytest.mark.parametrize("text", [r"$\nosuchcommand{x}$", "$x", r"$\frac{1}{$"])
def test_a_formula_that_cannot_be_set_is_refused(text: str):
    """Oracle: the error."""
    with pytest.raises(ValueError, match="expected"):
        typeset(text)


def test_words_are_escaped_and_formulas_are_not():
    """Oracle: HTML by hand."""
    made = typeset("a < b and `thm1.theorem` and $x<y$")
    assert made.startswith('a &lt; b and <a href="#thm1.theorem"><code>thm1.theorem</code></a> and <math')


def test_a_deviating_verdict_is_said_and_gives_status_one(
    results: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Oracle: one verdict turned round."""
    changed = [r | ({"verdict": "undecided"} if r["id"] == "thm1.theorem" else {}) for r in results]
    monkeypatch.setattr(theorems, "verdicts", lambda: changed)
    cheap = {name: lambda: Figure(figsize=(1, 1)) for name in theorems.PICTURES}
    monkeypatch.setattr(theorems, "PICTURES", cheap)
    assert theorems.main(["--out", str(tmp_path / "page.html")]) == 1
    assert "Not as on record: thm1.theorem" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_verdicts_are_kept_and_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Oracle: a command that would fail is not run when the file is there."""
    monkeypatch.setattr(theorems.sys, "executable", "no-such-python")
    kept = {"claims": [{"id": "thm1.theorem", "verdict": Verdict.PROVED.value, "expected": "proved"}]}
    (tmp_path / f"{theorems._code()}.json").write_text(json.dumps(kept), encoding="utf-8")
    assert theorems.verdicts(tmp_path) == kept["claims"]
    with pytest.raises(OSError, match="no-such-python"):
        theorems.verdicts(tmp_path / "empty")


def test_the_page_stands_alone(page: Path):
    """Oracle: no address but namespaces; all claims, the evidence escaped."""
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)
    for name in CLAIMS:
        assert f'<section id="{name}">' in text
    assert "one &lt;network&gt;" in text
    assert "Margin 0.125" in text


@pytest.mark.parametrize(("width", "dark"), [(1000, False), (360, True)])
def test_the_page_shows_in_a_browser(page: Path, opened: Open, width: int, dark: bool):
    """Oracle: headless Chromium; MathML has a size, dark means dark."""
    driver = opened(page, width=width, dark=dark)
    shows_well(driver)
    flat = "return [...document.querySelectorAll('math')].filter(m => !m.getBoundingClientRect().height).length"
    assert driver.execute_script(flat) == 0
    assert driver.execute_script("return document.querySelectorAll('math').length") > 150
    inline = "[...document.querySelectorAll('p > math, li > math')]"
    wide = f"return {inline}.filter(m => m.getBoundingClientRect().right > innerWidth).length"
    assert driver.execute_script(wide) == 0
    background = driver.execute_script("return getComputedStyle(document.documentElement).colorScheme")
    assert background == "light dark"
    assert driver.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches") is dark
