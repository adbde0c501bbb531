"""Targets of an attack: another picture's map, the map of another class, a drawing, a text.

A drawing or a text is blurred a little: the maps of a network are no sharper than a few
pixels, so an edge of one pixel is out of reach.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from attacks.config import AttackConfig
from attacks.defences import Defence
from attacks.explanations import explain
from attacks.images import Picture, load_picture
from attacks.manipulation import target_map
from attacks.networks import Network

SAME, TEXT, DRAWN = "same", "text:", "drawn:"

_BLUR_SHARE = 1 / 75  # of the shorter side: 3 pixels at 224, two fifths of one at 28
_FILL = 0.86  # of the width or height, whichever a text meets first
_SMALLEST_LETTER = 6  # pixels; below, nothing can be read


@dataclass(frozen=True)
class Target:
    """What an attack aims at.

    Attributes:
        map: ``[1, H, W]``, of sum 1; that which the loss refers to.
        own_map: The network's own map of the same, without softening unless the defence softens; for a drawing ``map``.
        input: What to show as the target, ``[1, C, H, W]`` in the module's input space.
        picture: Its picture, for name and credit.
    """

    map: Float[Tensor, "1 h w"]
    own_map: Float[Tensor, "1 h w"]
    input: Float[Tensor, "1 c h w"]
    picture: Picture


def load_target(  # noqa: PLR0913
    source: str,
    network: Network,
    image: Float[Tensor, "1 c h w"],
    *,
    config: AttackConfig,
    target_class: int | None = None,
    defence: Defence | None = None,
) -> Target:
    """The target that a command line names.

    Args:
        source: A picture's name or file, for its explanation map; ``same`` for the attacked picture itself,
            with another class; ``text:WORDS``; ``drawn:FILE``, a picture whose brightness is the map.
        network: The network.
        image: The attacked input; gives the map's size.
        config: Method and betas of the attack.
        target_class: Class that the target's map explains; the predicted one by default.
        defence: Of the network's explanations.

    Raises:
        ValueError: If a file, a text or the class is not as expected.
    """
    if source.startswith((TEXT, DRAWN)):
        if target_class is not None:
            raise ValueError(f"expected a picture for the class {target_class} of a target, got {source!r}")
        return _drawn(source, network, image)
    if source == SAME and target_class is None:
        raise ValueError("expected a class for the target 'same', as its own map is reached already; name one")
    classes = int(network.module(image.detach()).shape[1])
    if target_class is not None and not 0 <= target_class < classes:
        raise ValueError(f"expected a target class in 0..{classes - 1}, got {target_class}")
    if source == SAME:
        picture, shown = Picture(_as_picture(network.pixels(image)), SAME, "the attacked picture"), image
    else:
        picture = load_picture(source, channels=image.shape[1])
        shown = network.preprocess(picture.image).to(image)
    aim = target_map(network, shown, config=config, target_class=target_class, defence=defence)
    own = explain(network, shown, target_class, method=config.method, defence=defence).detach()
    return Target(aim, own, shown, picture)


def map_of_text(text: str, size: tuple[int, int], *, blur: float | None = None) -> Float[Tensor, "h w"]:
    """The map of a written text, as large as fits, of sum 1, float64.

    Args:
        text: One line, or several with line breaks.
        size: Height and width.
        blur: Standard deviation in pixels; 1/75 of the shorter side by default.

    Raises:
        ValueError: If the text is empty or too long to be read at this size.
    """
    if not text.strip():
        raise ValueError("expected a text with letters, got an empty one")
    height, width = size
    draw = ImageDraw.Draw(canvas := Image.new("L", (width, height)))
    letters = 100
    left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=ImageFont.load_default(letters))
    letters = int(letters * _FILL * min(width / (right - left), height / (bottom - top)))
    if letters < _SMALLEST_LETTER:
        raise ValueError(f"expected a text that can be read on {height}x{width} pixels, got {text!r}; shorten it")
    font = ImageFont.load_default(letters)
    draw.multiline_text((width / 2, height / 2), text, fill=255, font=font, anchor="mm", align="center")
    return _map(np.asarray(canvas, dtype=np.float64), blur)


def map_of_drawing(picture: Image.Image, size: tuple[int, int], *, blur: float | None = None) -> Float[Tensor, "h w"]:
    """The map whose relevance is a picture's brightness, of sum 1, float64.

    Args:
        picture: Bright where relevance belongs, black elsewhere; fitted in whole, edges black.
        size: Height and width.
        blur: Standard deviation in pixels; 1/75 of the shorter side by default.

    Raises:
        ValueError: If the picture is black everywhere.
    """
    height, width = size
    scale = min(width / picture.width, height / picture.height)
    fitted = picture.convert("L").resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.BICUBIC
    )
    canvas = Image.new("L", (width, height))
    canvas.paste(fitted, ((width - fitted.width) // 2, (height - fitted.height) // 2))
    return _map(np.asarray(canvas, dtype=np.float64), blur)


def _drawn(source: str, network: Network, image: Tensor) -> Target:
    size = (image.shape[2], image.shape[3])
    if source.startswith(TEXT):
        words = source.removeprefix(TEXT)
        drawn, name, credit = map_of_text(words, size), f"the text {words!r}", "written for this attack"
    else:
        path = source.removeprefix(DRAWN)
        loaded = load_picture(path, channels=1)
        drawn, name, credit = map_of_drawing(loaded.image, size), Path(path).name, loaded.credit
    aim = drawn.to(image)[None]
    pixels = (aim / aim.max())[None].expand(1, image.shape[1], *size)
    return Target(aim, aim, network.normalise(pixels), Picture(_as_picture(pixels), name, credit))


def _map(brightness: NDArray[np.float64], blur: float | None) -> Tensor:
    from scipy.ndimage import gaussian_filter

    blur = _BLUR_SHARE * min(brightness.shape) if blur is None else blur
    if not 0 <= blur < float("inf"):
        raise ValueError(f"expected a finite blur >= 0 in pixels, got {blur}")
    if not brightness.max() > 0:
        raise ValueError("expected a drawing that is bright somewhere, got one that is black; draw white on black")
    blurred = gaussian_filter(brightness, blur, mode="constant") if blur else brightness
    return torch.from_numpy(blurred / blurred.sum())


def _as_picture(pixels: Tensor) -> Image.Image:
    array = (pixels[0].detach().double().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))
