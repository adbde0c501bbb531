"""A diagnosis in plain words and as one JSON object; each sentence says of which map it speaks, and how sure it is."""

import dataclasses
import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any, Literal, NamedTuple

from attacks.diagnosis import AtRadius, Diagnosis
from attacks.metrics import pcc
from curvature import Certificate

Strength = Literal["proven", "found", "estimate", "nothing proven"]
NORMAL = "unit normal"
MAP = "abs-sum map"


class Sentence(NamedTuple):
    """One sentence, the map that it is about, and its strength."""

    about: str
    strength: Strength
    text: str


def sentences(diagnosis: Diagnosis, at: AtRadius) -> list[Sentence]:
    """How far the explanation can be moved within one radius: at most, and at least."""
    certificate = at.certificate
    return [*_proven(at, certificate), *_found(diagnosis, at), *_first_order(at)]


def at_most(value: float, digits: int = 3) -> str:
    """A number in so many digits, rounded up where it is rounded: what is proven for the number holds for the text."""
    return _rounded(value, digits, ROUND_CEILING)


def at_least(value: float, digits: int = 3) -> str:
    """A number in so many digits, rounded down where it is rounded."""
    return _rounded(value, digits, ROUND_FLOOR)


def _rounded(value: float, digits: int, mode: str) -> str:
    if not math.isfinite(value):
        return f"{value:g}"
    return f"{float(Context(prec=digits, rounding=mode).create_decimal(Decimal(value))):.{digits}g}"


def degrees(chord: float) -> float:
    """The angle between unit vectors whose difference has this length."""
    return math.degrees(2 * math.asin(min(1.0, chord / 2)))


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The object that ``--json`` prints, without what only the command line knows."""
    field, geometry = diagnosis.field, diagnosis.geometry
    return {
        "target_class": field.target_class,
        "predicted": diagnosis.predicted,
        "probability": diagnosis.probability,
        "softened_predicted": diagnosis.softened_predicted,
        "softened_probability": diagnosis.softened_probability,
        "beta": field.beta,
        "dtype": str(field.dtype).removeprefix("torch."),
        "inputs": field.size,
        "smooth": not field.rough,
        "rough": [found._asdict() for found in field.rough],
        "no_certificate": field.reason,
        "geometry": {
            "gradient_norm": geometry.gradient_norm,
            "largest_curvature": geometry.largest,
            "residual": geometry.residual,
            "turn_rate": geometry.turn_rate,
            "hessian_norm": geometry.hessian_norm,
            "curvatures": geometry.curvatures.tolist(),
            "complete": geometry.complete,
            "products": geometry.products,
        },
        "search": dataclasses.asdict(diagnosis.effort),
        "radii": [_radius(diagnosis, at) for at in diagnosis.radii],
    }


def _radius(diagnosis: Diagnosis, at: AtRadius) -> dict[str, Any]:
    found = {f.name: getattr(at.found, f.name) for f in dataclasses.fields(at.found)}
    return {
        "radius": at.radius,
        "pixel_change": at.pixel_change,
        "certificate": None if at.certificate is None else dataclasses.asdict(at.certificate),
        "no_certificate": at.no_certificate,
        "found": {name: change.value for name, change in found.items()},
        "found_logit_deviation": {name: change.deviation for name, change in found.items()},
        "first_order_estimate": {
            "normal": at.normal_estimate,
            "normal_on_level_set": at.normal_estimate_on_level_set,
        },
        "rungs": {
            name: {key: value for key, value in dataclasses.asdict(bound).items() if key != "seconds"}
            for name, bound in at.rungs.items()
        },
        "sentences": [sentence._asdict() for sentence in sentences(diagnosis, at)],
        "violations": at.violations(),
    }


def _proven(at: AtRadius, certificate: Certificate | None) -> list[Sentence]:
    if certificate is None:
        text = f"No certificate applies, so nothing is proven of either map: {at.no_certificate}."
        return [Sentence(f"{NORMAL} and {MAP}", "nothing proven", text)]
    if certificate.vacuous:
        text = f"Nothing is proven of either map within this radius: {certificate.reason}."
        return [Sentence(f"{NORMAL} and {MAP}", "nothing proven", text)]
    chord, largest = certificate.change_bound, certificate.map_change_bound
    words = [
        Sentence(
            NORMAL, "proven",
            f"At most: the unit normal (the gradient's direction) turns by {at_most(degrees(chord))} degrees (a "
            f"chord of {at_most(chord)}), wherever within the radius, whether the explained logit is kept or not.",
        )
    ]  # fmt: skip
    if largest < math.sqrt(2):
        text = (
            f"At most: the normalised abs-sum map moves by {at_most(largest)} (Euclidean distance; two maps are at "
            "most 1.41 apart)."
        )
        return [*words, Sentence(MAP, "proven", text)]
    text = "Nothing is proven of the normalised abs-sum map: its bound, taken from that of the normal, has no force."
    return [*words, Sentence(MAP, "nothing proven", text)]


def _found(diagnosis: Diagnosis, at: AtRadius) -> list[Sentence]:
    found = at.found
    ball, level = found.normal.value, found.normal_on_level_set.value
    similarity = float(pcc(diagnosis.map_at(found.map)[None], diagnosis.map[None])[0])
    return [
        Sentence(
            NORMAL, "found",
            f"At least: a search found a point where the unit normal has turned by {at_least(degrees(ball))} degrees "
            f"(a chord of {at_least(ball)}), and one with the explained logit kept where it has by "
            f"{at_least(degrees(level))} degrees ({at_least(level)}).",
        ),
        Sentence(
            MAP, "found",
            "At least: a search found a point where the normalised abs-sum map has moved by "
            f"{at_least(found.map.value)} (its correlation with the original map is {similarity:.4f} there), and one "
            f"with the explained logit kept where it has by {at_least(found.map_on_level_set.value)}.",
        ),
    ]  # fmt: skip


def _first_order(at: AtRadius) -> list[Sentence]:
    ball, level = at.normal_estimate, at.normal_estimate_on_level_set
    text = (
        f"To first order the unit normal changes by {ball:.3g} within this radius, and by {level:.3g} with the "
        "explained logit kept (the rate of turn and the largest curvature at the image, times the radius)."
    )
    if ball > 2 * max(at.found.normal.value, 1e-300):
        text += " That is far more than was found: at this radius the curvature at the image says little."
    elif ball < at.found.normal.value / 2:
        text += " That is far less than was found: at this radius the curvature at the image says little."
    return [Sentence(NORMAL, "estimate", text)]
