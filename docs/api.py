"""The API pages, from the docstrings: ``python docs/api.py`` writes ``out/docs``.

pdoc renders them; formulas become MathML here, so that the pages need no network.
"""

import argparse
import re
import sys
from pathlib import Path

import markdown2
import pdoc
from latex2mathml.converter import convert
from pdoc import render, render_helpers

from attacks import EXPLANATIONS
from curvature import BOUNDS

PACKAGES = ("curvature", "attacks", "proofs_check")
# What pdoc makes of :math:`...` and of ``.. math::``; it leaves a role alone that spans two lines.
_INLINE = re.compile(r"\\\\\( (.+?) \\\\\)|:math:`([^`]+)`")
_BLOCK = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
_LABELS = re.compile(r"(?:(?<=\n)|(?<=\. )|(?<=\.\n))(Exactness|Cost|Source):")


def modules() -> list[str]:
    """The packages, and the modules that say how each bound and each explanation is computed."""
    return [*PACKAGES, *sorted({entry.__module__ for entry in (*BOUNDS.values(), *EXPLANATIONS.values())})]


def main(out: Path) -> None:
    """Write one page a module, an index and a search."""
    render.configure(docformat="google", footer_text="curvature-bounds")
    render.env.filters["to_html"] = to_html
    pdoc.pdoc(*modules(), output_directory=out)
    print(f"{len(list(out.rglob('*.html')))} pages; open {out / 'index.html'}", file=sys.stderr)


def to_html(docstring: str) -> markdown2.UnicodeWithAttrs:
    """The filter of pdoc from Markdown to HTML, with formulas as MathML and labels in bold."""
    formulas: list[str] = []

    def keep(latex: str, display: str) -> str:
        formulas.append(convert(" ".join(latex.split()), display=display))
        return f"FORMULA{len(formulas) - 1}END"

    text = _BLOCK.sub(lambda m: keep(m[1], "block"), str(docstring))
    text = _INLINE.sub(lambda m: keep(m[1] or m[2], "inline"), text)
    page = render_helpers.to_html(_LABELS.sub(r"**\1:**", text))
    html = markdown2.UnicodeWithAttrs(re.sub(r"FORMULA(\d+)END", lambda m: formulas[int(m[1])], page))
    html.toc_html = getattr(page, "toc_html", None)
    return html


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/docs"))
    main(parser.parse_args().out)
