"""A figure's script: what it exports, and where the scripts are.

A script ``figNN_slug.py`` or ``extra_slug.py`` exports

* ``compute(*, seed, quick, ...) -> Data``, without ``seed`` if it draws nothing itself; further keyword arguments are
  options (``--set KEY=VALUE``),
* ``claims(data) -> dict[str, Claim]``, the paper's statements about the figure,
* ``draw(data) -> Figure``, from the saved data alone,
* ``CAPTION``, or ``caption(data) -> str``: exactly what was run, and how that differs from the paper,
* ``BUDGET``: network, n, steps and minutes of a full run, for the table beforehand,
* ``PAPER`` (optional): the options of the paper's own setting; ``{folder}`` in them is the user's data folder.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from matplotlib.figure import Figure

from figures._claim import Claim, Data

FOLDER = Path(__file__).parent
_NAME = re.compile(r"(fig\d\d|extra)_\w+")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a full run costs on two cores.

    Attributes:
        network: Of the networks, the main one, or several in words.
        n: Images, pairs or points.
        steps: Attack steps of each, or evaluations; 0 for none.
        minutes: Measured, or estimated; attacks that other figures share are counted once, where they are run first.
    """

    network: str
    n: int
    steps: int
    minutes: float


@dataclass(frozen=True)
class Script:
    """The functions of one script.

    Attributes:
        name: Of the script, without ending; its outputs carry it.
        compute: Data from a seed.
        claims: Statements from data.
        draw: Figure from data.
        caption: Words, or a function of the data.
        budget: Of a full run; None where nobody asks.
        paper: Options of the paper's setting.
    """

    name: str
    compute: Callable[..., Data]
    claims: Callable[[Data], dict[str, Claim]]
    draw: Callable[[Data], Figure]
    caption: str | Callable[[Data], str]
    budget: Budget | None = None
    paper: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file that defines ``compute``."""
        return Path(inspect.getfile(self.compute))

    def words(self, data: Data) -> str:
        """The caption for this data, on one line."""
        return " ".join((self.caption if isinstance(self.caption, str) else self.caption(data)).split())

    @property
    def seeded(self) -> bool:
        """Whether ``compute`` draws anything; figures of the studies do not, whose files name their seeds."""
        return "seed" in inspect.signature(self.compute).parameters

    def options(self) -> dict[str, Any]:
        """Options of ``compute`` beside seed and quick, with their defaults."""
        parameters = inspect.signature(self.compute).parameters
        return {key: p.default for key, p in parameters.items() if key not in ("seed", "quick")}

    def arguments(self, given: Mapping[str, str]) -> dict[str, Any]:
        """All options, those given in the types of their defaults.

        Raises:
            ValueError: If an option is unknown or its value of another type.
        """
        known = self.options()
        for key, value in given.items():
            if key not in known:
                words = ", ".join(known) or "none"
                raise ValueError(f"expected options of {self.name} among {words}, got {key!r}")
            known[key] = _like(known[key], value, f"{self.name}: {key}")
        return known


def script_names() -> list[str]:
    """Scripts that are there, figures of the paper first."""
    found = (path.stem for path in FOLDER.glob("*.py") if _NAME.fullmatch(path.stem))
    return sorted(found, key=lambda name: (name.startswith("extra"), name))


def named(names: list[str]) -> list[str]:
    """Scripts by name, by the part before the first underscore (``fig05``), or all.

    Raises:
        ValueError: If there is no such script.
    """
    known = script_names()
    found: list[str] = []
    for name in names:
        matches = known if name == "all" else [k for k in known if k == name or k.startswith(f"{name}_")]
        if not matches:
            raise ValueError(f"expected 'all' or figures among {', '.join(known)}, got {name!r}")
        found += [match for match in matches if match not in found]
    return found


def load_script(name: str) -> Script:
    """Import a script of this folder."""
    return script_of(importlib.import_module(f"figures.{name}"), name)


def script_of(module: ModuleType, name: str) -> Script:
    """The script that a module holds.

    Raises:
        ValueError: If it does not export what a script must.
    """
    missing = [key for key in ("compute", "claims", "draw", "BUDGET") if not hasattr(module, key)]
    caption = getattr(module, "caption", None) or getattr(module, "CAPTION", None)
    if missing or caption is None:
        missing += [] if caption else ["CAPTION or caption"]
        raise ValueError(f"expected compute, claims, draw, BUDGET and CAPTION in {name}, found no {', '.join(missing)}")
    paper = getattr(module, "PAPER", {})
    return Script(name, module.compute, module.claims, module.draw, caption, module.BUDGET, paper)


def _like(default: Any, value: str, what: str) -> Any:
    kind = type(default)
    try:
        if kind is bool:
            return {"true": True, "false": False}[value.lower()]
        return kind(value)
    except (ValueError, KeyError) as error:
        raise ValueError(f"expected a {kind.__name__} for {what}, got {value!r}") from error
