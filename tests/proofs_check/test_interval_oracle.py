"""The ball-arithmetic oracle against float64 samples, closed forms and its own two ends."""

import math

import numpy as np
import pytest
from flint import arb, arb_mat
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proofs_check.float_search import curvatures, jets
from proofs_check.interval_oracle import (
    curvature_bound,
    curvature_quotient,
    enclose_suprema,
    is_positive_definite,
    largest_eigenvalue_bound,
)
from proofs_check.softplus_ball import BallNetwork, PlainNetwork, column
from proofs_check.theorem1_networks import bowl, random_network


@given(seed=st.integers(0, 10**6), depth=st.integers(1, 3), inputs=st.integers(2, 4))
@settings(max_examples=15)
def test_samples_never_leave_the_ends(seed, depth, inputs):
    """Oracle: float64 samples in the ball; lower <= upper."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, inputs=inputs, softplus_layers=depth)
    x, radius = rng.normal(size=inputs), 10.0 ** rng.uniform(-2, 0)
    ends = enclose_suprema(network, x, radius, max_boxes=12)
    offsets = rng.normal(size=(200, inputs))
    points = x + radius * offsets / np.linalg.norm(offsets, axis=1, keepdims=True) * rng.random((200, 1))
    G, H = jets(network, points)
    found = {
        "hessian": np.abs(np.linalg.eigvalsh(H)).max(),
        "gradient_change": np.linalg.norm(G - jets(network, x[None])[0], axis=1).max(),
        "curvature_high": np.nanmax(curvatures(G, H)[:, -1], initial=-math.inf),
    }
    for name, value in found.items():
        assert value <= ends[name].upper * (1 + 1e-9) + 1e-9, name
    for name, end in ends.items():
        assert end.lower <= end.upper, name


@given(seed=st.integers(0, 10**6), depth=st.integers(1, 3))
@settings(max_examples=15)
def test_boxes_hold_the_jets_of_their_points(seed, depth):
    """Oracle: point evaluations, inclusion isotony."""
    rng = np.random.default_rng(seed)
    balls = BallNetwork(random_network(rng, inputs=3, softplus_layers=depth))
    centre = rng.normal(size=3)
    box = balls.jet(column([arb(float(c), 0.25) for c in centre]))
    for _ in range(5):
        jet = balls.jet(column((centre + rng.uniform(-0.25, 0.25, 3)).tolist()))
        assert box.value.overlaps(jet.value)
        assert box.gradient.overlaps(jet.gradient)
        assert box.hessian.overlaps(jet.hessian)


def test_small_circles_have_curvature_one_over_radius():
    """Oracle: closed form in the limit: near its minimum the bowl's level sets are circles."""
    ends = enclose_suprema(bowl(2), np.array([0.01, 0.0]), 1e-4, max_boxes=100)
    assert ends["curvature"].lower == pytest.approx(1 / 0.0099, rel=2e-3)
    assert ends["curvature"].gap < 0.1


@given(seed=st.integers(0, 10**6), depth=st.integers(2, 4))
@settings(max_examples=15)
def test_quotient_and_bound_hold_the_curvature_between_them(seed, depth):
    """Oracle: float64 eigenvalues; at a point both ends agree, on a box around it they do not cross."""
    rng = np.random.default_rng(seed)
    network, x = random_network(rng, softplus_layers=depth), rng.normal(size=3)
    G, H = jets(network, x[None])
    assume(np.linalg.norm(G) > 1e-6)
    balls = BallNetwork(network)
    point, box = balls.jet(column(x.tolist())), balls.jet(column([arb(float(c), 1e-4) for c in x]))
    quotient, highest = curvature_quotient(point.gradient, point.hessian), curvatures(G, H)[0, -1]
    scale = np.linalg.norm(H) / np.linalg.norm(G)
    assert float(quotient.mid()) == pytest.approx(highest, abs=1e-9 * scale)
    upper = curvature_bound(point.gradient, point.hessian)
    assert quotient.lower() <= upper <= highest + 1e-6 * scale
    assert quotient.lower() <= curvature_bound(box.gradient, box.hessian)


def test_a_critical_point_in_the_ball_is_undecided():
    """Oracle: the gradient vanishes at 0, so no upper end exists."""
    ends = enclose_suprema(bowl(2), np.array([0.1, 0.0]), 0.5, max_boxes=60)
    assert ends["curvature"].undecided
    assert not ends["hessian"].undecided


@pytest.mark.parametrize(("shift", "expected"), [(-1e-6, False), (1e-6, True)])
def test_positive_definite_only_above_the_largest_eigenvalue(shift, expected):
    """Oracle: closed form, eigenvalues 1 and 3."""
    tau = 3 + shift
    assert is_positive_definite(arb_mat([[tau - 2, -1], [-1, tau - 2]])) is expected


def test_eigenvalue_bound_covers_the_radius():
    """Oracle: closed form: [[0, 1 +- .5], ...] has eigenvalues up to 1.5."""
    assert 1.5 <= largest_eigenvalue_bound(arb_mat([[arb(0), arb(1, 0.5)], [arb(1, 0.5), arb(0)]])) < 2


def test_bad_input_is_refused():
    """Oracle: the promise of the docstring."""
    network = PlainNetwork(weights=[[[1.0]]], biases=[[0.0]], head=[1.0])
    with pytest.raises(ValueError, match="2 to 4 inputs"):
        enclose_suprema(network, np.zeros(1), 0.1)
