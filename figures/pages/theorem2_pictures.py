"""Pictures beside the claims of Theorem 2: gates and noises, and how far apart they are (beta = 1, t in 1/beta)."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import logistic, norm

from curvature import spherical_logistic
from figures._gate import product_gate

Array = NDArray[np.float64]
_T = np.linspace(-8, 8, 1601)


def gate() -> Figure:
    """The density, its distribution function, and the softplus that relu becomes."""
    figure = Figure(figsize=(6.6, 2.6))
    left, right = figure.subplots(1, 2)
    x = np.linspace(-3, 3, 301)
    noise = logistic.ppf((np.arange(2000) + 0.5) / 2000)
    for j, beta in enumerate((1.0, 3.0)):
        left.plot(x, beta * logistic.pdf(beta * x), color=f"C{j}", label=rf"density $p_\beta$, $\beta$ = {beta:g}")
        left.plot(x, logistic.cdf(beta * x), "--", color=f"C{j}", label=r"its distribution function $\sigma_\beta$")
        mean = np.maximum(x[:, None] - noise / beta, 0).mean(1)
        right.plot(x, np.logaddexp(0, beta * x) / beta, color=f"C{j}", label=rf"sp$_\beta$, $\beta$ = {beta:g}")
        right.plot(x[::20], mean[::20], "o", color=f"C{j}", label=r"mean of relu$(x-\varepsilon)$")
    right.plot(x, np.maximum(x, 0), color="0.6", lw=0.8, label="relu")
    for axes in (left, right):
        axes.set_xlabel("$x$")
        axes.legend(fontsize=6)
    return figure


def gap_by_dimension() -> Figure:
    """Product noise minus the gate of (21), for equal weights."""
    figure, axes = _panel(r"$t=\beta\,w\cdot x/\|w\|$", r"$P(w\cdot\varepsilon<w\cdot x)-\sigma$")
    for d in (2, 3, 10, 100):
        gap = product_gate(np.ones(d), _T) - logistic.cdf(_T)
        axes.plot(_T, gap, label=f"d = {d}: {np.abs(gap).max():.6f}")
    limit = norm.cdf(_T, scale=np.pi / np.sqrt(3)) - logistic.cdf(_T)
    axes.plot(_T, limit, "k--", lw=0.8, label=f"limit: {np.abs(limit).max():.6f}")
    axes.legend(title="largest |difference|")
    return figure


def gap_by_direction() -> Figure:
    """The largest difference against the direction of w in the plane: zero on the axes only."""
    angles = np.linspace(0, 90, 47)
    gaps = [
        np.abs(product_gate(np.array([np.cos(a), np.sin(a)]), _T[800::4]) - logistic.cdf(_T[800::4])).max()
        for a in np.deg2rad(np.clip(angles, 1e-6, 90 - 1e-6))
    ]
    figure, axes = _panel("direction of w in the plane [degrees from an axis]", "largest |difference| of the gates")
    axes.plot(angles, gaps)
    middle = gaps[len(gaps) // 2]
    axes.plot(45, middle, "o", color="C1")
    axes.annotate(f"w = (1, 1): {middle:.6f}", (45, middle), (0, -22), textcoords="offset points", ha="center")
    axes.set(xticks=[0, 45, 90], ylim=(0, None))
    return figure


def spherical() -> Figure:
    """Both noises in the plane, and the gate that each gives to w = (1, 1)."""
    generator = torch.Generator().manual_seed(0)
    n = 400_000
    round_noise = spherical_logistic([n, 2], 1.0, generator=generator).numpy()
    uniform = torch.rand(n, 2, generator=generator, dtype=torch.float64).numpy()
    product = logistic.ppf(np.clip(uniform, 1e-16, 1 - 1e-16))
    figure = Figure(figsize=(6.8, 2.7))
    panels = figure.subplots(1, 3, width_ratios=[1, 1, 1.5])
    grid = np.linspace(-5, 5, 41)
    for axes, noise, name in zip(
        panels, (product, round_noise), ("product noise (26)", "spherical logistic"), strict=False
    ):
        counts = np.histogram2d(noise[:, 0], noise[:, 1], bins=[grid, grid])[0]
        middle = (grid[1:] + grid[:-1]) / 2
        axes.contour(middle, middle, np.log(counts + 1).T, levels=6, colors="C0", linewidths=0.8)
        axes.set(aspect="equal", title=name, xlabel=r"$\varepsilon_1$")
    panels[0].set_ylabel(r"$\varepsilon_2$")
    t = np.linspace(-6, 6, 49)
    for noise, name, color in ((product, "product noise", "C1"), (round_noise, "spherical logistic", "C0")):
        along = np.sort(noise @ np.array([1, 1]) / np.sqrt(2))
        panels[2].plot(t, np.searchsorted(along, t) / n - logistic.cdf(t), color=color, label=name)
    error = 2 * np.sqrt(logistic.cdf(t) * logistic.sf(t) / n)
    panels[2].fill_between(t, -error, error, color="0.8", label=f"two standard errors, n = {n:,}")
    panels[2].set(xlabel=r"$t$", title="gate for w = (1, 1), minus $\\sigma$")
    panels[2].legend(fontsize=6)
    return figure


def gaussian_gap() -> Figure:
    """The largest difference of a Gaussian's gate against its deviation."""
    deviations = np.linspace(1.45, 2.05, 241)

    def gap(deviation: float) -> float:
        return float(np.abs(norm.cdf(_T, scale=deviation) - logistic.cdf(_T)).max())

    figure, axes = _panel(r"$\sigma\beta$", "largest |difference| of the gates")
    axes.plot(deviations, [gap(s) for s in deviations])
    marks = (
        (np.log(2) * np.sqrt(2 * np.pi), r"$\log 2\,\sqrt{2\pi}$ (the paper)"),
        (np.pi / np.sqrt(3), r"$\pi/\sqrt{3}$"),
    )
    for place, name in (*marks, (1.70174, "1.70174, the least")):
        height = gap(place)
        axes.plot(place, height, "o", color="C1")
        axes.annotate(f"{name}: {height:.6f}", (place, height), (8, -4), textcoords="offset points")
    axes.set(ylim=(0, None), xlim=(1.45, 2.3))
    return figure


def _panel(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.4, 2.8))
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


PICTURES = {draw.__name__: draw for draw in (gate, gap_by_dimension, gap_by_direction, spherical, gaussian_gap)}
