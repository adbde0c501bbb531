"""The figures that the paper lacks."""

import numpy as np
from scipy.stats import logistic, norm

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


def test_the_ladder_is_sound_and_a_shrunk_bound_is_refuted():
    """Oracle: the attained curvature."""
    data = extra_ladder.compute(seed=0, quick=True)
    sound = "no curvature found exceeds a bound"
    assert extra_ladder.claims(data)[sound].holds
    shrunk = {
        key: value * np.r_[np.full(5, 1.0), 0.9, 1.0] if key.startswith("by_") else value for key, value in data.items()
    }
    assert not extra_ladder.claims(shrunk)[sound].holds
