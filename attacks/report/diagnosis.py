"""The page and the picture of a diagnosis: a self-contained file, light and dark, readable on a phone."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attacks.diagnosis import AtRadius, Diagnosis
from attacks.explanations import explain
from attacks.images import Picture
from attacks.metrics import pcc
from attacks.networks import Network
from attacks.plots import map_png, plot_map, png_of, show_image
from attacks.report.diagnosis_words import at_most, sentences
from attacks.report.page import environment, label_of, pixels_png, png_uri, svg_uri
from attacks.storage import write_atomically

_CERTIFIED = {"marker": "v", "color": "C3", "label": "certified, at most"}
_FOUND = {"marker": "^", "color": "C0", "label": "found, at least"}
_LEVEL = {"marker": "o", "color": "C2", "ms": 4, "label": "found, logit kept"}
_FIRST = {"ls": "--", "marker": ".", "color": "0.5", "label": "first order (estimate)"}


def write_diagnosis(folder: Path, network: Network, diagnosis: Diagnosis, *, picture: Picture, command: str) -> None:
    """Write ``diagnosis.html`` and ``diagnosis.png``.

    Args:
        folder: An existing folder.
        network: The network, not softened.
        diagnosis: What to show.
        picture: For name and credit.
        command: What makes the page again.
    """
    field = diagnosis.field
    own = explain(network, diagnosis.x[None], field.target_class, method="gradient")
    ladder, reasons = _ladder(diagnosis)
    page = (
        environment()
        .get_template("diagnosis.html")
        .render(
            d=diagnosis,
            network=network,
            picture=picture,
            command=command,
            dtype=str(field.dtype).removeprefix("torch."),
            label=label_of(network, field.target_class),
            predicted=label_of(network, diagnosis.predicted),
            softened=label_of(network, diagnosis.softened_predicted),
            similarity=float(pcc(own.double(), diagnosis.map[None].double())[0]),
            panels=_panels(network, diagnosis),
            radii=[(at, sentences(diagnosis, at)) for at in diagnosis.radii],
            changes=svg_uri(plot_changes(diagnosis)),
            spectrum=svg_uri(plot_spectrum(diagnosis)),
            ladder=ladder,
            reasons=reasons,
        )
    )
    write_atomically(folder / "diagnosis.png", png_of(plot_diagnosis(network, diagnosis)))
    write_atomically(folder / "diagnosis.html", page)


def plot_diagnosis(network: Network, diagnosis: Diagnosis) -> Figure:
    """All in one picture: image, maps, spectrum, and the changes over the radius."""
    figure = Figure(figsize=(8.2, 8.4), layout="constrained")
    grid = figure.add_gridspec(3, 3)
    show_image(figure.add_subplot(grid[0, 0]), network.pixels(diagnosis.x[None])[0], "image")
    last = diagnosis.radii[-1]
    moved = diagnosis.map_at(last.found.map)
    plot_map(
        diagnosis.map, axes=figure.add_subplot(grid[0, 1]), title=rf"map, softplus $\beta = {diagnosis.field.beta:g}$"
    )
    plot_map(moved, axes=figure.add_subplot(grid[0, 2]), title=f"moved furthest, r = {last.radius:g}")
    _spectrum(figure.add_subplot(grid[1, :]), diagnosis)
    lower = grid[2, :].subgridspec(1, 2)
    _changes((figure.add_subplot(lower[0]), figure.add_subplot(lower[1])), diagnosis)
    return figure


def plot_spectrum(diagnosis: Diagnosis) -> Figure:
    """The principal curvatures in order."""
    figure = Figure(figsize=(8.2, 2.6), layout="constrained")
    _spectrum(figure.subplots(), diagnosis)
    return figure


def plot_changes(diagnosis: Diagnosis) -> Figure:
    """Certified and found change of both maps over the radius."""
    figure = Figure(figsize=(8.2, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _changes((left, right), diagnosis)
    return figure


def _spectrum(axes: Axes, diagnosis: Diagnosis) -> None:
    values = diagnosis.geometry.curvatures.cpu().numpy()
    axes.bar(np.arange(1, len(values) + 1), values, width=0.8 if len(values) < 200 else 1.0)
    axes.axhline(0, color="0.5", lw=0.6)
    complete = diagnosis.geometry.complete
    axes.set(
        xlabel="principal curvature, in order" + ("" if complete else " (the largest in magnitude alone, estimates)"),
        ylabel=r"$\kappa_i$ [1/length]",
    )
    if len(values) < 20:
        axes.set_xticks(range(1, len(values) + 1))


def _changes(panels: tuple[Axes, Axes], diagnosis: Diagnosis) -> None:
    at = diagnosis.radii
    r = [a.radius for a in at]
    normal, map_ = panels
    normal.loglog(r, [_certified(a, "change_bound", 2.0) for a in at], **_CERTIFIED)
    normal.loglog(r, [a.found.normal.value for a in at], **_FOUND)
    normal.loglog(r, [a.found.normal_on_level_set.value for a in at], **_LEVEL)
    normal.loglog(r, [a.normal_estimate for a in at], **_FIRST)
    normal.axhline(2, color="0.7", lw=0.8, ls=":")
    normal.set(xlabel="radius [length]", ylabel=r"$\|n(y) - n(x)\|_2$ (at most 2)", title="unit normal")
    map_.loglog(r, [_certified(a, "map_change_bound", 2**0.5) for a in at], **_CERTIFIED)
    map_.loglog(r, [a.found.map.value for a in at], **_FOUND)
    map_.loglog(r, [a.found.map_on_level_set.value for a in at], **_LEVEL)
    map_.axhline(2**0.5, color="0.7", lw=0.8, ls=":")
    map_.set(xlabel="radius [length]", ylabel=r"$\|h(y) - h(x)\|_2$ (at most 1.41)", title="normalised abs-sum map")
    for axes in panels:
        axes.set_xticks(r, [f"{radius:g}" for radius in r])
        axes.xaxis.minorticks_off()
        axes.margins(y=0.15)
    # Without a certificate there is nothing to point at.
    shown = [line for line in normal.get_lines()[:4] if not np.isnan(line.get_ydata()).all()]
    normal.legend(handles=shown, frameon=False, fontsize=8)


def _certified(at: AtRadius, field: str, vacuous: float) -> float:
    """A certified number, or NaN where it says nothing, so that nothing is drawn."""
    value = float("nan") if at.certificate is None else float(getattr(at.certificate, field))
    return value if value < vacuous else float("nan")


def _panels(network: Network, diagnosis: Diagnosis) -> list[dict[str, str]]:
    last = diagnosis.radii[-1]
    found = last.found.map
    shown = found.point.reshape(diagnosis.x.shape).to(diagnosis.x.dtype)
    return [
        {"title": "image", "image": png_uri(pixels_png(network.pixels(diagnosis.x[None])[0]))},
        {"title": "its map", "image": png_uri(map_png(diagnosis.map))},
        {"title": f"found within {last.radius:g}", "image": png_uri(pixels_png(network.pixels(shown[None])[0]))},
        {"title": "the map there", "image": png_uri(map_png(diagnosis.map_at(found)))},
    ]


def _ladder(diagnosis: Diagnosis) -> tuple[list[tuple[str, list[str]]], list[tuple[str, str]]]:
    """The table of curvature bounds, and why rungs say nothing; one reason for all where it is the same."""
    names = list(diagnosis.radii[0].rungs)
    table = []
    for name in names:
        values = [at.rungs[name].curvature for at in diagnosis.radii]
        if any(value is not None for value in values):
            table.append((name, ["-" if value is None else at_most(value, 4) for value in values]))
    reasons: dict[str, list[str]] = {}
    for name in names:
        missing = [at.rungs[name] for at in diagnosis.radii if at.rungs[name].curvature is None]
        if missing:
            reasons.setdefault(missing[0].reason or "it bounds the gradient's change, not curvature", []).append(name)
    return table, [(", ".join(group), reason) for reason, group in reasons.items()]
