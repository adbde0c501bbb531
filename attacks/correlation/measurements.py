"""One part measured: geometry, both attacks and the certificates at every image and radius."""

import torch
from torch import Tensor

import curvature
from attacks.correlation.ascent import attack_in_ball, attack_on_level_set
from attacks.correlation.certificates import change_bounds, curvature_bounds_on_balls, hessian_constants
from attacks.correlation.fields import MatrixField
from attacks.correlation.geometry import dense_geometry
from attacks.correlation.plan import Part
from attacks.correlation.subjects import Subject, load_subject
from curvature.feedforward import feed_forward


def measure(part: Part) -> dict[str, Tensor]:
    """The part's numbers.

    Returns:
        Per image ``[B]``: ``position``, the geometry's columns, ``margin``, ``confidence``, ``anchored``; per radius
        and image ``[R, B]``: ``attained_surface``, ``attained_free`` (changes of the unit normal, from
        below), ``certificate`` (from above, 2 where nothing is proven), ``deviation`` from the level set relative to
        1 + |f|, ``distance_surface`` and ``distance_free`` relative to the radius, ``rung7`` and ``rung8`` (curvature
        over the ball; NaN where not computed, infinite where not certified); and the rungs of ``H`` as ``bound.NAME``.
    """
    subject = load_subject(part.settings.network)
    positions = torch.tensor(part.positions)
    soft = curvature.soften(subject.module, part.beta)
    net = feed_forward(soft, subject.images[0], part.target_class)
    x = subject.images[positions].flatten(1)
    radii = torch.tensor(part.settings.radii, dtype=torch.float64)
    with torch.no_grad():
        geometry = dense_geometry(net, x)
        field, ascent = MatrixField(net), part.settings.ascent
        surface = attack_on_level_set(field, x, radii, geometry.principal, ascent=ascent)
        free = attack_in_ball(field, x, radii, geometry.singular, ascent=ascent)
        certified = [change_bounds(net, point, list(part.settings.radii)) for point in x]
    found = {
        "position": positions,
        **geometry.columns,
        **margin_and_confidence(subject, positions, part.beta),
        "anchored": torch.tensor([constant for _, constant in certified], dtype=torch.float64),
        "certificate": torch.tensor([bounds for bounds, _ in certified], dtype=torch.float64).T,
        "attained_surface": surface.change,
        "attained_free": free.change,
        "deviation": surface.deviation,
        "distance_surface": surface.distance,
        "distance_free": free.distance,
    }
    found |= {
        f"bound.{name}": torch.tensor(value, dtype=torch.float64)
        for name, value in hessian_constants(net, x[0]).items()
    }
    local = [curvature_bounds_on_balls(net, point, list(part.settings.radii)) for point in x[: part.local]]
    for j, name in enumerate(("rung7", "rung8")):
        rows = torch.full((len(x), len(radii)), torch.nan, dtype=torch.float64)
        for i, bounds in enumerate(local):
            rows[i] = torch.tensor(bounds[j], dtype=torch.float64)
        found[name] = rows.T
    return {name: tensor.contiguous() for name, tensor in found.items()}


def margin_and_confidence(subject: Subject, positions: Tensor, beta: float) -> dict[str, Tensor]:
    """Of the softened network: explained logit minus the largest other, and the softmax probability."""
    x, k = subject.images[positions], subject.classes[positions, None]
    with torch.no_grad():
        logits = curvature.soften(subject.module, beta).double()(x)
    others = logits.scatter(1, k, -torch.inf).amax(1)
    return {"margin": logits.gather(1, k)[:, 0] - others, "confidence": logits.softmax(1).gather(1, k)[:, 0]}
