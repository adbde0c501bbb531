"""The summary of a study: one row an attacked image, in the order of the plan, without times."""

import io
from collections.abc import Iterable
from typing import Any

import pandas as pd

from attacks.studies.folder import Folder
from attacks.studies.task import Task


def summary(folder: Folder, tasks: Iterable[Task]) -> pd.DataFrame:
    """Read the results of tasks into one table.

    Columns: what was run (``study`` keys), then every metric as ``GROUP_NAME``, as the result
    file has it; a metric that only some tasks have is empty in the others. The table's ``attrs``, which the
    parquet file keeps, say under ``missing`` why curvature columns have empty cells.

    Raises:
        ValueError: If a result is missing or damaged.
    """
    tasks = list(tasks)
    table = pd.DataFrame([row for task in tasks for row in _rows(folder, task)])
    if any(task.curvature is not None for task in tasks):
        table.attrs["missing"] = _missing(folder, tasks)
    return table


def _missing(folder: Folder, tasks: list[Task]) -> dict[str, str]:
    """Why curvature columns have empty cells: one reason, the first, for each network and group of columns."""
    found: dict[str, str] = {}
    for task in tasks:
        for group, reason in folder.load(task)[1].get("missing", {}).items():
            found.setdefault(f"{task.combination.network}, {group}", reason)
    return found


def as_csv(table: pd.DataFrame) -> bytes:
    """Numbers with the digits that restore them exactly."""
    return table.to_csv(index=False, lineterminator="\n").encode()


def as_parquet(table: pd.DataFrame) -> bytes:
    """The same table with its types."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, engine="pyarrow")
    return buffer.getvalue()


def _rows(folder: Folder, task: Task) -> Iterable[dict[str, Any]]:
    tensors, metadata = folder.load(task)
    c = task.combination
    for i, pair in enumerate(task.pairs):
        yield {
            "network": c.network,
            "weights": metadata["weights"],
            "method": c.method,
            "attack": c.attack.name,
            "defence": c.defence.name,
            "seed": c.seed,
            "pair": task.first + i,
            "image": pair.image,
            "target": pair.target,
            "target_class": int(tensors["target_class"][i]),
            "steps": metadata["completed"],
            **{
                f"{group}_{name}": float("nan") if values[i] is None else values[i]
                for group, entries in metadata["metrics"].items()
                for name, values in entries.items()
            },
            "task": task.name,
        }
