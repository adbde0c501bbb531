r"""The attack on the level set: the explained output stays constant to rounding on the whole path.

The loss of the targeted manipulation is minimised on :math:`S = \{f = f(x)\}` of the network
softened at one fixed beta: Adam with Riemannian gradients (projected onto the tangent
space), momentum carried along by projection, each pixel scaled by the root mean square of
its unprojected gradient, and Newton's method as the retraction. So
theorem 1 applies to the path as it stands: the unit normal turns by no more than the
integral of the largest principal curvature in magnitude along it. Pixels at the ends of
the valid range are held (``attacks.level_surface``).
"""

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor, nn

import curvature
from attacks.config import AttackConfig
from attacks.defences import Defence
from attacks.diagnostics import CurvatureTrace
from attacks.explanations import explain
from attacks.level_surface import LevelSurface, State, norms, rowwise
from attacks.manipulation import (
    AttackResult,
    Problem,
    Steps,
    batch_gradient,
    checked,
    chosen_output,
    evaluate,
    stacked,
)
from attacks.metrics import pcc
from attacks.networks import Network
from curvature import DegenerateLevelSetError

_MOMENTUM, _SQUARES, _EPS = 0.9, 0.999, 1e-8  # Adam's published values
_SAMPLES = 5  # points of the path at which the curvature is measured, both ends among them
_RTOL, _MAX_HVPS = 5e-2, 25  # of each such measurement


def on_level_set(  # noqa: PLR0913
    network: Network | nn.Module,
    x: Tensor,
    target: Tensor,
    *,
    config: AttackConfig,
    target_class: Int[Tensor, " b"] | None = None,
    defence: Defence | None = None,
    trace: CurvatureTrace | None = None,
    steps: Steps = iter,
    chunk: int = 1,
) -> AttackResult:
    """Change ``x`` along the level set of its explained logit so that its map becomes ``target``.

    Arguments, loss and errors are those of ``manipulate``. The config must have one fixed beta;
    ``lr`` is the step of Adam on the surface, in the module's input space. The network may have
    max-pooling, but then theorem 1 says nothing about the path.

    Returns:
        The last point; ``history`` also holds ``deviation`` (``|f - f(x)| / |f(x)|``) and ``length`` after each step,
        ``metrics`` also ``path``: its length, the largest deviation, the turn of the unit normal in radians,
        the curvature budget (an estimate: the integral of the largest curvature in magnitude over the
        length, from five points; NaN where a normal was lost), the change of the unsoftened network's
        explained logit, the map's PCC to the target on the softened network, and the share of pixels at
        an end of the valid range, and the number of steps that were refused however short, where x stood still.

    Raises:
        ValueError: Also if beta is missing or grows, or the explained logit is about zero.
        DegenerateLevelSetError: If the explained logit's gradient is zero at ``x``.
    """
    network, target, classes = checked(network, x, target, target_class=target_class, chunk=chunk)
    beta = fixed_beta(config)
    soft = network.soften(beta)
    surface, start = LevelSurface.through(soft, x, classes, chunk=chunk)
    with torch.no_grad():
        output = chosen_output(soft.module(x), config)
    known = None if defence is None else defence.for_attack()
    problem = Problem(soft, target, classes, output, config, chunk, known)
    if trace is not None:
        trace.start(network, x, classes)
    path = _Path(surface, start)
    completed = _descend(problem, path, trace, steps)
    path.measure_curvature(last=True)
    result = evaluate(
        network, x, path.state.x, config=config, target=target, target_class=classes, defence=defence, trace=trace,
        history=stacked(problem.history), completed=completed, attack="on_level_set",
    )  # fmt: skip
    result.metrics["path"] = path.metrics(network, result)
    return result


def fixed_beta(config: AttackConfig) -> float:
    """The softplus parameter of the network whose level set is followed.

    Raises:
        ValueError: If there is none or it grows, or if the config asks for what only ``manipulate`` can do.
    """
    if config.beta_start is None or config.grows:
        raise ValueError(
            f"expected one fixed beta for the attack on the level set, got {config.beta_start} to {config.beta_end}; "
            "set beta_start and beta_end to the same number"
        )
    config.require_plain("on_level_set")
    return config.beta_start


def _descend(problem: Problem, path: "_Path", trace: CurvatureTrace | None, steps: Steps) -> int:
    """Adam on the surface; an interrupt ends it at the last complete step."""
    surface, config, x = path.surface, problem.config, path.start.x
    first, second = torch.zeros_like(x), torch.zeros_like(x)
    pixels = problem.network.pixels
    completed = 0
    try:
        for step in steps(range(config.iterations)):
            defence = problem.defence and problem.defence.at_step(step)
            slope, row = batch_gradient(problem, path.state.x, first=step == 0, defence=defence)
            row["image_mse"] = (pixels(path.state.x) - pixels(x)).square().flatten(1).mean(1)
            row["beta"] = torch.tensor(config.beta_start)
            downhill, _ = surface.tangent(path.state, -slope)
            carried, _ = surface.tangent(path.state, first)
            first = _MOMENTUM * carried + (1 - _MOMENTUM) * downhill
            # Of the whole gradient: a pixel's own scale, which is not zero while the pixel is held.
            second = _SQUARES * second + (1 - _SQUARES) * slope.square()
            scaled = first / (1 - _MOMENTUM ** (step + 1))
            scaled = scaled / ((second / (1 - _SQUARES ** (step + 1))).sqrt() + _EPS)
            direction, _ = surface.tangent(path.state, scaled)
            moved, taken = surface.retract(path.state, config.lr * _limited(direction))
            path.move(moved, taken)
            if (step + 1) % max(1, config.iterations // (_SAMPLES - 1)) == 0:
                path.measure_curvature()
            if trace is not None:
                trace.update(step + 1, moved.x, last=step + 1 == config.iterations)
            row |= {"deviation": surface.deviation(moved), "length": path.length}
            for name, value in row.items():
                problem.history.setdefault(name, []).append(value.cpu())
            completed = step + 1
    except KeyboardInterrupt:
        pass
    return completed


def _limited(direction: Tensor) -> Tensor:
    """No longer than one a pixel in the root mean square, which is Adam's step while gradients agree."""
    longest = direction[0].numel() ** 0.5
    return direction * rowwise((longest / norms(direction)).clamp(max=1), direction)


@dataclass
class _Path:
    """Where the path is, how long it is, and what the curvature along it allows."""

    surface: LevelSurface
    start: State
    state: State = field(init=False)

    def __post_init__(self) -> None:
        self.state = self.start
        self.length = torch.zeros_like(self.start.value, dtype=torch.float64)
        self.deviation = torch.zeros_like(self.length)
        self.budget = torch.zeros_like(self.length)
        self.refused = torch.zeros_like(self.length)
        self._measured_length, self._measured = self.length, self._curvatures()

    def move(self, state: State, taken: Tensor) -> None:
        self.refused = self.refused + (taken == 0).double()
        self.length = self.length + norms((state.x - self.state.x).double())
        self.deviation = torch.maximum(self.deviation, self.surface.deviation(state).double())
        self.state = state

    def measure_curvature(self, *, last: bool = False) -> None:
        """Add the stretch since the last measurement to the budget, by the trapezoidal rule."""
        if last and torch.equal(self._measured_length, self.length):
            return
        found = self._curvatures()
        self.budget = self.budget + (self.length - self._measured_length) * (found + self._measured) / 2
        self._measured_length, self._measured = self.length, found

    def metrics(self, network: Network, result: AttackResult) -> dict[str, Tensor]:
        """What the path has to say of itself, one number a sample."""
        chord = norms(_normals(self.start) - _normals(self.state))
        chosen = result.target_class[:, None]
        with torch.no_grad():
            logits = [
                torch.cat([network.module(part) for part in points.split(self.surface.chunk)]).gather(1, chosen)[:, 0]
                for points in (result.original, result.adversarial)
            ]
        soft = [
            explain(self.surface.network, point[None], k[None], method=result.config.method, defence=result.defence)
            for point, k in zip(result.adversarial, result.target_class, strict=True)
        ]
        low, high = self.surface.at_limits(self.state.x)
        return {
            "length": self.length,
            "largest_deviation": self.deviation,
            "normal_turn": 2 * torch.asin((chord / 2).clamp(max=1)),
            "curvature_budget_estimate": self.budget,
            "logit_change": (logits[1] - logits[0]).double(),
            "pcc_target_softened": pcc(torch.cat(soft), result.target_map),
            "at_limits": (low | high).flatten(1).double().mean(1),
            "refused_steps": self.refused,
        }

    def _curvatures(self) -> Tensor:
        module = self.surface.network.module
        order = curvature.hvp_order(module)
        found = []
        for x, k in zip(self.state.x, self.surface.classes, strict=True):
            try:
                extreme = curvature.extreme_curvatures(
                    curvature.logit(module, int(k)), x.detach(), rtol=_RTOL, max_hvps=_MAX_HVPS, order=order
                )
                found.append(abs(float(extreme.curvatures[0])))
            except DegenerateLevelSetError:
                found.append(math.nan)
        return torch.tensor(found, dtype=torch.float64, device=self.state.x.device)


def _normals(state: State) -> Tensor:
    flat = state.G.double().flatten(1)
    return flat / flat.norm(dim=1, keepdim=True)
