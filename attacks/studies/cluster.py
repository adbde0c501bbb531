"""Dask: a cluster of processes on this machine, or one that is already there."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import dask
from distributed import Client, LocalCluster, Worker, WorkerPlugin

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Workers that may die of a task before it is given up; Dask's own three are few on a machine short of memory.
_ALLOWED_FAILURES = 10
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
    """
    if scheduler is not None:
        with _existing(scheduler) as client:
            yield client
        return
    environment = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    settings = {"distributed.scheduler.allowed-failures": _ALLOWED_FAILURES}
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            env=environment,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(_IgnoreInterrupt())
        yield client


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
