"""What the geometry says about one explanation: curvatures, bounds, certificates, and what a search attains."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attacks.change_search import Effort, FoundChange, abs_sum_map, map_change, normal_change, search_change
from attacks.geometry import LocalGeometry, local_geometry
from attacks.ladders import ladders
from attacks.networks import Network
from attacks.soft_logit import LARGEST_UNROLLED, SoftLogit, soft_logit
from curvature import Bound, Certificate, attained_curvature
from curvature.certificate import certify_radii
from curvature.search import Ascent

_CURVATURE_SEARCH = 128  # numbers in a point up to which the largest curvature in the ball is searched for too
_SLACK = 1e-9  # of a bound: rounding of what the search attained, by which that may pass it

Said = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class FoundChanges:
    """The largest changes found within a radius: of the unit normal and of the normalised abs-sum map.

    Attributes:
        normal: Anywhere in the ball.
        normal_on_level_set: With the explained logit kept.
        map: Anywhere in the ball.
        map_on_level_set: With the explained logit kept.
    """

    normal: FoundChange
    normal_on_level_set: FoundChange
    map: FoundChange
    map_on_level_set: FoundChange


@dataclass(frozen=True, kw_only=True)
class AtRadius:
    """One radius.

    Attributes:
        radius: In the network's input space.
        pixel_change: The root mean square change of a pixel in [0, 1] that a step of this length makes.
        rungs: The ladder.
        certificate: What is proven, with the attained values beside it; None where no certificate applies.
        no_certificate: Why it is None; empty otherwise.
        found: What the searches attained.
        normal_estimate: The change of the unit normal to first order.
        normal_estimate_on_level_set: The same along the level set.
    """

    radius: float
    pixel_change: float
    rungs: dict[str, Bound]
    certificate: Certificate | None
    no_certificate: str
    found: FoundChanges
    normal_estimate: float
    normal_estimate_on_level_set: float

    def violations(self) -> list[str]:
        """What was attained although a certificate excludes it: a bug, if it ever happens."""
        c = self.certificate
        if c is None:
            return []
        pairs = {
            "unit normal": (self.found.normal.value, c.change_bound),
            "abs-sum map": (self.found.map.value, c.map_change_bound),
            "curvature": (c.curvature_attained or 0.0, c.curvature_bound),
        }
        return [
            f"{name}: {attained!r} attained, {bound!r} certified at radius {self.radius:g}"
            for name, (attained, bound) in pairs.items()
            if bound is not None and attained > bound * (1 + _SLACK)
        ]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Everything about one explanation.

    Attributes:
        field: The softened logit.
        x: The image ``[C, H, W]`` in the network's input space.
        predicted: The network's own class.
        probability: Its softmax of the explained class.
        softened_predicted: The softened network's class.
        softened_probability: The softened network's softmax of the explained class.
        map: The softened network's normalised abs-sum map ``[H, W]``, of which the certificates speak.
        geometry: At the image itself.
        radii: One entry a radius, ascending.
        effort: Of the searches.
    """

    field: SoftLogit
    x: Float[Tensor, "c h w"]
    predicted: int
    probability: float
    softened_predicted: int
    softened_probability: float
    map: Float[Tensor, "h w"]
    geometry: LocalGeometry
    radii: tuple[AtRadius, ...]
    effort: Effort

    def map_at(self, found: FoundChange) -> Float[Tensor, "h w"]:
        """The softened network's map at a point that a search found."""
        _, G = self.field.at(found.point[None])
        return abs_sum_map(G, self.x.shape[0])[0].reshape(self.x.shape[1:])


def pieces(radii: Sequence[float]) -> int:
    """How often ``diagnose`` says what it does."""
    return 3 + 4 * len(set(radii))


def default_effort(numbers: int) -> Effort:
    """40 steps and 6 random starts; 8 and none for points so large that they take seconds a step."""
    return Effort() if numbers <= LARGEST_UNROLLED else Effort(steps=8, restarts=0)


def default_radii(network: Network, x: Float[Tensor, "c h w"]) -> tuple[float, float]:
    """Two lengths: root mean square changes of a pixel by 1/1000 and by 1/100 of the valid range."""
    low, high = network.valid_range(x[None])
    full = float((high - low).square().sum() * x[0].numel()) ** 0.5
    return float(f"{full / 1000:.2g}"), float(f"{full / 100:.2g}")


def diagnose(  # noqa: PLR0913
    network: Network,
    x: Float[Tensor, "c h w"],
    *,
    radii: Sequence[float] | None = None,
    beta: float = 1.0,
    target_class: int | None = None,
    effort: Effort | None = None,
    say: Said = lambda words: None,
) -> Diagnosis:
    """Diagnose the gradient explanation of one image.

    Args:
        network: Left untouched.
        x: One image in its input space.
        radii: Finite and > 0; two by default, see ``default_radii``.
        beta: Of the softplus with which the network is softened; 1, as for the trace of an attack.
        target_class: The class that is explained; the one that the unsoftened network predicts by default.
        effort: Of the searches; ``default_effort`` by default.
        say: Called with what is about to be done.

    Raises:
        ValueError: If an argument is out of range.
        UnsupportedModuleError: If an activation has no softened form.
        DegenerateLevelSetError: If the explained logit's gradient is zero.

    Exactness: certificates and rungs are proven; all else is an estimate, attained values from below.
    """
    radii = default_radii(network, x) if radii is None else tuple(sorted(set(radii)))
    if not radii or not all(0 < radius < float("inf") for radius in radii):
        raise ValueError(f"expected at least one radius, each finite and > 0, got {list(radii)}")
    network.check_input(x[None])
    logits = network.logits(x[None])[0]
    predicted = int(logits.argmax())
    explained = predicted if target_class is None else target_class
    field = soft_logit(network, x, explained, beta=beta)
    point = x.flatten().to(field.dtype)
    effort = effort or default_effort(field.size)
    say("curvatures")
    geometry = local_geometry(field, point)
    say("bounds")
    rungs = ladders(field, point, radii)
    say("certificates")
    certificates = certify(field, point, radii)
    with torch.no_grad():
        softened = field.module(x[None].to(field.dtype))[0]
    scale = float(torch.tensor(network.std).square().mean().sqrt()) / field.size**0.5
    return Diagnosis(
        field=field,
        x=x,
        predicted=predicted,
        probability=float(logits.softmax(0)[explained]),
        softened_predicted=int(softened.argmax()),
        softened_probability=float(softened.softmax(0)[explained]),
        map=abs_sum_map(field.at(point[None])[1], x.shape[0])[0].reshape(x.shape[1:]),
        geometry=geometry,
        radii=tuple(
            _at_radius(field, point, (geometry, effort, say), (scale * certified[0], *certified))
            for certified in zip(radii, rungs, certificates, strict=True)
        ),
        effort=effort,
    )


def _at_radius(
    field: SoftLogit,
    x: Tensor,
    how: tuple[LocalGeometry, Effort, Said],
    known: tuple[float, float, dict[str, Bound], Certificate | None],
) -> AtRadius:
    geometry, effort, say = how
    pixel_change, radius, rungs, certificate = known
    found = search_changes(field, x, radius, geometry=geometry, effort=effort, say=say)
    if certificate is not None:
        certificate = _completed(field, x, certificate, (rungs, found, effort))
    return AtRadius(
        radius=radius,
        pixel_change=pixel_change,
        rungs=rungs,
        certificate=certificate,
        no_certificate=field.reason,
        found=found,
        normal_estimate=geometry.turn_rate * radius,
        normal_estimate_on_level_set=abs(geometry.largest) * radius,
    )


def _completed(
    field: SoftLogit, x: Tensor, certificate: Certificate, beside: tuple[dict[str, Bound], FoundChanges, Effort]
) -> Certificate:
    """The certificate with the ladder's least curvature, and with what was attained."""
    rungs, found, effort = beside
    search = Ascent(steps=effort.steps, restarts=effort.restarts + 2, seed=effort.seed)
    proven = [bound.curvature for bound in rungs.values() if bound.curvature is not None]
    net = field.matrices if field.size <= _CURVATURE_SEARCH else None
    return dataclasses.replace(
        certificate,
        change_attained=found.normal.value,
        curvature_bound=min(proven, default=None),
        curvature_attained=None if net is None else attained_curvature(net, x, certificate.radius, search=search).value,
    )


def certify(field: SoftLogit, x: Float[Tensor, " n"], radii: Sequence[float]) -> list[Certificate | None]:
    """The certificate at each radius, without a search; None, for the field's reason, where none applies."""
    if field.matrices is None:
        return [None for _ in radii]
    channels = field.shape[0] if len(field.shape) == 3 else 1
    return list(certify_radii(field.matrices, x, list(radii), channels=channels, curvature=False))


def search_changes(  # noqa: PLR0913
    field: SoftLogit,
    x: Float[Tensor, " n"],
    radius: float,
    *,
    geometry: LocalGeometry,
    effort: Effort,
    say: Said = lambda words: None,
) -> FoundChanges:
    """Search for the largest changes within one radius; what is found on the level set counts in the ball too."""
    _, G = field.at(x[None])
    changes = {"normal": normal_change(G[0]), "map": map_change(G[0], field.shape[0])}
    found: dict[str, FoundChange] = {}
    for name, change in changes.items():
        for on_level_set in (True, False):
            key = f"{name}_on_level_set" if on_level_set else name
            say(f"radius {radius:g}: search, {key.replace('_', ' ')}")
            direction = geometry.direction if on_level_set else geometry.turn_direction
            found[key] = search_change(
                field, x, radius, change=change, directions=direction[None], on_level_set=on_level_set, effort=effort
            )
        found[name] = max(found[name], found[f"{name}_on_level_set"], key=lambda f: f.value)
    return FoundChanges(**found)
