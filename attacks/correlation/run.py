"""Runs what is missing of an experiment in a few processes, and shows the time left."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from attacks.correlation.store import Store, Stored

Measure = Callable[[Any], dict[str, Tensor]]


def default_workers() -> int:
    """As many processes as cores, each with one thread: small matrices gain nothing from more."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_parts(parts: Sequence[Stored], store: Store, *, workers: int, measure: Measure) -> int:
    """Measure the parts that the store lacks; returns how many were there before.

    The parent writes each part as it arrives, so that a kill at any time costs the parts in flight only.

    Raises:
        ValueError: If ``workers`` < 1.
    """
    if workers < 1:
        raise ValueError(f"expected --workers >= 1, got {workers}")
    todo = [part for part in parts if store.load(part) is None]
    images = sum(len(part.positions) for part in parts)
    left = sum(len(part.positions) for part in todo)
    measured = _measured(todo, workers, measure)
    with (
        tqdm(total=images, initial=images - left, desc="correlate", unit="image", file=sys.stderr) as bar,
        contextlib.closing(measured),
    ):
        for part, tensors in measured:
            store.save(part, tensors)
            bar.update(len(part.positions))
    return len(parts) - len(todo)


def _measured(
    todo: Sequence[Stored], workers: int, measure: Measure
) -> Generator[tuple[Stored, dict[str, Tensor]], None, None]:
    """The parts in the order in which they are finished."""
    if workers == 1 or len(todo) < 2:
        for part in todo:
            yield part, measure(part)
        return
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_start_worker)
    try:
        futures = {pool.submit(_as_arrays, measure, part): part for part in todo}
        for future in concurrent.futures.as_completed(futures):
            part, arrays = futures.pop(future), future.result()
            yield part, {name: torch.from_numpy(array) for name, array in arrays.items()}
    finally:  # a ``with`` would wait for every part that is queued, after an interrupt too
        pool.shutdown(cancel_futures=True)


def _as_arrays(measure: Measure, part: Stored) -> dict[str, npt.NDArray[Any]]:
    """By value: a tensor goes by a handle that its worker serves, which a parent that is killed leaves half open."""
    return {name: tensor.numpy() for name, tensor in measure(part).items()}


def _start_worker() -> None:
    """One thread a process; Ctrl-C is the parent's to handle, and none outlives a parent that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
