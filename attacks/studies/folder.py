"""The folder of a study: one result a task, its times beside it, all written atomically."""

import fcntl
import json
import os
import sys
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from attacks.storage import load_result, write_atomically
from attacks.studies.task import Task
from attacks.studies.worker import Output

Loaded = tuple[dict[str, Tensor], dict[str, Any]]


# Of this process, by lock file: its descriptor, and how many claims there are on it.
_CLAIMS: dict[str, list[int]] = {}


class StoppedError(RuntimeError):
    """A study ended before its last task; what was finished is kept."""


@dataclass(frozen=True)
class Folder:
    """Where a study's results are.

    Attributes:
        path: The folder; holds ``results`` and ``timings``.
    """

    path: Path

    def prepare(self) -> None:
        """Make the folder, keep other processes out while this object lives, and remove what a killed run left.

        Raises:
            ValueError: If it cannot be written, or another process writes to it.
        """
        folders = (self.path / "results", self.path / "timings")
        try:
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            self._claim(folders[1] / ".lock")
            for folder in folders:
                write_atomically(folder / ".writable", "")
                (folder / ".writable").unlink()
                for part in folder.glob(".*.part"):
                    part.unlink(missing_ok=True)
        except OSError as error:
            raise ValueError(
                f"expected a folder that can be written, got '{self.path}': {error.strerror}; choose another with --out"
            ) from error

    def _claim(self, lock: Path) -> None:
        """Lock the folder for this process; the kernel frees it when the process ends, however it does."""
        key = str(lock.resolve())
        if key not in _CLAIMS:
            claim = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(claim)
                raise ValueError(
                    f"expected a folder that no other run writes to, got '{self.path}'; wait for that run, "
                    "or choose another with --out"
                ) from error
            _CLAIMS[key] = [claim, 0]
        _CLAIMS[key][1] += 1
        weakref.finalize(self, _release, key)

    def result(self, task: Task) -> Path:
        """The task's result file."""
        return self.path / "results" / task.file

    def timing(self, task: Task) -> Path:
        """The task's times."""
        return self.path / "timings" / f"{task.name}.json"

    def load(self, task: Task) -> Loaded:
        """Tensors and metadata of a finished task.

        Raises:
            ValueError: If the file is missing or damaged, or is that of another task.
        """
        tensors, metadata = load_result(self.result(task))
        if metadata.get("study") != json.loads(json.dumps(task.describe())):
            raise ValueError(
                f"expected the result of this task in '{self.result(task)}', but it is that of another; "
                "delete it and run again"
            )
        return tensors, metadata

    def done(self, task: Task, *, move_damaged: bool) -> bool:
        """Whether the task's result is there and whole; says so of a damaged one, and may move it aside."""
        path = self.result(task)
        if not path.exists():
            return False
        try:
            self.load(task)
        except ValueError as error:
            _say(f"damaged result: {error}")
            if move_damaged:
                aside = path.with_name(f"{path.name}.damaged")
                path.replace(aside)
                _say(f"it was moved to '{aside}'; its task is run again")
            return False
        return True

    def save(self, task: Task, output: Output) -> None:
        """Write times, then the result, each under a temporary name first.

        Raises:
            StoppedError: If the disk is full or the folder is gone.
        """
        try:
            write_atomically(self.timing(task), json.dumps(output.times))
            write_atomically(self.result(task), output.content)
        except OSError as error:
            raise StoppedError(
                f"could not write '{self.result(task)}': {error.strerror or error}; the results that were finished "
                "before are kept; make room and run the same command again, which goes on from there"
            ) from error

    def times(self, task: Task) -> dict[str, float]:
        """The task's times; empty where there are none."""
        try:
            found: dict[str, float] = json.loads(self.timing(task).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found


def _release(key: str) -> None:
    claim = _CLAIMS[key]
    claim[1] -= 1
    if not claim[1]:
        del _CLAIMS[key]
        os.close(claim[0])


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
