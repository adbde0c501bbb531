"""Parts on disk: one safetensors file each with its description inside, written whole or not at all."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from attacks.storage import write_atomically


@runtime_checkable
class Stored(Protocol):
    """A piece of an experiment that is measured at once, by name; its numbers hold ``position``, its positions."""

    @property
    def name(self) -> str:
        """Hash of all that determines the numbers."""

    @property
    def positions(self) -> tuple[int, ...]:
        """Of its images in the subject."""

    def describe(self) -> dict[str, Any]:
        """What its file says of itself."""


@dataclass(frozen=True)
class Store:
    """The folder of parts."""

    path: Path

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            ValueError: If it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / ".writable", "")
            (self.path / ".writable").unlink()
        except OSError as error:
            raise ValueError(
                f"expected a folder that can be written, got '{self.path}': {error.strerror}; choose another with --out"
            ) from error

    def file(self, part: Stored) -> Path:
        """Where a part's numbers are or will be."""
        return self.path / f"{part.name}.safetensors"

    def save(self, part: Stored, tensors: dict[str, Tensor]) -> None:
        """Keep a part's numbers."""
        write_atomically(self.file(part), save(tensors, {"part": json.dumps(part.describe(), sort_keys=True)}))

    def load(self, part: Stored) -> dict[str, Tensor] | None:
        """A part's numbers, or None if its file is missing or damaged."""
        try:
            with safe_open(self.file(part), framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
        except (SafetensorError, OSError):
            return None
        same = "position" in tensors and torch.equal(tensors["position"], torch.tensor(part.positions))
        return tensors if same else None
