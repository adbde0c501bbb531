"""All measured triples as one table: a row for each image, beta and radius."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from attacks.correlation.certificates import CONSTANTS, VACUOUS
from attacks.correlation.plan import Part
from attacks.correlation.subjects import Subject


def as_table(parts: Sequence[tuple[Part, dict[str, Tensor]]], subject: Subject) -> pd.DataFrame:
    """A row a triple, sorted by beta, radius and image.

    Per image: ``lambda_max``, ``ph_over_g``, ``h``, ``h_over_g``, ``g``, ``margin``, ``confidence``, ``anchored``
    (K(x)) and ``anchored_over_g``; ``BOUND_over_g`` of the global rungs; per radius the attained changes, the
    certificate, rungs 7 and 8.
    """
    frames = [_frame(part, tensors) for part, tensors in parts]
    table = pd.concat(frames, ignore_index=True)
    table["trained_on"] = subject.trained_on.numpy()[table["image"]]
    table["correct"] = (subject.classes == subject.labels).numpy()[table["image"]]
    return table.sort_values(["beta", "radius", "image"], ignore_index=True)


def violations(table: pd.DataFrame) -> pd.DataFrame:
    """Triples in which an attack went further than its certificate allows; none, if the theory holds.

    No tolerance: the certificate is rounded outward, and where it says nothing (2) it is the diameter of the sphere.
    A certificate that is no number counts, and so does a ball of which nothing is known.
    """
    certified = table[~(table["certificate"] >= VACUOUS)]
    within = (certified["attained_free"] <= certified["certificate"]) & ~(
        certified["attained_surface"] > certified["certificate"]
    )
    return certified[~within]


# What each bound is compared with: its value at the image itself.
AT_THE_IMAGE = {f"{name}_over_g": "h_over_g" for name in CONSTANTS} | {
    "anchored_over_g": "ph_over_g", "rung7": "lambda_max", "rung8": "lambda_max",
}  # fmt: skip


def broken_bounds(table: pd.DataFrame) -> dict[str, int]:
    """How often a bound of curvature or of the Hessian is below what is attained at the image itself: never, in theory.

    The global constants against the norm of H, K(x) against that of PH, rungs 7 and 8 against the largest curvature.
    """
    known = {name: table[table[name].notna()] for name in AT_THE_IMAGE}
    return {name: int((~(rows[name] >= rows[AT_THE_IMAGE[name]])).sum()) for name, rows in known.items()}


def _frame(part: Part, tensors: dict[str, Tensor]) -> pd.DataFrame:
    images, radii = len(part.positions), part.settings.radii
    columns: dict[str, np.ndarray | float | int] = {
        "image": np.tile(tensors["position"].numpy(), len(radii)),
        "beta": part.beta,
        "target_class": part.target_class,
        "radius": np.repeat(np.array(radii), images),
    }
    for name, tensor in tensors.items():
        if name == "position":
            continue
        values = tensor.numpy()
        if name.startswith("bound."):
            columns[f"{name.removeprefix('bound.')}_over_g"] = np.tile(float(values) / tensors["g"].numpy(), len(radii))
        else:
            columns[name] = np.tile(values, len(radii)) if values.ndim == 1 else values.flatten()
    columns["anchored_over_g"] = np.tile((tensors["anchored"] / tensors["g"]).numpy(), len(radii))
    return pd.DataFrame(columns)
