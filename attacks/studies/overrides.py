"""Hyper-parameters that a study changes, with the reason beside them."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from attacks.config import AttackConfig
from attacks.studies.table import Table

_SELECTORS = ("network", "method", "attack", "defence")
_FIELDS = {f.name: f.type for f in dataclasses.fields(AttackConfig) if f.name not in ("network", "method", "reason")}
# Any row that is valid: one change of it at a time shows which change is not.
_VALID = AttackConfig(
    network="", method="", iterations=1, lr=1.0, explanation_weight=1.0, output_weight=1.0, output="softmax",
    beta_start=1.0, beta_end=1.0,
)  # fmt: skip


@dataclass(frozen=True)
class Override:
    """Changes of a configuration, for the combinations that its selectors name.

    Attributes:
        selectors: Names by kind (network, method, attack, defence); a kind that is missing selects all.
        changes: Fields of the configuration.
        reason: Why the printed or preset numbers do not do.
    """

    selectors: dict[str, tuple[str, ...]]
    changes: dict[str, Any]
    reason: str

    def apply(self, config: AttackConfig, combination: dict[str, str]) -> AttackConfig:
        """The configuration with the changes, if the combination is selected."""
        if any(combination[kind] not in names for kind, names in self.selectors.items()):
            return config
        reason = "; ".join(filter(None, (config.reason, self.reason)))
        return dataclasses.replace(config, **self.changes, reason=reason)


def read_override(table: Table, known: dict[str, tuple[str, ...]]) -> Override:
    """One ``[[overrides]]`` of a study.

    Args:
        table: Selectors, at least one change, and ``reason``.
        known: The names of the study by kind.

    Raises:
        ValueError: If a key is not as expected, the reason is missing, or nothing is changed.
    """
    selectors = {kind: table.many(kind, str, known=known[kind]) for kind in _SELECTORS if kind in table}
    changes = {name: _field(table, name) for name in _FIELDS if name in table}
    if "softplus" in table and not table.take("softplus", bool):
        changes |= {"beta_start": None, "beta_end": None}
    reason = table.take("reason", str)
    # Known to the table even when absent, so that an error lists them.
    for name in (*_SELECTORS, *_FIELDS, "softplus"):
        table.knows(name)
    table.finish()
    if not changes:
        raise table.error("reason", "a hyper-parameter beside the reason", "none, which changes nothing")
    return Override(selectors, changes, reason)


def _field(table: Table, name: str) -> Any:
    value = table.annotated(name, _FIELDS[name])
    try:
        dataclasses.replace(_VALID, **{name: value})
    except ValueError as error:
        raise table.error(name, "a value that an attack accepts", f"{value!r} ({error})") from error
    return value
