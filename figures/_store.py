"""A figure's files, each written to a temporary name first.

NAME.npz holds the data and NAME.json its record; when NAME.pdf and NAME.png are there, the record tells of them too.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from attacks.storage import write_atomically
from figures._claim import Data
from figures._script import FOLDER

STYLE = FOLDER / "paper.mplstyle"
_KEYS = {"content", "code", "versions", "any_code", "quick", "seed", "arguments", "command", "data"}
_DRAWN = {"caption", "judged", "compared", "claims"}  # beside these, once the pictures are there


@dataclass(frozen=True)
class Store:
    """The files of one figure.

    Attributes:
        folder: Where they are.
        name: Of the script.
    """

    folder: Path
    name: str

    def file(self, ending: str) -> Path:
        """One of the files."""
        return self.folder / f"{self.name}.{ending}"

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            ValueError: If it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for part in self.folder.glob(f".{self.name}.*.part"):
                part.unlink(missing_ok=True)
        except OSError as error:
            raise ValueError(
                f"expected a folder that can be written, got '{self.folder}': {error.strerror}; choose another --out"
            ) from error

    def record(self) -> dict[str, Any] | None:
        """The JSON file, or None if it or the data beside it is not there and whole."""
        try:
            found: dict[str, Any] = json.loads(self.file("json").read_text(encoding="utf-8"))
            whole = found["data"] == _digest(self.file("npz").read_bytes())
        except (OSError, ValueError, KeyError):
            return None
        return found if whole and found.keys() >= _KEYS else None

    def drawn(self) -> dict[str, Any] | None:
        """The record of a figure that is done; None if its data wait to be judged and drawn."""
        found = self.record()
        return found if found is not None and found.keys() >= _DRAWN else None

    def load(self) -> Data:
        """The saved data.

        Raises:
            ValueError: If there is none, or it is damaged.
        """
        try:
            with np.load(self.file("npz"), allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"expected the data of {self.name} in '{self.file('npz')}', which cannot be read ({error}); "
                "run it without --redraw"
            ) from error

    def save_data(self, data: Data) -> str:
        """Write the data; returns its hash. The record of older data goes first, so that none speaks for these.

        Raises:
            ValueError: If there is nothing in it, or anything but numbers and words.
        """
        _check(self.name, data)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **data)
        self.file("json").unlink(missing_ok=True)
        write_atomically(self.file("npz"), buffer.getvalue())
        return _digest(buffer.getvalue())

    def save_pictures(self, figure: Figure) -> None:
        """Write the PDF and the PNG; without dates, so that the same figure gives the same bytes."""
        for ending, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, metadata=metadata)
            write_atomically(self.file(ending), buffer.getvalue())

    def save_record(self, record: dict[str, Any]) -> None:
        """Write the JSON file: that of the data alone, or, with verdicts and caption, that of a figure that is done."""
        write_atomically(self.file("json"), json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n")


def style() -> Any:
    """A context in which figures look as they should."""
    return matplotlib.style.context(STYLE)


def _check(name: str, data: Data) -> None:
    if not data:
        raise ValueError(f"expected data from {name}, got none")
    for key, array in data.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufU":
            raise ValueError(f"expected arrays of numbers or words from {name}, got {type(array)} for {key!r}")
        if array.size == 0 or (array.dtype.kind == "f" and bool(np.isnan(array).all())):
            raise ValueError(f"expected numbers from {name}, got none for {key!r}; missing data is no figure")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
