"""One part measured: geometry, both attacks and the certificates at every image and radius."""

import math

import torch
from torch import Tensor, nn

import curvature
from attacks.correlation.ascent import attack_in_ball, attack_on_level_set
from attacks.correlation.certificates import (
    CONSTANTS,
    VACUOUS,
    change_bounds,
    curvature_bounds_on_balls,
    hessian_constants,
)
from attacks.correlation.estimates import estimated_geometry
from attacks.correlation.fields import AutogradField, Field, MatrixField
from attacks.correlation.geometry import Geometry, dense_geometry
from attacks.correlation.plan import Part
from attacks.correlation.subjects import Subject, load_subject
from curvature.errors import UnsupportedModuleError
from curvature.feedforward import FeedForward, feed_forward

_LARGEST_INPUT = 2_048  # numbers in an image whose layers are unrolled into dense matrices


def measure(part: Part) -> dict[str, Tensor]:
    """The part's numbers.

    Returns:
        Per image ``[B]``: ``position``, the geometry's columns, ``margin``, ``confidence``, ``anchored``; per radius
        and image ``[R, B]``: ``attained_surface``, ``attained_free`` (changes of the unit normal, from
        below; NaN where the attack ended nowhere that counts), ``certificate`` (from above, 2 where nothing is
        proven), ``deviation`` from the level set relative to 1 + |f|, ``distance_surface`` and ``distance_free``
        relative to the radius, ``rung7`` and ``rung8`` (curvature over the ball; NaN where not computed, infinite
        where not certified); and the rungs of ``H`` as ``bound.NAME``.
    """
    subject = load_subject(part.settings.network)
    positions = torch.tensor(part.positions)
    soft = curvature.soften(subject.module, part.beta).double()
    x = subject.images[positions].flatten(1)
    shape = subject.images.shape[1:]
    net = _matrices(subject, soft, part.target_class)
    if subject.dense and net is not None:
        field: Field = MatrixField(net)
        with torch.no_grad():
            geometry = dense_geometry(net, x)
    else:
        field = AutogradField(soft, tuple(shape), part.target_class)
        geometry = estimated_geometry(field, x)
    found = {"position": positions, **geometry.columns, **margin_and_confidence(subject, positions, part.beta)}
    found |= _attacks(field, x, geometry, part) | _certificates(net, x, part)
    return {name: tensor.contiguous() for name, tensor in found.items()}


def _matrices(subject: Subject, soft: nn.Module, target_class: int) -> FeedForward | None:
    """The logit in matrices, or None where no certificate applies: max-pooling, residual blocks, large images."""
    if not subject.smooth or subject.images[0].numel() > _LARGEST_INPUT:
        return None
    try:
        return feed_forward(soft, subject.images[0], target_class)
    except UnsupportedModuleError:
        return None


def _attacks(field: Field, x: Tensor, geometry: Geometry, part: Part) -> dict[str, Tensor]:
    radii = torch.tensor(part.settings.radii, dtype=torch.float64)
    with torch.no_grad():
        surface = attack_on_level_set(field, x, radii, geometry.principal, ascent=part.settings.ascent)
        free = attack_in_ball(field, x, radii, geometry.singular, ascent=part.settings.ascent)
    # What is reached on the level set is reached in the ball; NaN where nothing was reached.
    farther = ~(free.change < surface.change)
    return {
        "attained_surface": surface.change,
        "attained_free": torch.where(farther, free.change, surface.change),
        "deviation": surface.deviation,
        "distance_surface": surface.distance,
        "distance_free": torch.where(farther, free.distance, surface.distance),
    }


def _certificates(net: FeedForward | None, x: Tensor, part: Part) -> dict[str, Tensor]:
    """Certificates and rungs; without matrices the certificate says nothing and the rungs are infinite."""
    radii = list(part.settings.radii)
    rows = {name: torch.full((len(x), len(radii)), torch.nan, dtype=torch.float64) for name in ("rung7", "rung8")}
    if net is None:
        certified = [([VACUOUS] * len(radii), math.inf)] * len(x)
        constants: dict[str, float] = {}
    else:
        certified = [change_bounds(net, point, radii) for point in x]
        constants = hessian_constants(net, x[0])
        for i in range(part.local):
            for name, bounds in zip(rows, curvature_bounds_on_balls(net, x[i], radii), strict=True):
                rows[name][i] = torch.tensor(bounds, dtype=torch.float64)
    return {
        "anchored": torch.tensor([constant for _, constant in certified], dtype=torch.float64),
        "certificate": torch.tensor([bounds for bounds, _ in certified], dtype=torch.float64).T,
        **{name: values.T for name, values in rows.items()},
        **{f"bound.{name}": torch.tensor(constants.get(name, math.inf), dtype=torch.float64) for name in CONSTANTS},
    }


def margin_and_confidence(subject: Subject, positions: Tensor, beta: float) -> dict[str, Tensor]:
    """Of the softened network: explained logit minus the largest other, and the softmax probability."""
    x, k = subject.images[positions], subject.classes[positions, None]
    with torch.no_grad():
        logits = curvature.soften(subject.module, beta).double()(x)
    others = logits.scatter(1, k, -torch.inf).amax(1)
    return {"margin": logits.gather(1, k)[:, 0] - others, "confidence": logits.softmax(1).gather(1, k)[:, 0]}
