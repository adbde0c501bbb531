"""All measured triples as one table: a row for each image, beta and radius."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from attacks.correlation.certificates import VACUOUS
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
    """
    certified = table[table["certificate"] < VACUOUS]
    reached = certified[["attained_surface", "attained_free"]].max(axis=1)
    return certified[~(reached <= certified["certificate"])]


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
