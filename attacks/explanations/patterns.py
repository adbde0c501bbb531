r"""Fit, save and load the patterns of pattern attribution.

Every statistic is a sum over samples, so data streams through in batches of any size; the
sums are float64. For a convolution the samples are its patches. In the last layer the
covariance is plain, as its outputs are no activations.

Source: arXiv 1705.05598, eq. 5-10 (estimator S_{a+-}, the positive side).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.explanations.layers import Linear, layers_of
from attacks.networks import Network
from attacks.storage import write_atomically

_SUMS = ("xy", "x", "y", "active", "count")


@dataclass
class PatternFit:
    """The sums so far; ``add`` batches, then ask for ``patterns``.

    Attributes:
        network: Network whose layers get patterns.
        origin: What determines the sums beside the network's layers, in words: weights, data. A fit goes on only
            where it is the same.
        samples: Images seen.
        sums: Per layer, E+[xy], E+[x], E[y] and the two counts, all times their count.
    """

    network: Network
    origin: dict[str, str] = field(default_factory=dict)
    samples: int = 0
    sums: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def add(self, x: Float[Tensor, "b c h w"]) -> None:
        """Take a batch ``[B, C, H, W]`` in the module's input space into the sums."""
        self.network.check_input(x)
        layers = layers_of(self.network.module)
        with torch.no_grad():
            values = layers.forward(x).kept
            for node, linear in layers.linears.items():
                for name, value in _sums(linear, values[node.all_input_nodes[0]], values[node]).items():
                    known = self.sums.setdefault(linear.name, {})
                    known[name] = known[name] + value if name in known else value
        self.samples += len(x)

    def patterns(self) -> dict[str, Tensor]:
        """The pattern of each layer, shaped as its weight.

        Raises:
            ValueError: If no sample was added.
        """
        if not self.samples:
            raise ValueError("expected at least one batch of images before patterns are asked for, got none")
        layers = layers_of(self.network.module)
        return {linear.name: _pattern(linear, self.sums[linear.name]) for linear in layers.linears.values()}

    def save(self, path: Path) -> None:
        """Write the sums, so that a fit that was stopped goes on from them."""
        tensors = {f"{layer}/{name}": t for layer, sums in self.sums.items() for name, t in sums.items()}
        write_atomically(path, save(tensors, {"fit": json.dumps({"samples": self.samples, "origin": self.origin})}))

    @classmethod
    def load(cls, network: Network, path: Path, origin: dict[str, str] | None = None) -> "PatternFit":
        """Go on from what ``save`` wrote.

        Raises:
            ValueError: If the file cannot be read, or is of another network or another origin.
        """
        tensors, metadata = _read(path, "fit")
        origin = origin or {}
        try:
            samples, found = int(metadata["samples"]), dict(metadata["origin"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"expected a file of fit written by this version, got '{path}' ({type(error).__name__}: {error}); "
                "delete it to start anew"
            ) from error
        differing = sorted(key for key in origin.keys() | found.keys() if origin.get(key) != found.get(key))
        if differing:
            raise ValueError(
                f"expected an unfinished fit of the same {' and '.join(differing)}, got '{path}', which is of others "
                f"({', '.join(f'{key} {found.get(key)}, not {origin.get(key)}' for key in differing)}); "
                "repeat the command that began it, or delete it to start anew"
            )
        fit = cls(network, origin, samples)
        for key, t in tensors.items():
            layer, _, name = key.rpartition("/")
            fit.sums.setdefault(layer, {})[name] = t
        for linear in layers_of(network.module).linears.values():
            known = fit.sums.get(linear.name, {})
            if set(known) != set(_SUMS) or known["xy"].shape != (
                len(linear.weight),
                linear.weight[0].numel(),
            ):
                raise ValueError(
                    f"expected an unfinished fit of this network, got '{path}', whose layer '{linear.name}' differs"
                )
        return fit


def fit_patterns(network: Network | nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """The patterns of a network's convolutions and linear layers, fitted on batches of images.

    Args:
        network: The network; fit the one that is explained, not its softened copy.
        batches: Batches ``[B, C, H, W]`` in the module's input space.

    Returns:
        Per layer name, a tensor shaped as the layer's weight; goes into ``Network(patterns=...)``.

    Raises:
        ValueError: If there are no batches, or one is no finite batch of images.
        UnsupportedModuleError: If a layer has no rule.
    """
    fit = PatternFit(Network.of(network))
    for x in batches:
        fit.add(x)
    return fit.patterns()


def save_patterns(patterns: dict[str, Tensor], path: Path, *, samples: int) -> None:
    """Write patterns to a safetensors file, as float32, with the number of images they come from."""
    stored = {name: t.detach().float().contiguous() for name, t in patterns.items()}
    write_atomically(path, save(stored, {"patterns": json.dumps({"samples": samples})}))


def load_patterns(path: Path) -> dict[str, Tensor]:
    """The patterns that ``save_patterns`` wrote.

    Raises:
        ValueError: If the file is missing or damaged, or holds something else.
    """
    return _read(path, "patterns")[0]


def _read(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise ValueError(f"expected a file of {kind}, got '{path}', which does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})[kind])
            return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118 - it is no dict
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"expected a file of {kind} written by this toolkit, got '{path}': {error}") from error


def _rows(linear: Linear, a: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs ``[G, N, K]`` and outputs ``[G, N, O]`` of the layer, group by group, one row a sample or patch."""
    layer = linear.layer
    if isinstance(layer, nn.Linear):
        return a.reshape(1, -1, a.shape[-1]), y.reshape(1, -1, y.shape[-1])
    patches = F.unfold(a, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
    x = patches.unflatten(1, (layer.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)
    return x, y.flatten(2).unflatten(1, (layer.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)


def _sums(linear: Linear, a: Tensor, y: Tensor) -> dict[str, Tensor]:
    x, out = (t.double() for t in _rows(linear, a, y))
    mask = torch.ones_like(out) if linear.last else (out > 0).double()
    return {
        "xy": ((mask * out).mT @ x).flatten(0, 1),
        "x": (mask.mT @ x).flatten(0, 1),
        "y": out.sum(1).flatten(),
        "active": mask.sum(1).flatten(),
        "count": torch.full((out.shape[0] * out.shape[2],), float(out.shape[1]), dtype=torch.float64),
    }


def _pattern(linear: Linear, sums: dict[str, Tensor]) -> Tensor:
    weight = linear.weight
    active = _nonzero(sums["active"])[:, None]
    cov = sums["xy"] / active - sums["x"] / active * (sums["y"] / sums["count"])[:, None]
    rows = weight.double().flatten(1)
    return (cov / _nonzero((rows * cov).sum(1))[:, None]).reshape(weight.shape).to(weight)


def _nonzero(t: Tensor) -> Tensor:
    """Zero denominators to 1; reference implementation."""
    return torch.where(t == 0, torch.ones_like(t), t)
