"""Run what is missing of a plan on a Dask cluster; the client writes what comes back."""

import warnings
from collections.abc import Callable, Sequence

from distributed import Client, Future, as_completed
from distributed.scheduler import KilledWorker

from attacks.networks import Network
from attacks.studies.folder import Folder, StoppedError
from attacks.studies.plan import Plan
from attacks.studies.task import Task
from attacks.studies.worker import Output, run_task
from curvature import NotConvergedError

Done = Callable[[Task], None]


def run_tasks(client: Client, plan: Plan, todo: Sequence[Task], folder: Folder, *, done: Done) -> dict[str, str]:
    """Run tasks and write their results.

    Args:
        client: Of the cluster.
        plan: For the networks.
        todo: Tasks to run.
        folder: Where results go, as they come.
        done: Called with each task whose result is on disk, or that failed.

    Returns:
        Messages of the tasks that failed, by name; the others ran on.

    Raises:
        StoppedError: If results cannot be written, the workers differ from the client, or the cluster is gone.
    """
    tasks = {task.name: task for task in todo}
    with warnings.catch_warnings():
        # A network's weights travel inside the graph, so that the scheduler can send them again when a worker dies.
        warnings.filterwarnings("ignore", message="Sending large graph", category=UserWarning)
        networks = {
            key: client.submit(_unchanged, network, key=f"network-{key}") for key, network in plan.networks.items()
        }
        futures = [
            client.submit(run_task, task, networks[task.network], key=task.name, pure=False, priority=-i)
            for i, task in enumerate(todo)
        ]
    failed: dict[str, str] = {}
    for future in as_completed(futures):
        task = tasks[future.key]
        try:
            folder.save(task, _output(future))
        except _TaskError as error:
            failed[task.name] = str(error)
        future.release()
        done(task)
    return failed


class _TaskError(Exception):
    """One task failed; the others go on."""


def _output(future: Future[Output]) -> Output:
    try:
        output: Output = future.result()
    except KilledWorker as error:
        raise _TaskError("its workers died; do they have enough memory? make 'batch' smaller") from error
    except (ValueError, NotConvergedError) as error:
        raise _TaskError(str(error)) from error
    except Exception as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise StoppedError(f"the study stopped: {words}; the results that were finished are kept") from error
    return output


def _unchanged(network: Network) -> Network:
    return network
