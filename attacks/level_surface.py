r"""The level set of a softened network inside the box of valid images, for a batch of points.

Moves are tangent in the coordinates that are free: a pixel at its smallest or largest
valid value is held while the move would push it out, and let go as soon as it would not.
Newton's method brings a moved point back, again through the free coordinates alone.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attacks.networks import Network
from curvature import DegenerateLevelSetError

# Accepted |f - level| / |level|: a few roundings of the network's output, far below what is promised
# of the whole path (1e-5 in float32, 1e-10 in float64).
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-12}
PROMISE = {torch.float32: 1e-5, torch.float64: 1e-10}
_NEWTON_STEPS, _HALVINGS, _HOLDS = 12, 12, 50
_MARGIN = 1e-6  # of the valid range's width
_LEVEL_SHARE = 1e-3  # of the largest logit; below, "relative to the level" means nothing


@dataclass(frozen=True)
class State:
    """Points on the surface: ``x`` and the gradient ``G`` of f there, ``[B, C, H, W]``, and f's ``value``, ``[B]``."""

    x: Tensor
    G: Tensor
    value: Tensor


@dataclass(frozen=True)
class LevelSurface:
    """``S = {f = level}`` of each sample's class, inside the valid range.

    Attributes:
        network: Softened at one fixed beta.
        classes: Whose logit f is, ``[B]``.
        level: The value that is kept, ``[B]``.
        low: Smallest valid input, shaped to broadcast.
        high: Largest valid input.
        chunk: Samples in one pass of the network.
    """

    network: Network
    classes: Int[Tensor, " b"]
    level: Float[Tensor, " b"]
    low: Tensor
    high: Tensor
    chunk: int

    @classmethod
    def through(cls, network: Network, x: Tensor, classes: Tensor, *, chunk: int) -> tuple["LevelSurface", State]:
        """The surface through each sample, and the samples as points on it.

        Raises:
            ValueError: If a sample's level is about zero beside its other logits, or x is no valid image.
            DegenerateLevelSetError: If f's gradient vanishes.
        """
        low, high = network.valid_range(x)
        if not bool(((x >= low) & (x <= high)).all()):
            raise ValueError("expected valid images, got numbers outside of the valid range; clamp them first")
        with torch.no_grad():
            largest = torch.cat([network.module(part) for part in x.split(chunk)]).abs().amax(1)
        surface = cls(network, classes, torch.zeros_like(largest), low, high, chunk)
        state = surface.at(x.detach(), torch.arange(len(x), device=x.device))
        small = (state.value.abs() < _LEVEL_SHARE * largest).nonzero().flatten().tolist()
        if small:
            raise ValueError(
                f"expected an explained logit that is not about zero, as the level set is kept relative to its level, "
                f"got {state.value[small].tolist()} in sample(s) {small}; explain another class"
            )
        if not (norms(state.G) > 0).all():
            raise DegenerateLevelSetError("the gradient of the explained logit is zero, so its level set has no normal")
        return cls(network, classes, state.value, low, high, chunk), state

    def at(self, x: Tensor, samples: Int[Tensor, " k"]) -> State:
        """Value and gradient of f at points ``[k, C, H, W]`` of these samples."""
        slopes, values = [], []
        for points, classes in zip(x.split(self.chunk), self.classes[samples].split(self.chunk), strict=True):
            leaf = points.detach().requires_grad_(True)
            f = self.network.module(leaf).gather(1, classes[:, None])[:, 0]
            slopes.append(torch.autograd.grad(f.sum(), leaf)[0])
            values.append(f.detach())
        return State(x, torch.cat(slopes), torch.cat(values))

    def at_limits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Which numbers are at the smallest, and which at the largest valid input, up to Newton's last corrections."""
        margin = _MARGIN * (self.high - self.low)
        return x <= self.low + margin, x >= self.high - margin

    def deviation(self, state: State) -> Float[Tensor, " b"]:
        """``|f - level| / |level|``."""
        return (state.value - self.level).abs() / self.level.abs()

    def tangent(self, state: State, v: Tensor) -> tuple[Tensor, Bool[Tensor, "b c h w"]]:
        """The part of ``v`` along the surface that stays in the box, and the coordinates that are free for it.

        Holding a pixel changes the others' part, which may push further pixels out, so held
        pixels are added until none is.
        """
        free = torch.ones_like(v, dtype=torch.bool)
        for _ in range(_HOLDS):
            part = project(v, state.G, free)
            out = self._leaves(state.x, part) & free
            if not out.any():
                break
            free &= ~out
        return part.masked_fill(self._leaves(state.x, part), 0.0), free

    def retract(self, state: State, step: Tensor) -> tuple[State, Tensor]:
        """Follow ``step``, halved until Newton's method finds the surface again; and the share taken of it, ``[B]``.

        The way back must be no longer than the step, else Newton's method has found another part
        of the surface. A sample whose step fails however short stays where it is, with share 0.
        """
        x, G, value = state.x.clone(), state.G.clone(), state.value.clone()
        taken = torch.zeros_like(value)
        todo = torch.arange(len(x), device=x.device)
        scale = 1.0
        for _ in range(_HALVINGS):
            moved = self._clamp(state.x[todo] + scale * step[todo])
            found, good = self._newton(moved, todo)
            good &= norms(found.x - moved) <= scale * norms(step[todo])
            done = todo[good]
            x[done], G[done], value[done], taken[done] = found.x[good], found.G[good], found.value[good], scale
            todo, scale = todo[~good], scale / 2
            if not len(todo):
                break
        return State(x, G, value), taken

    def _newton(self, x: Tensor, samples: Tensor) -> tuple[State, Tensor]:
        """Newton's method for each of ``samples``; which of them arrived."""
        tolerance = TOLERANCE[x.dtype]
        state = self.at(x, samples)
        for _ in range(_NEWTON_STEPS):
            gap = state.value - self.level[samples]
            todo = (gap.abs() > tolerance * self.level[samples].abs()).nonzero().flatten()
            if not len(todo):
                break
            moved = self.at(self._corrected(state.x[todo], state.G[todo], gap[todo]), samples[todo])
            x, G, value = state.x.clone(), state.G.clone(), state.value.clone()
            x[todo], G[todo], value[todo] = moved.x, moved.G, moved.value
            state = State(x, G, value)
        arrived = (state.value - self.level[samples]).abs() <= tolerance * self.level[samples].abs()
        return state, arrived & torch.isfinite(state.G).flatten(1).all(1)

    def _corrected(self, x: Tensor, G: Tensor, gap: Tensor) -> Tensor:
        """One Newton step along the gradient's free part."""
        free_part = G.masked_fill(self._leaves(x, -rowwise(gap.sign(), G) * G), 0.0)
        squared = free_part.flatten(1).square().sum(1)
        length = torch.where(squared > 0, gap / squared, 0.0)
        return self._clamp(x - rowwise(length, G) * free_part)

    def _leaves(self, x: Tensor, step: Tensor) -> Tensor:
        low, high = self.at_limits(x)
        return (low & (step < 0)) | (high & (step > 0))

    def _clamp(self, x: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(x, self.low), self.high)


def project(v: Tensor, G: Tensor, free: Tensor) -> Tensor:
    """``v`` without its part along G, within the coordinates that are free; zero in the others."""
    v, n = v * free, G * free
    squared = n.flatten(1).square().sum(1)
    along = (v * n).flatten(1).sum(1)
    return v - rowwise(torch.where(squared > 0, along / squared, 0.0), n) * n


def norms(v: Tensor) -> Tensor:
    """Euclidean norm of each sample, ``[B]``."""
    return torch.linalg.vector_norm(v.flatten(1), dim=1)


def rowwise(scale: Tensor, like: Tensor) -> Tensor:
    """Numbers ``[B]`` in a shape that broadcasts against ``like``."""
    return scale.reshape(-1, *[1] * (like.ndim - 1))
