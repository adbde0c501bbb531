"""Hyper-parameters that a study changes, with the reason beside them."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from attacks.config import AttackConfig
from attacks.studies.table import Table

_SELECTORS = ("network", "method", "attack", "defence")
_FLOATS = ("lr", "explanation_weight", "output_weight", "beta_start", "beta_end")


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
    changes: dict[str, Any] = {name: table.take(name, float, low=0) for name in _FLOATS if name in table}
    for name, value in changes.items():
        if value == 0 and name != "output_weight":
            raise table.error(name, "a number > 0", value)
    if "iterations" in table:
        changes["iterations"] = table.take("iterations", int, low=1)
    if "output" in table:
        changes["output"] = table.choice("output", ("softmax", "logits"))
    if "softplus" in table and not table.take("softplus", bool):
        changes |= {"beta_start": None, "beta_end": None}
    reason = table.take("reason", str)
    # Known to the table even when absent, so that an error lists them.
    for name in (*_SELECTORS, *_FLOATS, "iterations", "output", "softplus"):
        table.knows(name)
    table.finish()
    if not changes:
        raise table.error("reason", "a hyper-parameter beside the reason", "none, which changes nothing")
    return Override(selectors, changes, reason)
