"""A progress bar on stderr that knows that methods take unlike times."""

import sys
from collections.abc import Sequence
from types import TracebackType

from tqdm import tqdm

from attacks.studies.estimate import Pace, as_words
from attacks.studies.folder import Folder
from attacks.studies.task import Task


class Progress:
    """Counts attacked images; the time left is that of the tasks left, each as its kind took so far."""

    def __init__(self, tasks: Sequence[Task], todo: Sequence[Task], folder: Folder, *, workers: int) -> None:
        self._left = {task.name: task for task in todo}
        self._folder, self._workers, self._pace = folder, workers, Pace()
        total = sum(map(len, tasks))
        self._bar = tqdm(
            total=total,
            initial=total - sum(map(len, todo)),
            desc="study",
            unit="attack",
            file=sys.stderr,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} attacks [{elapsed}{postfix}]",
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def __call__(self, task: Task) -> None:
        """A task is over."""
        del self._left[task.name]
        seconds = self._folder.times(task).get("seconds")
        if seconds is not None:
            self._pace.learn(task, seconds)
        left = self._pace.seconds(self._left.values()) / max(1, min(self._workers, len(self._left)))
        self._bar.set_postfix_str(f"about {as_words(left)} left", refresh=False)
        self._bar.update(len(task))
