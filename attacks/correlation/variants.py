"""Digits networks trained here: deeper, with weight decay, with a curvature penalty; kept in the user's cache."""

import fcntl
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attacks.small_networks import CACHE_VARIABLE, cache_folder
from attacks.storage import write_atomically
from curvature import curvature_penalty

PENALTY_BETA = 5.0  # softplus parameter of the network whose curvature is penalised


@dataclass(frozen=True, kw_only=True)
class DigitsRecipe:
    """How a digits network is trained; the defaults are those of the network that comes with the package.

    Attributes:
        hidden: Layers of 64 neurons.
        weight_decay: Decoupled from the gradient (AdamW), for all parameters.
        curvature_weight: Weighs the mean sum of squared principal curvatures of the labelled logit, softened at beta 5.
        epochs: Passes over the training images.
        batch: Images in a step.
        lr: Of Adam.
        seed: Of first weights, order and the penalty's directions.
    """

    hidden: int = 2
    weight_decay: float = 0.0
    curvature_weight: float = 0.0
    epochs: int = 60
    batch: int = 64
    lr: float = 1e-3
    seed: int = 0


def trained_digits(recipe: DigitsRecipe, *, images: Float[Tensor, "n 1 8 8"], labels: Int[Tensor, " n"]) -> nn.Module:
    """The network of a recipe, in eval mode; trained on these images unless its weights are in the cache.

    Raises:
        ValueError: If the cache folder cannot be written.
    """
    from safetensors.torch import load_file, save

    words = json.dumps([asdict(recipe), len(images), PENALTY_BETA], sort_keys=True)
    path = cache_folder() / f"digits-{hashlib.sha256(words.encode()).hexdigest()[:12]}.safetensors"
    network = _architecture(recipe)
    with _locked(path):
        if not path.is_file():
            _fit(network, images.float(), labels, recipe)
            write_atomically(path, save({key: t.contiguous() for key, t in network.state_dict().items()}))
    network.load_state_dict(load_file(path))
    return network.eval().requires_grad_(False)


class _locked:  # noqa: N801, a context manager
    """Processes that ask for the same network at the same time wait for the one that trains."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_suffix(".lock")

    def __enter__(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.path.open("w")
        except OSError as error:
            raise ValueError(
                f"expected a cache folder that can be written, got '{self.path.parent}': {error.strerror}; "
                f"name another in {CACHE_VARIABLE}"
            ) from error
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *error: object) -> None:
        self.file.close()


def _architecture(recipe: DigitsRecipe) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        layers: list[nn.Module] = [nn.Flatten()]
        for _ in range(recipe.hidden):
            layers += [nn.Linear(64, 64), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(64, 10))


def _fit(network: nn.Sequential, images: Tensor, labels: Tensor, recipe: DigitsRecipe) -> None:
    print(f"training a digits network ({recipe})", file=sys.stderr)  # noqa: T201
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(images), generator=generator).split(recipe.batch):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
            if recipe.curvature_weight:
                outputs = _labelled_logit(network, labels[batch])
                loss = loss + recipe.curvature_weight * curvature_penalty(outputs, images[batch], generator=generator)
            loss.backward()
            optimizer.step()


def _labelled_logit(network: nn.Sequential, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """The softened network's logit of each label, with the parameters of the network itself."""

    def outputs(x: Tensor) -> Tensor:
        a = x
        for layer in network:
            a = nn.functional.softplus(a, beta=PENALTY_BETA) if isinstance(layer, nn.ReLU) else layer(a)
        return a.gather(1, labels[:, None])[:, 0]

    return outputs
