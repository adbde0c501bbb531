"""Attacks on original, SmoothGrad and beta-smoothed maps side by side: what figures 15 to 19 share."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from figures._claim import Claim, Data
from figures._draw import COLOURS, MARKERS, NAMES, TWO_COLUMNS, boxes, diagonal
from figures._studies import METHODS, results, setting_of

DEFENCES = ("SmoothGrad", r"$\beta$-smoothing")
DEFENDED = ("gradient", "lrp")  # methods of table 4
METRICS = ("mse", "ssim", "pcc")
# Comparable perturbations: not below half the MSE, not above by 0.05 in SSIM and PCC. Set before any result was seen.
_FACTOR, _MARGIN = 0.5, 0.05
# Verdicts on record, figures 15 to 17. Table 4's steps for SmoothGrad are larger than table 1's, and its maps go
# farther; smoothed LRP maps of MNIST resemble each other before any attack; table 5's steps are smaller, and the images
# change less (docs/results.md).
_FARTHER = {"mse": "higher", "ssim": "lower", "pcc": "lower"}
_FAILING = {
    f"{metric.upper()} of {name} maps to the target is mostly {farther} with {defence}"
    for metric, farther in _FARTHER.items()
    for name, defence in (("Gradient", "SmoothGrad"), ("LRP", "SmoothGrad"), ("LRP", "beta-smoothing"))
} | {
    f"{metric.upper()} of images is {_FARTHER[metric]} or comparable with beta-smoothing of Gradient"
    for metric in ("mse", "ssim")
}


def three_attacks(metric: str, *, quick: bool, studies: Path, any_code: bool, imagenet: str) -> Data:
    """A metric of maps (to the target) and of images (to the original), ``[original and 2 defences, methods, pairs]``.

    Raises:
        ValueError: If the studies are not on the same pairs.
    """
    names = ("table1", "table4", "table5")
    found = [results(name, quick=quick, studies=studies, any_code=any_code, imagenet=imagenet) for name in names]
    if any(other.pairs != found[0].pairs for other in found):
        raise ValueError("expected the studies table1, table4 and table5 on the same pairs, got others")
    columns = {"maps": f"explanation_{metric}_target", "images": f"image_{metric}"}
    return {
        what: np.array([[study.column(column, method=method) for method in DEFENDED] for study in found])
        for what, column in columns.items()
    } | {"setting": np.array(setting_of(*found))}


def two_attacks(what: str, *, quick: bool, studies: Path, any_code: bool, imagenet: str) -> Data:
    """All metrics of ``maps`` or ``images``, each ``[original and beta-smoothed, six methods, pairs]``."""
    names = ("table1", "table5")
    found = [results(name, quick=quick, studies=studies, any_code=any_code, imagenet=imagenet) for name in names]
    form = "explanation_{}_target" if what == "maps" else "image_{}"
    return {
        metric: np.array([[study.column(form.format(metric), method=method) for method in METHODS] for study in found])
        for metric in METRICS
    } | {"setting": np.array(setting_of(*found))}


def claims_of_scatter(data: Data, metric: str, *, failing: Collection[str] = _FAILING) -> dict[str, Claim]:
    """The caption's statements: smoothed maps stay farther from the target; perturbations are as large or larger.

    Args:
        data: Of ``three_attacks``.
        metric: ``mse``, ``ssim`` or ``pcc``.
        failing: Statements that are on record as not holding here.
    """
    sign, farther = 1 if metric == "mse" else -1, _FARTHER[metric]
    found: dict[str, Claim] = {}
    for d, defence in enumerate(("SmoothGrad", "beta-smoothing"), start=1):
        for m, method in enumerate(DEFENDED):
            original, smoothed = data["maps"][0, m], data["maps"][d, m]
            words = f"{metric.upper()} of {NAMES[method]} maps to the target is mostly {farther} with {defence}"
            share = float((sign * (smoothed - original) > 0).mean())
            note = "share of pairs; mostly: more than half"
            found[words] = Claim(
                expected=words not in failing, holds=share > 0.5, value=share, n=len(original), note=note
            )
            original, smoothed = data["images"][0, m], data["images"][d, m]
            words = f"{metric.upper()} of images is {farther} or comparable with {defence} of {NAMES[method]}"
            fine = smoothed >= _FACTOR * original if metric == "mse" else smoothed <= original + _MARGIN
            share = float(fine.mean())
            note = f"share of pairs; comparable: at least {_FACTOR} times the MSE, at most {_MARGIN} more SSIM or PCC"
            found[words] = Claim(
                expected=words not in failing, holds=share > 0.5, value=share, n=len(original), note=note
            )
    return found


def draw_scatter(data: Data, metric: str) -> Figure:
    """Maps left, images right; smoothed across, original up; the diagonal where both are equal."""
    figure = Figure(figsize=(TWO_COLUMNS, 3.3))
    panels = figure.subplots(1, 2)
    for axes, what in zip(panels, ("maps", "images"), strict=True):
        for d, defence in enumerate(DEFENCES, start=1):
            for m, method in enumerate(DEFENDED):
                style = {"s": 9, "alpha": 0.7, "linewidths": 0, "color": COLOURS[2 * m + d - 1]}
                label = f"{NAMES[method]}, {defence}"
                x, y = data[what][d, m], data[what][0, m]
                axes.scatter(x, y, marker=MARKERS[2 * m + d - 1], label=label, **style)
        diagonal(axes, logarithmic=metric == "mse")
        name = "explanation maps" if what == "maps" else "images"
        axes.set(xlabel=f"{metric.upper()}, smoothed", ylabel=f"{metric.upper()}, original", title=name)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, markerscale=2)
    return figure


def draw_boxes(data: Data, titles: dict[str, str]) -> Figure:
    """A panel a metric, a pair of boxes a method."""
    figure = Figure(figsize=(TWO_COLUMNS, 2.6))
    panels = figure.subplots(1, 3)
    for axes, metric in zip(panels, METRICS, strict=True):
        groups = {"original": list(data[metric][0]), r"$\beta$-smoothed": list(data[metric][1])}
        boxes(axes, groups, [NAMES[method] for method in METHODS])
        axes.set(ylabel=titles[metric])
    panels[0].set_yscale("log")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def scatter_caption(data: Data, metric: str) -> str:
    """What was run for figures 15 to 17."""
    n = data["maps"].shape[2]
    return f"""{metric.upper()} after targeted attacks on original maps (table 1), on SmoothGrad maps (table 4; 10
        noisy copies, noise level 0.1, fresh noise a step) and on beta-smoothed maps (table 5, beta 0.8): left between
        the map and its target, right between the images; each marker one of the same {n} pairs. Gradient (1500, 1500,
        500 steps) and LRP (1500 each). {data["setting"]}"""


def boxes_caption(data: Data, what: str) -> str:
    """What was run for figures 18 and 19."""
    n = data["mse"].shape[2]
    measured = {"maps": "between manipulated maps and targets", "images": "between manipulated and original images"}[
        what
    ]
    return f"""MSE, SSIM and PCC {measured}, for attacks on original explanations (rows of table 1) and on
        beta-smoothed ones (table 5, beta 0.8), six methods, the same {n} pairs (500 or 1500, and 200 to 1500 steps).
        Boxes: median, quartiles, 10th and 90th percentile. {data["setting"]}"""
