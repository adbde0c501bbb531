"""Hyper-parameters of the targeted manipulation: the paper's printed rows, and presets with their reasons."""

import csv
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Literal, get_args

from attacks.explanations import EXPLANATIONS

Output = Literal["softmax", "logits"]
Keep = Literal["last", "best"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackConfig:
    """One row of a hyper-parameter table.

    Attributes:
        network: Key of ``NETWORKS``.
        method: Key of ``EXPLANATIONS``.
        iterations: Steps of Adam.
        lr: Adam's step size, in the network's input space; for the attacks of Ghorbani et al. the sign
            step, in pixels.
        explanation_weight: Weighs a mean over pixels.
        output_weight: Weighs a mean over classes.
        output: Which output is held constant.
        beta_start: Softplus parameter of the first step; None for no softplus, as for LRP.
        beta_end: Softplus parameter of the last step; equal to the first for a fixed beta.
        reason: Why a row differs from the printed one; empty for printed rows.
        stop_pcc: Stop a sample once the map that the loss sees has this correlation with the target; None for never.
        keep: Which state is the result: the last (as published), or that whose map on the network itself is
            nearest to the target, among those whose class is unchanged; it costs an explanation a step. This
            and ``stop_pcc`` are for ``manipulate`` alone.
    """

    network: str
    method: str
    iterations: int
    lr: float
    explanation_weight: float
    output_weight: float
    output: Output
    beta_start: float | None
    beta_end: float | None
    reason: str = ""
    stop_pcc: float | None = None
    keep: Keep = "last"

    def __post_init__(self) -> None:
        if self.keep not in get_args(Keep) or (self.stop_pcc is not None and not -1 < self.stop_pcc <= 1):
            raise ValueError(
                f"expected keep among {get_args(Keep)} and stop_pcc in (-1, 1] or None, "
                f"got {self.keep!r} and {self.stop_pcc}"
            )
        if self.iterations < 1 or not 0 < self.lr < float("inf"):
            raise ValueError(f"expected iterations >= 1 and a finite lr > 0, got {self.iterations} and {self.lr}")
        if self.output not in get_args(Output):
            raise ValueError(f"expected output among {get_args(Output)}, got {self.output!r}")
        weights = (self.explanation_weight, self.output_weight)
        if not all(0 <= w < float("inf") for w in weights) or not self.explanation_weight:
            raise ValueError(f"expected finite weights, explanation > 0 and output >= 0, got {weights}")
        betas = (self.beta_start, self.beta_end)
        if (None in betas and betas != (None, None)) or any(b is not None and not 0 < b < float("inf") for b in betas):
            raise ValueError(f"expected two finite betas > 0, or none at all, got {betas}")

    def beta(self, step: int) -> float | None:
        """Softplus parameter at a step, by the paper's eq. 1: b0 (be/b0)^(t/T)."""
        if self.beta_start is None or self.beta_end is None:
            return None
        return self.beta_start * (self.beta_end / self.beta_start) ** (step / self.iterations)

    def require_plain(self, attack: str) -> None:
        """Refuse what only ``manipulate`` can do.

        Raises:
            ValueError: If ``stop_pcc`` or ``keep`` is set.
        """
        if self.stop_pcc is not None or self.keep != "last":
            raise ValueError(
                f"expected stop_pcc None and keep 'last' for {attack}, got {self.stop_pcc} and {self.keep!r}; "
                "only manipulate stops early or chooses among its states"
            )

    @property
    def grows(self) -> bool:
        """Whether beta changes during the attack."""
        return self.beta_start != self.beta_end


# Rows for networks and budgets that the paper's tables do not cover.
_PRESETS = {
    ("efficientnet_lite0", "gradient"): AttackConfig(
        network="efficientnet_lite0", method="gradient", iterations=300, lr=2e-3, explanation_weight=1e11,
        output_weight=1e6, output="softmax", beta_start=10.0, beta_end=100.0,
        reason="300 steps at twice table 1's rate reach the target on this network within minutes",
    ),
    ("digits", "gradient"): AttackConfig(
        network="digits", method="gradient", iterations=1500, lr=1e-3, explanation_weight=1e7,
        output_weight=1e6, output="softmax", beta_start=10.0, beta_end=100.0,
        reason="maps of 64 pixels are 784 times larger per pixel than those of 224x224: a smaller factor pulls alike",
    ),
}  # fmt: skip

_MNIST_WEIGHT = 2.5e7
_MNIST_REASON = "table 1, but maps of 28x28 are 64 times larger per pixel than those of 224x224: 64^2 times less weight"

# Ghorbani et al. 2017: 300 steps of half a grey level; the surrogate's beta is that of the reference implementation.
_GHORBANI = AttackConfig(
    network="", method="gradient", iterations=300, lr=0.5 / 255, explanation_weight=1.0, output_weight=0.0,
    output="softmax", beta_start=1.0, beta_end=1.0,
    reason="Ghorbani et al.: sign steps of half a grey level (in pixels, not in input space), softplus beta 1",
)  # fmt: skip

_TABLE_OF_NETWORK = {"vgg16": 1, "alexnet": 2, "resnet18": 2, "densenet121": 2, "vgg16_cifar10": 3}


def load_table(number: int) -> dict[str, AttackConfig]:
    """The rows of a printed table (1 to 5), keyed by method, in table 2 by network.

    Raises:
        ValueError: If there is no such table, or its file holds a row twice.
    """
    path = files("attacks") / "tables" / f"table{number}.csv"
    if number not in range(1, 6):
        raise ValueError(f"expected a table from 1 to 5, got {number}")
    rows: dict[str, AttackConfig] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = row.pop("row")
            if key in rows:
                raise ValueError(f"table {number} holds the row {key!r} twice")
            rows[key] = _parse(row)
    return rows


def preset(network: str, method: str, *, table: int | None = None, attack: str = "manipulate") -> AttackConfig:
    """The row to use for a network and a method: of a named table, else the network's own, else VGG-16's of table 1.

    A row that was printed for another network says so in its ``reason``.

    Args:
        network: Key of ``NETWORKS``.
        method: Key of ``EXPLANATIONS``.
        table: 1 to 5, or None for the network's own preset, else its table.
        attack: Key of ``ATTACKS``. The attacks of Ghorbani et al. have hyper-parameters of their own, so no table;
            the attack on the level set takes the row with beta fixed at its last value.

    Raises:
        ValueError: If the table has no row for them, or the attack takes none.
    """
    if has_own_row(attack):
        if table is not None:
            raise ValueError(
                f"expected no table for {attack}, whose hyper-parameters are those of Ghorbani et al., got {table}; "
                "leave it out"
            )
        if method not in EXPLANATIONS:
            raise ValueError(f"expected a method among {', '.join(EXPLANATIONS)}, got {method!r}")
        return replace(_GHORBANI, network=network, method=method)
    row = _row(network, method, table)
    if attack == "on_level_set" and row.grows:
        fixed = "one fixed beta: the last of the printed row"
        return replace(row, beta_start=row.beta_end, reason="; ".join(filter(None, (row.reason, fixed))))
    return row


def has_own_row(attack: str) -> bool:
    """Whether an attack has hyper-parameters of its own, whatever the table."""
    return attack.startswith("ghorbani")


def _row(network: str, method: str, table: int | None) -> AttackConfig:
    if table is None and (network, method) in _PRESETS:
        return _PRESETS[network, method]
    if table is None and network.startswith("mnist_"):
        return replace(
            _row("vgg16", method, 1), network=network, explanation_weight=_MNIST_WEIGHT, reason=_MNIST_REASON
        )
    number = _TABLE_OF_NETWORK.get(network, 1) if table is None else table
    if table is None and (number, method) not in {(1, method), (2, "gradient"), (3, "lrp")}:
        number = 1
    rows = load_table(number)
    key = network if number == 2 else method
    if key not in rows or rows[key].method != method:
        raise ValueError(
            f"expected a row of table {number} ({', '.join(rows)}), but it has no row for {network} with {method}; "
            "choose another method or table"
        )
    row = rows[key]
    if row.network != network:
        return replace(
            row, network=network, reason=f"printed for {row.network} (table {number}); none is for {network}"
        )
    return row


def _parse(row: dict[str, str]) -> AttackConfig:
    values: dict[str, Any] = dict(row)
    for key in ("lr", "explanation_weight", "output_weight"):
        values[key] = float(row[key])
    for key in ("beta_start", "beta_end"):
        values[key] = float(row[key]) if row[key] else None
    values["iterations"] = int(row["iterations"])
    return AttackConfig(**values)
