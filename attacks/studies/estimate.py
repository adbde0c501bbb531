"""How long a study takes: from the times of its finished tasks, or from a few measured steps."""

from collections.abc import Callable, Iterable, Sequence
from statistics import mean
from typing import Any

from attacks.studies.folder import Folder
from attacks.studies.plan import Plan
from attacks.studies.task import Task
from attacks.studies.worker import step_seconds

STEPS = 3  # measured for a kind of which no task is finished
Kind = tuple[Any, ...]


def kind(task: Task) -> Kind:
    """What tasks that take about as long a step and image have in common."""
    c = task.combination
    return (c.network, c.method, c.attack.name, c.defence.name)


def work(task: Task) -> int:
    """Steps times images."""
    return task.combination.config.iterations * len(task)


class Pace:
    """Seconds for a step of an image, by kind, learnt from finished tasks."""

    def __init__(self) -> None:
        self._rates: dict[Kind, list[float]] = {}

    def learn(self, task: Task, seconds: float) -> None:
        """Take note of what a task took."""
        self._rates.setdefault(kind(task), []).append(seconds / work(task))

    def knows(self, task: Task) -> bool:
        """Whether a task of the same kind was seen."""
        return kind(task) in self._rates

    def seconds(self, tasks: Iterable[Task]) -> float:
        """What tasks take one after another; kinds that were never seen count as the mean of the others."""
        means = {key: mean(rates) for key, rates in self._rates.items()}
        other = mean(means.values()) if means else 0.0
        return sum((work(task) * means.get(kind(task), other) for task in tasks), start=0.0)


def measured_pace(plan: Plan, todo: Sequence[Task], folder: Folder, *, say: Callable[[str], None]) -> Pace:
    """The pace of all kinds that are still to run.

    Kinds with finished tasks count as these took; of each other kind a few steps of one
    batch are run here. That leaves out the start of the workers, the metrics at the end and the curvature columns.
    """
    pace = Pace()
    for task in plan.tasks:
        seconds = folder.times(task).get("seconds")
        if seconds is not None:
            pace.learn(task, seconds)
    for task in todo:
        if not pace.knows(task):
            say(f"measuring {STEPS} steps of {', '.join(kind(task))}")
            step = step_seconds(task, plan.networks[task.network], steps=STEPS)
            pace.learn(task, step * task.combination.config.iterations)
    return pace


def as_words(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
