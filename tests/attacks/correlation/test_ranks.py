"""Rank statistics against closed forms, scipy and brute force."""

import itertools

import numpy as np
import pytest
from scipy import stats

from attacks.correlation.ranks import cliffs_delta, effect, holm, partial_spearman, spearman

EPS = np.finfo(float).eps


def _samples(seed: int, n: int, k: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((k, n))


@pytest.mark.parametrize("tied", [False, True])
def test_spearman_is_that_of_scipy(tied):
    """Oracle: second library; ties get mean ranks."""
    x, y = _samples(0, 60, 2)
    y = y + x
    if tied:
        x, y = np.round(x), np.round(y)
    found = spearman(x, y, permutations=999)
    assert abs(found.rho - stats.spearmanr(x, y).statistic) < 100 * EPS
    assert found.low < found.rho < found.high


def test_permutation_p_is_the_exact_one_for_few_numbers():
    """Oracle: brute force over all 5! orders; a Monte Carlo error of four standard deviations is allowed."""
    x, y = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 3, 5, 4])
    rho = stats.spearmanr(x, y).statistic
    exact = np.mean(
        [abs(stats.pearsonr(x, p).statistic) >= abs(rho) - 1e-12 for p in itertools.permutations(range(1, 6))]
    )
    draws = 20_000
    found = spearman(x, y, permutations=draws).p
    assert abs(found - exact) < 4 * np.sqrt(exact * (1 - exact) / draws) + 1 / draws


def test_tied_and_untied_p_agree_where_ties_do_not_matter():
    """Oracle: metamorphic; one tie among 40 numbers hardly moves the null distribution."""
    x, y = _samples(1, 40, 2)
    y = y + 0.5 * x
    tied = y.copy()
    close = np.argsort(y)[20:22]
    tied[close] = tied[close].mean()
    assert abs(spearman(x, y, permutations=4_999).p - spearman(x, tied, permutations=4_999).p) < 0.01


def test_p_of_independent_samples_is_uniform():
    """Oracle: closed form; of 200 independent pairs, p < 0.1 in 20, with a standard deviation of 4.2."""
    p = [spearman(*_samples(seed, 30, 2), replicates=np.zeros((1, 2, 2)), permutations=999).p for seed in range(200)]
    assert 20 - 4 * 4.25 < np.sum(np.array(p) < 0.1) < 20 + 4 * 4.25


def test_bootstrap_interval_is_near_scipys():
    """Oracle: second library, scipy's percentile bootstrap; both are Monte Carlo with 1,000 draws."""
    x, y = _samples(2, 80, 2)
    y = y + x
    found = spearman(x, y, permutations=99)
    other = stats.bootstrap(
        (x, y), lambda a, b: stats.spearmanr(a, b).statistic, paired=True, vectorized=False, n_resamples=1_000,
        method="percentile", rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    assert abs(found.low - other.low) < 0.05
    assert abs(found.high - other.high) < 0.05


def test_partial_correlation_is_that_of_residuals():
    """Oracle: closed form, Pearson's correlation of the residuals of the ranks."""
    x, y, a, b = _samples(3, 100, 4)
    x, y = x + a, y + a + b
    ranks = [stats.rankdata(v) for v in (x, y, a, b)]
    design = np.stack([np.ones(100), *ranks[2:]], 1)
    residuals = [r - design @ np.linalg.lstsq(design, r, rcond=None)[0] for r in ranks[:2]]
    expected = stats.pearsonr(*residuals).statistic
    assert abs(partial_spearman(x, y, np.stack([a, b])).rho - expected) < 1e-10


def test_a_common_cause_is_taken_out():
    """Oracle: closed form; two noisy copies of one cause are correlated, and not given the cause."""
    cause, e1, e2 = _samples(4, 400, 3)
    x, y = cause + 0.3 * e1, cause + 0.3 * e2
    partial = partial_spearman(x, y, cause[None])
    assert spearman(x, y, permutations=99).rho > 0.85
    assert partial.low < 0 < partial.high or abs(partial.rho) < 0.15


def test_holm_by_hand():
    """Oracle: closed form, worked by hand."""
    assert np.allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02], atol=1e-15)


def test_holm_never_exceeds_one_and_keeps_the_order():
    """Oracle: metamorphic."""
    p = np.random.default_rng(0).uniform(size=50)
    adjusted = holm(p)
    assert (adjusted <= 1).all()
    assert (adjusted >= p).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


def test_cliffs_delta_by_counting():
    """Oracle: brute force over all pairs, ties among them."""
    rng = np.random.default_rng(0)
    t, c = rng.integers(0, 5, 30).astype(float), rng.integers(1, 6, 20).astype(float)
    assert cliffs_delta(t, c) == np.sign(t[:, None] - c[None]).mean()


def test_effect_of_halving():
    """Oracle: closed form; halved and far apart: ratio 1/2, delta -1."""
    control = np.linspace(10, 11, 50)
    found = effect(control / 2, control)
    assert abs(found.ratio - 0.5) < 10 * EPS
    assert found.delta == found.delta_low == found.delta_high == -1
    assert found.ratio_low <= 0.5 <= found.ratio_high


def test_a_constant_sample_has_no_correlation():
    """Oracle: closed form; said as NaN with p = 1, not as a number."""
    found = spearman(np.ones(10), np.arange(10.0))
    assert np.isnan(found.rho)
    assert found.p == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: spearman(np.arange(3.0), np.arange(3.0)),
        lambda: spearman(np.arange(5.0), np.arange(6.0)),
        lambda: spearman(np.array([1, 2, np.nan, 3.0]), np.arange(4.0)),
        lambda: partial_spearman(np.arange(5.0), np.arange(5.0), np.zeros((2, 5))),
        lambda: effect(np.array([]), np.ones(3)),
        lambda: effect(np.ones(3), np.zeros(3)),
    ],
)
def test_bad_samples_are_refused(call):
    """Oracle: the promise of a ValueError that says what was expected."""
    with pytest.raises(ValueError, match="expected"):
        call()
