"""Command line: ``python -m attacks run | explain | fit-patterns ...``."""

import sys
import warnings
from collections.abc import Callable, Sequence

import tyro

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
    commands: dict[str, Callable[..., Run | Explain | FitPatterns | StudyCommand]] = {
        "run": Run,
        "explain": Explain,
        "fit-patterns": FitPatterns,
        "study": StudyCommand,
    }
    command = tyro.extras.subcommand_cli_from_dict(
        commands, prog="python -m attacks", description="Attacks on explanations, with curvature.", args=arguments
    )
    try:
        status: int = command.execute()
    except _BAD_INPUT as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
