"""Which images a study attacks, and whose maps they are to have: the same pairs throughout."""

from pathlib import Path
from typing import NamedTuple

import torch

from attacks.images import Picture, load_picture
from attacks.studies.table import Table

_SETS = {"digits": 1797, "mnist": 5000}  # images of the data sets whose pictures are numbered


class Pair(NamedTuple):
    """Names or files of an image and of the target whose map it is to have."""

    image: str
    target: str


def read_pairs(table: Table, folder: Path) -> tuple[Pair, ...]:
    """The pairs of the table ``[pairs]``: a seeded draw from a data set, or all of two lists.

    Args:
        table: Either ``data``, ``count``, and perhaps ``range`` and ``seed``; or ``images`` and ``targets``.
        folder: Where files are looked for first: that of the study file.

    Raises:
        ValueError: If a key is not as expected, or no pair is left.
    """
    pairs = _drawn(table) if "data" in table or "images" not in table else _listed(table, folder)
    table.finish()
    return pairs


def _drawn(table: Table) -> tuple[Pair, ...]:
    data = table.choice("data", _SETS)
    count = table.take("count", int, low=1)
    first, end = table.many("range", int, (0, _SETS[data])) if "range" in table else (0, _SETS[data])
    if not 0 <= first < end <= _SETS[data]:
        raise table.error("range", f"first and end with 0 <= first < end <= {_SETS[data]}", [first, end])
    if 2 * count > end - first:
        raise table.error("count", f"at most {(end - first) // 2} pairs of {end - first} images, none twice", count)
    generator = torch.Generator().manual_seed(table.take("seed", int, 0, low=0))
    indices = (first + torch.randperm(end - first, generator=generator)[: 2 * count]).tolist()
    names = [f"{data}/{index}" for index in indices]
    return tuple(Pair(*names) for names in zip(names[:count], names[count:], strict=True))


def _listed(table: Table, folder: Path) -> tuple[Pair, ...]:
    images, targets = (table.many(key, str) for key in ("images", "targets"))
    for key, names in (("images", images), ("targets", targets)):
        for name in names:
            try:
                picture(name, folder)
            except ValueError as error:
                raise table.error(key, "pictures", f"{name!r} ({error})") from error
    pairs = tuple(Pair(image, target) for image in images for target in targets if image != target)
    if not pairs:
        raise table.error("targets", "a target other than the image", f"{list(targets)}, which leaves nothing to run")
    return pairs


def picture(name: str, folder: Path, *, channels: int = 3) -> Picture:
    """A picture by name or from a file, which is looked for in ``folder`` first."""
    return load_picture(str(folder / name) if (folder / name).is_file() else name, channels=channels)
