"""What the correlation experiment measures, cut into parts; a part's name says all that determines it."""

import functools
import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

import curvature
from attacks.correlation.ascent import Ascent
from attacks.correlation.subjects import Subject

_FORMAT = 1
_PIXELS = 2**13  # in the images of a part whose derivatives need a graph
_CODE = (
    *(f"correlation/{name}.py" for name in ("ascent", "certificates", "estimates", "fields", "geometry")),
    *(f"correlation/{name}.py" for name in ("measurements", "subjects", "variants")),
    *("datasets.py", "efficientnet_lite.py", "small_networks.py"),
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The experiment.

    Attributes:
        network: Key of ``SUBJECTS``.
        betas: Softplus parameters.
        radii: Of the balls, ascending, in the network's input space.
        images: How many; held-out ones come first.
        ascent: Of both attacks.
        local_images: For how many of the first images the local bounds of curvature are computed.
    """

    network: str = "digits"
    betas: tuple[float, ...] = (0.8, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
    radii: tuple[float, ...] = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
    images: int = 1797
    ascent: Ascent = field(default_factory=Ascent)
    local_images: int = 30

    def __post_init__(self) -> None:
        for name, values in (("betas", self.betas), ("radii", self.radii)):
            if not values or not all(0 < v < math.inf for v in values) or len(set(values)) < len(values):
                raise ValueError(f"expected {name} that are finite, > 0 and distinct, got {values}")
        if sorted(self.radii) != list(self.radii):
            raise ValueError(f"expected ascending radii, got {self.radii}")
        if self.images < 1 or self.local_images < 0:
            raise ValueError(f"expected images >= 1 and local images >= 0, got {self.images} and {self.local_images}")

    @property
    def triples(self) -> int:
        """Images times betas times radii, if the subject has as many images."""
        return self.images * len(self.betas) * len(self.radii)


@dataclass(frozen=True, kw_only=True)
class Part:
    """The held-out or the training images of one class at one beta, all radii.

    Attributes:
        name: Hash of all that determines the numbers.
        local: The positions among ``positions`` (a prefix) with local bounds of curvature: how many.
    """

    name: str
    beta: float
    target_class: int
    positions: tuple[int, ...]
    local: int
    settings: Settings

    def describe(self) -> dict[str, Any]:
        """What the part's file says of itself."""
        return {
            "beta": self.beta,
            "target_class": self.target_class,
            "positions": list(self.positions),
            "local": self.local,
            "settings": asdict(self.settings),
        }


def plan(settings: Settings, subject: Subject) -> list[Part]:
    """All parts of the experiment.

    Raises:
        ValueError: If the subject has fewer images than asked for.
    """
    if settings.images > len(subject.images):
        raise ValueError(f"expected at most {len(subject.images)} images of {settings.network}, got {settings.images}")
    order = subject.trained_on.to(torch.uint8).argsort(stable=True)[: settings.images]
    local = set(order[: settings.local_images].tolist())
    parts = []
    for trained_on in (False, True):  # held-out images first, so that the same parts serve a run on them alone
        chosen = [i for i in order.tolist() if bool(subject.trained_on[i]) == trained_on]
        for beta in settings.betas:
            for k in sorted({int(subject.classes[i]) for i in chosen}):
                members = [i for i in chosen if int(subject.classes[i]) == k]
                for some in _pieces(members, subject):
                    parts.append(_part(settings, subject, beta, k, some, sum(i in local for i in some)))
    return parts


def _pieces(members: list[int], subject: Subject) -> list[list[int]]:
    """All at once where derivatives are closed forms; else as many as keep the graphs of a batch small."""
    size = len(members) if subject.dense else max(1, _PIXELS // subject.images[0].numel())
    return [members[i : i + size] for i in range(0, len(members), size)]


def _part(settings: Settings, subject: Subject, beta: float, k: int, members: list[int], local: int) -> Part:  # noqa: PLR0913
    words = {
        "format": _FORMAT,
        "beta": beta,
        "target_class": k,
        "positions": members,
        "local": local,
        "network": settings.network,
        "radii": settings.radii,
        "ascent": asdict(settings.ascent),
        "weights": fingerprint(subject),
        "code": code(),
        "torch": torch.__version__,
    }
    name = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:20]
    return Part(name=name, beta=beta, target_class=k, positions=tuple(members), local=local, settings=settings)


def fingerprint(subject: Subject) -> str:
    """Hash of the weights and of the images."""
    digest = hashlib.sha256(repr(subject.module).encode())
    tensors = [*subject.module.state_dict().values(), subject.images]
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:20]


@functools.cache
def code() -> str:
    """Hash of the code that the numbers depend on: the geometry core and what measures here."""
    root = Path(str(curvature.__file__)).parent
    paths = [*sorted(root.rglob("*.py")), *(Path(__file__).parents[1] / name for name in _CODE)]
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:20]


def experiment(network: str, *, quick: bool = False) -> Settings:
    """The settings of a network's experiment: everything for the digits network, less for its variants."""
    if network == "efficientnet_lite0":
        return Settings(
            network=network, betas=(10.0,), radii=(0.1,) if quick else (0.1, 1.0), images=24, local_images=0,
            ascent=Ascent(steps=2 if quick else 8, restarts=2),
        )  # fmt: skip
    if network.startswith("mnist"):
        return Settings(
            network=network, betas=(1.0,) if quick else (1.0, 5.0), local_images=0, images=20 if quick else 100,
            radii=(0.01, 0.3) if quick else (0.001, 0.01, 0.1, 0.3, 1.0), ascent=Ascent(steps=15, restarts=4),
        )  # fmt: skip
    if quick:
        return Settings(
            network=network, betas=(0.8, 1.0, 5.0, 20.0), radii=(0.01, 0.1, 0.3, 1.0), images=240, local_images=0,
            ascent=Ascent(steps=20),
        )  # fmt: skip
    return Settings() if network == "digits" else Settings(network=network, images=397)
