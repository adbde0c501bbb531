"""Rank statistics: Spearman's correlation with its intervals and p-values, partial correlation, Holm, effect sizes."""

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
LEVEL = 0.95  # of all intervals


class RankCorrelation(NamedTuple):
    """Spearman's rho, its bootstrap interval at 95 %, and the two-sided permutation p-value."""

    rho: float
    low: float
    high: float
    p: float
    n: int


class Partial(NamedTuple):
    """Rank correlation given controls, its bootstrap interval, and the p-value of Student's t."""

    rho: float
    low: float
    high: float
    p: float


class Effect(NamedTuple):
    """Ratio of medians and Cliff's delta of two samples, each with its bootstrap interval."""

    ratio: float
    ratio_low: float
    ratio_high: float
    delta: float
    delta_low: float
    delta_high: float


def spearman(
    x: Array, y: Array, *, replicates: Array | None = None, permutations: int = 99_999, seed: int = 0
) -> RankCorrelation:
    """Spearman's correlation of two samples.

    NaN where a sample is constant; then p is 1.

    Args:
        x: ``[n]``, finite.
        y: ``[n]``, finite.
        replicates: Correlation matrices ``[m, 2, 2]`` of ``bootstrap`` for (x, y), drawn here when None.
        permutations: Of the test; p is ``(1 + hits) / (1 + permutations)``.
        seed: Of both.

    Raises:
        ValueError: If the samples differ in length, hold fewer than 4 numbers or NaN.

    Exactness: rho exact; interval and p Monte Carlo. Without ties the null distribution depends on n alone, so
    one set of permutations serves every pair.
    """
    _require(x, y)
    a, b = stats.rankdata(x), stats.rankdata(y)
    rho = _pearson(a, b)
    if not np.isfinite(rho):
        return RankCorrelation(np.nan, np.nan, np.nan, 1.0, len(x))
    drawn = bootstrap(np.stack([x, y]), seed=seed) if replicates is None else replicates
    low, high = _interval(drawn[:, 0, 1])
    untied = len(np.unique(x)) == len(x) and len(np.unique(y)) == len(y)
    null = _null(len(x), permutations, seed) if untied else _permuted(a, b, permutations, seed)
    hits = int((np.abs(null) >= abs(rho) - 1e-12).sum())
    return RankCorrelation(rho, low, high, (1 + hits) / (1 + permutations), len(x))


def partial_spearman(x: Array, y: Array, controls: Array, *, replicates: Array | None = None, seed: int = 0) -> Partial:
    """Rank correlation of x and y given the rows of ``controls`` ``[k, n]``, by the inverse correlation matrix.

    ``replicates`` are matrices ``[m, 2 + k, 2 + k]`` of ``bootstrap`` for (x, y, controls), drawn here when None.

    Raises:
        ValueError: As ``spearman``, also if the controls do not fit.
    """
    _require(x, y)
    if controls.ndim != 2 or controls.shape[1] != len(x) or len(x) < len(controls) + 4:
        raise ValueError(f"expected controls [k, {len(x)}] with k + 4 <= n, got {controls.shape}")
    rows = np.stack([x, y, *controls])
    rho = float(_partial(np.corrcoef(stats.rankdata(rows, axis=1))[None])[0])
    low, high = _interval(_partial(bootstrap(rows, seed=seed) if replicates is None else replicates))
    freedom = len(x) - 2 - len(controls)
    t = rho * np.sqrt(freedom / max(1e-300, 1 - rho**2))
    return Partial(rho, low, high, float(2 * stats.t.sf(abs(t), freedom)))


def holm(p: Array) -> Array:
    """P-values adjusted by Holm's step-down method; the family is all that is passed."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted


def effect(treated: Array, control: Array, *, resamples: int = 2_000, seed: int = 0) -> Effect:
    """How much smaller or larger ``treated`` is than ``control``: median over median, and P(t > c) - P(t < c).

    Args:
        treated: ``[n]``, or ``[k, n]`` for k measurements at each of the same n images.
        control: Of the same images, ``[n]`` or ``[k', n]``.
        resamples: Of the bootstrap, which draws images, the same ones for both samples and all their rows.
        seed: Of the bootstrap.

    Raises:
        ValueError: If a sample is empty, not finite, has other images than the other, or a median of 0.
    """
    treated, control = np.atleast_2d(treated), np.atleast_2d(control)
    if not (treated.size and control.size and np.isfinite(treated).all() and np.isfinite(control).all()):
        raise ValueError("expected two samples of finite numbers that are not empty")
    if treated.shape[1] != control.shape[1]:
        raise ValueError(f"expected samples of the same images, got {treated.shape[1]} and {control.shape[1]}")
    if np.median(control) == 0:
        raise ValueError("expected a control with a median other than 0")
    rng = np.random.default_rng(seed)
    ratios, deltas = np.empty(resamples), np.empty(resamples)
    for i in range(resamples):
        index = rng.integers(treated.shape[1], size=treated.shape[1])
        t, c = treated[:, index].ravel(), control[:, index].ravel()
        ratios[i], deltas[i] = np.median(t) / np.median(c), cliffs_delta(t, c)
    return Effect(
        float(np.median(treated) / np.median(control)), *_interval(ratios),
        cliffs_delta(treated.ravel(), control.ravel()), *_interval(deltas),
    )  # fmt: skip


def mean_difference(treated: Array, control: Array, *, resamples: int = 2_000, seed: int = 0) -> list[float]:
    """Mean of ``treated - control`` over rows and images, ``[k, n]`` each, and its bootstrap interval over images."""
    by_image = treated.mean(0) - control.mean(0)
    rng = np.random.default_rng(seed)
    drawn = by_image[rng.integers(len(by_image), size=(resamples, len(by_image)))].mean(1)
    return [float(by_image.mean()), *_interval(drawn)]


def cliffs_delta(treated: Array, control: Array) -> float:
    """P(t > c) - P(t < c) for a random pair, in O(n log n)."""
    ordered = np.sort(control)
    below, upto = np.searchsorted(ordered, treated, "left"), np.searchsorted(ordered, treated, "right")
    return float((below.sum() - (len(control) - upto).sum()) / (len(treated) * len(control)))


def _require(x: Array, y: Array) -> None:
    if x.shape != y.shape or x.ndim != 1 or len(x) < 4:
        raise ValueError(f"expected two samples of one length, at least 4 numbers, got {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("expected samples without NaN and infinity")


def _pearson(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else np.nan


def bootstrap(rows: Array, *, resamples: int = 1_000, seed: int = 0) -> Array:
    """Rank correlation matrices ``[resamples, k, k]`` of samples ``[k, n]`` with columns drawn anew."""
    index = np.random.default_rng(seed).integers(rows.shape[1], size=(resamples, rows.shape[1]))
    ranks = stats.rankdata(rows[:, index], axis=2)
    ranks = ranks - ranks.mean(2, keepdims=True)
    ranks /= np.maximum(np.linalg.norm(ranks, axis=2, keepdims=True), 1e-300)
    found: Array = np.einsum("arn,brn->rab", ranks, ranks, optimize=True)
    return found


def _partial(matrices: Array) -> Array:
    """Partial correlation of the first two variables of each ``[m, k, k]``."""
    inverse = np.linalg.pinv(matrices)
    found: Array = -inverse[:, 0, 1] / np.sqrt(np.maximum(inverse[:, 0, 0] * inverse[:, 1, 1], 1e-300))
    return np.clip(found, -1, 1)


def _interval(values: Array) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


@functools.lru_cache(maxsize=8)
def _null(n: int, permutations: int, seed: int) -> Array:
    ranks = np.arange(1.0, n + 1)
    return _permuted(ranks, ranks, permutations, seed)


def _permuted(a: Array, b: Array, permutations: int, seed: int) -> Array:
    """Correlations of a with b in random orders."""
    a, b = a - a.mean(), b - b.mean()
    orders = _orders(len(a), permutations, seed)
    blocks = [a[part] @ b for part in np.array_split(orders, max(1, permutations // 5_000))]
    found: Array = np.concatenate(blocks) / np.sqrt((a @ a) * (b @ b))
    return found


@functools.lru_cache(maxsize=2)
def _orders(n: int, permutations: int, seed: int) -> NDArray[np.int16]:
    """Random permutations ``[permutations, n]``, small enough to be kept: 80 MB for 100,000 of 400."""
    first = np.tile(np.arange(n, dtype=np.int16 if n < 2**15 else np.int64), (permutations, 1))
    return np.random.default_rng(seed).permuted(first, axis=1)
