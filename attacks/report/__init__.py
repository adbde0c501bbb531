"""The page of one attack: a self-contained file, light and dark, readable on a phone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

import curvature
from attacks.images import Picture
from attacks.manipulation import AttackResult
from attacks.networks import Network
from attacks.plots import magnification, map_png, plot_history, plot_overview, plot_trace, png_of
from attacks.report.page import environment, label_of, pixels_png, png_uri, svg_uri
from attacks.storage import write_atomically


def write_report(  # noqa: PLR0913
    folder: Path,
    network: Network,
    result: AttackResult,
    summary: dict[str, Any],
    *,
    target: Tensor,
    pictures: Sequence[Picture],
    command: str,
) -> None:
    """Write ``report.html``, ``overview.png`` and ``manipulated.png`` for the first sample.

    Args:
        folder: An existing folder.
        network: The attacked network.
        result: What the attack reached.
        summary: The JSON object of the run.
        target: The target image in the module's input space.
        pictures: Original and target picture, for names and credits.
        command: What makes the page again.
    """
    page = (
        environment()
        .get_template("report.html")
        .render(
            network=network,
            result=result,
            summary=summary,
            pictures=pictures,
            command=command,
            rows=_rows(summary),
            panels=_panels(network, result, target),
            history=svg_uri(plot_history(result)) if result.history else "",
            trace=_trace(result),
            label=label_of(network, int(result.target_class[0])),
            credits=list(dict.fromkeys(picture.credit for picture in pictures)),
            story=_story(summary),
            kinks=_kinks(network, result),
        )
    )
    write_atomically(folder / "overview.png", png_of(plot_overview(result, network, target=target)))
    write_atomically(folder / "manipulated.png", pixels_png(network.pixels(result.adversarial)[0]))
    write_atomically(folder / "report.html", page)


def _panels(network: Network, result: AttackResult, target: Tensor) -> list[dict[str, str]]:
    original, adversarial = (network.pixels(x)[0] for x in (result.original, result.adversarial))
    difference = adversarial - original
    factor = magnification(difference)
    images = (
        ("target", network.pixels(target)[0], result.target_map),
        ("original", original, result.original_maps),
        ("manipulated", adversarial, result.maps),
    )
    panels = [
        {"title": title, "image": png_uri(pixels_png(image)), "map": png_uri(map_png(map_[0]))}
        for title, image, map_ in images
    ]
    return [
        *panels,
        {
            "title": f"change, x {factor:g}",
            "image": png_uri(pixels_png(0.5 + factor * difference)),
            "map": "",
        },
    ]


def _trace(result: AttackResult) -> str:
    return "" if result.trace is None else svg_uri(plot_trace(result.trace.points[0], beta=result.trace.beta))


def _kinks(network: Network, result: AttackResult) -> list[str]:
    """Layers at which even the softened network's normal jumps, as max-pooling."""
    if result.trace is None:
        return []
    return [f"{found.path} ({found.kind})" for found in curvature.hypotheses(network.soften(result.trace.beta).module)]


def _story(summary: dict[str, Any]) -> dict[str, float] | None:
    """The numbers of the paragraph on curvature, from the last point of the trace."""
    points = summary["curvature"]["trace"]
    if not points:
        return None
    last = points[-1]
    budget = last["chord_budget_estimate"]
    return {
        "change": last["normal_change"],
        "budget": budget,
        "path_budget": last["budget_estimate"],
        "used": last["normal_change"] / budget if budget else 0.0,
        "share": last["chord_curvature_estimate"] / budget if budget else 0.0,
        "along": last["length_along"],
        "across": last["length_across"],
    }


def _rows(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Metric, before and after, as text."""
    e, i, o = summary["explanation"], summary["image"], summary["output"]
    rows = [
        (f"map: {name.upper()} to target", _text(e[f"{name}_target_before"]), _text(e[f"{name}_target"]))
        for name in ("pcc", "ssim", "mse")
    ]
    ones = {"pcc": 1.0, "ssim": 1.0, "mse": 0.0}
    rows += [(f"map: {name.upper()} to original", _text(ones[name]), _text(e[f"{name}_original"])) for name in ones]
    rows += [(f"image: {name.upper()} to original", _text(ones[name]), _text(i[name])) for name in ones]
    rows += [
        ("image: largest change of a pixel (0 to 1)", "0", _text(i["linf"])),
        ("output: probability of the class", _text(o["probability_before"]), _text(o["probability_after"])),
        ("output: class", "", "kept" if o["class_kept"] else "changed"),
        ("output: norm of the change, softmax", "0", _text(o["softmax_change"])),
        ("output: norm of the change, logits", "0", _text(o["logits_change"])),
    ]
    if "path" in summary:
        p = summary["path"]
        rows += [
            ("path on the level set: length", "0", _text(p["length"])),
            ("path: largest relative deviation of the explained logit", "0", _text(p["largest_deviation"])),
            ("path: turn of the unit normal, of a budget of (estimate)", _text(p["curvature_budget_estimate"]),
             _text(p["normal_turn"])),
            ("path: change of the unsoftened network's logit", "0", _text(p["logit_change"])),
        ]  # fmt: skip
    c = summary["curvature"]
    if c["trace"]:
        rows.append(
            (
                f"largest curvature in magnitude at beta = {c['beta']:g} (estimate, 1/length)",
                _text(c["original"]),
                _text(c["adversarial"]),
            )
        )
        norms = (c["trace"][0]["gradient_norm"], c["trace"][-1]["gradient_norm"])
        rows.append((f"gradient norm at beta = {c['beta']:g}", _text(norms[0]), _text(norms[1])))
    return rows


def _text(value: float) -> str:
    return f"{value:.4g}"
