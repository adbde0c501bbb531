"""Command line: ``python -m attacks run | explain | diagnose | study | correlate | fit-patterns``."""

import contextlib
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import tyro

from attacks.commands.correlate import Correlate
from attacks.commands.diagnose import Diagnose
from attacks.commands.explain import Explain
from attacks.commands.fit_patterns import FitPatterns
from attacks.commands.run import Run
from attacks.commands.study import StudyCommand
from curvature import DegenerateLevelSetError, NoCertificateError, NotConvergedError, UnsupportedModuleError

_BAD_INPUT = (
    ValueError,
    OSError,
    UnsupportedModuleError,
    DegenerateLevelSetError,
    NoCertificateError,
    NotConvergedError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 good, 1 a run failed, 2 bad usage or input."""
    # torch's own modules announce the future of torch.jit at import; that is no news to a user.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.")
    commands: dict[str, Callable[..., Run | Explain | Diagnose | FitPatterns | StudyCommand | Correlate]] = {
        "run": Run,
        "explain": Explain,
        "diagnose": Diagnose,
        "fit-patterns": FitPatterns,
        "study": StudyCommand,
        "correlate": Correlate,
    }
    command = tyro.extras.subcommand_cli_from_dict(
        commands, prog="python -m attacks", description="Attacks on explanations, with curvature.", args=arguments
    )
    try:
        with _termination_as_interrupt():
            status: int = command.execute()
    except _BAD_INPUT as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except (RuntimeError, MemoryError) as error:  # torch's, as when memory runs out
        print(f"error: the run failed: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted before there was a result, or while it was written; files are whole or not there",
              file=sys.stderr)  # fmt: skip
        return 1
    return status


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """A termination signal, as of a batch system, keeps the state reached just as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, where signals are not ours
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
