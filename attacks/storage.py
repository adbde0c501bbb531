"""Results as safetensors files with their JSON metadata inside; never a pickle.

Files are written to a temporary name and renamed, so that no half-written result exists.
They hold no times: the same seed, threads and machine give the same bytes.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from attacks.manipulation import AttackResult


def save_result(result: AttackResult, path: Path, *, extra: Mapping[str, Any] | None = None) -> None:
    """Write an attack's tensors and metadata to one safetensors file.

    Args:
        result: What the attack reached.
        path: The file; replaced if it exists.
        extra: More metadata that JSON can hold, as seed and names.
    """
    write_atomically(path, serialise(result, extra=extra))


def serialise(result: AttackResult, *, extra: Mapping[str, Any] | None = None) -> bytes:
    """What ``save_result`` writes; the metadata carry a checksum of themselves and the tensors."""
    tensors = {
        "original": result.original,
        "adversarial": result.adversarial,
        "target_map": result.target_map,
        "maps": result.maps,
        "original_maps": result.original_maps,
        "target_class": result.target_class,
        **{f"history.{name}": value for name, value in result.history.items()},
    }
    metadata = {
        "attack": result.attack,
        "config": asdict(result.config),
        "defence": result.defence.settings() if result.defence else None,
        "completed": result.completed,
        "metrics": plain(result.metrics),
        "trace": result.trace.as_dicts() if result.trace else None,
        "versions": {"torch": torch.__version__},
        **(extra or {}),
    }
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    metadata = json.loads(json.dumps(metadata)) | {"sha256": _checksum(tensors, metadata)}
    # Separate keys would be stored in an order that changes from process to process.
    return save(tensors, {"result": json.dumps(metadata, sort_keys=True)})


def load_result(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the metadata of a result file.

    Raises:
        ValueError: If the file is missing, damaged, or not written by ``save_result``.
    """
    if not path.is_file():
        raise ValueError(f"expected a result file, got '{path}', which does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
            metadata = json.loads((file.metadata() or {})["result"])
        if _checksum(tensors, metadata) != metadata["sha256"]:
            raise KeyError("its checksum differs from that of its content")
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"expected a result of an attack in '{path}', but it cannot be read ({error}); delete it and run again"
        ) from error
    return tensors, metadata


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
    """SHA-256 of all tensors and of the metadata beside the checksum itself."""
    words = json.dumps({key: value for key, value in metadata.items() if key != "sha256"}, sort_keys=True)
    digest = hashlib.sha256(words.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def plain(value: Any) -> Any:
    """Tensors and tuples as what JSON can hold; NaN and infinity as null."""
    if isinstance(value, Tensor):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return None
    return value


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write to a temporary name beside the file, then rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if isinstance(content, str):
            temporary.write_text(content, encoding="utf-8")
        else:
            temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
