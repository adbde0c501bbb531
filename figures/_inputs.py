"""Photographs and test images as inputs of a network."""

import torch
from torch import Tensor

from attacks import Network, load_images, load_network, load_picture

PHOTOGRAPHS = ("chelsea", "coffee", "rocket", "astronaut")


# A unit of the space that a network of the paper takes its inputs in, in pixels: the channels' standard deviation.
IMAGENET_UNIT, CIFAR_UNIT = 0.225, 0.247


# What ``load_images`` gives of a data set's split ``test``.
_IN_WORDS = {
    "mnist": "MNIST test images",
    "digits": "held-out images of scikit-learn's digits",
    "cifar10": "CIFAR-10 test images",
    "imagenet": "ImageNet validation images",
    "folder": "pictures of a folder",
}


def trained_network(name: str, weights: str = "") -> Network:
    """A network of ``NETWORKS`` with trained weights, never random ones instead; a user's as its factory makes it.

    Raises:
        ValueError: If the weights are neither there nor can be fetched, or do not fit.
    """
    return load_network(name, weights=weights or (None if ":" in name else "pretrained"))


def network_in_words(network: Network) -> str:
    """Its name and where its weights are from."""
    return f"{network.name} ({network.weights})"


def images_in_words(source: str) -> str:
    """What ``drawn_images`` draws from."""
    return _IN_WORDS[source.partition(":")[0]]


def step_for(network: Network, lr: float, unit: float) -> float:
    """A printed learning rate for this network: in pixels where that is what it takes."""
    return lr * unit if set(network.std) == {1.0} else lr


def photographs(network: Network, names: tuple[str, ...] = PHOTOGRAPHS) -> Tensor:
    """scikit-image's photographs, ``[N, C, H, W]``."""
    return torch.cat([network.preprocess(load_picture(name).image) for name in names])


def drawn_images(network: Network, source: str, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Different images of a data set's test split, drawn by the seed, and their labels."""
    images = load_images(source)
    order = images.drawn(count, seed=seed)
    return images.inputs(network, order), images.labels[order]
