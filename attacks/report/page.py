"""What all pages share: one look, one environment, charts inside of the file."""

import base64
import io
from importlib.resources import files

import jinja2
from matplotlib.figure import Figure


def environment() -> jinja2.Environment:
    """The templates; each page extends ``base.html``, which holds the style."""
    folder = files("attacks.report")
    sources = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name.endswith(".html")}
    return jinja2.Environment(
        loader=jinja2.DictLoader(sources), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )


def svg_uri(figure: Figure) -> str:
    """A figure as the address of an image, without the date."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue().encode()).decode()
