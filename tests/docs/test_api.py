"""The API pages: every public name has its place, formulas are set, and nothing comes from a network."""

import importlib
import logging
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "docs" / "api.py")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """All pages, by module; warnings of pdoc, logged ones too, are errors."""
    out = tmp_path_factory.mktemp("api")
    said = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    try:
        runpy.run_path(SCRIPT)["main"](out)
    finally:
        logging.getLogger().removeHandler(handler)
    assert not said
    return {
        ".".join(page.relative_to(out).with_suffix("").parts): page.read_text(encoding="utf-8")
        for page in out.rglob("*.html")
    }


@pytest.mark.slow
@pytest.mark.parametrize("package", ["curvature", "attacks"])
def test_every_public_name_has_its_anchor(pages, package):
    """Oracle: ``__all__``."""
    names = set(importlib.import_module(package).__all__)
    assert names
    assert names <= set(re.findall(r'<section id="([^"]+)">', pages[package]))


@pytest.mark.slow
def test_every_bound_explanation_and_claim_module_has_its_page(pages):
    """Oracle: the registries."""
    from attacks import EXPLANATIONS
    from curvature import BOUNDS
    from proofs_check.registry import CLAIMS

    entries = (*BOUNDS.values(), *EXPLANATIONS.values())
    modules = {entry.__module__ for entry in entries}
    modules |= {
        check.__module__ for claim in CLAIMS.values() for _, check in claim.checks if hasattr(check, "__name__")
    }
    assert modules <= pages.keys()


@pytest.mark.slow
def test_formulas_are_set_and_no_page_asks_a_network(pages):
    """Oracle: the sources have formulas; what a browser would fetch has no address of a machine."""
    prose = {name: re.sub(r'<div class="pdoc-code.*?</div>', "", text, flags=re.DOTALL) for name, text in pages.items()}
    assert "<math" in prose["curvature"]
    assert 'display="block"' in prose["curvature.bounds.first_order_local"]
    for name, text in prose.items():
        assert not re.search(r":math:|FORMULA\d|\\\\?\(|\$\$", text), name
        assert not re.search(r"""<(?:script|img|link|iframe)[^>]*(?:src|href)=["'](?:https?:)?//""", text), name


def test_a_formula_survives_markdown():
    """Oracle: a formula full of what Markdown would take for its own, beside the label that is made bold."""
    to_html = runpy.run_path(SCRIPT)["to_html"]
    html = to_html("Norm :math:`\\|a_1\\|*b*c_2`.\nCost: two.")
    assert html.count("<msub>") == 2
    assert "<em>" not in html
    assert "<strong>Cost:</strong>" in html
