r"""The attacks of Ghorbani et al., in three variants: sign steps inside an L-infinity ball.

:math:`x \leftarrow \mathrm{clip}(x + \alpha\,\mathrm{sign}\,\nabla D)` with a dissimilarity D of
the softened network's map. After every step D is measured on the network itself, and the
best iterate whose class is unchanged is kept. Steps and ball are in pixels.

Source: arXiv 1710.10547, section 3 and algorithm 1; arXiv 1906.07983, supplement A.2 (eq. 2);
the softplus surrogate with beta = 1 is the reference implementation's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attacks.config import AttackConfig
from attacks.defences import Defence
from attacks.diagnostics import CurvatureTrace
from attacks.explanations import normalised_map, relevance_and_logits
from attacks.manipulation import AttackResult, Steps, checked, evaluate, require_second_order, stacked
from attacks.metrics import mass_centre, mass_centre_shift, mse, spearman, topk_intersection
from attacks.networks import Network
from curvature import set_beta

Variant = Literal["top_k", "mass_centre", "target_region"]
Dissimilarity = Callable[[Tensor, Tensor], Tensor]  # maps [b, H, W] and indices [b] of their samples to [b]

RADIUS = 8 / 255  # of the L-infinity ball, in pixels
TOP_SHARE = 1000 / 224**2  # of the pixels: k = 1000 at 224x224


def ghorbani(  # noqa: PLR0913
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
    variant: Variant = "target_region",
    k: int | None = None,
    radius: float = RADIUS,
) -> AttackResult:
    """Change where the explanation of ``x`` points, by one of the three dissimilarities.

    Arguments and errors are those of ``manipulate``, with these departures. Target:
    ``target_region`` raises the relevance where the target map is above its mean; the other
    variants know no target, which then serves the metrics alone. Config: ``iterations``, ``lr`` (the
    sign step, in pixels), ``method`` and the surrogate's betas count. ``variant``: ``top_k`` lowers the
    relevance of the original's ``k`` largest pixels (1,000 of 224x224 by default, in proportion to the
    picture's size), ``mass_centre`` moves the map's centre of mass. ``radius``: of the ball, in pixels.

    Returns:
        The best iterate; ``metrics`` also holds ``dissimilarity``: D before and after, the step of the best
        iterate (0 for x itself), top-k intersection, Spearman and shift of the mass centre against the original map.
    """
    network, target, classes = checked(network, x, target, target_class=target_class, chunk=chunk)
    check_options(variant=variant, k=k, radius=radius, pixels=target[0].numel())
    config.require_plain(f"ghorbani_{variant}")
    k = largest_pixels(target[0].numel()) if k is None else k
    known = None if defence is None else defence.for_attack()
    search = _Search(network, x, classes, config, chunk, known)
    original, _ = search.measure(x)
    search.dissimilarity = dissimilarity(variant, original=original, target=target, k=k)
    if trace is not None:
        trace.start(network, x, classes)
    best, completed = search.run(target, radius, trace, steps)
    result = evaluate(
        network, x, best, config=config, target=target, target_class=classes, defence=defence, trace=trace,
        history=stacked(search.history), completed=completed, attack=f"ghorbani_{variant}",
    )  # fmt: skip
    everything = torch.arange(len(x), device=x.device)
    result.metrics["dissimilarity"] = {
        "before": search.dissimilarity(original, everything).double(),
        "after": search.best.double(),
        "best_step": search.best_step,
        "topk_intersection": topk_intersection(result.maps, result.original_maps, k=k),
        "spearman": spearman(result.maps, result.original_maps),
        "mass_centre_shift": mass_centre_shift(result.maps, result.original_maps),
    }
    return result


def check_options(
    *, variant: Variant = "target_region", k: int | None = None, radius: float = RADIUS, pixels: int | None = None
) -> None:
    """Refuse options that ``ghorbani`` cannot run with; ``k`` also against the number of pixels where that is known.

    Raises:
        ValueError: With what was expected.
    """
    if variant not in get_args(Variant) or not 0 < radius <= 1:
        raise ValueError(
            f"expected a variant among {get_args(Variant)} and a radius in (0, 1], got {variant}, {radius}"
        )
    if k is not None and not 1 <= k <= (k if pixels is None else pixels):
        raise ValueError(f"expected k in 1..{'the number of pixels' if pixels is None else pixels}, got {k}")


def largest_pixels(pixels: int) -> int:
    """How many pixels are the largest of a map of so many: 1,000 of 224x224, in proportion elsewhere, at least one."""
    return max(1, round(TOP_SHARE * pixels))


def dissimilarity(
    variant: Variant, *, original: Float[Tensor, "b h w"], target: Float[Tensor, "b h w"], k: int
) -> Dissimilarity:
    """The function that the attack maximises.

    Raises:
        ValueError: If ``k`` is not between 1 and the number of pixels.
    """
    if not 1 <= k <= original[0].numel():
        raise ValueError(f"expected k in 1..{original[0].numel()}, got {k}")
    if variant == "mass_centre":
        centres = mass_centre(original)

        def moved(maps: Tensor, part: Tensor) -> Tensor:
            here = mass_centre(maps)
            squared = (here - centres[part]).square().sum(1)
            # At the original the square's slope is zero; there the centre moves along the diagonal.
            return torch.where(squared > 0, squared, (here - centres[part]).sum(1))

        return moved
    flat = original.flatten(1)
    largest = torch.zeros_like(flat).scatter_(1, flat.topk(k).indices, 1.0).reshape_as(original)
    region = -largest if variant == "top_k" else (target > target.mean((1, 2), keepdim=True)).to(target)
    return lambda maps, part: (maps * region[part]).sum((1, 2))


@dataclass
class _Search:
    """The sign steps and the best iterate so far; both networks are explained with the defence."""

    network: Network
    x: Tensor
    classes: Tensor
    config: AttackConfig
    chunk: int
    defence: Defence | None
    dissimilarity: Dissimilarity = field(init=False)
    history: dict[str, list[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.x = self.x.detach()
        beta = self.config.beta_start
        self.surrogate = self.network if beta is None else self.network.soften(beta)
        self.best_step = torch.zeros(len(self.x), dtype=torch.long, device=self.x.device)

    def run(self, target: Tensor, radius: float, trace: CurvatureTrace | None, steps: Steps) -> tuple[Tensor, int]:
        """All steps; returns the best iterates and how many steps were taken."""
        everything = torch.arange(len(self.x), device=self.x.device)
        best = current = self.x.clone()
        maps, logits = self.measure(self.x)
        self.best, kept_class = self.dissimilarity(maps, everything), logits.argmax(1)
        completed = 0
        try:
            for step in steps(range(self.config.iterations)):
                slope = self.slope(current, step)
                current = self._moved(current, slope, radius)
                maps, logits = self.measure(current)
                found = self.dissimilarity(maps, everything)
                better = (found > self.best) & (logits.argmax(1) == kept_class)
                best = torch.where(better[:, None, None, None], current, best)
                self.best = torch.where(better, found, self.best)
                self.best_step = torch.where(better, step + 1, self.best_step)
                if trace is not None:
                    trace.update(step + 1, current, last=step + 1 == self.config.iterations)
                pixels = self.network.pixels
                row = {"dissimilarity": found, "map_mse": mse(maps, target)}
                row |= {"image_mse": mse(pixels(current), pixels(self.x)), "beta": torch.tensor(self._beta(step))}
                for name, value in row.items():
                    self.history.setdefault(name, []).append(value.cpu())
                completed = step + 1
        except KeyboardInterrupt:
            pass
        return best, completed

    def measure(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps and logits of the network itself."""
        parts = [
            relevance_and_logits(self.network, points, k, method=self.config.method, defence=self.defence)
            for points, k in zip(x.detach().split(self.chunk), self.classes.split(self.chunk), strict=True)
        ]
        return normalised_map(torch.cat([r for r, _ in parts])), torch.cat([logits for _, logits in parts])

    def slope(self, x: Tensor, step: int) -> Tensor:
        """The gradient of D on the surrogate, chunk by chunk."""
        if self.config.beta_start is not None:
            set_beta(self.surrogate.module, self._beta(step))
        defence = self.defence and self.defence.at_step(step)
        slopes = []
        for part in torch.arange(len(x), device=x.device).split(self.chunk):
            point = x[part].detach().requires_grad_(True)
            r, _ = relevance_and_logits(
                self.surrogate, point, self.classes[part], method=self.config.method, defence=defence
            )
            h = normalised_map(r)
            found = self.dissimilarity(h, part)
            if step == 0:
                require_second_order(found, h, r, point, self.config.method)
            slopes.append(torch.autograd.grad(found.sum(), point)[0])
        return torch.cat(slopes)

    def _moved(self, x: Tensor, slope: Tensor, radius: float) -> Tensor:
        unit = self.network.normalise(torch.ones_like(x)) - self.network.normalise(torch.zeros_like(x))
        moved = x + self.config.lr * unit * slope.sign()
        near = torch.minimum(torch.maximum(moved, self.x - radius * unit), self.x + radius * unit)
        return self.network.clamp(near).detach()

    def _beta(self, step: int) -> float:
        beta = self.config.beta(step)
        return float("inf") if beta is None else beta
