r"""The targeted manipulation of explanation maps: one loop; what varies is an argument.

:math:`w_h\,\mathrm{mean}((h(x') - h_t)^2) + w_g\,\mathrm{mean}((g(x') - g(x))^2)` is
minimised by Adam on x' itself, started at x, clamped to valid images after each step. In a
batch the losses are summed, so that every sample runs as if alone. The factor 1e11 keeps
the gradient above Adam's epsilon.

Source: arXiv 1906.07983, main text eq. 2-3 and supplement A; clamping, the softmax and the
networks at beta = 1000 as references are those of the reference implementation.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attacks.config import AttackConfig
from attacks.defences import Defence
from attacks.diagnostics import CurvatureTrace
from attacks.explanations import explain, normalised_map, relevance_and_logits
from attacks.metrics import explanation_metrics, image_metrics, mse, output_metrics, pcc
from attacks.networks import Network
from curvature import set_beta

REFERENCE_BETA = 1000.0  # with beta growth the loss refers to this network (reference implementation)
Steps = Callable[[range], Iterable[int]]


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """What an attack reached.

    Attributes:
        original: The inputs, ``[B, C, H, W]``, in the module's input space.
        adversarial: The manipulated inputs, likewise.
        target_map: The maps aimed at, ``[B, H, W]``.
        maps: The network's maps of ``adversarial``, by the defence if there is one, else without softening.
        original_maps: The network's maps of ``original``, likewise.
        target_class: The classes that are explained, ``[B]``.
        metrics: ``explanation``, ``image`` and ``output``, and what an attack has to say beside them; each
            name holds one number a sample.
        history: Per step, one number a sample: ``loss``, ``map_mse``, ``image_mse``, ``output_mse``; and ``beta``.
            NaN after a sample has stopped early.
        trace: The curvature trace, or None.
        config: The hyper-parameters.
        completed: Steps taken; fewer than asked for after an interrupt, or when all samples have stopped early.
        attack: Key of ``ATTACKS``.
        defence: That of the network, or None.
    """

    original: Tensor
    adversarial: Tensor
    target_map: Tensor
    maps: Tensor
    original_maps: Tensor
    target_class: Tensor
    metrics: dict[str, dict[str, Tensor]]
    history: dict[str, Tensor]
    trace: CurvatureTrace | None
    config: AttackConfig
    completed: int
    attack: str = "manipulate"
    defence: Defence | None = None

    @property
    def interrupted(self) -> bool:
        """Whether the attack ended before its last step, with samples that had not stopped by themselves."""
        stopped = self.config.stop_pcc is not None and "stopped" in self.history and len(self.history["stopped"])
        return self.completed < self.config.iterations and not (stopped and bool(self.history["stopped"][-1].all()))


@dataclass
class Problem:
    """What stays the same over the steps of an attack, and the history that it writes."""

    network: Network
    target_map: Tensor
    target_class: Tensor
    output: Tensor
    config: AttackConfig
    chunk: int
    defence: Defence | None = None
    history: dict[str, list[Tensor]] = field(default_factory=dict)


def reference_network(network: Network | nn.Module, config: AttackConfig) -> Network:
    """The network that the loss refers to: softened at beta = 1000 with growth, else as attacked."""
    network = Network.of(network)
    if config.beta_start is None:
        return network
    return network.soften(REFERENCE_BETA if config.grows else config.beta_start)


def target_map(
    network: Network | nn.Module,
    image: Float[Tensor, "b c h w"],
    *,
    config: AttackConfig,
    target_class: int | Tensor | None = None,
    defence: Defence | None = None,
) -> Float[Tensor, "b h w"]:
    """The map of a target image by the network that the loss refers to, of its predicted class by default."""
    classes = Network.of(network).predict(image) if target_class is None else target_class
    reference = reference_network(network, config)
    return explain(reference, image, classes, method=config.method, defence=defence).detach()


def manipulate(  # noqa: PLR0913
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
    """Change ``x`` so that its explanation map becomes ``target``, and its output stays.

    Args:
        network: A ``Network`` or bare module; left as it is.
        x: Valid inputs ``[B, C, H, W]`` in the module's input space.
        target: Maps that sum to 1, one a sample as ``[B, H, W]``, or one for all as ``[1, H, W]``.
        config: Hyper-parameters, from ``preset`` or ``load_table``.
        target_class: Classes to explain; those predicted for ``x`` by default.
        defence: Of the network's explanations. An adaptive one is differentiated through, with fresh noise
            in every step; one that is not shows in the evaluation alone.
        trace: Records curvature on the way.
        steps: Wraps the range of steps; a place for a progress bar.
        chunk: Samples in one pass of the network; one is the fastest on CPUs. The result does not
            depend on it beyond rounding.

    Returns:
        The state after the last step, or, after Ctrl-C, the state reached.

    Raises:
        ValueError: If an argument is not as expected, or the explanation's second-order
            gradient is zero everywhere, so that there is nothing to follow.
    """
    network, target, classes = checked(network, x, target, target_class=target_class, chunk=chunk)
    with torch.no_grad():
        output = chosen_output(reference_network(network, config).module(x), config)
    attacked = network if config.beta_start is None else network.soften(config.beta_start)
    attacked_defence = None if defence is None else defence.for_attack()
    problem = Problem(attacked, target, classes, output, config, chunk, attacked_defence)
    if trace is not None:
        trace.start(network, x, classes)
    adversarial, completed = _optimise(problem, network, x, trace, steps)
    return evaluate(
        network,
        x,
        adversarial,
        config=config,
        target=target,
        target_class=classes,
        defence=defence,
        trace=trace,
        history=stacked(problem.history),
        completed=completed,
    )


def checked(
    network: Network | nn.Module, x: Tensor, target: Tensor, *, target_class: Tensor | None, chunk: int
) -> tuple[Network, Tensor, Tensor]:
    """The network, one target a sample, and one class a sample, or an error that names what is wrong.

    Raises:
        ValueError: If an argument of an attack is not as expected.
    """
    network = Network.of(network)
    network.check_input(x)
    target = _checked_target(target, x)
    if chunk < 1:
        raise ValueError(f"expected chunk >= 1, got {chunk}")
    if target_class is not None and (target_class.shape != (len(x),) or target_class.is_floating_point()):
        raise ValueError(f"expected one class for each of {len(x)} samples, got {target_class.tolist()}")
    return network, target, network.predict(x) if target_class is None else target_class


def stacked(history: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    """The rows of all steps, one tensor a name."""
    return {name: torch.stack(rows) for name, rows in history.items()}


def evaluate(  # noqa: PLR0913
    network: Network,
    x: Tensor,
    adversarial: Tensor,
    *,
    config: AttackConfig,
    target: Tensor,
    target_class: Tensor,
    defence: Defence | None = None,
    trace: CurvatureTrace | None = None,
    history: dict[str, Tensor] | None = None,
    completed: int,
    attack: str = "manipulate",
) -> AttackResult:
    """Measure a pair of inputs on the network itself, without softening unless the defence softens."""
    maps, logits = _maps(network, adversarial, target_class, config.method, defence)
    original_maps, original_logits = _maps(network, x, target_class, config.method, defence)
    metrics = {
        "explanation": explanation_metrics(maps, target, original_maps),
        "image": image_metrics(network.pixels(adversarial), network.pixels(x)),
        "output": output_metrics(logits, original_logits),
    }
    return AttackResult(
        original=x,
        adversarial=adversarial,
        target_map=target,
        maps=maps,
        original_maps=original_maps,
        target_class=target_class,
        metrics=metrics,
        history=history or {},
        trace=trace,
        config=config,
        completed=completed,
        attack=attack,
        defence=defence,
    )


def _maps(network: Network, x: Tensor, classes: Tensor, method: str, defence: Defence | None) -> tuple[Tensor, Tensor]:
    """Maps and logits one sample at a time, so that neither depends on the batch."""
    parts = [
        relevance_and_logits(network, sample[None], k[None], method=method, defence=defence)
        for sample, k in zip(x.detach(), classes, strict=True)
    ]
    return normalised_map(torch.cat([r for r, _ in parts])).detach(), torch.cat(
        [logits for _, logits in parts]
    ).detach()


def _checked_target(target: Tensor, x: Tensor) -> Tensor:
    expected = (len(x), *x.shape[2:])
    if target.ndim != 3 or target.shape[1:] != expected[1:] or len(target) not in (1, len(x)):
        raise ValueError(f"expected target maps {list(expected)}, got {list(target.shape)}")
    total = target.sum((1, 2))
    if not bool(torch.isfinite(target).all() & (target >= 0).all() & ((total - 1).abs() < 1e-3).all()):
        raise ValueError(
            f"expected finite target maps >= 0 that sum to 1, got sums {total.tolist()}; divide a map by its sum"
        )
    return target.to(x).expand(expected)


def chosen_output(logits: Tensor, config: AttackConfig) -> Tensor:
    """The output that the attack holds constant: class probabilities or logits."""
    return logits.softmax(1) if config.output == "softmax" else logits


def _optimise(
    problem: Problem, network: Network, x: Tensor, trace: CurvatureTrace | None, steps: Steps
) -> tuple[Tensor, int]:
    """Adam with clamping; an interrupt ends it at the last complete step."""
    config, current = problem.config, x.detach().clone()
    optimizer = torch.optim.Adam([current], lr=config.lr)
    active = torch.ones(len(x), dtype=torch.bool, device=x.device)
    best = _Best(problem, network, x) if config.keep == "best" else None
    completed = 0
    try:
        for step in steps(range(config.iterations)):
            beta = config.beta(step)
            if beta is not None:
                set_beta(problem.network.module, beta)
            defence = problem.defence and problem.defence.at_step(step)
            grads, row = batch_gradient(problem, current, first=step == 0, defence=defence, active=active)
            row["image_mse"] = (problem.network.pixels(current) - problem.network.pixels(x)).square().flatten(1).mean(1)
            if config.stop_pcc is not None:
                active = active & ~(row["map_pcc"] >= config.stop_pcc)
                row["stopped"] = ~active
            before = current.clone()
            try:
                current.grad = grads
                optimizer.step()
                current.copy_(torch.where(rows_of(active, x), problem.network.clamp(current), before))
                row["beta"] = torch.tensor(float("inf") if beta is None else beta)
                if trace is not None:
                    trace.update(step + 1, current, last=step + 1 == config.iterations or not active.any())
                if best is not None:
                    best.see(current)
            except KeyboardInterrupt:
                return before if best is None else best.x, completed
            for name, value in row.items():
                problem.history.setdefault(name, []).append(value.cpu())
            completed = step + 1
            if not active.any():
                break
    except KeyboardInterrupt:
        pass
    return current.detach() if best is None else best.x, completed


def rows_of(mask: Tensor, like: Tensor) -> Tensor:
    """A number or truth a sample in a shape that broadcasts against ``like``."""
    return mask.reshape(-1, *[1] * (like.ndim - 1))


class _Best:
    """The state whose map on the network itself is nearest to the target, among those that keep the class."""

    def __init__(self, problem: Problem, network: Network, x: Tensor) -> None:
        self.problem, self.network, self.x = problem, network, x.detach()
        self.error, self.kept_class = self._measure(self.x)

    def see(self, x: Tensor) -> None:
        error, classes = self._measure(x)
        better = (error < self.error) & (classes == self.kept_class)
        self.x = torch.where(rows_of(better, x), x, self.x)
        self.error = torch.where(better, error, self.error)

    def _measure(self, x: Tensor) -> tuple[Tensor, Tensor]:
        problem = self.problem
        maps, logits = _maps(self.network, x, problem.target_class, problem.config.method, problem.defence)
        return mse(maps, problem.target_map), logits.argmax(1)


def batch_gradient(
    problem: Problem, x: Tensor, *, first: bool, defence: Defence | None = None, active: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss gradient, chunk by chunk, and the numbers of this step; zero and NaN for samples that are not active."""
    everything = torch.arange(len(x), device=x.device)
    grads = torch.zeros_like(x)
    row: dict[str, Tensor] = {}
    for part in (everything if active is None else everything[active]).split(problem.chunk):
        point = x[part].detach().clone().requires_grad_(True)
        r, logits = relevance_and_logits(
            problem.network, point, problem.target_class[part], method=problem.config.method, defence=defence
        )
        h = normalised_map(r)
        map_mse = (h - problem.target_map[part]).square().flatten(1).mean(1)
        output_mse = (chosen_output(logits, problem.config) - problem.output[part]).square().mean(1)
        if first:
            require_second_order(map_mse, h, r, point, problem.config.method)
        losses = problem.config.explanation_weight * map_mse + problem.config.output_weight * output_mse
        grads[part] = torch.autograd.grad(losses.sum(), point)[0]
        found = {"loss": losses.detach(), "map_mse": map_mse.detach(), "output_mse": output_mse.detach()}
        if problem.config.stop_pcc is not None:
            found["map_pcc"] = pcc(h.detach(), problem.target_map[part])
        for name, value in found.items():
            row.setdefault(name, torch.full((len(x),), float("nan"), dtype=value.dtype, device=x.device))[part] = value
    if not torch.isfinite(grads).all():
        raise ValueError(
            "the attack's gradient is not finite; is beta too large for this dtype, or the loss weight too large?"
        )
    return grads, row


# A map that is constant but for rounding shows 0.1 to 2 units of it; maps that can be attacked show 8e5 and more.
_IDLE = 100.0


def require_second_order(losses: Tensor, h: Tensor, r: Tensor, point: Tensor, method: str) -> None:
    """Refuse an attack that has nothing to follow, instead of returning the input.

    A relevance that only changes in scale, as that of guided backpropagation through ReLUs, gives a
    normalised map that is constant; its gradient is rounding. The unit of that is what would be left
    if the scale's gradient were cancelled to the last digit.

    Args:
        losses: One loss on the map a sample, not yet at its minimum, ``[B]``.
        h: The normalised maps, in the graph.
        r: Their relevance, in the graph.
        point: The inputs.
        method: Name of the explanation method, for the message.

    Raises:
        ValueError: If the gradient of a sample's loss is zero but for rounding.
    """
    slope, scale = (_slope(t, point).flatten(1).norm(dim=1) for t in (losses, r.abs().flatten(1).sum(1).log()))
    unit = torch.finfo(r.dtype).eps * (_slope(losses, h) * h.detach()).abs().flatten(1).sum(1) * scale
    idle = [i for i, bad in enumerate((slope <= _IDLE * unit) & (losses.detach().abs() > 0)) if bad]
    if idle:
        raise ValueError(
            f"expected an explanation whose map changes with the input, but the second-order gradient of {method} "
            f"is zero everywhere in sample(s) {idle}: a piecewise linear network has constant gradients; "
            "attack a softened one (set beta)"
        )


def _slope(values: Tensor, point: Tensor) -> Tensor:
    """Gradient of the sum; zero where it is detached from the point."""
    if not values.requires_grad:
        return torch.zeros_like(point)
    (slope,) = torch.autograd.grad(values.sum(), point, retain_graph=True, allow_unused=True)
    return torch.zeros_like(point) if slope is None else slope
