"""Networks as the command line names them: on a device, with patterns."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from attacks.explanations.patterns import load_patterns
from attacks.networks import Network, load_network


def load_on(device: str, name: str, *, weights: str | None, seed: int, patterns: Path | None = None) -> Network:
    """A named network on a device, with the patterns of a file in the place of its own.

    Raises:
        ValueError: If the device is not there, or the network, its weights or patterns cannot be loaded.
    """
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).item()  # the device 'meta' makes tensors that hold nothing
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"expected a torch device that this machine has, got {device!r}: {str(error).splitlines()[0]}"
        ) from error
    network = load_network(name, weights=weights, seed=seed)
    return dataclasses.replace(
        network, module=network.module.to(found), patterns=load_patterns(patterns) if patterns else network.patterns
    )


def command_words(command: Any, name: str, *, without: Sequence[str]) -> str:
    """The command line that says what differs from the defaults.

    Args:
        command: A command's dataclass.
        name: What it is called.
        without: Fields to leave out.
    """
    words = [
        f"--{f.name.replace('_', '-')} {_word(getattr(command, f.name))}"
        for f in dataclasses.fields(command)
        if f.name not in without and getattr(command, f.name) != f.default
    ]
    return " ".join([f"python -m attacks {name}", *words])


def _word(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else shlex.quote(str(value))
