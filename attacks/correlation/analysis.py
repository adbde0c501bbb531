"""What the table of triples says: rank correlations by cell, where the local picture ends, the claims."""

import math
from typing import Any

import numpy as np
import pandas as pd

from attacks.correlation.certificates import CONSTANTS, VACUOUS
from attacks.correlation.ranks import Array, bootstrap, holm, partial_spearman, spearman
from attacks.correlation.table import AT_THE_IMAGE, broken_bounds, violations

ATTACKS = {"surface": "lambda_max", "free": "ph_over_g"}  # each attack with the number that theory gives it
WHERE = {"surface": "on the level set", "free": "free in the ball"}
PREDICTORS = (
    "lambda_max", "ph_over_g", "h", "h_over_g", "g", "margin", "confidence", "anchored_over_g",
    *(f"{name}_over_g" for name in CONSTANTS), "certificate", "rung7", "rung8",
)  # fmt: skip
CONTROLS = ("g", "margin", "confidence")
GIVEN = {"given_g": ("g",), "partial": CONTROLS}  # partial correlations, by the name of their columns
LOCAL = 0.9  # Spearman's rho down to which the local picture is said to hold
FEWEST = 20  # images for a correlation
_ENOUGH = 300  # images from which on a claim about them is judged


def correlations(table: pd.DataFrame, *, permutations: int = 99_999, independent: bool = True) -> pd.DataFrame:
    """Rank correlations of held-out images in every cell (beta, radius), for both attacks and every predictor.

    ``rho`` with ``low``, ``high``, ``p``, ``n``; ``given_g`` given the gradient norm and ``partial`` given margin and
    confidence too, each by Student's t; ``p_holm``, ``given_g_p_holm`` and ``partial_p_holm``, each over the family of
    all rows. Balls of which an attack reached nothing are left out.

    Args:
        table: The triples.
        permutations: Of each test.
        independent: Whether the images are a sample; else intervals and p-values are NaN.
    """
    attained = [f"attained_{attack}" for attack in ATTACKS]
    held_out = table[~table["trained_on"] & table[attained].notna().all(axis=1)]
    rows = [
        row
        for (beta, radius), cell in held_out.groupby(["beta", "radius"])
        for row in _cell({"beta": beta, "radius": radius}, cell, permutations)
    ]
    if not rows:
        raise ValueError(f"expected at least {FEWEST} held-out images in a cell, got fewer in each")
    found = pd.DataFrame(rows)
    for name in ("p", *(f"{name}_p" for name in GIVEN)):
        if not independent:
            found[[name, name.removesuffix("p") + "low", name.removesuffix("p") + "high"]] = np.nan
        known = found[name].notna()
        found[f"{name}_holm"] = np.nan
        found.loc[known, f"{name}_holm"] = holm(found.loc[known, name].to_numpy())
    return found


def _cell(where: dict[str, float], cell: pd.DataFrame, permutations: int) -> list[dict[str, Any]]:
    sparse = [name for name in PREDICTORS if not np.isfinite(cell[name].to_numpy()).all()]
    dense = [name for name in PREDICTORS if name not in sparse]
    rows = _rows(where, cell, dense, permutations)
    for name in sparse:
        rows += _rows(where, cell[np.isfinite(cell[name])], [name], permutations)
    return rows


def _rows(where: dict[str, float], cell: pd.DataFrame, names: list[str], permutations: int) -> list[dict[str, Any]]:
    if len(cell) < FEWEST:
        return []
    variables = list(dict.fromkeys([*(f"attained_{attack}" for attack in ATTACKS), *names, *CONTROLS]))
    values = {name: cell[name].to_numpy(dtype=np.float64) for name in variables}
    drawn = bootstrap(np.stack(list(values.values())))
    found = []
    for attack in ATTACKS:
        for name in names:
            pair = [variables.index(name), variables.index(f"attained_{attack}")]
            x, y = values[name], values[f"attained_{attack}"]
            whole = spearman(x, y, replicates=_block(drawn, pair), permutations=permutations)
            row = {**where, "attack": attack, "predictor": name, **whole._asdict()}
            for given, controls in GIVEN.items():
                if name not in CONTROLS and np.isfinite(whole.rho):
                    index = [*pair, *(variables.index(c) for c in controls)]
                    partial = partial_spearman(
                        x, y, np.stack([values[c] for c in controls]), replicates=_block(drawn, index)
                    )
                    row |= {f"{given}_{key}": value for key, value in partial._asdict().items()}
            found.append(row)
    return found


def _block(drawn: Array, index: list[int]) -> Array:
    return drawn[:, index][:, :, index]


def medians(table: pd.DataFrame) -> pd.DataFrame:
    """Per cell, over all images: median attained and certified changes, first order, the global constants.

    ``paper`` is the chord that beta C d_g would allow for d_g = r, with the constant of eq. 9-10 over the gradient
    norm at the image (the most favourable c), not capped.
    """
    rows = []
    for (beta, radius), cell in table.groupby(["beta", "radius"]):
        certified = cell["certificate"] < VACUOUS
        rows.append(
            {
                "beta": beta,
                "radius": radius,
                "n": len(cell),
                "attained_surface": cell["attained_surface"].median(),
                "attained_free": cell["attained_free"].median(),
                "first_order_surface": (cell["lambda_max"] * radius).median(),
                "first_order_free": (cell["ph_over_g"] * radius).median(),
                "certificate": cell["certificate"].median(),
                "sign_aware": (cell["sign_aware_over_g"] * radius).median(),
                "paper": (cell["frobenius_paper_over_g"] * radius).median(),
                "certified_share": float(certified.mean()),
                "certified_over_attained": (cell["certificate"] / cell["attained_free"])[certified].median(),
            }
        )
    return pd.DataFrame(rows)


def end_of_local_picture(found: pd.DataFrame, attack: str, *, level: float = LOCAL) -> dict[str, float]:
    """Where curvature stops predicting an attack, over beta r.

    Returns:
        ``holds_to``: the largest beta r up to which every cell has Spearman >= level (NaN if none has); and
        ``lost_from``: the smallest beta r from which on none has (infinite if the last one has).
    """
    curve = found[(found["attack"] == attack) & (found["predictor"] == ATTACKS[attack])]
    product = (curve["beta"] * curve["radius"]).round(12)
    good = curve["rho"] >= level
    bad, fine = product[~good], product[good]
    holds = product[good & (product < (bad.min() if len(bad) else np.inf))]
    lost = product[~good & (product > (fine.max() if len(fine) else -np.inf))]
    return {
        "holds_to": float(holds.max()) if len(holds) else float("nan"),
        "lost_from": float(lost.min()) if len(lost) else float("inf"),
    }


def certificate_claims(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """What must hold in any experiment: attacks in every ball, and none past a bound.

    Absent where there is nothing to judge: no certificate that says something, no finite bound.
    """
    broken, bounds = violations(table), broken_bounds(table)
    failed = int(table[["attained_surface", "attained_free"]].isna().any(axis=1).sum())
    judged = {
        "no certificate that says something is violated": {
            "holds": broken.empty, "value": len(broken), "n": int((~(table["certificate"] >= VACUOUS)).sum()),
        },
        "no bound of the Hessian or of curvature is below its value at the image": {
            "holds": not any(bounds.values()), "value": sum(bounds.values()),
            "n": int(np.isfinite(table[list(AT_THE_IMAGE)]).to_numpy().sum()),
        },
        "both attacks ended where they may in every ball": {"holds": failed == 0, "value": failed, "n": len(table)},
    }  # fmt: skip
    return {words: claim for words, claim in judged.items() if claim["n"] or claim["value"]}


def certified_radii(middle: pd.DataFrame, *, share: float = 0.9) -> dict[str, float]:
    """For each beta the largest radius at which certificates say something for this share of images, 0 if none."""
    enough = middle[middle["certified_share"] >= share]
    return {
        f"{beta:g}": float(enough.loc[enough["beta"] == beta, "radius"].max())
        if (enough["beta"] == beta).any()
        else 0.0
        for beta in middle["beta"].unique()
    }


def in_words(radii: dict[str, float], local: dict[str, Any]) -> list[str]:
    """``certified_radii`` and the ends of the local picture, in sentences.

    Args:
        radii: By beta.
        local: ``level``, and ``end_of_local_picture`` by attack.
    """
    words = [
        f"beta = {beta}: certificates say something for at least 90 % of images "
        + (f"up to r = {radius:g}" if radius else "at no radius here")
        for beta, radius in radii.items()
    ]
    for attack, where in WHERE.items():
        holds, lost = local[attack]["holds_to"], local[attack]["lost_from"]
        to = "not even at the smallest beta r here" if math.isnan(holds) else f"in every cell up to beta r = {holds:g}"
        end = "" if math.isinf(lost) else f", in none from {lost:g} on"
        words.append(f"{where}: Spearman with the attack's own number >= {local['level']:g} {to}{end}")
    return words


def claims(table: pd.DataFrame, found: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """What must hold, each with its value, n, and whether it does; absent where a cell has too few images."""
    judged = certificate_claims(table)
    curve = found[
        (found["attack"] == "surface")
        & (found["predictor"] == "lambda_max")
        & (found["beta"] == 0.8)
        & (found["radius"] == 0.1)
    ]
    if len(curve) and curve.iloc[0]["n"] >= _ENOUGH:
        row = curve.iloc[0]
        judged["on the level set Spearman >= 0.99 with lambda_max at beta = 0.8, r = 0.1"] = {
            "holds": bool(row["rho"] >= 0.99), "value": float(row["rho"]), "n": int(row["n"]),
        }  # fmt: skip
    cell = table[(table["beta"] == 1.0) & (table["radius"] == 0.1)]
    if len(cell) >= _ENOUGH:
        share = float((cell["certificate"] < VACUOUS).mean())
        judged["certificates say something for >= 90 % of images at beta = 1, r = 0.1"] = {
            "holds": share >= 0.9, "value": share, "n": len(cell),
        }  # fmt: skip
    return judged
