"""What is measured: a network with its images, which of them it was trained on, and the logits to explain."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor, nn

from attacks.correlation.variants import DigitsRecipe, trained_digits
from attacks.datasets import load_images
from attacks.images import load_picture
from attacks.networks import Network, load_network
from curvature import hypotheses, soften
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
        dense: Whether Hessians are computed densely; else the geometry is an estimate from below.
        smooth: Whether the softened network is twice differentiable, so that certificates apply.
        independent: Whether the images are a sample; parts of a few photographs are none, so that no interval and no
            p-value is given for them.
        words: What the images are.
    """

    module: nn.Module
    images: Float[Tensor, "N c h w"]
    labels: Int[Tensor, " N"]
    classes: Int[Tensor, " N"]
    trained_on: Bool[Tensor, " N"]
    dense: bool = True
    smooth: bool = True
    independent: bool = True
    words: str = "held-out digits of scikit-learn, then training ones"

    @property
    def accuracy(self) -> float:
        """Share of right predictions among the held-out images; NaN without true classes."""
        if (self.labels < 0).any():
            return float("nan")
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


def digits_variant(**recipe: float | int) -> Callable[[], Subject]:
    """A digits network that is trained here, on the same images."""

    def load() -> Subject:
        images, labels, trained_on = digits_images()
        made = DigitsRecipe(**recipe)  # type: ignore[arg-type]
        return digits_subject(trained_digits(made, images=images[trained_on], labels=labels[trained_on]))

    return load


def mnist_subject(name: str) -> Callable[[], Subject]:
    """A small network for 28x28 digits with MNIST's 1,000 held-out images, in an order that mixes the classes."""

    def load() -> Subject:
        network, images = load_network(name), load_images("mnist")
        order = images.drawn(len(images))
        x = images.inputs(network, order).double()
        return _estimated(network, x, images.labels[order], words="held-out images of MNIST")

    return load


def photographs(name: str) -> Callable[[], Subject]:
    """An ImageNet network with crops of scikit-image's photographs: six sizes or places each, without true classes."""

    def load() -> Subject:
        network = load_network(name)
        crops = [network.preprocess(crop) for photograph in PHOTOGRAPHS for crop in _crops(photograph)]
        x = torch.cat(crops).double()
        words = f"six sizes or places of each of the photographs {', '.join(PHOTOGRAPHS)} of scikit-image"
        return _estimated(network, x, torch.full((len(x),), -1), words=words, independent=False)

    return load


PHOTOGRAPHS = ("chelsea", "coffee", "rocket", "astronaut")


def _crops(name: str) -> list[Image.Image]:
    """The whole picture, and squares of three quarters of its shorter side at the corners and in the middle."""
    picture = load_picture(name).image
    width, height = picture.size
    side = 3 * min(width, height) // 4
    right, low = width - side, height - side
    places = [(0, 0), (right, 0), (0, low), (right, low), (right // 2, low // 2)]
    return [picture, *(picture.crop((left, top, left + side, top + side)) for left, top in places)]


def _estimated(network: Network, x: Tensor, labels: Tensor, *, words: str, independent: bool = True) -> Subject:
    module = network.module.double()
    with torch.no_grad():
        classes = torch.cat([module(part).argmax(1) for part in x.split(50)])
    smooth = not hypotheses(soften(module, 1.0))
    held_out = torch.zeros(len(x), dtype=torch.bool)
    return Subject(module, x, labels, classes, held_out, False, smooth, independent, words)


SEEDS = (0, 1, 2)
TRAINING: dict[str, dict[str, float | int]] = {  # how the networks of the training experiment differ from the plain one
    "plain": {},
    "decay": {"weight_decay": 1.0},
    "penalty": {"curvature_weight": 0.1},
}

SUBJECTS: dict[str, Callable[[], Subject]] = {
    "digits": lambda: digits_subject(digits_network()),
    "digits_deep": digits_variant(hidden=4),
    "mnist_lenet": mnist_subject("mnist_lenet"),
    "mnist_vgg": mnist_subject("mnist_vgg"),
    "efficientnet_lite0": photographs("efficientnet_lite0"),
    **{
        f"digits_{name}_{seed}": digits_variant(seed=seed, **recipe)
        for name, recipe in TRAINING.items()
        for seed in SEEDS
    },
}
