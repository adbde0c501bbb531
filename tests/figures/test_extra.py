"""The figures that the paper lacks."""

import numpy as np
import pytest
from scipy.stats import logistic, norm

from figures import extra_attack_vs_curvature as correlation
from figures import extra_ladder, extra_level_set_path, extra_theorem2_gap


def test_the_gap_of_two_equal_weights_is_the_closed_form():
    """Oracle: P(e1 + e2 < t) = (e^(2t) - (1 + t) e^t)/(e^t - 1)^2, and Monte Carlo-free limits on an axis."""
    t = np.array([-3.0, -1.0, 0.5, 2.0, 5.0])
    u = t * np.sqrt(2)
    exact = (np.exp(2 * u) - (1 + u) * np.exp(u)) / (np.exp(u) - 1) ** 2 - logistic.cdf(t)
    np.testing.assert_allclose(extra_theorem2_gap._gap(np.ones(2), t), exact, atol=1e-9)
    np.testing.assert_allclose(extra_theorem2_gap._gap(np.array([0.0, -2.0]), t), 0, atol=1e-9)
    limit = norm.cdf(t, scale=np.pi / np.sqrt(3)) - logistic.cdf(t)
    np.testing.assert_allclose(extra_theorem2_gap._gap(np.ones(100_000), t), limit, atol=1e-6)


def test_the_claims_on_the_gap_are_those_on_record_and_a_flat_one_is_refuted():
    """Oracle: the record, and data without a gap."""
    data = extra_theorem2_gap.compute(seed=0, quick=True)
    found = extra_theorem2_gap.claims(data)
    assert not any(claim.deviates for claim in found.values())
    flat = extra_theorem2_gap.claims(data | {"by_dimension": 0 * data["by_dimension"]})
    assert sum(claim.deviates for claim in flat.values()) == 2


def test_the_path_keeps_the_output_and_obeys_theorem_1():
    """Oracle: the claims, and a turn that is doubled."""
    data = extra_level_set_path.compute(seed=0, quick=True)
    found = extra_level_set_path.claims(data)
    assert found["the output stays constant to rounding"].holds
    first = next(iter(found))
    assert found[first].holds
    assert found[first].value > 0.9  # in the plane the integral is attained while the curvature keeps its sign
    bent = data | {"path": data["path"] + 0.05 * np.arange(len(data["path"]))[:, None] ** 2}
    assert not extra_level_set_path.claims(bent)["the output stays constant to rounding"].holds


def test_a_path_that_stops_early_has_not_reached_its_target():
    """Oracle: the whole path beside its first quarter."""
    data = extra_level_set_path.compute(seed=0, quick=False)
    whole = extra_level_set_path.claims(data)
    assert all(claim.holds for claim in whole.values())
    part = extra_level_set_path.claims(data | {"path": data["path"][: len(data["path"]) // 4]})
    assert [words for words, claim in part.items() if not claim.holds] == [
        words for words in whole if "target" in words
    ]


def test_the_ladder_is_sound_and_a_shrunk_bound_is_refuted():
    """Oracle: the attained curvature."""
    data = extra_ladder.compute(seed=0, quick=True)
    sound = "no curvature found exceeds a bound"
    assert extra_ladder.claims(data)[sound].holds
    shrunk = {
        key: value * np.r_[np.full(5, 1.0), 0.9, 1.0] if key.startswith("by_") else value for key, value in data.items()
    }
    assert not extra_ladder.claims(shrunk)[sound].holds


def _ladder(*, eq10: float, local: float) -> dict[str, np.ndarray]:
    """Two radii, two images, an attained curvature of 1: the first rung and the last at these bounds."""
    row = np.array([eq10, 50.0, 40.0, 30.0, 20.0, local, 1.0])
    cases = np.broadcast_to(row, (2, 2, 7))
    return {"by_radius": cases, "by_beta": cases, "radius": np.array([1e-3, 1e-2]), "beta": np.array([1.0, 2.0])}


@pytest.mark.parametrize(
    ("eq10", "local", "holds", "n"),
    [(500.0, 1.001, (True, True, True), 2), (500.0, 1.5, (True, False, True), 2), (90.0, 1.001, (True, True, False), 2),
     (np.inf, 1.001, (True, True, False), 2)],
)  # fmt: skip
def test_the_ladders_statements_fall_on_their_opposite(eq10, local, holds, n):
    """Oracle: the construction; a bound that certifies nothing is not loose by any factor."""
    found = list(extra_ladder.claims(_ladder(eq10=eq10, local=local)).values())
    assert tuple(claim.holds for claim in found) == holds
    assert found[2].n == n


def test_only_images_that_eq_10_certifies_count():
    """Oracle: one of two."""
    data = _ladder(eq10=500.0, local=1.001)
    data["by_radius"] = data["by_radius"].copy()
    data["by_radius"][0, 0, 0] = np.inf
    assert list(extra_ladder.claims(data).values())[2].n == 1


def _attacks(*, near: bool, far: bool, sound: bool) -> dict[str, np.ndarray]:
    """Ten images a cell, ranked alike by curvature and attack, or not."""
    grid = [(beta, radius) for beta in correlation._BETAS for radius in correlation._RADII]
    rank, mixed = np.arange(1.0, 11), np.array([5.0, 1, 9, 3, 7, 10, 2, 8, 4, 6])
    turned = {grid[0]: rank if near else mixed, grid[-1]: rank if far else mixed}
    return {
        "beta": np.repeat([beta for beta, _ in grid], 10), "radius": np.repeat([radius for _, radius in grid], 10),
        "lambda_max": np.tile(rank, len(grid)),
        "attained_surface": np.concatenate([turned.get(cell, rank) for cell in grid]),
        "attained_free": np.full(10 * len(grid), 0.5), "certificate": np.full(10 * len(grid), 1.0 if sound else 0.4),
    }  # fmt: skip


@pytest.mark.parametrize("false", [None, 0, 1, 2])
def test_statements_on_attacks_and_curvature_fall_on_their_opposite(false: int | None):
    """Oracle: ranks that agree or are mixed, certificates above or below what is attained."""
    data = _attacks(near=false != 0, far=false == 1, sound=false != 2)
    found = [claim.holds for claim in correlation.claims(data).values()]
    assert found == [i != false for i in range(3)]


def test_attacks_start_where_the_seed_says(monkeypatch: pytest.MonkeyPatch):
    """Oracle: another seed changes what attacks reach, and not the curvature where they start."""
    monkeypatch.setattr(correlation, "_BETAS", (20.0,))
    monkeypatch.setattr(correlation, "_RADII", (1.0,))
    one, other = (correlation.compute(seed=seed, quick=True) for seed in (0, 1))
    np.testing.assert_array_equal(one["lambda_max"], other["lambda_max"])
    assert not np.array_equal(one["attained_surface"], other["attained_surface"])
