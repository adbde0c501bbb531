"""The page of a study: tables and box plots by network, method, attack and defence."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from attacks.report.page import environment, svg_uri
from attacks.studies.study import NO_DEFENCE, Study

_GROUP = ["network", "method", "attack", "defence"]
_WORDS = {NO_DEFENCE: "no defence"}
# Title of a chart, and the columns of the summary that stand side by side in it.
_CHARTS = {
    "Map: correlation with the target's map": {
        "before": "explanation_pcc_target_before",
        "after": "explanation_pcc_target",
    },
    "Map: SSIM to the target's map": {"before": "explanation_ssim_target_before", "after": "explanation_ssim_target"},
    "Map: correlation with the original map": {"after": "explanation_pcc_original"},
    "Image: correlation with the original image": {"after": "image_pcc"},
    "Output: norm of the change of the softmax": {"after": "output_softmax_change"},
}
_WHISKERS = (10, 90)  # percentiles, as in the paper's main text


def study_page(study: Study, table: pd.DataFrame, times: pd.DataFrame, *, failed: int = 0) -> str:
    """The page as a self-contained file.

    Args:
        study: What was run.
        table: Its summary.
        times: Its timings.
        failed: Tasks that are missing.
    """
    groups = [(key, part) for key, part in table.groupby(_GROUP, sort=False)]
    varying = _varying(groups)
    rows = [[*_chosen(key, varying), str(len(part)), *_cells(part)] for key, part in groups]
    first = groups[0][0]
    return (
        environment()
        .get_template("study.html")
        .render(
            study=study,
            pairs=len(study.pairs),
            images=len(table),
            failed=failed,
            constant=", ".join(first[i] for i in range(len(_GROUP)) if i not in varying and first[i] != NO_DEFENCE),
            columns=[*_chosen(_GROUP, varying), "n", *_CELLS],
            rows=rows,
            charts=[{"title": title, "image": svg_uri(_boxes(groups, columns))} for title, columns in _CHARTS.items()],
            time_columns=[*_chosen(_GROUP, varying), "batch", "steps", "one attack [s]", "one at a time [s]", "ratio"],
            times=list(_times(times, varying)),
            reasons=_reasons(study),
            curvature=_curvature(groups, varying),
            curvature_columns=[] if study.curvature is None else [*_chosen(_GROUP, varying), "column", *_QUANTILES],
            missing=table.attrs.get("missing", {}),
            credit=_credit(study),
        )
    )


_CELLS = ("PCC to target", "SSIM to target", "PCC to original", "image PCC", "classes kept", "softmax change")


def _cells(part: pd.DataFrame) -> list[str]:
    def median(column: str) -> str:
        return f"{part[column].median():.3g}"

    kept = int(part["output_class_kept"].sum())
    return [
        f"{median('explanation_pcc_target_before')} → {median('explanation_pcc_target')}",
        f"{median('explanation_ssim_target_before')} → {median('explanation_ssim_target')}",
        median("explanation_pcc_original"),
        f"{part['image_pcc'].median():.4f}",
        f"{kept} of {len(part)}",
        median("output_softmax_change"),
    ]


def _boxes(groups: list[tuple[Any, pd.DataFrame]], columns: dict[str, str]) -> Figure:
    """One row a group, one box a column."""
    figure = Figure(figsize=(7.4, 0.9 + 0.3 * len(groups) * len(columns)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(columns)
    for j, (label, column) in enumerate(columns.items()):
        values = [part[column].dropna().to_numpy(dtype=float) for _, part in groups]
        drawn = axes.boxplot(
            values,
            orientation="horizontal",
            positions=[i + (j - (len(columns) - 1) / 2) * height for i in range(len(groups))],
            widths=0.75 * height,
            whis=_WHISKERS,
            showfliers=False,
            patch_artist=True,
            manage_ticks=False,
            medianprops={"color": "black"},
        )
        for box in drawn["boxes"]:
            box.set_facecolor(f"C{j}")
        axes.plot([], [], color=f"C{j}", lw=6, label=label)
    axes.set_yticks(range(len(groups)), [_label(key, groups) for key, _ in groups])
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    if len(columns) > 1:
        axes.legend(frameon=False, ncols=len(columns), loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def _label(key: tuple[str, ...], groups: list[tuple[Any, pd.DataFrame]]) -> str:
    """The parts of a group's name that differ between groups."""
    return ", ".join(_chosen(key, _varying(groups))).replace("_", " ")


def _varying(groups: list[tuple[Any, pd.DataFrame]]) -> list[int]:
    """Which parts of the groups' names differ between groups; the method where none does."""
    keys = [key for key, _ in groups]
    return [i for i in range(len(_GROUP)) if len({key[i] for key in keys}) > 1] or [_GROUP.index("method")]


def _chosen(key: Sequence[str], varying: list[int]) -> list[str]:
    return [_WORDS.get(key[i], key[i]) for i in varying]


def _times(times: pd.DataFrame, varying: list[int]) -> Iterator[list[str]]:
    for key, part in times.groupby(_GROUP, sort=False):
        known = part.dropna(subset=["seconds"])
        if known.empty:
            continue
        images = known["images"].sum()
        each = known["seconds"].sum() / images
        alone = (known["seconds_one_at_a_time"] * known["images"]).sum() / images
        batch, steps = int(known["images"].max()), int(known["steps"].max())
        yield [*_chosen(key, varying), str(batch), str(steps), f"{each:.3g}", f"{alone:.3g}", f"{alone / each:.2f}"]


_QUANTILES = ("n", "median", "10th", "90th percentile")


def _curvature(groups: list[tuple[Any, pd.DataFrame]], varying: list[int]) -> list[list[str]]:
    """Each curvature column of each group that has a number in it."""
    rows = []
    for key, part in groups:
        for column in (name for name in part if name.startswith("curvature_")):
            values = part[column].dropna()
            if not values.empty:
                numbers = [f"{values.quantile(q):.4g}" for q in (0.5, 0.1, 0.9)]
                name = column.removeprefix("curvature_").replace("_", " ")
                rows.append([*_chosen(key, varying), name, str(len(values)), *numbers])
    return rows


def _reasons(study: Study) -> list[tuple[str, str]]:
    """Combinations of network, method, attack and defence by the reason that their numbers carry."""
    found: dict[str, list[str]] = {}
    for c in study.combinations():
        if c.config.reason:
            words = ", ".join(n for n in (c.network, c.method, c.attack.name, c.defence.name) if n != NO_DEFENCE)
            found.setdefault(c.config.reason, [])
            if words not in found[c.config.reason]:
                found[c.config.reason].append(words)
    return [("; ".join(words), reason) for reason, words in found.items()]


def _credit(study: Study) -> str:
    return f"Pictures: {'; '.join(study.pairs.credits)}."
