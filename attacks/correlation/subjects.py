"""What is measured: a network with its images, which of them it was trained on, and the logits to explain."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attacks.correlation.variants import DigitsRecipe, trained_digits
from curvature.demo_networks import digits_network, digits_split


@dataclass(frozen=True)
class Subject:
    """A network and the images at which its explanations are attacked.

    Attributes:
        module: The network, not softened, in eval mode.
        images: ``[N, C, H, W]``, float64, in its input space.
        labels: True classes, ``[N]``.
        classes: The classes that it predicts without softening, ``[N]``; their logits are explained.
        trained_on: Whether an image was a training image, ``[N]``.
    """

    module: nn.Module
    images: Float[Tensor, "N c h w"]
    labels: Int[Tensor, " N"]
    classes: Int[Tensor, " N"]
    trained_on: Bool[Tensor, " N"]

    @property
    def accuracy(self) -> float:
        """Share of right predictions among the held-out images."""
        right = (self.classes == self.labels)[~self.trained_on]
        return float(right.double().mean())


@functools.cache
def load_subject(name: str) -> Subject:
    """A subject by name, loaded once a process.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in SUBJECTS:
        raise ValueError(f"expected --network among {', '.join(SUBJECTS)}, got {name!r}")
    return SUBJECTS[name]()


def digits_images() -> tuple[Tensor, Tensor, Tensor]:
    """The 1,797 digits divided by 16, float64, their labels, and whether each is a training image."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.from_numpy(data.images / 16)[:, None]
    trained_on = torch.zeros(len(images), dtype=torch.bool)
    trained_on[digits_split()[0]] = True
    return images, torch.from_numpy(data.target), trained_on


def digits_subject(module: nn.Module) -> Subject:
    """A network for 8x8 digits with all of them."""
    images, labels, trained_on = digits_images()
    with torch.no_grad():
        classes = module.double()(images).argmax(1)
    return Subject(module, images, labels, classes, trained_on)


def digits_variant(**recipe: float) -> Callable[[], Subject]:
    """A digits network that is trained here, on the same images."""

    def load() -> Subject:
        images, labels, trained_on = digits_images()
        made = DigitsRecipe(**recipe)  # type: ignore[arg-type]
        return digits_subject(trained_digits(made, images=images[trained_on], labels=labels[trained_on]))

    return load


SEEDS = (0, 1, 2)
TRAINING: dict[str, dict[str, float]] = {  # how the networks of the training experiment differ from the plain one
    "plain": {},
    "decay": {"weight_decay": 1.0},
    "penalty": {"curvature_weight": 0.1},
}

SUBJECTS: dict[str, Callable[[], Subject]] = {
    "digits": lambda: digits_subject(digits_network()),
    "digits_deep": digits_variant(hidden=4),
    **{
        f"digits_{name}_{seed}": digits_variant(seed=seed, **recipe)
        for name, recipe in TRAINING.items()
        for seed in SEEDS
    },
}
