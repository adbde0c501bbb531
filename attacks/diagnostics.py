r"""Curvature along an attack: what the geometry says about how far the normal can turn.

An optimizer's path leaves the level set, where curvature alone bounds nothing. To first
order a step d turns the unit normal by :math:`P H d/\|G\|`; its part along the level set
turns it by at most :math:`|\lambda_{\max}|` times its length, its part across by
:math:`\|P H n\|/\|G\|` times its length. The integrals of both are the budget. It is an
estimate: the curvature is sampled every ``every`` steps and by Lanczos, from inside.
"""

import math
from dataclasses import asdict, dataclass

from jaxtyping import Float, Int
from torch import Tensor

import curvature
from attacks.networks import Network
from curvature.derivatives import Order
from curvature.networks import ScalarField


@dataclass(frozen=True, kw_only=True)
class TracePoint:
    """Curvature at one step of an attack on one image; lengths in the module's input space.

    Attributes:
        step: Number of steps taken.
        curvature_estimate: Largest principal curvature in magnitude, signed, 1/length.
        residual: Its Lanczos residual, 1/length.
        cross_estimate: ``||P H n|| / ||grad f||``, 1/length.
        hvps: Hessian-vector products spent here.
        gradient_norm: ``||grad f||``.
        step_along: Length of the last step along the level set.
        step_across: Length of the last step along the normal.
        length_along: The same, summed over all steps so far.
        length_across: The same, summed over all steps so far.
        normal_change: ``||n(x_t) - n(x_0)||``, a chord in [0, 2].
        budget_estimate: Integral of curvature times length along plus cross times length across,
            over the whole path.
        chord_budget_estimate: The same integral along the straight lines between samples.
        chord_curvature_estimate: The part of it that curvature along the level set makes up.
    """

    step: int
    curvature_estimate: float
    residual: float
    cross_estimate: float
    hvps: int
    gradient_norm: float
    step_along: float
    step_across: float
    length_along: float
    length_across: float
    normal_change: float
    budget_estimate: float
    chord_budget_estimate: float
    chord_curvature_estimate: float


class CurvatureTrace:
    """Records curvature during an attack, for the network softened at one fixed beta.

    The attack's own beta runs its schedule beside it.

    Args:
        every: Steps between samples, >= 1; the first and the last state are always sampled.
        beta: Softplus parameter of the network whose level sets are measured.
        rtol: Relative accuracy asked of the curvature.
        max_hvps: Budget of products for a sample.
    """

    def __init__(self, *, every: int = 50, beta: float = 1.0, rtol: float = 2e-2, max_hvps: int = 40) -> None:
        if every < 1:
            raise ValueError(f"expected every >= 1 steps between samples, got {every}")
        if not 0 < beta < math.inf:
            raise ValueError(f"expected a finite beta > 0 for the curvature's softplus, got {beta}")
        self.every, self.beta, self.rtol, self.max_hvps = every, beta, rtol, max_hvps
        self.points: list[list[TracePoint]] = []
        self._images: list[_ImageTrace] = []

    def start(self, network: Network, x: Float[Tensor, "b c h w"], target_class: Int[Tensor, " b"]) -> None:
        """Soften the network and sample the start; clears what an earlier attack recorded."""
        soft = network.soften(self.beta).module
        order = curvature.hvp_order(soft)
        self._images = [
            _ImageTrace(curvature.logit(soft, int(k)), sample, order=order, rtol=self.rtol, max_hvps=self.max_hvps)
            for k, sample in zip(target_class, x, strict=True)
        ]
        self.points = [[image.sample(0, sample)] for image, sample in zip(self._images, x, strict=True)]

    def update(self, step: int, x: Float[Tensor, "b c h w"], *, last: bool = False) -> None:
        """Take note of the state after ``step`` steps; samples it when it is due."""
        for image, points, sample in zip(self._images, self.points, x, strict=True):
            image.move(sample)
            if (last or step % self.every == 0) and points[-1].step != step:
                points.append(image.sample(step, sample))

    def as_dicts(self) -> list[list[dict[str, int | float]]]:
        """The points as plain dictionaries, by image."""
        return [[asdict(point) for point in points] for points in self.points]


class _ImageTrace:
    """The running integrals for one image."""

    def __init__(self, f: ScalarField, x: Tensor, *, order: Order, rtol: float, max_hvps: int) -> None:
        self.f, self.order, self.rtol, self.max_hvps = f, order, rtol, max_hvps
        self.previous = self.sampled = x.detach().clone()
        self.normal = self.first_normal = curvature.unit_normal(self.f, x.detach())
        self.direction: Tensor | None = None
        self.rates = (math.nan, math.nan)
        self.along = self.across = self.step_along = self.step_across = 0.0
        self.since_along = self.since_across = self.budget = self.chord_along = self.chord_across = 0.0

    def move(self, x: Tensor) -> None:
        self.step_along, self.step_across = self._split(x.detach() - self.previous)
        self.since_along += self.step_along
        self.since_across += self.step_across
        self.previous = x.detach().clone()

    def sample(self, step: int, x: Tensor) -> TracePoint:
        x = x.detach().clone()
        found = curvature.extreme_curvatures(
            self.f, x, rtol=self.rtol, max_hvps=self.max_hvps, order=self.order, start=self.direction
        )
        self.direction = found.directions[0]
        chord = self._split(x - self.sampled)
        normal = curvature.unit_normal(self.f, x)
        Hn = curvature.hvp(self.f, x, normal.reshape(x.shape), order=self.order).flatten()
        cross = float((Hn - normal * (normal @ Hn)).norm()) / found.gradient_norm
        self._integrate((abs(float(found.curvatures[0])), cross), chord)
        self.sampled, self.normal = x, normal
        return TracePoint(
            step=step,
            curvature_estimate=float(found.curvatures[0]),
            residual=float(found.residuals[0]),
            cross_estimate=cross,
            hvps=found.hvps + 1,
            gradient_norm=found.gradient_norm,
            step_along=self.step_along,
            step_across=self.step_across,
            length_along=self.along,
            length_across=self.across,
            normal_change=float((normal - self.first_normal).norm()),
            budget_estimate=self.budget,
            chord_budget_estimate=self.chord_along + self.chord_across,
            chord_curvature_estimate=self.chord_along,
        )

    def _split(self, d: Tensor) -> tuple[float, float]:
        """Lengths along and across the level set, by the normal of the last sample."""
        flat = d.flatten()
        across = flat @ self.normal
        return float((flat - across * self.normal).norm()), float(across.abs())

    def _integrate(self, rates: tuple[float, float], chord: tuple[float, float]) -> None:
        """Trapezoidal rule between the last sample and this one."""
        if not math.isnan(self.rates[0]):
            along, across = ((a + b) / 2 for a, b in zip(self.rates, rates, strict=True))
            self.budget += along * self.since_along + across * self.since_across
            self.chord_along += along * chord[0]
            self.chord_across += across * chord[1]
        self.along, self.across = self.along + self.since_along, self.across + self.since_across
        self.since_along = self.since_across = 0.0
        self.rates = rates
