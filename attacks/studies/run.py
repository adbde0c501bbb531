"""Run what is missing of a plan on a Dask cluster; the client writes what comes back."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock
from uuid import uuid4

from distributed import Client, Future, Worker, WorkerPlugin, as_completed
from distributed.scheduler import KilledWorker

from attacks.networks import Network
from attacks.studies.cluster import bring
from attacks.studies.folder import Folder, StoppedError
from attacks.studies.plan import Plan
from attacks.studies.task import Task
from attacks.studies.worker import Output, run_task
from curvature import NotConvergedError

Done = Callable[[Task], None]


class Networks(WorkerPlugin):
    """Brings the networks to every worker, also to those that start later; no task depends on another's data."""

    def __init__(self, networks: dict[str, Network]) -> None:
        self.networks = networks
        self.name = f"networks-{uuid4().hex}"  # of this run alone: another one may need the same networks for longer

    def setup(self, worker: Worker) -> None:
        """Dask calls it on the worker."""
        _NETWORKS.update(self.networks)
        for key in self.networks:
            _USERS.setdefault(key, set()).add(self.name)

    def teardown(self, worker: Worker) -> None:
        """Dask calls it when the study is over, if the worker stays."""
        for key in self.networks:
            users = _USERS.get(key, set())
            users.discard(self.name)
            if not users:
                _USERS.pop(key, None)
                _NETWORKS.pop(key, None)


_NETWORKS: dict[str, Network] = {}  # of this process, if it is a worker
_USERS: dict[str, set[str]] = {}  # which runs need a network
_TURN = Lock()


def run_on_worker(task: Task) -> Output:
    """``run_task`` with the network that the plugin brought; one at a time, whatever threads the worker has.

    Forward-mode differentiation and softened copies keep state that threads would share.
    """
    with _TURN:
        return run_task(task, _NETWORKS[task.network])


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
    # The first batch of every kind comes first, so that the time left is soon known.
    tasks = {f"attack-{task.name}": task for task in sorted(todo, key=lambda task: task.first)}
    networks = Networks(plan.networks)
    bring(client, networks)
    futures = [
        client.submit(run_on_worker, task, key=key, pure=False, priority=-i)
        for i, (key, task) in enumerate(tasks.items())
    ]
    failed: dict[str, str] = {}
    for future in as_completed(futures):
        task = tasks[future.key]
        try:
            folder.save(task, output_of(future))
        except TaskFailedError as error:
            failed[task.name] = str(error)
        future.release()
        done(task)
    with suppress(OSError):  # a worker that dies now has nothing to forget
        client.unregister_worker_plugin(networks.name)
    return failed


class TaskFailedError(Exception):
    """One task failed; the others go on."""


def output_of(future: Future[Output]) -> Output:
    """What a worker returned.

    Raises:
        TaskFailedError: If this task cannot be run; others may.
        StoppedError: If no task can.
    """
    try:
        output: Output = future.result()
    except KilledWorker as error:
        raise TaskFailedError("its workers died; do they have enough memory? make 'batch' smaller") from error
    except (ValueError, NotConvergedError) as error:
        raise TaskFailedError(str(error)) from error
    except Exception as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise StoppedError(f"the study stopped: {words}; the results that were finished are kept") from error
    return output
