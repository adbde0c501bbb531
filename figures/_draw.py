"""What several figures draw: boxes, scatters against the diagonal, pictures and maps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullFormatter
from numpy.typing import NDArray

ONE_COLUMN, TWO_COLUMNS = 3.3, 6.8  # inches
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
NAMES = {
    "gradient": "Gradient",
    "grad_times_input": "Grad x Input",
    "integrated_gradients": "IntGrad",
    "lrp": "LRP",
    "guided_backprop": "GBP",
    "pattern_attribution": "PA",
}
_QUANTILE = 0.995  # a few pixels hold most of a gradient map's mass; brighter ones are drawn alike


def boxes(axes: Axes, groups: Mapping[str, Sequence[NDArray[Any]]], names: Sequence[str]) -> None:
    """Median, quartiles, whiskers at the 10th and 90th percentile, as in the paper.

    Args:
        axes: Where to.
        groups: For each word of the legend one column of numbers a name, side by side.
        names: Below the boxes.
    """
    width = 0.7 / len(groups)
    for i, ((word, columns), colour) in enumerate(zip(groups.items(), COLOURS, strict=False)):
        places = np.arange(len(names)) + (i - (len(groups) - 1) / 2) * width
        drawn = axes.boxplot(
            [np.asarray(column, float) for column in columns], positions=places, whis=(10, 90), showfliers=False,
            widths=0.85 * width, patch_artist=True, medianprops={"color": "black"}, manage_ticks=False,
        )  # fmt: skip
        for patch in drawn["boxes"]:
            patch.set(facecolor=colour, alpha=0.55)
        if len(groups) > 1:
            axes.plot([], [], "s", color=colour, alpha=0.55, label=word)
    axes.set_xticks(range(len(names)), names)
    if max(map(len, names)) * len(names) > 28:  # they would overlap
        axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(names) - 0.4)


def draw_output_change(data: Mapping[str, NDArray[Any]], names: Sequence[str]) -> Figure:
    """Change of logits, of probabilities and of the winning one, a box a name, from ``[names, pairs]`` each."""
    figure = Figure(figsize=(TWO_COLUMNS, 2.4))
    panels = figure.subplots(1, 3)
    changes = (data["logits_change"], data["softmax_change"], data["probability_after"] - data["probability_before"])
    labels = (r"$\|\tilde g(x_{adv}) - \tilde g(x)\|$", r"$\|g(x_{adv}) - g(x)\|$", "change of winning probability")
    for axes, change, label in zip(panels, changes, labels, strict=True):
        boxes(axes, {"": list(change)}, names)
        axes.set_ylabel(label)
    for axes in panels[:2]:
        axes.set_yscale("log")
    return figure


def diagonal(axes: Axes, *, logarithmic: bool = False) -> None:
    """Equal limits on both axes and the line where both are equal."""
    if logarithmic:
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 3)))
            axis.set_major_formatter(LogFormatterSciNotation(minor_thresholds=(9, 9)))
            axis.set_minor_formatter(NullFormatter())
    low = min(axes.get_xlim()[0], axes.get_ylim()[0])
    high = max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([low, high], [low, high], color="0.5", lw=0.8, zorder=0)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")


def show_map(axes: Axes, map_: NDArray[Any], title: str = "") -> None:
    """An explanation map ``[H, W]``, brightest at its 99.5 % quantile."""
    axes.imshow(map_, cmap="inferno", vmin=0, vmax=float(np.quantile(map_, _QUANTILE)) or None)
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)


def show_image(axes: Axes, pixels: NDArray[Any], title: str = "") -> None:
    """A picture ``[C, H, W]`` of pixels in [0, 1]."""
    axes.imshow(np.clip(pixels.transpose(1, 2, 0).squeeze(), 0, 1), cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)


def band(axes: Axes, x: NDArray[Any], columns: NDArray[Any], label: str, colour: str) -> None:
    """Median of ``columns`` ``[len(x), n]`` as a line, 10th to 90th percentile as a band."""
    low, median, high = np.percentile(columns, (10, 50, 90), axis=1)
    axes.plot(x, median, color=colour, label=label)
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
