"""Small networks that need no download: the trained digits network and the contour network."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

DIGITS_WEIGHTS = Path(__file__).parent / "weights" / "digits.safetensors"
_IMAGES, _TRAINING = 1_797, 1_400  # scikit-learn's digits, and how many of them train


def digits_architecture() -> nn.Sequential:
    """The untrained 64-64-64-10 ReLU network for inputs ``[B, 1, 8, 8]``."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )  # fmt: skip


def digits_split() -> tuple[Tensor, Tensor]:
    """Indices of the 1,400 training and the 397 held-out images of scikit-learn's digits.

    A permutation with seed 0: the data set is ordered by writer, so its tail is not like its head.
    """
    order = torch.randperm(_IMAGES, generator=torch.Generator().manual_seed(0))
    return order[:_TRAINING], order[_TRAINING:]


def digits_network() -> nn.Sequential:
    """The trained 64-64-64-10 ReLU network on 8x8 digits divided by 16, in eval mode.

    Source: ``curvature/weights/train_digits.py``, which prints the held-out accuracy.
    """
    network = digits_architecture()
    network.load_state_dict(_read_safetensors(DIGITS_WEIGHTS))
    return network.eval()


def contour_network(seed: int = 0) -> nn.Sequential:
    """The 2-50-1 ReLU network without biases, weights uniform in (-1, 1), float64.

    Source: arXiv 1906.07983, supplement, figure 20.
    """
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(
        nn.Linear(2, 50, bias=False, dtype=torch.float64), nn.ReLU(), nn.Linear(50, 1, bias=False, dtype=torch.float64)
    )
    for parameter in network.parameters():
        parameter.data = 2 * torch.rand(parameter.shape, generator=generator, dtype=torch.float64) - 1
    return network.eval()


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Float32 tensors of a safetensors file: a length, a JSON header, then raw numbers.

    The format is read here because the core needs no extra, and safetensors is one.
    """
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            raise ValueError(f"expected float32 weights in {path.name}, got {entry['dtype']} for {name}")
        first, last = entry["data_offsets"]
        numbers = np.frombuffer(raw[start + first : start + last], dtype="<f4").reshape(entry["shape"])
        tensors[name] = torch.from_numpy(numbers.copy())
    return tensors
