"""What the pages share: templates on the reports' base, typeset words, files written whole."""

import html
import re
from pathlib import Path

import jinja2
from latex2mathml.converter import convert
from markupsafe import Markup

from attacks.report.page import environment as reports

FOLDER = Path(__file__).parent
TEMPLATES = FOLDER / "templates"
_MATH = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.DOTALL)
_CLAIM = re.compile(r"`(thm[\w.]+)`")
_TILDE, _REL = "<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>"


def environment() -> jinja2.Environment:
    """The templates of this folder; they extend the reports' ``base.html``."""
    ours = {path.name: path.read_text(encoding="utf-8") for path in TEMPLATES.iterdir()}
    base = reports()
    return base.overlay(loader=jinja2.ChoiceLoader([jinja2.DictLoader(ours), base.loader or jinja2.DictLoader({})]))


def typeset(text: str, *, page: str = "") -> Markup:
    r"""Words with LaTeX as HTML with MathML.

    ``$...$`` is set in the line, ``$$...$$`` on a line of its own, a claim's name between backticks is a link to it
    on ``page`` (by default this one).

    Raises:
        ValueError: If a formula cannot be converted, or a dollar has no partner.
    """
    parts, end = [], 0
    for match in _MATH.finditer(text):
        parts += [_words(text[end : match.start()], page), _formula(*match.groups())]
        end = match.end()
    rest = text[end:]
    if "$" in rest:
        raise ValueError(f"expected every formula to end, got a single $ in {rest!r}")
    return Markup("".join([*parts, _words(rest, page)]))


def _words(text: str, page: str) -> str:
    return _CLAIM.sub(rf'<a href="{page}#\1"><code>\1</code></a>', html.escape(text, quote=False))


def _formula(block: str | None, line: str | None) -> str:
    latex = (block or line or "").strip()
    try:
        math = convert(latex, display="block" if block else "inline").replace(_TILDE, _REL)
    except Exception as error:
        raise ValueError(f"expected LaTeX that can be converted, got {latex!r}: {error}") from error
    if "\\" in math or "merror" in math:
        raise ValueError(f"expected LaTeX that can be converted, got {latex!r}, which leaves a command unread")
    return f'<div class="formula">{math}</div>' if block else math
