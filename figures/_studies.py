"""Attacks that figures share: studies of ``attacks.studies``, run where they are missing, once for all figures."""

import dataclasses
import functools
import json
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from attacks.datasets import load_images
from attacks.networks import Network
from attacks.storage import load_result
from attacks.studies import Plan, Study, load_study, plan
from attacks.studies.folder import Folder, Loaded
from attacks.studies.overrides import Override
from attacks.studies.pairs import read_pairs
from attacks.studies.sources import Patterns, Source
from attacks.studies.summary import summary
from attacks.studies.table import Table
from attacks.studies.task import Task
from attacks.studies.worker import run_task
from figures._inputs import network_in_words

# The order of arrays with a row a method.
METHODS = (
    "gradient",
    "grad_times_input",
    "integrated_gradients",
    "lrp",
    "guided_backprop",
    "pattern_attribution",
)
_QUICK_PAIRS, _QUICK_STEPS, _QUICK_PATTERNS = 3, 4, 100
_PAPER_BATCH = 5  # an attack differentiates twice through VGG-16, all of a batch in memory at once


@dataclass(frozen=True)
class Results:
    """The finished attacks of a study.

    Attributes:
        plan: Its tasks and networks.
        folder: Where the results are.
    """

    plan: Plan
    folder: Folder

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """The summary: a row an attacked image, with all metrics as ``GROUP_NAME``."""
        return summary(self.folder, self.plan.tasks)

    def column(self, name: str, **selected: str) -> Any:
        """A metric of all pairs, in their order; ``selected`` names network, method, attack or defence.

        Raises:
            ValueError: If that leaves no row, or a pair twice.
        """
        rows = self.table
        for key, value in selected.items():
            rows = rows[rows[key] == value]
        if rows.empty or rows["pair"].duplicated().any():
            raise ValueError(
                f"expected every pair once for {selected}, got {len(rows)} rows; name what tells them apart"
            )
        return rows.sort_values("pair")[name].to_numpy()

    def tensors(self, **selected: str) -> dict[str, Tensor]:
        """Images, maps and classes of all pairs (``original``, ``adversarial``, ``maps``, ...), by the same selection.

        ``history.*`` are left out.
        """
        parts = [self.folder.load(task)[0] for task in self._tasks(selected)]
        names = [name for name in parts[0] if not name.startswith("history.")]
        return {name: torch.cat([part[name] for part in parts]) for name in names}

    def network(self, name: str) -> Network:
        """A network of the study, with its patterns."""
        task = next(task for task in self.plan.tasks if task.combination.network == name)
        return self.plan.networks[task.network]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Names of images and targets."""
        return [(pair.image, pair.target) for pair in self.plan.study.pairs.names]

    @property
    def setting(self) -> str:
        """What was run and how that differs from the paper, in words."""
        return setting_of(self)

    def _tasks(self, selected: dict[str, str]) -> list[Task]:
        def chosen(task: Task) -> bool:
            c = task.combination
            names = {"network": c.network, "method": c.method, "attack": c.attack.name, "defence": c.defence.name}
            return all(names[key] == value for key, value in selected.items())

        tasks = sorted(filter(chosen, self.plan.tasks), key=lambda task: task.first)
        if not tasks or len({task.first for task in tasks}) < len(tasks):
            raise ValueError(f"expected one task a batch for {selected}, got {len(tasks)}; name what tells them apart")
        return tasks


def setting_of(*found: Results, only: str = "") -> str:
    """What studies of the same pairs ran and how that differs from the paper, in words.

    Args:
        found: Of studies of the same networks.
        only: The network to speak of; empty for all.
    """
    first, studies = found[0].plan.study, [one.plan.study for one in found]
    shown = [only] if only else [source.name for source in first.sources]
    networks = ", ".join(network_in_words(found[0].network(name)) for name in shown)
    names = ", ".join(study.name for study in studies)
    said = f"Here: {networks}; {len(first.pairs)} pairs of held-out images ({', '.join(first.pairs.credits)})"
    said += f", drawn with seed {_seed_of_pairs(first)} ({'study' if len(studies) == 1 else 'studies'} {names})."
    overrides = [override for study in studies for override in study.overrides]
    changes = _changes([one for one in overrides if set(one.selectors.get("network", shown)) & set(shown)])
    if first.rows:
        said += f" The paper: {', '.join(dict.fromkeys(first.rows.get(name, name) for name in shown))} on ImageNet."
    if changes:
        return f"{said} Other than in the printed rows: {changes}."
    return f"{said} Rows as printed."


def _seed_of_pairs(study: Study) -> int:
    return int(tomllib.loads(study.text)["pairs"].get("seed", 0))


def _changes(overrides: list[Override]) -> str:
    """``field value, value (reason); ...``, each once."""
    words: dict[tuple[str, str], dict[str, None]] = {}
    for override in overrides:
        for name, value in override.changes.items():
            text = f"{value:g}" if isinstance(value, int | float) else str(value)
            words.setdefault((name, override.reason), {})[text] = None
    return "; ".join(f"{name} {', '.join(values)} ({reason})" for (name, reason), values in words.items())


def results(name: str, *, quick: bool, studies: Path, any_code: bool = False, imagenet: str = "") -> Results:
    """A study's results; what is missing is run first, and kept.

    Args:
        name: Of ``study_names()``, or a study file.
        quick: The first pairs and a few steps, on the study's own networks, in a folder of their own.
        studies: The folder of the folders of studies.
        any_code: Take results that another version of the code computed, and say so.
        imagenet: A folder with ImageNet: VGG-16 with torchvision's weights in the place of the study's network.

    Raises:
        ValueError: If a task cannot be run.
        StoppedError: If the run ended early; the same call goes on from there.
    """
    planned = _planned(name, quick, imagenet)
    folder = Folder((studies / "quick" if quick else studies) / planned.study.name)
    folder.prepare()
    if any_code:
        folder = _AnyCode(folder.path)
    todo = [task for task in planned.tasks if not folder.done(task, move_damaged=True)]
    if todo:
        failed = _run_here(planned, todo, folder) if quick else _run_on_cluster(planned, todo, folder)
        if failed:
            raise ValueError(f"expected the study {name} to run, but tasks failed: {'; '.join(failed.values())}")
    return Results(planned, folder)


@functools.cache
def _planned(name: str, quick: bool, imagenet: str) -> Plan:
    """Loading networks, fitting patterns and reading pictures takes seconds: once a process for all figures."""
    study = load_study(name)
    study = as_in_the_paper(study, imagenet) if imagenet else study
    return plan(_quick(study) if quick else study)


def as_in_the_paper(study: Study, folder: str) -> Study:
    """The study on VGG-16 with ImageNet's weights and 100 pairs of ImageNet's validation images, rows as printed.

    Raises:
        ValueError: If the folder does not hold ImageNet.
    """
    data = {"data": f"imagenet:{folder}", "count": len(study.pairs), "seed": _seed_of_pairs(study)}
    fitted = study.patterns and Patterns(load_images(f"imagenet:{folder}", split="train"), study.patterns.count, None)
    return dataclasses.replace(
        study,
        name=f"{study.name}-imagenet",
        sources=(Source("vgg16", "vgg16", "pretrained"),),
        pairs=read_pairs(Table(data, source=study.name), Path()),
        patterns=fitted,
        rows={},
        overrides=(),
        batch=_PAPER_BATCH,
        chunk=_PAPER_BATCH,
    )


def _quick(study: Study) -> Study:
    """The first pairs, a few steps, patterns from a few images."""
    pairs = dataclasses.replace(study.pairs, names=study.pairs.names[:_QUICK_PAIRS])
    few = Override({}, {"iterations": _QUICK_STEPS}, "a look, not a measurement")
    patterns = study.patterns and dataclasses.replace(study.patterns, count=_QUICK_PATTERNS)
    return dataclasses.replace(
        study, pairs=pairs, overrides=(*study.overrides, few), patterns=patterns, batch=_QUICK_PAIRS, chunk=_QUICK_PAIRS
    )


def _run_here(planned: Plan, todo: list[Task], folder: Folder) -> dict[str, str]:
    """In this process: a cluster's start takes longer than a few steps."""
    for task in todo:
        folder.save(task, run_task(task, planned.networks[task.network]))
    return {}


def _run_on_cluster(planned: Plan, todo: list[Task], folder: Folder) -> dict[str, str]:
    from attacks.studies.cluster import connect, default_workers
    from attacks.studies.progress import Progress
    from attacks.studies.run import run_tasks

    threads = planned.study.threads
    workers = min(default_workers(threads), len(todo))
    print(f"study {planned.study.name}: {len(todo)} of {len(planned.tasks)} tasks to run", file=sys.stderr)
    with (
        connect(None, workers=workers, threads=threads) as client,
        Progress(planned.tasks, todo, folder, workers=workers) as progress,
    ):
        return run_tasks(client, planned, todo, folder, done=progress)


class _AnyCode(Folder):
    """A folder whose results count whatever version of this code computed them, all else being equal."""

    def result(self, task: Task) -> Path:
        """The task's own result if it is there, else one that differs in the code alone."""
        own = super().result(task)
        return own if own.exists() else self._others.get(_without_code(task.describe()), own)

    def load(self, task: Task) -> Loaded:
        """Tensors and metadata; those of another version of the code are marked ``other_code``.

        Raises:
            ValueError: If the file is missing or damaged.
        """
        path = self.result(task)
        if path == super().result(task):
            return super().load(task)
        tensors, metadata = load_result(path)
        return tensors, metadata | {"other_code": metadata["study"]["environment"]["code"]}

    @functools.cached_property
    def _others(self) -> dict[str, Path]:
        paths = sorted((self.path / "results").glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
        return {key: path for path in paths for key in _described(path)}


def _described(path: Path) -> Iterator[str]:
    try:
        with safe_open(path, framework="pt") as file:
            yield _without_code(json.loads((file.metadata() or {})["result"])["study"])
    except (SafetensorError, KeyError, ValueError):
        return


def _without_code(study: dict[str, Any]) -> str:
    environment = {key: value for key, value in study["environment"].items() if key != "code"}
    return json.dumps(study | {"environment": environment}, sort_keys=True)
