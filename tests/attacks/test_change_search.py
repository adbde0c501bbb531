"""The search for the largest change of an explanation within a radius."""

import pytest

import curvature
from attacks import explain, load_network, load_picture
from attacks.change_search import Effort, map_change, normal_change, search_change
from attacks.geometry import local_geometry
from attacks.ladders import ladders
from attacks.soft_logit import soft_logit

EFFORT = Effort(steps=30, restarts=4)


@pytest.fixture(scope="module")
def digit():
    network = load_network("digits")
    x = network.preprocess(load_picture("digits/3", channels=1).image)[0]
    field = soft_logit(network, x, 3, beta=1.0)
    point = x.flatten().double()
    return field, point, local_geometry(field, point)


def _search(digit, radius, *, on_level_set, kind=normal_change):
    field, x, geometry = digit
    _, G = field.at(x[None])
    change = kind(G[0]) if kind is normal_change else kind(G[0], 1)
    direction = geometry.direction if on_level_set else geometry.turn_direction
    return search_change(
        field, x, radius, change=change, directions=direction[None], on_level_set=on_level_set, effort=EFFORT
    )


@pytest.mark.parametrize("on_level_set", [True, False])
def test_small_radii_attain_the_first_order(digit, on_level_set):
    """Oracle: theorem 1 to first order: lambda_max r on the level set, ||PH||/||G|| r off it, with an error O(r)."""
    _, _, geometry = digit
    rate = abs(geometry.largest) if on_level_set else geometry.turn_rate
    errors = [abs(_search(digit, r, on_level_set=on_level_set).value / r / rate - 1) for r in (1e-2, 1e-3)]
    assert errors[0] < 2e-2
    assert errors[1] < max(errors[0] / 5, 1e-6)


@pytest.mark.parametrize("radius", [0.1, 1.0])
def test_the_change_is_that_of_the_core_search_and_below_the_certificate(digit, radius):
    """Oracle: a second implementation that follows the gradient of the chord itself; the certificate."""
    field, x, _ = digit
    found = _search(digit, radius, on_level_set=False)
    assert found.value == pytest.approx(curvature.attained_change(field.matrices, x, radius).value, rel=5e-3)
    proven = curvature.certify_explanation(
        field.module, x.reshape(field.shape), target_class=3, radius=radius, search=False
    )
    assert found.value <= proven.change_bound
    assert _search(digit, radius, on_level_set=False, kind=map_change).value <= proven.map_change_bound


@pytest.mark.parametrize("kind", [normal_change, map_change])
def test_points_are_where_they_are_said_to_be(digit, kind):
    """Oracle: distance, logit and maps recomputed by the network itself."""
    field, x, _ = digit
    found = _search(digit, 0.5, on_level_set=True, kind=kind)
    assert float((found.point - x).norm()) <= 0.5
    f = curvature.logit(field.module, 3)
    there, here = found.point.reshape(field.shape), x.reshape(field.shape)
    _, G = field.at(x[None])
    assert abs(float(f(there) - f(here))) <= 1e-6 * 0.5 * float(G.norm()) * (1 + 1e-6)
    if kind is normal_change:
        change = curvature.unit_normal(f, there) - curvature.unit_normal(f, here)
    else:
        change = explain(field.module, there[None], 3) - explain(field.module, here[None], 3)
    assert float(change.norm()) == pytest.approx(found.value, rel=1e-9)


def test_off_the_level_set_is_noticed(digit):
    """Oracle: a false sibling: the point found in the ball is no point of the level set."""
    assert _search(digit, 0.5, on_level_set=False).deviation > 1e-3
    assert _search(digit, 0.5, on_level_set=True).deviation < 1e-4


def test_a_radius_of_zero_changes_nothing_and_bad_effort_is_refused(digit):
    """Oracle: the definition; the error's words."""
    assert _search(digit, 0.0, on_level_set=True).value == 0
    with pytest.raises(ValueError, match="steps >= 1"):
        Effort(steps=0)


def test_ladders_at_several_radii_are_those_at_each(digit):
    """Oracle: ``curvature_bounds`` at each radius; reused bounds lose at most a rounding."""
    field, x, _ = digit
    radii = (0.01, 0.1)
    for radius, found in zip(radii, ladders(field, x, radii), strict=True):
        expected = curvature.curvature_bounds(field.module, x.reshape(field.shape), target_class=3, radius=radius)
        assert found.keys() == expected.keys()
        for name, bound in expected.items():
            for key in ("hessian", "gradient_change", "curvature"):
                ours, theirs = getattr(found[name], key), getattr(bound, key)
                assert (ours is None) == (theirs is None)
                if theirs is not None:
                    assert theirs * (1 - 1e-14) <= ours <= theirs * (1 + 1e-9)
            assert bool(found[name].reason) == bool(bound.reason)
