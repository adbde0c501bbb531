"""The page of the correlation experiment: curves over beta r, scatter plots with the bound drawn in, tables."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attacks.correlation.analysis import ATTACKS, GIVEN, LOCAL, WHERE, in_words
from attacks.correlation.certificates import VACUOUS
from attacks.plots import png_of
from attacks.report.page import environment, svg_uri

_NAMES = {
    "lambda_max": "largest |curvature|", "ph_over_g": "||PH||/||G||", "h": "||H||", "h_over_g": "||H||/||G||",
    "g": "||G||", "margin": "margin", "confidence": "confidence", "anchored_over_g": "rung 6: K(x)/||G||",
    "sign_aware_over_g": "rung 5 over ||G||", "frobenius_paper_over_g": "paper's constant over ||G||",
    "frobenius_over_g": "Frobenius norms over ||G||", "spectral_over_g": "spectral norms over ||G||",
    "singla_feizi_2020_over_g": "Singla and Feizi over ||G||", "entesari_2024_over_g": "Entesari et al. over ||G||",
    "certificate": "certificate of the ball", "rung7": "rung 7 on the ball", "rung8": "rung 8 on the ball",
}  # fmt: skip
_SCATTER = 4  # cells drawn as scatter plots for each attack


def correlation_page(report: dict[str, Any], table: pd.DataFrame, found: pd.DataFrame, middle: pd.DataFrame) -> str:
    """The page as a self-contained file.

    Args:
        report: The JSON object of the experiment.
        table: The triples.
        found: The rank correlations.
        middle: The medians of every cell.
    """
    return (
        environment()
        .get_template("correlation.html")
        .render(
            report=report,
            claims=[
                (name, claim["holds"], _text(claim["value"]), claim["n"]) for name, claim in report["claims"].items()
            ],
            words=in_words(report["certified_radius"], report["local"]),
            overview=svg_uri(plot_overview(found, middle)),
            scatter=svg_uri(plot_scatter(table)),
            shares=svg_uri(plot_shares(table)) if (table["certificate"] < VACUOUS).any() else "",
            attacks=[(WHERE[attack], _pivot(found, attack)) for attack in ATTACKS],
            cells=[_cells(row) for row in middle.to_dict("records")],
            controls=_controls(found),
        )
    )


def overview_png(found: pd.DataFrame, middle: pd.DataFrame) -> bytes:
    """The one picture: Spearman over beta r beside the medians over beta."""
    return png_of(plot_overview(found, middle))


def plot_overview(found: pd.DataFrame, middle: pd.DataFrame) -> Figure:
    """Left: where curvature predicts. Right: attained, certified and the paper's bound over beta."""
    figure = Figure(figsize=(9.2, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_decay(left, found)
    _draw_medians(right, middle)
    return figure


def _draw_decay(axes: Axes, found: pd.DataFrame) -> None:
    curves = (
        ("surface", "lambda_max", "C0", "o"),
        ("free", "ph_over_g", "C1", "s"),
        ("surface", "h_over_g", "C7", "x"),
    )
    for attack, predictor, colour, marker in curves:
        rows = found[(found["attack"] == attack) & (found["predictor"] == predictor)]
        product = rows["beta"] * rows["radius"]
        error = np.clip([rows["rho"] - rows["low"], rows["high"] - rows["rho"]], 0, None)
        label = f"{WHERE[attack]}, {_NAMES[predictor]}"
        axes.errorbar(product, rows["rho"], error, fmt=marker, ms=3.5, lw=0.7, color=colour, label=label, alpha=0.8)
    axes.axhline(LOCAL, color="0.5", lw=0.8, ls=":")
    axes.axhline(0, color="0.5", lw=0.8)
    axes.set(xscale="log", xlabel=r"$\beta r$", ylabel="Spearman with the attained change", ylim=(-1.05, 1.05))
    axes.legend(frameon=False, fontsize=7.5, loc="lower left")


def _draw_medians(axes: Axes, middle: pd.DataFrame) -> None:
    radius = _nearest(middle["radius"].unique(), 0.1)
    rows = middle[middle["radius"] == radius].sort_values("beta")
    lines = (("attained_surface", "attained on the level set", "C0", "o-"),
             ("attained_free", "attained in the ball", "C1", "s-"),
             ("certificate", "certified", "C2", "^-"), ("sign_aware", "rung 5's constant r / ||G||", "C4", "--"),
             ("paper", r"the paper's $\beta C r / \|G\|$", "C3", "--"))  # fmt: skip
    for column, label, colour, style in lines:
        if not np.isfinite(rows[column]).any():  # no such bound for this network
            continue
        axes.plot(rows["beta"], rows[column], style, color=colour, ms=3.5, lw=1, label=label)
    axes.axhline(VACUOUS, color="0.5", lw=0.8, ls=":")
    axes.set(xscale="log", yscale="log", xlabel=r"$\beta$", ylabel=rf"median $\|n(y)-n(x)\|$, $r = {radius:g}$")
    axes.legend(frameon=False, fontsize=7.5)


def plot_scatter(table: pd.DataFrame) -> Figure:
    """Held-out images: attained change over the first-order prediction, and over the certificate."""
    held_out = table[~table["trained_on"]]
    cells = _scattered(held_out)
    figure = Figure(figsize=(2.6 * len(cells), 7.2), layout="constrained")
    grid = figure.subplots(3, len(cells), squeeze=False)
    for column, (beta, radius) in enumerate(cells):
        cell = held_out[(held_out["beta"] == beta) & (held_out["radius"] == radius)]
        for row, (attack, predictor) in enumerate(ATTACKS.items()):
            x = cell[predictor] * radius
            _draw_points(grid[row][column], x, cell[f"attained_{attack}"], f"C{row}")
            grid[row][column].set_xlabel(f"{_NAMES[predictor]} times r", fontsize=8)
            grid[row][column].set_ylabel(f"attained {WHERE[attack]}" if column == 0 else "", fontsize=8)
        grid[0][column].set_title(rf"$\beta = {beta:g}$, $r = {radius:g}$", fontsize=9)
        axes = grid[2][column]
        for row, attack in enumerate(ATTACKS):
            _draw_points(axes, cell["certificate"], cell[f"attained_{attack}"], f"C{row}")
        axes.set_xlabel("certificate; nothing may lie above the line", fontsize=8)
        axes.set_ylabel("attained" if column == 0 else "", fontsize=8)
    return figure


def plot_shares(table: pd.DataFrame) -> Figure:
    """All triples with a certificate that says something: the attained share of it, over beta r."""
    certified = table[table["certificate"] < VACUOUS]
    share = (certified["attained_free"] / certified["certificate"]).to_numpy()
    product = (certified["beta"] * certified["radius"]).to_numpy()
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    width = np.random.default_rng(0).uniform(0.97, 1.03, len(product))  # so that images do not cover each other
    axes.plot(product * width, share, ".", ms=1, alpha=0.3, color="C1", rasterized=True)
    axes.axhline(1.0, color="0.3", lw=0.8)
    above = int((~(share <= 1)).sum())
    axes.set(
        xscale="log", xlabel=r"$\beta r$", ylabel="attained over certified", ylim=(0, max(1.1, 1.05 * share.max())),
        title=f"{len(share):,} triples, {above} above the line, the largest at {share.max():.5f}",
    )  # fmt: skip
    axes.title.set_fontsize(9)
    return figure


def _draw_points(axes: Axes, x: pd.Series, y: pd.Series, colour: str) -> None:
    axes.loglog(x, y, ".", ms=2.5, color=colour, alpha=0.6)
    ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())])
    axes.plot(ends, ends, color="0.3", lw=0.8)
    axes.tick_params(labelsize=7)


def _scattered(table: pd.DataFrame) -> list[tuple[float, float]]:
    """Cells from local to far: evenly spread over the order of beta r."""
    pairs = {(float(b), float(r)) for b, r in zip(table["beta"], table["radius"], strict=True)}
    cells = sorted(pairs, key=lambda p: p[0] * p[1])
    index = np.linspace(0, len(cells) - 1, min(_SCATTER, len(cells))).round().astype(int)
    return [cells[i] for i in index]


def _nearest(values: Any, wanted: float) -> float:
    return float(min(values, key=lambda v: abs(np.log(v / wanted))))


def _pivot(found: pd.DataFrame, attack: str) -> list[list[str]]:
    """Rows by predictor, columns by cell: rho, starred where Holm's p is below 0.05."""
    rows = found[found["attack"] == attack]
    cells = sorted({(b, r) for b, r in zip(rows["beta"], rows["radius"], strict=True)}, key=lambda p: p[0] * p[1])
    head = ["predictor", *(f"β {b:g}, r {r:g}" for b, r in cells)]
    known = {(row["predictor"], row["beta"], row["radius"]): row for row in rows.to_dict("records")}
    body = []
    for predictor in dict.fromkeys(rows["predictor"]):
        texts = [_rho(known.get((predictor, b, r))) for b, r in cells]
        body.append([_NAMES[predictor], *texts])
    return [head, *body]


def _rho(row: dict[str, Any] | None) -> str:
    if row is None or not np.isfinite(row["rho"]):
        return "–"
    return f"{row['rho']:.3f}" + ("*" if row["p_holm"] < 0.05 else "")


def _controls(found: pd.DataFrame) -> list[list[str]]:
    """Each attack's own number: rho with its interval, and the partial correlations, for every cell."""
    rows = []
    for attack, predictor in ATTACKS.items():
        part = found[(found["attack"] == attack) & (found["predictor"] == predictor)]
        for row in part.to_dict("records"):
            rows.append([
                WHERE[attack], f"{row['beta']:g}", f"{row['radius']:g}", f"{row['beta'] * row['radius']:.3g}",
                _interval(row, ""), f"{row['p_holm']:.1g}",
                *(text for kind in GIVEN for text in (_interval(row, f"{kind}_"), f"{row[f'{kind}_p_holm']:.1g}")),
                str(int(row["n"])),
            ])  # fmt: skip
    return rows


def _interval(row: dict[str, Any], prefix: str) -> str:
    return f"{row[f'{prefix}rho']:.3f} [{row[f'{prefix}low']:.3f}, {row[f'{prefix}high']:.3f}]"


def _cells(row: dict[str, Any]) -> list[str]:
    names = ("beta", "radius", "attained_surface", "first_order_surface", "attained_free", "first_order_free",
             "certificate", "sign_aware", "paper")  # fmt: skip
    return [*(_text(row[name]) for name in names), f"{100 * row['certified_share']:.1f} %",
            _text(row["certified_over_attained"])]  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, float) and not np.isfinite(value):
        return "–"
    return f"{value:.4g}"
