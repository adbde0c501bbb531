"""One table of a study file, read strictly: every error names the key, what was expected and what came."""

import difflib
import math
from collections.abc import Collection
from typing import Any, get_args

_WORDS = {str: "a string", int: "an integer", float: "a number", bool: "true or false", dict: "a table", list: "a list"}
_REQUIRED = object()


class Table:
    """The keys of one table; each is taken once, and what is left at the end is unknown.

    Args:
        values: What the file holds.
        path: Of the table in the file; empty for the top.
        source: The file, for errors.
    """

    def __init__(self, values: dict[str, Any], path: str = "", *, source: str) -> None:
        self._values, self._path, self._source, self._known = dict(values), path, source, set[str]()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def knows(self, key: str) -> None:
        """Count an absent key among those that errors list."""
        self._known.add(key)

    def error(self, key: str, expected: str, got: object) -> ValueError:
        """What to raise about a key."""
        return ValueError(f"{self._source}: key '{self._path}{key}': expected {expected}, got {got}")

    def take(self, key: str, kind: type, default: Any = _REQUIRED, *, low: int | None = None) -> Any:
        """The value of a key, of exactly this type (an integer will do for a float), and at least ``low``."""
        self.knows(key)
        if key not in self._values:
            if default is _REQUIRED:
                raise self.error(key, _WORDS[kind], "nothing; add it")
            return default
        value: Any = self._values.pop(key)
        if kind is float and type(value) is int:
            self._require_64_bits(key, value)
            value = float(value)
        fits: bool = type(value) is kind
        if not fits:
            raise self.error(key, _WORDS[kind], repr(value))
        if kind is float and not math.isfinite(value):
            raise self.error(key, "a finite number", value)
        self._require_64_bits(key, value)
        if low is not None and value < low:
            raise self.error(key, f"at least {low}", value)
        if kind is str and not value.strip():
            raise self.error(key, "words", repr(value))
        return value

    def _require_64_bits(self, key: str, value: object) -> None:
        """TOML promises integers of 64 bits, and seeds have no more; Python reads longer ones."""
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise self.error(key, "an integer from -2**63 to 2**63 - 1", value)

    def choice(self, key: str, known: Collection[str], default: Any = _REQUIRED) -> Any:
        """A string that must be one of a few."""
        value = self.take(key, str, default)
        if value is not default and value not in known:
            raise self.error(key, f"one of {', '.join(known)}", f"{value!r}{_hint(value, known)}")
        return value

    def many(self, key: str, kind: type, default: Any = _REQUIRED, *, known: Collection[str] | None = None) -> Any:
        """A list of values of one type (integers will do for floats), not empty and without repeats, as a tuple."""
        values = self.take(key, list, default)
        if values is default:
            return default
        if not values:
            raise self.error(key, "at least one entry", "an empty list, which leaves nothing to run")
        for value in values if kind is float else ():
            self._require_64_bits(key, value)
        if kind is float:
            values = [float(value) if type(value) is int else value for value in values]
        for value in values:
            if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
                raise self.error(key, f"a list with {_WORDS[kind]} in each place", repr(value))
            self._require_64_bits(key, value)
            if known is not None and value not in known:
                raise self.error(key, f"entries among {', '.join(known)}", f"{value!r}{_hint(str(value), known)}")
        repeated = [value for value in values if values.count(value) > 1]
        if repeated:
            raise self.error(key, "every entry once", f"{repeated[0]!r} more than once")
        return tuple(values)

    def annotated(self, key: str, annotation: Any) -> Any:
        """A value of the type that a Python annotation says: a number, a word, true or false, or one of a few."""
        choices = [a for a in get_args(annotation) if isinstance(a, str)]
        if choices:
            return self.choice(key, choices)
        types = (annotation, *get_args(annotation))
        return self.take(key, next(t for t in (bool, int, float, str) if t in types))

    def table(self, key: str, *, required: bool = False) -> "Table":
        """A table below this one; empty if it is not there."""
        values = self.take(key, dict, _REQUIRED if required else {})
        return Table(values, f"{self._path}{key}.", source=self._source)

    def tables(self, key: str) -> list["Table"]:
        """A list of tables below this one."""
        values = self.take(key, list, [])
        for value in values:
            if type(value) is not dict:
                raise self.error(key, "a list of tables, [[...]]", repr(value))
        return [Table(value, f"{self._path}{key}[{i}].", source=self._source) for i, value in enumerate(values)]

    def finish(self) -> None:
        """Refuse the keys that nobody took."""
        for key in self._values:
            expected = f"no keys but {', '.join(sorted(self._known))}" if self._known else "no keys here"
            raise self.error(key, expected, f"'{key}'{_hint(key, self._known)}")


def _hint(value: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(value, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
