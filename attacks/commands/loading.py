"""Networks as the command line names them: on a device, with patterns."""

import dataclasses
from pathlib import Path

import torch

from attacks.explanations.patterns import load_patterns
from attacks.networks import Network, load_network


def load_on(device: str, name: str, *, weights: str | None, seed: int, patterns: Path | None = None) -> Network:
    """A named network on a device.

    Raises:
        ValueError: If the device is not there, or the network, its weights or patterns cannot be loaded.
    """
    try:
        found = torch.device(device)
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"expected a torch device that this machine has, got {device!r}: {str(error).splitlines()[0]}"
        ) from error
    network = load_network(name, weights=weights, seed=seed)
    return dataclasses.replace(
        network, module=network.module.to(found), patterns=load_patterns(patterns) if patterns else {}
    )
