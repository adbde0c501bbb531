"""What a study's attacks aim at: another picture's map, the map of another class, a drawing, a text."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from attacks.config import AttackConfig
from attacks.defences import Defence
from attacks.images import load_picture
from attacks.manipulation import target_map
from attacks.networks import Network
from attacks.targets import DRAWN, TEXT, map_of_drawing, map_of_text

CLASS = "class:"  # the attacked picture's own map of another class
Aim = NDArray[np.float32]  # a picture [C, H, W] in the module's input space, or a map [H, W] of sum 1


def is_picture(target: str) -> bool:
    """Whether a target is a picture's name or file."""
    return not target.startswith((TEXT, DRAWN, CLASS))


def check_target(target: str, folder: Path) -> None:
    """Refuse a text, a drawing or a class that nobody can aim at, before anything runs.

    Raises:
        ValueError: With what was expected.
    """
    if target.startswith(CLASS) and not target.removeprefix(CLASS).isdecimal():
        raise ValueError(f"expected {CLASS}NUMBER, got {target!r}")
    if target.startswith((TEXT, DRAWN)):
        drawn_map(target, (224, 224), folder)


def drawn_map(target: str, size: tuple[int, int], folder: Path) -> Float[Tensor, "h w"]:
    """The map of ``text:WORDS`` or ``drawn:FILE``."""
    if target.startswith(TEXT):
        return map_of_text(target.removeprefix(TEXT), size)
    path = target.removeprefix(DRAWN)
    located = str(folder / path) if (folder / path).is_file() else path
    return map_of_drawing(load_picture(located, channels=1).image, size)


def goal(
    network: Network, target: str, aim: Aim, *, config: AttackConfig, defence: Defence | None
) -> Float[Tensor, "1 h w"]:
    """The map that an attack is to reach, by the network that the loss refers to."""
    array = torch.from_numpy(aim).clone()
    if array.ndim == 2:
        return array[None]
    chosen = int(target.removeprefix(CLASS)) if target.startswith(CLASS) else None
    return target_map(network, array[None], config=config, target_class=chosen, defence=defence)
