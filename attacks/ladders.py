"""The ladder of bounds at several radii, without computing again what no radius changes."""

from collections.abc import Sequence
from fractions import Fraction

from jaxtyping import Float
from torch import Tensor

import curvature
from attacks.soft_logit import SoftLogit
from curvature import Bound, NoCertificateError, UnsupportedModuleError
from curvature.bounds.anchor import bound_from_hessian
from curvature.bounds.norms import round_up
from curvature.feedforward import FeedForward

# Rungs whose bound of the Hessian holds everywhere, so that it is the same at every radius.
_EVERYWHERE = ("frobenius_paper", "frobenius", "spectral", "singla_feizi_2020", "entesari_2024", "sign_aware")


def ladders(field: SoftLogit, x: Float[Tensor, " n"], radii: Sequence[float]) -> list[dict[str, Bound]]:
    """``curvature_bounds`` at each radius, by rung.

    Args:
        field: The softened logit.
        x: A flat point.
        radii: Finite and >= 0.

    Raises:
        ValueError: If the point or a radius is malformed.

    Exactness: upper bounds, rounding included. Cost: one ladder, and the local rungs at each further radius.
    """
    largest = max(radii)
    point = x.reshape(field.shape)
    whole = curvature.curvature_bounds(field.module, point, target_class=field.target_class, radius=largest)
    if field.matrices is None:  # at most one rung says anything then, and its own cost is small
        return [
            whole
            if radius == largest
            else curvature.curvature_bounds(field.module, point, target_class=field.target_class, radius=radius)
            for radius in radii
        ]
    return [whole if radius == largest else _at(field.matrices, x, radius, (whole, largest)) for radius in radii]


def _at(net: FeedForward, x: Tensor, radius: float, known: tuple[dict[str, Bound], float]) -> dict[str, Bound]:
    """The ladder at a smaller radius than that of the known one."""
    whole, largest = known
    found = {}
    for name, rung in curvature.BOUNDS.items():
        bound = whole[name]
        try:
            if name in _EVERYWHERE and bound.hessian is not None:
                found[name] = bound_from_hessian(net, x, radius, Fraction(bound.hessian))
            elif name == "anchored" and bound.gradient_change is not None:
                share = Fraction(radius) / Fraction(largest)  # that bound is linear in the radius
                found[name] = Bound(gradient_change=round_up(Fraction(bound.gradient_change) * share))
            else:
                found[name] = rung(net, x, radius)
        except (NoCertificateError, UnsupportedModuleError) as error:
            found[name] = Bound(exactness="none", reason=str(error))
    return found
