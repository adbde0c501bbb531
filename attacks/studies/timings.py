"""Times of a study: a row a task, beside what one-at-a-time attacks would have taken."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from attacks.studies.folder import Folder
from attacks.studies.task import Task


def timings(folder: Folder, tasks: Iterable[Task]) -> pd.DataFrame:
    """The times of tasks.

    ``seconds_per_attack`` is the task's time, with its start and its metrics, by its images.
    ``seconds_one_at_a_time`` is an estimate of an attack alone, from the median of a few
    measured steps on one image. Both are times of one worker; workers run beside each other.
    """
    return pd.DataFrame([_row(folder, task) for task in tasks])


def _row(folder: Folder, task: Task) -> dict[str, Any]:
    c, times = task.combination, folder.times(task)
    row = {
        "network": c.network,
        "method": c.method,
        "attack": c.attack.name,
        "defence": c.defence.name,
        "seed": c.seed,
        "task": task.name,
        "images": len(task),
        "threads": task.threads,
    }
    if not times:
        return row | dict.fromkeys(("steps", "seconds", "step_seconds", "seconds_per_attack", "seconds_one_at_a_time"))
    alone = times["steps"] * times["step_seconds_alone"]
    each = times["seconds"] / len(task)
    return row | {
        "steps": times["steps"],
        "seconds": round(times["seconds"], 3),
        "step_seconds": round(times["step_seconds"], 6),
        "seconds_per_attack": round(each, 4),
        "seconds_one_at_a_time": round(alone, 4),
        "speedup": round(alone / each, 3) if each else None,
    }
