"""What a worker does: run one task, and return the bytes of its result and its times."""

import dataclasses
import inspect
import itertools
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from attacks.attack import ATTACKS
from attacks.defences import DEFENCES
from attacks.manipulation import AttackResult
from attacks.networks import Network
from attacks.storage import serialise
from attacks.studies.aims import goal
from attacks.studies.curvature_columns import curvature_columns
from attacks.studies.measurements import measure
from attacks.studies.study import NO_DEFENCE
from attacks.studies.task import Task, environment

_STEPS_ALONE = 5  # of one image, to say what one-at-a-time runs would take


@dataclass(frozen=True)
class Output:
    """What comes back from a worker.

    Attributes:
        content: Bytes of the result's file.
        times: ``seconds`` of the task, ``steps`` taken, ``step_seconds`` (median, of the batch), ``step_seconds_alone``
            (median, of one image in a batch of its own).
    """

    content: bytes
    times: dict[str, float]


def run_task(task: Task, network: Network) -> Output:
    """Attack one batch.

    Raises:
        RuntimeError: If this process differs from the client in what determines the bytes.
        ValueError: If the attack cannot be run on these images.
    """
    started = time.perf_counter()
    _require_same(task)
    torch.set_num_threads(task.threads)
    clock = Clock()
    result = attack(task, network, clock)
    metrics = result.metrics | measure(network, result)
    extra: dict[str, Any] = {"study": task.describe(), "weights": network.weights}
    if task.curvature is not None:
        columns, missing = curvature_columns(network, result, task.curvature, fingerprint=task.network)
        metrics, extra = metrics | {"curvature": columns}, extra | {"missing": missing}
    content = serialise(dataclasses.replace(result, metrics=metrics), extra=extra)
    seconds = time.perf_counter() - started
    step = clock.median()
    alone = step if len(task) == 1 else step_seconds(task, network, images=1, steps=_STEPS_ALONE)
    times = {"seconds": seconds, "steps": len(clock.seconds), "step_seconds": step, "step_seconds_alone": alone}
    return Output(content, times)


def attack(task: Task, network: Network, clock: "Clock", *, images: int | None = None) -> AttackResult:
    """The attack of a task, on the first ``images`` of its batch."""
    c = task.combination
    # Copies: what came over the wire need not be aligned as torch's own memory is.
    x = torch.from_numpy(task.x[:images]).clone()
    function = ATTACKS[c.attack.kind]
    defence = None if c.defence.kind == NO_DEFENCE else _defence(task)
    config = dataclasses.replace(c.config, reason="")  # words do not determine results
    goals = [
        goal(network, pair.target, aim, config=config, defence=defence)
        for pair, aim in zip(task.pairs[:images], task.aims[:images], strict=True)
    ]
    result: AttackResult = function(
        network, x, torch.cat(goals), config=config, defence=defence, steps=clock, chunk=task.chunk, **c.attack.options
    )
    return result


def step_seconds(task: Task, network: Network, *, images: int | None = None, steps: int) -> float:
    """Median time of a step, of the first few."""
    torch.set_num_threads(task.threads)
    clock = Clock(limit=steps)
    attack(task, network, clock, images=images)
    return clock.median()


@dataclass
class Clock:
    """Times the steps of an attack, and may end it early.

    Attributes:
        limit: Steps after which to end it; None for all.
        seconds: Of each step.
    """

    limit: int | None = None
    seconds: list[float] = field(default_factory=list)

    def __call__(self, steps: Iterable[int]) -> Iterator[int]:
        """The steps, each timed."""
        for step in itertools.islice(steps, self.limit):
            start = time.perf_counter()
            yield step
            self.seconds.append(time.perf_counter() - start)

    def median(self) -> float:
        """Median time of a step."""
        return statistics.median(self.seconds) if self.seconds else 0.0


def _defence(task: Task) -> Any:
    defence = task.combination.defence
    seed = {"seed": task.combination.seed} if "seed" in inspect.signature(DEFENCES[defence.kind]).parameters else {}
    return DEFENCES[defence.kind](**(seed | defence.options))


def _require_same(task: Task) -> None:
    here = environment()
    differing = [
        f"{key} {task.environment.get(key)} on the client and {here.get(key)} on the worker"
        for key in sorted(here.keys() | task.environment.keys())
        if here.get(key) != task.environment.get(key)
    ]
    if differing:
        raise RuntimeError(
            f"expected a worker like the client, got {'; '.join(differing)}: results would not be comparable; "
            "install the same versions on both"
        )
