"""Pixel flipping: how fast the accuracy falls when the pixels that a map calls relevant are removed first.

Source: arXiv 1906.07983, supplement D.1; pixels are removed in all channels at once, by
setting them to zero in the module's input space (reference implementation).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attacks.explanations import explain
from attacks.explanations.explanation import Wrapper
from attacks.networks import Network

_BATCH = 100  # samples in one pass of the network, where a caller names no other


@dataclass(frozen=True)
class PixelFlipping:
    """The curve of one explanation.

    Attributes:
        removed: Pixels removed, ascending from 0 to all, ``[S]``.
        accuracy: Share of samples that are still classified right, ``[S]``.
    """

    removed: Int[Tensor, " s"]
    accuracy: Float[Tensor, " s"]

    @property
    def area(self) -> float:
        """Area under the curve over the share of pixels removed, in [0, 1]; small for a map that finds what counts."""
        return float(torch.trapezoid(self.accuracy, self.removed / self.removed[-1]))


def pixel_flipping(  # noqa: PLR0913
    network: Network | nn.Module,
    x: Tensor,
    labels: Tensor,
    maps: Tensor,
    *,
    steps: int = 50,
    batch: int = _BATCH,
) -> PixelFlipping:
    """Accuracy over all samples after each step of removing their most relevant pixels.

    Args:
        network: A ``Network`` or bare module.
        x: Inputs ``[N, C, H, W]`` in the module's input space.
        labels: True classes, ``[N]``.
        maps: Relevance of the pixels, ``[N, H, W]``, from ``maps_of`` or ``random_maps``; equals go in
            reading order.
        steps: Steps from the whole picture to an empty one, at most one a pixel.
        batch: Samples in one pass.

    Raises:
        ValueError: If shapes do not agree, a map is not finite, or a number is out of range.

    Cost: ``steps + 1`` forward passes a sample.
    """
    network = Network.of(network)
    network.check_input(x)
    pixels = x.shape[2] * x.shape[3]
    if labels.shape != (len(x),) or maps.shape != (len(x), *x.shape[2:]) or not torch.isfinite(maps).all():
        raise ValueError(
            f"expected labels [{len(x)}] and finite maps {[len(x), *x.shape[2:]]}, "
            f"got {list(labels.shape)} and {list(maps.shape)}"
        )
    if not 1 <= steps <= pixels or batch < 1:
        raise ValueError(f"expected steps in 1..{pixels} and batch >= 1, got {steps} and {batch}")
    removed = torch.linspace(0, pixels, steps + 1, dtype=torch.float64).round().long()
    ranks = maps.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1).reshape(maps.shape)
    right = torch.zeros(steps + 1, dtype=torch.float64)
    for part in torch.arange(len(x), device=x.device).split(batch):
        for i, count in enumerate(removed.tolist()):
            kept = x[part] * (ranks[part] >= count)[:, None]
            right[i] += float((network.predict(kept) == labels[part]).sum())
    return PixelFlipping(removed, right / len(x))


def maps_of(
    network: Network | nn.Module,
    x: Float[Tensor, "n c h w"],
    *,
    method: str = "gradient",
    defence: Wrapper | None = None,
    batch: int = _BATCH,
) -> Float[Tensor, "n h w"]:
    """Explanation maps of the predicted classes, ``batch`` samples at a time."""
    if batch < 1:
        raise ValueError(f"expected batch >= 1, got {batch}")
    return torch.cat([explain(network, part, method=method, defence=defence) for part in x.split(batch)])


def random_maps(x: Float[Tensor, "n c h w"], *, seed: int = 0) -> Float[Tensor, "n h w"]:
    """The random baseline: a random order of the pixels; a sample's does not depend on those after it."""
    numbers = np.random.default_rng(seed).random((len(x), *x.shape[2:]))
    return torch.from_numpy(numbers).to(x)
