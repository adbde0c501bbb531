"""Figures of maps, of a whole attack and of its curvature trace, for notebooks and the report."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from attacks.diagnostics import TracePoint
from attacks.manipulation import AttackResult
from attacks.metrics import pcc
from attacks.networks import Network

_CURVES = (("map_mse", "map to target"), ("image_mse", "image to original"), ("output_mse", "output to original"))
_QUANTILE = 0.995  # a few pixels hold most of a gradient map's mass; brighter ones are drawn alike


def plot_map(map_: Float[Tensor, "h w"], *, axes: Axes | None = None, title: str = "") -> Figure:
    """Draw one explanation map, brightest at its 99.5 % quantile."""
    if axes is None:
        axes = Figure(figsize=(2.4, 2.5), layout="constrained").subplots()
    figure = axes.get_figure(root=True)
    assert figure is not None
    values = map_.detach().double().cpu().numpy()
    axes.imshow(values, cmap="inferno", vmin=0, vmax=float(np.quantile(values, _QUANTILE)) or None)
    axes.set(xticks=[], yticks=[], title=title)
    return figure


def map_png(map_: Float[Tensor, "h w"]) -> bytes:
    """One explanation map as a PNG of its own size, coloured as by ``plot_map``, without a frame."""
    values = map_.detach().double().cpu().numpy()
    brightest = float(np.quantile(values, _QUANTILE)) or float(values.max()) or 1.0
    buffer = io.BytesIO()
    colours = colormaps["inferno"](np.clip(values / brightest, 0, 1), bytes=True)[..., :3]
    Image.fromarray(np.ascontiguousarray(colours)).save(buffer, format="png")
    return buffer.getvalue()


def plot_overview(
    result: AttackResult, network: Network, *, target: Float[Tensor, "b c h w"] | None = None, index: int = 0
) -> Figure:
    """Images above, maps below: target, original, manipulated; and the perturbation, magnified.

    Args:
        result: What the attack reached.
        network: For the way from its input space to pixels.
        target: The target images, in the module's input space.
        index: Which sample of the batch.
    """
    figure = Figure(figsize=(8.2, 4.6), layout="constrained")
    top, bottom = figure.subplots(2, 4)
    original, adversarial = (network.pixels(x)[index] for x in (result.original, result.adversarial))
    images = [None if target is None else network.pixels(target)[min(index, len(target) - 1)], original, adversarial]
    for axes, image, title in zip(top, images, ("target", "original", "manipulated"), strict=False):
        show_image(axes, image, title)
    difference = adversarial - original
    factor = magnification(difference)
    show_image(top[3], 0.5 + factor * difference, f"perturbation x {factor:g}")
    top[0].set_ylabel("image")
    bottom[0].set_ylabel("explanation map")
    for axes, map_ in zip(bottom, (result.target_map, result.original_maps, result.maps), strict=False):
        similarity = float(pcc(map_[index][None], result.target_map[index][None]))
        plot_map(
            map_[index], axes=axes, title="its map" if map_ is result.target_map else f"PCC to target {similarity:.2f}"
        )
    _curves(bottom[3], result, index)
    return figure


def plot_maps(
    image: Float[Tensor, "c h w"], maps: Mapping[str, Sequence[Float[Tensor, "h w"]]], *, columns: Sequence[str]
) -> Figure:
    """A picture, and a table of its explanation maps: one row a method, one column a network.

    Args:
        image: Pixels in [0, 1].
        maps: Per row name, one map a column.
        columns: Titles of the columns.
    """
    width = len(columns) + 1
    figure = Figure(figsize=(1.7 * width, 1.75 * len(maps) + 0.2), layout="constrained")
    grid = figure.subplots(len(maps), width, squeeze=False)
    for i, (name, row) in enumerate(maps.items()):
        show_image(grid[i][0], image if i == 0 else None, "image" if i == 0 else "")
        for axes, map_, title in zip(grid[i][1:], row, columns, strict=True):
            plot_map(map_, axes=axes, title=title if i == 0 else "")
        grid[i][1].set_ylabel(name.replace("_", " "), fontsize=8)
    return figure


def plot_trace(points: Sequence[TracePoint], *, beta: float) -> Figure:
    """Curvature over the steps, and the turn of the normal beside the budget that allows it."""
    figure = Figure(figsize=(8.2, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [p.step for p in points]
    left.plot(steps, [abs(p.curvature_estimate) for p in points], marker="o", ms=3, label=r"$|\lambda_{\max}|$, along")
    left.plot(steps, [p.cross_estimate for p in points], marker="s", ms=3, label=r"$\|PHn\|/\|\nabla f\|$, across")
    left.set(xlabel="step", ylabel="rate of turn [1/length]", title=rf"softplus, $\beta = {beta:g}$", ylim=(0, None))
    right.plot(steps, [p.normal_change for p in points], marker="o", ms=3, label="change of the unit normal")
    right.plot(steps, [p.chord_budget_estimate for p in points], marker="s", ms=3, label="budget (estimate)")
    right.plot(steps, [p.chord_curvature_estimate for p in points], ls=":", label="of it, curvature along the set")
    if max(p.chord_budget_estimate for p in points) > 1:  # far below it, the limit would flatten the curves
        right.axhline(2, color="0.5", lw=0.8, ls="--")
    right.set(
        xlabel="step", ylabel=r"$\|n(x_t) - n(x_0)\|$", title="the normal's turn (a chord, at most 2)", ylim=(0, None)
    )
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
    return figure


def magnification(difference: Tensor) -> float:
    """A round factor that makes a perturbation fill the range around mid-grey, but for a half per cent of it."""
    values = difference.detach().abs().double().cpu().numpy()
    largest = float(np.quantile(values, _QUANTILE)) or float(values.max())
    if largest == 0:
        return 1.0
    exponent = np.floor(np.log10(0.5 / largest))
    return float(next(m for m in (5, 2, 1) if m * 10**exponent * largest <= 0.5) * 10**exponent)


def plot_history(result: AttackResult, *, index: int = 0) -> Figure:
    """The loss and its parts over the steps, for one sample."""
    panels = [(name, label) for name, label in _CURVES if name in result.history]
    figure = Figure(figsize=(8.2, 2.6), layout="constrained")
    for axes, (name, label) in zip(figure.subplots(1, max(1, len(panels)), squeeze=False)[0], panels, strict=False):
        _curve(axes, result, index, (name, label))
        axes.set(title=label, xlabel="step", ylabel="MSE")
    return figure


def show_image(axes: Axes, image: Tensor | None, title: str) -> None:
    """Draw pixels ``[C, H, W]`` in [0, 1] without a frame; nothing at all for None."""
    axes.set(xticks=[], yticks=[], title=title)
    if image is None:
        axes.set_axis_off()
        return
    axes.imshow(
        image.detach().double().clamp(0, 1).permute(1, 2, 0).cpu().numpy().squeeze(), cmap="gray", vmin=0, vmax=1
    )


def _curves(axes: Axes, result: AttackResult, index: int) -> None:
    for curve in _CURVES:
        if curve[0] in result.history:
            _curve(axes, result, index, curve)
    axes.set(xlabel="step", ylabel="MSE", box_aspect=1)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=7)


def _curve(axes: Axes, result: AttackResult, index: int, curve: tuple[str, str]) -> None:
    values = result.history[curve[0]][:, index].double().numpy()
    # Exactly zero before the first step has changed anything: no place on a logarithmic axis.
    axes.semilogy(np.arange(len(values)), np.where(values > 0, values, np.nan), label=curve[1], lw=1)


def png_of(figure: Figure) -> bytes:
    """A figure as a PNG file's bytes, the same for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()
