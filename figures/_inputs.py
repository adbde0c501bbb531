"""Photographs and test images as inputs of a network."""

import torch
from torch import Tensor

from attacks import Network, load_images, load_picture

PHOTOGRAPHS = ("chelsea", "coffee", "rocket", "astronaut")


# A unit of the space that a network of the paper takes its inputs in, in pixels: the channels' standard deviation.
IMAGENET_UNIT, CIFAR_UNIT = 0.225, 0.247


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
