"""A statement of the paper about a figure, judged on the figure's data."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Data = dict[str, NDArray[Any]]  # what a figure computes, saves and draws


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement of the paper and what became of it here.

    Attributes:
        expected: The verdict on record: that of the last full run with default options that a person looked at.
            Runs with others are compared with none. False records that the paper's statement does not hold here,
            which is no error.
        holds: Whether the statement holds on this data.
        value: The number that decided.
        n: Of how many images, points or networks.
        note: What the number is, or why the statement does not hold here.
    """

    expected: bool
    holds: bool
    value: float
    n: int
    note: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.holds, bool | np.bool_) or not isinstance(self.expected, bool):
            raise ValueError(f"expected True or False for expected and holds, got {self.expected!r} and {self.holds!r}")
        if not math.isfinite(self.value) or self.n < 1:
            raise ValueError(f"expected a finite value and n >= 1, got {self.value!r} and {self.n}; is there data?")
        for name, kind in (("holds", bool), ("value", float), ("n", int)):  # NumPy's own are no JSON
            object.__setattr__(self, name, kind(getattr(self, name)))

    @property
    def deviates(self) -> bool:
        """Whether the verdict is not the one on record; it says something about runs with default options alone."""
        return self.holds != self.expected

    @property
    def verdict(self) -> str:
        """In words."""
        return "holds" if self.holds else "does not hold here"
