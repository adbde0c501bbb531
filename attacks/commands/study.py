"""``python -m attacks study``: a sweep over pairs, methods, networks, attacks and defences."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from attacks.storage import write_atomically
from attacks.studies.estimate import STEPS, as_words, kind, measured_pace
from attacks.studies.folder import Folder, StoppedError
from attacks.studies.plan import Plan, plan
from attacks.studies.study import load_study
from attacks.studies.task import Task


@dataclass(frozen=True, kw_only=True)
class StudyCommand:
    """Run a study, or what is missing of it; then write its summary and its page."""

    study: Annotated[str, tyro.conf.Positional]
    """A study file, or the name of one that comes with the package (smoke, table1, ...)."""
    out: Path | None = None
    """Folder for results, summary, timings and page; out/NAME by default."""
    scheduler: str | None = None
    """Address of a Dask scheduler, as tcp://127.0.0.1:8786; a local cluster by default."""
    workers: int | None = None
    """Processes of the local cluster; by default as many as the cores allow with the study's threads each."""
    dry_run: bool = False
    """Say what would run and how long it would take, and run nothing but a few steps to measure."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def execute(self) -> int:
        """Do it; returns the exit status."""
        started = time.perf_counter()
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"expected --workers >= 1, got {self.workers}")
        study = load_study(self.study)
        folder = Folder(self.out or Path("out") / study.name)
        planned = plan(study)
        if not self.dry_run:
            folder.prepare()
        todo = [task for task in planned.tasks if not folder.done(task, move_damaged=not self.dry_run)]
        summary: dict[str, Any] = {
            "study": study.name,
            "pairs": len(study.pairs),
            "tasks": len(planned.tasks),
            "done_before": len(planned.tasks) - len(todo),
        }
        if self.dry_run:
            return self._print(summary | self._dry_run(planned, todo, folder))
        try:
            failed = self._run(planned, todo, folder)
            names = {task.name: task for task in planned.tasks}
            for name, message in failed.items():
                _say(f"failed: {_words(names[name])}: {message}")
            files = self._write(planned, folder, failed)
        except (StoppedError, KeyboardInterrupt) as error:
            done = sum(folder.result(task).exists() for task in planned.tasks)
            _say(f"error: {error}" if str(error) else "interrupted; the same command goes on from here")
            _say(f"{done} of {len(planned.tasks)} tasks are finished in '{folder.path}'")
            return 1
        seconds = round(time.perf_counter() - started, 2)
        self._print(summary | {"failed": failed, "seconds": seconds, "files": files})
        return 1 if failed else 0

    def _run(self, planned: Plan, todo: list[Task], folder: Folder) -> dict[str, str]:
        if not todo:
            return {}
        try:
            from attacks.studies.cluster import connect, default_workers
        except ImportError as error:
            raise ValueError(f"expected the packages of the extra 'study', got '{error}'; install them") from error
        from attacks.studies.progress import Progress
        from attacks.studies.run import run_tasks

        threads = planned.study.threads
        workers = min(self.workers or default_workers(threads), len(todo))
        with connect(self.scheduler, workers=workers, threads=threads) as client:
            if self.scheduler is not None:
                workers = max(1, len(client.nthreads()))
            with Progress(planned.tasks, todo, folder, workers=workers) as progress:
                return run_tasks(client, planned, todo, folder, done=progress)

    def _dry_run(self, planned: Plan, todo: list[Task], folder: Folder) -> dict[str, Any]:
        from attacks.studies.cluster import default_workers

        workers = self.workers or default_workers(planned.study.threads)
        pace = measured_pace(planned, todo, folder, say=_say)
        seconds = pace.seconds(todo) / max(1, min(workers, len(todo)))
        left = {task.name for task in todo}
        kinds: dict[Any, list[Task]] = {}
        for task in planned.tasks:
            kinds.setdefault(kind(task), []).append(task)
        rows = [
            {
                "what": _kind(tasks[0]),
                "tasks": len(tasks),
                "done": sum(task.name not in left for task in tasks),
                "images": sum(map(len, tasks)),
                "iterations": tasks[0].combination.config.iterations,
                "seconds_left": round(pace.seconds(task for task in tasks if task.name in left), 1),
            }
            for tasks in kinds.values()
        ]
        return {"workers": workers, "kinds": rows, "seconds_left": round(seconds, 1), "estimate": _HOW}

    def _write(self, planned: Plan, folder: Folder, failed: dict[str, str]) -> dict[str, str]:
        from attacks.report.study import study_page
        from attacks.studies.summary import as_csv, as_parquet, summary
        from attacks.studies.timings import timings

        tasks = [task for task in planned.tasks if task.name not in failed]
        if not tasks:
            return {}
        table, times = summary(folder, tasks), timings(folder, tasks)
        page = study_page(planned.study, table, times, failed=len(failed))
        contents: dict[str, bytes | str] = {
            "summary.csv": as_csv(table),
            "summary.parquet": as_parquet(table),
            "timings.csv": as_csv(times),
            "report.html": page,
        }
        try:
            for name, content in contents.items():
                write_atomically(folder.path / name, content)
        except OSError as error:
            raise StoppedError(
                f"could not write '{folder.path / name}': {error.strerror or error}; the results are kept; make room "
                "and run the same command again, which writes what is missing"
            ) from error
        return {name: str(folder.path / name) for name in contents}

    def _print(self, summary: dict[str, Any]) -> int:
        if self.json:
            print(json.dumps(summary))
            return 0
        if "kinds" in summary:
            for row in summary["kinds"]:
                print(
                    f"{row['what']}: {row['tasks']} tasks ({row['done']} done), {row['images']} images, "
                    f"{row['iterations']} steps each, {as_words(row['seconds_left'])} of work left"
                )
            print(
                f"in all: {summary['tasks']} tasks, {summary['done_before']} done; about "
                f"{as_words(summary['seconds_left'])} on {summary['workers']} workers ({summary['estimate']})"
            )
            return 0
        ran = summary["tasks"] - summary["done_before"] - len(summary["failed"])
        print(f"study:  {summary['study']}, {summary['tasks']} tasks: {summary['done_before']} were done, {ran} ran")
        for name, path in summary["files"].items():
            print(f"{name + ':':16} {path}")
        return 0


_HOW = (
    f"finished tasks count as they took; of each other kind {STEPS} steps of one batch were measured in this process, "
    "times the iterations, without the start of the workers, the metrics at the end and the curvature columns"
)


def _kind(task: Task) -> str:
    c = task.combination
    defence = "no defence" if c.defence.name == "none" else c.defence.name
    return f"{c.network}, {c.method}, {c.attack.name}, {defence}"


def _words(task: Task) -> str:
    return f"{_kind(task)}, seed {task.combination.seed}, pairs {task.first} to {task.first + len(task) - 1}"


def _say(line: str) -> None:
    print(line, file=sys.stderr)
