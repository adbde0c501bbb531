"""One piece of a study: a batch of pairs for one combination, and the name that says all that determines it."""

import functools
import hashlib
import inspect
import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

import attacks
import curvature
from attacks.networks import Network
from attacks.studies.aims import Aim
from attacks.studies.curvature_columns import CurvatureColumns
from attacks.studies.pairs import Pair
from attacks.studies.study import Combination

_FORMAT = 1  # of the result files
_PACKAGES = ("numpy", "scipy", "scikit-image", "torchvision", "safetensors")
_KNOWN_CODE = ("builtins", "abc", "torch", "torchvision", "curvature", "attacks")
_NOT_RESULTS = ("commands", "report", "plots.py", "__main__.py")  # parts of the package that no result depends on


@dataclass(frozen=True)
class Task:
    """A batch for one combination, ready to be sent to a worker.

    Attributes:
        name: Hash of all that determines the result.
        combination: Network, method, attack, defence, seed and hyper-parameters.
        pairs: Names of images and targets.
        first: Index of the first pair in the study.
        x: The images ``[B, C, H, W]`` in the module's input space. An array, since arrays travel well.
        aims: For each image a target picture ``[C, H, W]``, likewise, or a map ``[H, W]``.
        network: Fingerprint of the network.
        threads: Torch threads.
        chunk: Samples in one pass of the network.
        environment: What else determines the bytes; see ``environment``.
        curvature: Curvature columns to measure; without any, nothing of them is part of the name.
    """

    name: str
    combination: Combination
    pairs: tuple[Pair, ...]
    first: int
    x: np.ndarray
    aims: tuple[Aim, ...]
    network: str
    threads: int
    chunk: int
    environment: dict[str, str]
    curvature: CurvatureColumns | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def file(self) -> str:
        """Name of the result's file."""
        return f"{self.name}.safetensors"

    def describe(self) -> dict[str, Any]:
        """All that determines the result and that a person can read, as JSON can hold it."""
        c = self.combination
        config = {key: value for key, value in asdict(c.config).items() if key != "reason"}
        curvature = {} if self.curvature is None else {"curvature": asdict(self.curvature)}
        return curvature | {
            "format": _FORMAT,
            "network": c.network,
            "fingerprint": self.network,
            "method": c.method,
            "attack": asdict(c.attack),
            "defence": asdict(c.defence),
            "seed": c.seed,
            "config": config,
            "images": [pair.image for pair in self.pairs],
            "targets": [pair.target for pair in self.pairs],
            "threads": self.threads,
            "chunk": self.chunk,
            "environment": self.environment,
        }


def make_task(
    combination: Combination, pairs: tuple[Pair, ...], batch: tuple[int, Tensor, Sequence[Aim]], **rest: Any
) -> Task:
    """A task with its name.

    Args:
        combination: What to run.
        pairs: Names of the batch.
        batch: Index of the first pair, images and aims.
        **rest: ``network``, ``threads``, ``chunk``, ``curvature``, as in ``Task``.
    """
    first, x, aims = batch
    images = x.detach().cpu().numpy()
    unnamed = Task("", combination, pairs, first, images, tuple(aims), environment=environment(), **rest)
    determines = unnamed.describe() | {"inputs": [_digest(array) for array in (images, *aims)]}
    name = hashlib.sha256(json.dumps(determines, sort_keys=True).encode()).hexdigest()[:20]
    return replace(unnamed, name=name)


def fingerprint(network: Network) -> str:
    """Hash of a network's weights, patterns, architecture in words, preprocessing, and of the user's code.

    That code is the source files of the classes of all its modules, except torch's, torchvision's and this project's,
    whose versions and code are in ``environment``; a class without a source file counts by its name. What those files
    import is not followed.
    """
    digest = hashlib.sha256(repr((network.mean, network.std, network.low, network.high)).encode())
    digest.update(repr(network.module).encode())
    tensors = network.module.state_dict() | {f"patterns {name}": tensor for name, tensor in network.patterns.items()}
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + _digest(tensor.detach().cpu().numpy()).encode())
    for words in _users_code(network.module):
        digest.update(words)
    return digest.hexdigest()[:20]


def _users_code(module: nn.Module) -> Iterator[bytes]:
    kinds = {kind for part in module.modules() for kind in type(part).__mro__}
    files: set[str] = set()
    for kind in sorted(kinds, key=lambda kind: (kind.__module__, kind.__qualname__)):
        if kind.__module__.partition(".")[0] in _KNOWN_CODE:
            continue
        yield f"{kind.__module__}.{kind.__qualname__}".encode()
        try:
            files.add(inspect.getsourcefile(kind) or "")
        except (TypeError, OSError):  # made at run time: it has no file
            continue
    # By content alone: another folder does not make another network.
    yield from sorted(Path(file).read_bytes() for file in files if Path(file).is_file())
    yield from (part.code.encode() for part in module.modules() if isinstance(part, fx.GraphModule))


@functools.cache
def environment() -> dict[str, str]:
    """Versions, instruction set and the code itself: what the bytes of a result depend on beside its task."""
    return {
        "torch": torch.__version__,
        **{name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "code": _code(),
    }


def _code() -> str:
    digest = hashlib.sha256()
    for package in (curvature, attacks):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            relative = path.relative_to(root)
            if relative.parts[0] not in _NOT_RESULTS:
                digest.update(str(relative).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:20]


def _digest(array: np.ndarray) -> str:
    header = f"{array.dtype} {array.shape}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(array).tobytes()).hexdigest()
