"""Shortest times of things that are measured in turn, and verdicts on their ratios."""

import time
from collections.abc import Callable, Sequence


def fastest(runs: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Shortest time of each in ``repeats`` rounds, taken in turn, after one round to warm up.

    Whatever else the machine does only ever adds to a time, and on a shared machine adds
    stalls many times as long as the work; the shortest of many is what the code costs.
    """
    times = [[_seconds(run) for run in runs] for _ in range(repeats + 1)][1:]
    return [min(column) for column in zip(*times, strict=True)]


def verdict(value: float, *, at_most: float | None = None, at_least: float | None = None) -> str:
    """The target beside the word met or MISSED."""
    if at_most is not None:
        return f"target <= {at_most:g}: {'met' if value <= at_most else 'MISSED'}"
    return "" if at_least is None else f"target >= {at_least:g}: {'met' if value >= at_least else 'MISSED'}"


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
