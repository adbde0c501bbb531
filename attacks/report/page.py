"""What all pages share: one look, one environment, charts inside of the file."""

import base64
import html
import io
from importlib.resources import files

import jinja2
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from attacks.networks import Network


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


def png_uri(png: bytes) -> str:
    """A PNG file as the address of an image."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def pixels_png(pixels: Float[Tensor, "c h w"]) -> bytes:
    """Pixels in [0, 1] as a PNG file of their own size."""
    array = (pixels.detach().double().clamp(0, 1) * 255).round().to(dtype=torch.uint8).permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array.squeeze())).save(buffer, format="png")
    return buffer.getvalue()


def label_of(network: Network, target_class: int) -> str:
    """A class in words, with its number."""
    name = network.labels[target_class] if target_class < len(network.labels) else ""
    return html.unescape(f"{name} (class {target_class})" if name else f"class {target_class}")
