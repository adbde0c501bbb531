"""The attacks and defences that a study can name."""

from collections.abc import Callable
from typing import Any

from attacks.manipulation import manipulate

ATTACKS: dict[str, Callable[..., Any]] = {"manipulate": manipulate}
DEFENCES: dict[str, Callable[..., Any]] = {}
