"""The ladder of bounds on Hessians and curvatures: one rung a file, one table of rungs."""

import dataclasses
import time
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from curvature.bounds.anchored import anchored
from curvature.bounds.bound import Bound
from curvature.bounds.branch_and_bound import branch_and_bound
from curvature.bounds.entesari_2024 import entesari_2024, entesari_2024_graph
from curvature.bounds.entrywise_local import entrywise_local
from curvature.bounds.first_order_local import first_order_local
from curvature.bounds.frobenius import frobenius, frobenius_paper
from curvature.bounds.operator_local import operator_local
from curvature.bounds.sign_aware import sign_aware
from curvature.bounds.singla_feizi_2020 import singla_feizi_2020
from curvature.bounds.spectral import spectral
from curvature.errors import NoCertificateError, UnsupportedModuleError
from curvature.feedforward import FeedForward, feed_forward
from curvature.networks import hypotheses

Rung = Callable[[FeedForward, Tensor, float], Bound]

BOUNDS: dict[str, Rung] = {
    "frobenius_paper": frobenius_paper,
    "frobenius": frobenius,
    "spectral": spectral,
    "singla_feizi_2020": singla_feizi_2020,
    "entesari_2024": entesari_2024,
    "sign_aware": sign_aware,
    "anchored": anchored,
    "entrywise_local": entrywise_local,
    "operator_local": operator_local,
    "first_order_local": first_order_local,
    "branch_and_bound": branch_and_bound,
}
_LARGEST_INPUT = 8_192  # numbers in a point whose layers are still unrolled into dense matrices


def curvature_bounds(
    module: nn.Module, x: Float[Tensor, "*shape"], *, target_class: int, radius: float
) -> dict[str, Bound]:
    """Every rung of the ladder for one point and the ball of ``radius`` around it.

    Each rung fills the fields that it promises. Where a hypothesis fails (a layer that is not twice
    differentiable, a network that is not a feed-forward stack, a gradient that may vanish) the
    fields are None and ``reason`` says why; nothing is ever NaN or infinite.

    Args:
        module: Softened network in eval mode, left untouched.
        x: One point, without the batch dimension.
        target_class: Which output is the scalar field.
        radius: Of the ball, >= 0, in the network's input space.

    Returns:
        One ``Bound`` for each key of ``BOUNDS``.

    Raises:
        ValueError: If the target class, the point or the radius is malformed.

    Exactness: upper bounds, rounding included. Cost: see each rung's ``seconds``.
    """
    rough = hypotheses(module)
    if rough:
        layers = ", ".join(f"'{r.path}' ({r.kind}) {r.reason}" for r in rough)
        return {name: _nothing(f"hypothesis fails: {layers}") for name in BOUNDS}
    try:
        net = _unrolled(module, x, target_class)
    except UnsupportedModuleError as error:
        bounds = {name: _nothing(f"not a feed-forward stack: {error}") for name in BOUNDS}
        bounds["entesari_2024"] = _timed(
            lambda: entesari_2024_graph(module, x, target_class=target_class, radius=radius)
        )
        return bounds
    point = x.detach().flatten().double()
    return {name: _timed(lambda rung=rung: rung(net, point, radius)) for name, rung in BOUNDS.items()}  # type: ignore[misc]


def tightest(bounds: dict[str, Bound], field: str = "curvature") -> tuple[str, float]:
    """The winner's name and the smallest certified value of ``field``.

    Raises:
        NoCertificateError: If no rung fills the field; carries all reasons.
    """
    values = {name: value for name, bound in bounds.items() if (value := getattr(bound, field)) is not None}
    if not values:
        reasons = "; ".join(f"{name}: {bound.reason or 'does not promise it'}" for name, bound in bounds.items())
        raise NoCertificateError(f"no rung certifies '{field}': {reasons}")
    name = min(values, key=values.__getitem__)
    return name, values[name]


def _unrolled(module: nn.Module, x: Tensor, target_class: int) -> FeedForward:
    if x.numel() > _LARGEST_INPUT:
        raise UnsupportedModuleError(
            f"{x.numel()} inputs are too many to unroll into matrices, at most {_LARGEST_INPUT}"
        )
    return feed_forward(module, x, target_class)


def _timed(rung: Callable[[], Bound]) -> Bound:
    start = time.perf_counter()
    try:
        bound = rung()
    except (NoCertificateError, UnsupportedModuleError) as error:
        bound = _nothing(str(error))
    return dataclasses.replace(bound, seconds=time.perf_counter() - start)


def _nothing(reason: str) -> Bound:
    return Bound(exactness="none", reason=reason)
