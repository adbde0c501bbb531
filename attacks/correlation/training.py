"""Does lower curvature in training lower what an attack reaches? Weight decay and a curvature penalty."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from attacks.correlation.ascent import Ascent
from attacks.correlation.plan import Part, Settings, plan
from attacks.correlation.ranks import effect, mean_difference
from attacks.correlation.subjects import SEEDS, TRAINING, load_subject

CONTROL = "plain"
MEASURES = ("attained_surface", "attained_free", "certificate", "lambda_max", "ph_over_g")


def training_parts(*, images: int, seeds: Sequence[int] = SEEDS, ascent: Ascent | None = None) -> list[Part]:
    """The same held-out images on every network of ``TRAINING``, at two betas and two radii.

    Raises:
        ValueError: If there are not so many images.
    """
    return [
        part
        for recipe in TRAINING
        for seed in seeds
        for part in plan(_settings(recipe, seed, images, ascent or Ascent()), load_subject(f"digits_{recipe}_{seed}"))
    ]


def _settings(recipe: str, seed: int, images: int, ascent: Ascent) -> Settings:
    return Settings(
        network=f"digits_{recipe}_{seed}", betas=(1.0, 5.0), radii=(0.1, 0.3), images=images, ascent=ascent,
        local_images=0,
    )  # fmt: skip


def recipe_of(network: str) -> tuple[str, int]:
    """Recipe and seed of a network's name."""
    _, recipe, seed = network.split("_")
    return recipe, int(seed)


def training_effects(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Each recipe against the plain one, by beta, radius and measure: effects over images and seeds, and by seed.

    ``ratio`` of medians and Cliff's ``delta`` over images and seeds, with bootstrap intervals over images (each drawn
    with all its seeds, for both recipes); ``ratio_by_seed_low`` and ``_high`` are the smallest and largest ratio of a
    seed against the plain one of that seed.

    Args:
        tables: The table of triples of every network, by its name.
    """
    pooled = pd.concat(
        [
            table.assign(recipe=recipe_of(name)[0], seed=recipe_of(name)[1], network=name)
            for name, table in tables.items()
        ],
        ignore_index=True,
    )
    rows: list[dict[str, Any]] = []
    for (beta, radius), cell in pooled.groupby(["beta", "radius"]):
        for recipe in TRAINING:
            if recipe != CONTROL:
                rows += [_row(cell, recipe, measure) | {"beta": beta, "radius": radius} for measure in MEASURES]
    return pd.DataFrame(rows)


def _row(cell: pd.DataFrame, recipe: str, measure: str) -> dict[str, Any]:
    treated, control = (cell[cell["recipe"] == name] for name in (recipe, CONTROL))
    by_seed = treated.groupby("seed")[measure].median() / control.groupby("seed")[measure].median()
    samples = [part.pivot(index="seed", columns="image", values=measure).to_numpy() for part in (treated, control)]
    return {
        "recipe": recipe,
        "measure": measure,
        "median_plain": control[measure].median(),
        "median": treated[measure].median(),
        **effect(*samples)._asdict(),
        "ratio_by_seed_low": by_seed.min(),
        "ratio_by_seed_high": by_seed.max(),
        "images": treated["image"].nunique(),
        "seeds": treated["seed"].nunique(),
    }


def accuracies(networks: Sequence[str]) -> dict[str, list[float]]:
    """Held-out accuracy of every network, by recipe."""
    found: dict[str, list[float]] = {}
    for name in networks:
        found.setdefault(recipe_of(name)[0], []).append(load_subject(name).accuracy)
    return {recipe: [float(np.round(value, 4)) for value in values] for recipe, values in found.items()}


def accuracy_differences(networks: Sequence[str]) -> dict[str, list[float]]:
    """Held-out accuracy of each recipe less that of the plain one, mean over seeds, with its interval over images."""
    right: dict[str, list[np.ndarray]] = {}
    for name in networks:
        subject = load_subject(name)
        right.setdefault(recipe_of(name)[0], []).append(
            (subject.classes == subject.labels)[~subject.trained_on].double().numpy()
        )
    return {
        recipe: mean_difference(np.stack(rows), np.stack(right[CONTROL]))
        for recipe, rows in right.items()
        if recipe != CONTROL
    }
