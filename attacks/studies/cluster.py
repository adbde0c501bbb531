"""Dask: a cluster of processes on this machine, or one that is already there."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dask
from distributed import Client, LocalCluster, Worker, WorkerPlugin

from attacks.studies.folder import StoppedError

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Workers that may die of a task before it is given up; Dask's own three are few on a machine short of memory.
_ALLOWED_FAILURES = 10
_ATTEMPTS = 5  # to start workers that die before they have started
_PAUSE = 0.5  # seconds between them
_PATIENCE = 15  # seconds for an existing scheduler to answer


class _IgnoreInterrupt(WorkerPlugin):
    """Ctrl-C in a terminal goes to the workers too; the client, which ends them, is the one to answer."""

    name = "ignore-interrupt"

    def setup(self, worker: Worker) -> None:
        """Dask calls it in the main thread of the worker's process."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def default_workers(threads: int) -> int:
    """As many as the cores that this process may use can serve without a fight."""
    return max(1, len(os.sched_getaffinity(0)) // threads)


@contextmanager
def connect(scheduler: str | None, *, workers: int, threads: int) -> Iterator[Client]:
    """A client of the scheduler at an address, or of a local cluster that ends with the block.

    Args:
        scheduler: An address as ``tcp://127.0.0.1:8786``, or None for a local cluster.
        workers: Processes of a local cluster, each with one task at a time.
        threads: Torch threads of each.

    Raises:
        ValueError: If no scheduler answers at the address.
        StoppedError: If the workers of a local cluster die again and again before they have started.
    """
    if scheduler is not None:
        with _existing(scheduler) as client:
            yield client
        return
    settings = {"distributed.scheduler.allowed-failures": _ALLOWED_FAILURES}
    with dask.config.set(settings), _local_cluster(workers, threads) as cluster, Client(cluster) as client:
        bring(client, _IgnoreInterrupt())
        yield client


def bring(client: Client, plugin: WorkerPlugin) -> None:
    """Set a plugin up on all workers, also on those that start later; again when one dies meanwhile.

    Raises:
        StoppedError: If one dies each time.
    """
    last: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            client.register_plugin(plugin)
            return
        except OSError as error:
            last = error
            time.sleep(_PAUSE)
    raise StoppedError(f"workers died {_ATTEMPTS} times while they were set up: {last}") from last


def _local_cluster(workers: int, threads: int) -> LocalCluster:
    """A cluster whose workers have started; again when one dies before it did."""
    last: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # any free port: with None a second study warns of the first one's
                env=dict.fromkeys(_THREAD_VARIABLES, str(threads)),
                silence_logs=logging.CRITICAL,
            )
        except RuntimeError as error:
            last = error
            time.sleep(_PAUSE)
    raise StoppedError(f"workers died {_ATTEMPTS} times while they started: {last}; is there enough memory?") from last


@contextmanager
def _existing(scheduler: str) -> Iterator[Client]:
    try:
        client = Client(scheduler, timeout=_PATIENCE)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"expected a Dask scheduler at '{scheduler}', got no answer ({error}); start one with 'dask scheduler', "
            "or leave --scheduler out for a local cluster"
        ) from error
    with client:
        yield client
