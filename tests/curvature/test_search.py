"""The search stays in the ball, reports true values, and beats sampling."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curvature.search import Ascent, attained_change, attained_curvature
from tests.curvature.bounds.tiny import curvatures, in_ball, tiny_network
from tests.strategies import normal, seeds

networks = st.sampled_from([(3, 5), (4, 6, 6), (2, 4, 4, 4)])


@given(seed=seeds, widths=networks, beta=st.sampled_from([0.3, 2.0, 10.0]), radius=st.sampled_from([0.01, 0.1, 1.0]))
@settings(max_examples=15)
def test_attained_values_are_those_of_their_points(seed, widths, beta, radius):
    """Oracle: curvature in a dense tangent frame, and the normals, at the reported point."""
    net, x = tiny_network(seed, *widths, beta=beta), normal(seed + 3, widths[0])

    curved = attained_curvature(net, x, radius, search=Ascent(10, 3, 0))
    changed = attained_change(net, x, radius, search=Ascent(10, 3, 0))

    low, high = curvatures(net, curved.point[None])
    assert curved.value == pytest.approx(float(torch.maximum(-low, high)), rel=1e-8, abs=1e-10)
    normals = [g / g.norm() for g in (net.curves(x).gradient(), net.curves(changed.point).gradient())]
    assert changed.value == pytest.approx(float((normals[1] - normals[0]).norm()), rel=1e-9, abs=1e-12)
    for point in (curved.point, changed.point):
        assert float((point - x).norm()) <= radius * (1 + 1e-14) + 1e-15


@given(seed=seeds)
@settings(max_examples=8)
def test_ascent_beats_random_points(seed):
    """Oracle: metamorphic, 500 random points of the same ball."""
    net, x = tiny_network(seed, 6, 8, 8, beta=1.0), normal(seed + 3, 6)
    points = in_ball(seed, x, 0.1, 500)
    low, high = curvatures(net, points)
    G = net.curves(points).gradient()
    n = net.curves(x).gradient()
    change = torch.linalg.vector_norm(G / G.norm(dim=1, keepdim=True) - n / n.norm(), dim=1)

    assert attained_curvature(net, x, 0.1).value >= float(torch.maximum(-low, high).max()) * (1 - 1e-3)
    assert attained_change(net, x, 0.1).value >= float(change.max()) * (1 - 1e-3)


def test_radius_zero_gives_the_centre():
    """Oracle: closed form."""
    net, x = tiny_network(0, 3, 4, beta=1.0), normal(3, 3)
    low, high = curvatures(net, x[None])

    assert attained_change(net, x, 0.0).value == 0
    assert attained_curvature(net, x, 0.0).value == pytest.approx(float(torch.maximum(-low, high)), rel=1e-9)


def test_the_same_seed_gives_the_same_point():
    """Oracle: metamorphic."""
    net, x = tiny_network(0, 3, 4, 4, beta=1.0), normal(3, 3)
    first, second = (attained_curvature(net, x, 0.2, search=Ascent(10, 4, 5)) for _ in range(2))

    assert torch.equal(first.point, second.point)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_power_iteration_stays_below_the_dense_curvature_and_near_it(seed, monkeypatch):
    """Oracle: the dense eigendecomposition at the point found, and the search that uses it."""
    net, x = tiny_network(seed, 6, 8, 8, beta=1.0), normal(seed + 3, 6)
    dense = attained_curvature(net, x, 0.1).value
    monkeypatch.setattr("curvature.search._DENSE", 2)

    found = attained_curvature(net, x, 0.1)

    low, high = curvatures(net, found.point[None])
    there = float(torch.maximum(-low, high))
    assert 0.9 * there <= found.value <= there * (1 + 1e-10)
    assert found.value >= 0.9 * dense
