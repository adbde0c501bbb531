r"""Defences: wrappers around an explanation that make it harder to manipulate.

A defence takes an explanation ``(network, x, classes) -> (relevance, logits)`` and returns
another one; ``explain`` and every attack accept it. The logits are always those of the
network as it is given, at x itself: a defence changes what is explained, not what is
predicted. A softened network may come in, with a beta that an attack changes as it goes:
beta-smoothing puts its own beta in the place of that one, the others average over the
network as it comes.

Source: arXiv 1906.07983, supplement D (beta-smoothing, SmoothGrad), theorem 2 (the noise
of ``SphericalLogistic``, in the form that makes the theorem true).
"""

import abc
import dataclasses
import math
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

import curvature
from attacks.explanations.explanation import Explanation, map_parts
from attacks.explanations.snapshot import Snapshot, snapshot_of
from attacks.networks import Network
from curvature.activations import Softplus

Average = Literal["relevance", "maps"]

# Numbers of input in one pass of a network: one picture of 224x224, many small ones.
_NUMBERS_A_PASS = 3 * 224 * 224


@dataclass(frozen=True, kw_only=True)
class Defence(abc.ABC):
    """What all defences share.

    Attributes:
        adaptive: Whether attacks differentiate through the defence. Else they attack the
            undefended map, and the defence shows in the evaluation alone.
    """

    adaptive: bool = True

    @abc.abstractmethod
    def __call__(self, explanation: Explanation) -> Explanation:
        """The defended explanation."""

    def at_step(self, step: int) -> "Defence":
        """The defence with the randomness of one step of an attack; the same one where nothing is random."""
        return self

    def for_attack(self) -> "Defence | None":
        """What an attack differentiates through: the defence if it is ``adaptive``."""
        return self if self.adaptive else None

    def settings(self) -> dict[str, Any]:
        """Name and settings, as JSON can hold them."""
        return {
            "name": next((k for k, kind in DEFENCES.items() if kind is type(self)), type(self).__name__),
            **asdict(self),
        }


@dataclass(frozen=True, kw_only=True)
class BetaSmoothing(Defence):
    """Explain the network with softplus in its forward pass, by the usual rule of the method.

    Attributes:
        beta: Softplus parameter; 0.8 when attacked, 1 in pixel flipping (supplement, D and D.1).
    """

    beta: float = 0.8

    def __post_init__(self) -> None:
        Softplus(self.beta)  # rejects a bad beta with the error of its owner

    def __call__(self, explanation: Explanation) -> Explanation:
        """The explanation of the softened network, with the given network's logits."""

        def defended(network: Network, x: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
            soft, same = _softened(network.module, self.beta)
            if same:
                return explanation(network, x, classes)
            r, _ = explanation(dataclasses.replace(network, module=soft), x, classes)
            return r, _logits(network, x)

        return defended


@dataclass(frozen=True, kw_only=True)
class _Averaging(Defence):
    """Average an explanation over noisy copies of its input.

    All samples of a batch get the same noise, so that none depends on the others.

    Attributes:
        samples: Noisy copies.
        average: Of the signed relevance, before the absolute value (the default, a choice of this
            project), or of the normalised maps.
        seed: Of the noise.
        step: Whose noise it is: of a step of an attack, or None for the fixed noise of evaluations.
    """

    samples: int = 10
    average: Average = "relevance"
    seed: int = 0
    step: int | None = None

    def __post_init__(self) -> None:
        if self.samples < 1 or self.seed < 0:
            raise ValueError(f"expected samples >= 1 and seed >= 0, got {self.samples} and {self.seed}")
        if self.average not in get_args(Average):
            raise ValueError(f"expected average among {get_args(Average)}, got {self.average!r}")

    @abc.abstractmethod
    def displacements(self, network: Network, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "s c h w"]:
        """The displacements ``[samples, C, H, W]`` in the module's input space."""

    def at_step(self, step: int) -> Defence:
        """The defence with fresh noise for this step, the same for the same seed and step."""
        return dataclasses.replace(self, step=step)

    def __call__(self, explanation: Explanation) -> Explanation:
        """The average of the explanation, with the logits of the undisturbed input."""

        def defended(network: Network, x: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
            parts = map_parts if self.average == "maps" else _as_it_is
            mean = _Mean(explanation, network, classes, self.displacements(network, x), parts)
            return mean(x), _logits(network, x)

        return defended

    def _generator(self) -> torch.Generator:
        entropy = [self.seed, 0 if self.step is None else self.step + 1]
        seed = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(seed))


@dataclass(frozen=True, kw_only=True)
class SmoothGrad(_Averaging):
    """Average over Gaussian noise of standard deviation ``noise (x_max - x_min)``.

    Attributes:
        noise: Relative to the width of the valid range, channel by channel; 0.2 in pixel
            flipping (supplement, D.1).
    """

    noise: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"expected a finite noise level >= 0, got {self.noise}")

    def displacements(self, network: Network, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "s c h w"]:
        """Normal noise, each channel on its own scale."""
        low, high = network.valid_range(x)
        shape = (self.samples, *x.shape[1:])
        normal = torch.randn(shape, generator=self._generator(), dtype=torch.float64)
        return normal.to(x) * self.noise * (high - low)


@dataclass(frozen=True, kw_only=True)
class SphericalLogistic(_Averaging):
    """Average over the noise for which smoothing and softplus agree exactly in one layer.

    Attributes:
        beta: Softplus parameter of a neuron whose weights have norm one; 1/beta is in units of the
            module's input space.
    """

    beta: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        Softplus(self.beta)

    def displacements(self, network: Network, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "s c h w"]:
        """Spherical logistic noise of scale ``1/beta``."""
        shape = (self.samples, *x.shape[1:])
        return curvature.spherical_logistic(shape, self.beta, generator=self._generator()).to(x)


DEFENCES: dict[str, Callable[..., Defence]] = {
    "beta_smoothing": BetaSmoothing,
    "smoothgrad": SmoothGrad,
    "spherical_logistic": SphericalLogistic,
}


def load_defence(spec: str, *, adaptive: bool = True) -> Defence:
    """A defence by name, with settings: ``smoothgrad``, ``smoothgrad:noise=0.2,samples=20``, ``beta_smoothing:beta=1``.

    Raises:
        ValueError: If the name or a setting is unknown, or a value is not of its kind.
    """
    name, _, words = spec.partition(":")
    if name not in DEFENCES:
        raise ValueError(f"expected a defence among {', '.join(DEFENCES)}, got {name!r}")
    kinds = {"beta": float, "noise": float, "samples": int, "seed": int, "average": str}
    known = [f for f in DEFENCES[name]().settings() if f in kinds]
    settings: dict[str, Any] = {}
    for word in words.split(",") if words else []:
        key, _, value = word.partition("=")
        if key not in known or key in settings:
            raise ValueError(f"expected settings of {name} among {', '.join(known)}, each once, got {word!r}")
        try:
            settings[key] = kinds[key](value)
        except ValueError as error:
            raise ValueError(f"expected {key} of {name} as {kinds[key].__name__}, got {value!r}") from error
    return DEFENCES[name](adaptive=adaptive, **settings)


@dataclass(frozen=True)
class _Mean:
    """The mean over displaced copies, differentiable within bounded memory."""

    explanation: Explanation
    network: Network
    classes: Tensor
    noise: Tensor
    parts: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        if x.requires_grad and len(self.noise) * x.numel() > _NUMBERS_A_PASS:
            mean: Tensor = _Recomputed.apply(x, self)
            return mean
        total = torch.zeros_like(x)
        for noise in self.groups(x):
            total = total + self.of_group(x, noise)
        return total / len(self.noise)

    def groups(self, x: Tensor) -> Iterator[Tensor]:
        """The noise, as much at a time as a pass may hold."""
        yield from self.noise.split(max(1, _NUMBERS_A_PASS // x.numel()))

    def of_group(self, x: Tensor, noise: Tensor) -> Tensor:
        """The sum over the copies of one group, which pass the network as one batch."""
        points = (x[None] + noise[:, None]).flatten(0, 1)
        r, _ = self.explanation(self.network, points, self.classes.repeat(len(noise)))
        return self.parts(r).unflatten(0, (len(noise), len(x))).sum(0)


class _Recomputed(torch.autograd.Function):
    """The mean forwards without a graph; backwards each group once more."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: _Mean) -> Tensor:
        ctx.mean = mean
        ctx.save_for_backward(x)
        return mean(x.detach())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        mean: _Mean = ctx.mean
        result = torch.zeros_like(x)
        for noise in mean.groups(x):
            point = x.detach().requires_grad_(True)
            with torch.enable_grad():
                total = mean.of_group(point, noise)
            if total.requires_grad:
                result += torch.autograd.grad(total, point, v)[0]
        return result / len(mean.noise), None


def _as_it_is(r: Tensor) -> Tensor:
    return r


def _logits(network: Network, x: Tensor) -> Tensor:
    with torch.set_grad_enabled(x.requires_grad):
        logits: Tensor = network.module(x)
    return logits


@dataclass
class _Copies:
    """Softened copies of one network, and the weights that they were made from."""

    weights: Snapshot
    has_relu: bool
    by_beta: dict[float, nn.Module]


_COPIES: "weakref.WeakKeyDictionary[nn.Module, _Copies]" = weakref.WeakKeyDictionary()


def _softened(module: nn.Module, beta: float) -> tuple[nn.Module, bool]:
    """A softened copy, made once; and whether the network itself already is what the copy is."""
    weights = snapshot_of(module)
    copies = _COPIES.get(module)
    if copies is None or copies.weights is not weights:
        kinds = {rough.kind.lower().rstrip("_") for rough in curvature.hypotheses(module)}
        copies = _COPIES[module] = _Copies(weights, bool(kinds & {"relu", "relu6"}), {})
    betas = {m.beta for m in module.modules() if isinstance(m, Softplus)}
    if not copies.has_relu and betas == {beta}:
        return module, True
    if beta not in copies.by_beta:
        copies.by_beta[beta] = curvature.soften(module, beta)
    return copies.by_beta[beta], False
