"""The page of the smaller experiments on curvature and manipulability: one chart, one table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from attacks.report.page import environment, svg_uri

_WORDS = {"attained_surface": "attained on the level set", "attained_free": "attained in the ball",
          "certificate": "certified", "lambda_max": "largest |curvature|", "ph_over_g": "||PH||/||G||"}  # fmt: skip

_EFFECT_COLUMNS = (
    "recipe", "beta", "radius", "measure", "median_plain", "median", "ratio", "ratio_low", "ratio_high",
    "ratio_by_seed_low", "ratio_by_seed_high", "delta", "delta_low", "delta_high", "images", "seeds",
)  # fmt: skip
_TARGETED_COLUMNS = (
    "method", "beta", "outcome", "predictor", "rho", "low", "high", "p_holm", "partial_rho", "partial_low",
    "partial_high", "partial_p_holm", "n",
)  # fmt: skip


def training_page(report: dict[str, Any], effects: pd.DataFrame) -> str:
    """Effects of weight decay and of the curvature penalty."""
    accuracy = "; ".join(f"{name} {np.mean(values):.4f}" for name, values in report["accuracy"].items())
    less = "; ".join(
        f"{name} {value:+.4f} [{low:+.4f}, {high:+.4f}]"
        for name, (value, low, high) in report["accuracy_difference"].items()
    )
    claims = "; ".join(f"{name}: {claim['value']} (n = {claim['n']})" for name, claim in report["claims"].items())
    return _page(
        "Does lower curvature in training lower what an attack reaches?",
        f"Digits networks, {report['seeds']} seeds each, {report['images']} held-out images. "
        f"Held-out accuracy: {accuracy}; less that of the plain recipe: {less}. The change is that of the unit normal. "
        f"How often each of these failed: {claims}.",
        _training_figure(effects),
        _table(effects, _EFFECT_COLUMNS),
        "Ratio of medians and Cliff's delta against the plain recipe, over images and seeds, with 95 % bootstrap "
        "intervals over images, each drawn with all its seeds; by seed: the smallest and largest ratio.",
        report["command"],
    )  # fmt: skip


def targeted_page(report: dict[str, Any], found: pd.DataFrame) -> str:
    """Curvature against the outcome of the paper's targeted attack."""
    return _page(
        "Does curvature predict the targeted attack?",
        f"Digits, {report['pairs']} pairs of image and target, {report['iterations']} steps, six methods. "
        "Outcomes: correlation with the target's map after the attack, its gain, and the mean squared distance.",
        _targeted_figure(found),
        _table(found, _TARGETED_COLUMNS),
        f"Spearman's rho with 95 % bootstrap intervals; permutation p, adjusted by Holm over the family of all "
        f"{report['family']} such tests. Partial: given gradient norm, margin, confidence and the correlation before; "
        "p by Student's t, adjusted by Holm over their own family. The certificate is that of a ball of radius 0.1.",
        report["command"],
    )  # fmt: skip


def _page(title: str, lead: str, figure: Figure, table: Sequence[Sequence[str]], note: str, command: str) -> str:  # noqa: PLR0913
    return (
        environment()
        .get_template("experiment.html")
        .render(title=title, lead=lead, chart=svg_uri(figure), table=table, note=note, command=command)
    )


def _table(frame: pd.DataFrame, columns: tuple[str, ...]) -> list[list[str]]:
    rows = [[_text(row[name]) for name in columns] for row in frame.to_dict("records")]
    return [[name.replace("_", " ") for name in columns], *rows]


def _training_figure(effects: pd.DataFrame) -> Figure:
    rows = effects[effects["measure"].isin(["attained_surface", "attained_free", "lambda_max"])]
    labels = [
        f"{row['recipe']}, β {row['beta']:g}, r {row['radius']:g}: {_WORDS[row['measure']]}"
        for row in rows.to_dict("records")
    ]
    return _intervals(
        rows["ratio"], rows["ratio_low"], rows["ratio_high"], labels, (1.0, "median over the plain median")
    )


def _targeted_figure(found: pd.DataFrame) -> Figure:
    beta = found["beta"].max()
    rows = found[(found["beta"] == beta) & (found["outcome"] == "pcc_gain")]
    rows = rows[rows["predictor"].isin(["lambda_max", "ph_over_g"])]
    labels = [f"{row['method']}: {_WORDS[row['predictor']]}".replace("_", " ") for row in rows.to_dict("records")]
    words = rf"Spearman with the gain in correlation with the target, $\beta = {beta:g}$"
    return _intervals(rows["rho"], rows["low"], rows["high"], labels, (0.0, words))


def _intervals(
    middle: pd.Series, low: pd.Series, high: pd.Series, labels: list[str], axis: tuple[float, str]
) -> Figure:
    figure = Figure(figsize=(8.2, 0.8 + 0.22 * len(labels)), layout="constrained")
    axes = figure.subplots()
    error = np.clip([middle - low, high - middle], 0, None)
    axes.errorbar(middle, range(len(labels)), xerr=error, fmt="o", ms=4, lw=1)
    axes.axvline(axis[0], color="0.5", lw=0.8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(axis[1])
    return figure


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.replace("_", " ")
    return "–" if not np.isfinite(value) else f"{value:.4g}"
