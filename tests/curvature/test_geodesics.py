import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from curvature.errors import DegenerateLevelSetError, NoCertificateError, NotConvergedError
from curvature.geodesics import (
    geodesic,
    geodesic_distance,
    geodesic_distance_bound,
    level_set_is_connected,
    project_to_level_set,
)
from curvature.level_set import tangent_frame, unit_normal
from tests.strategies import EPS, normal, seeds, tanh_field

few = settings(max_examples=8)


def sphere(p):
    return p @ p


def cylinder(p):
    return p[0] ** 2 + p[1] ** 2


def torus(p):
    return (torch.sqrt(p[0] ** 2 + p[1] ** 2) - 2) ** 2 + p[2] ** 2


def tangent(f, x, seed):
    v = tangent_frame(unit_normal(f, x)) @ normal(seed, len(x) - 1)
    return v / v.norm()


@given(seed=seeds, n=st.integers(2, 8), factor=st.floats(0.2, 5))
def test_projection_to_a_sphere_is_radial(seed, n, factor):
    """Oracle: closed form, the gradient lines of the sphere are rays."""
    x = normal(seed, n)
    y = project_to_level_set(sphere, factor * x, float(x @ x))
    assert_close(y, x, rtol=1e-13, atol=1e-13)


@given(seed=seeds, n=st.integers(2, 6))
def test_projection_reaches_the_level_at_rounding(seed, n):
    """Oracle: the definition."""
    f, x = tanh_field(seed, n)
    level = float(f(x)) + 0.3
    y = project_to_level_set(f, x, level)
    slope = float(torch.func.grad(f)(y).norm())
    assert abs(float(f(y)) - level) <= 4 * EPS * (abs(level) + slope * float(y.norm()))


def test_projection_says_why_it_fails():
    """Oracle: a level that is never reached, a critical point, a level that is no number."""
    x = torch.ones(2, dtype=torch.float64)
    with pytest.raises((NotConvergedError, DegenerateLevelSetError)):
        project_to_level_set(sphere, x, -1.0)
    with pytest.raises(DegenerateLevelSetError):
        project_to_level_set(sphere, 0 * x, 1.0)
    with pytest.raises(ValueError, match="finite level"):
        project_to_level_set(sphere, x, math.nan)


@few
@given(seed=seeds, n=st.integers(2, 6), length=st.floats(0.1, 4))
def test_great_circles(seed, n, length):
    """Oracle: closed form, cos(s) x + sin(s) v on the unit sphere, at every output point."""
    x = normal(seed, n)
    x = x / x.norm()
    v = tangent(sphere, x, seed + 1)
    path = geodesic(sphere, x, length * v, steps=4)
    s = path.arc_length[:, None]
    assert_close(path.points, torch.cos(s) * x + torch.sin(s) * v, rtol=0, atol=1e-10)
    assert_close(path.tangents, torch.cos(s) * v - torch.sin(s) * x, rtol=0, atol=1e-10)
    assert float(path.residuals.max()) <= 1e-14
    assert_close(path.arc_length[-1], torch.tensor(length, dtype=torch.float64))


@few
@given(angle=st.floats(0, 6.28), pitch=st.floats(-1.5, 1.5), length=st.floats(0.1, 4))
def test_helices(angle, pitch, length):
    """Oracle: closed form, on a cylinder of radius 2 the geodesics are helices."""
    c, s = math.cos(angle), math.sin(angle)
    x = torch.tensor([2 * c, 2 * s, 0.5], dtype=torch.float64)
    turn, rise = math.cos(pitch), math.sin(pitch)
    v = torch.tensor([-s * turn, c * turn, rise], dtype=torch.float64)
    end = geodesic(cylinder, x, length * v, steps=4).points[-1]
    phi = angle + turn * length / 2
    expected = torch.tensor([2 * math.cos(phi), 2 * math.sin(phi), 0.5 + rise * length], dtype=torch.float64)
    assert_close(end, expected, rtol=0, atol=1e-10)


@few
@given(seed=seeds)
def test_clairaut(seed):
    """Oracle: on a surface of revolution rho^2 dphi/ds is constant along a geodesic (Clairaut)."""
    a, b = (float(t) for t in normal(seed, 2))
    rho = 2 + math.cos(b)
    x = torch.tensor([rho * math.cos(a), rho * math.sin(a), math.sin(b)], dtype=torch.float64)
    path = geodesic(torus, x, 3 * tangent(torus, x, seed + 1), steps=6)
    p, v = path.points, path.tangents
    momentum = p[:, 0] * v[:, 1] - p[:, 1] * v[:, 0]
    assert_close(momentum, momentum[:1].expand_as(momentum), rtol=0, atol=1e-9)
    assert_close(v.norm(dim=1), torch.ones(7, dtype=torch.float64))


@few
@given(seed=seeds, n=st.integers(2, 5))
def test_geodesics_of_a_plane_are_lines(seed, n):
    """Oracle: closed form; f is a bent relabelling of a linear function, so H is not zero."""
    w, x = normal(seed, n), normal(seed + 1, n)

    def f(p):
        return torch.exp((w @ p) / w.norm())

    v = tangent(f, x, seed + 2)
    assert_close(geodesic(f, x, 2 * v, steps=2).points[-1], x + 2 * v, rtol=0, atol=1e-11)


def test_geodesic_refuses_a_velocity_that_leaves_the_surface():
    """Oracle: the normal of the sphere."""
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)
    with pytest.raises(ValueError, match="tangent velocity"):
        geodesic(sphere, x, x)
    with pytest.raises(ValueError, match="tangent velocity"):
        geodesic(sphere, x, 0 * x)


@given(seed=seeds, n=st.integers(2, 6), angle=st.floats(1e-4, 2.9))
@example(seed=0, n=2, angle=1.0)
def test_distance_on_the_sphere(seed, n, angle):
    """Oracle: closed form, the angle between the points."""
    x = normal(seed, n)
    x = x / x.norm()
    v = tangent(sphere, x, seed + 1)
    result = geodesic_distance(sphere, x, math.cos(angle) * x + math.sin(angle) * v)
    assert math.isclose(result.distance, angle, rel_tol=1e-9)
    assert result.chord <= result.distance


@few
@given(seed=seeds, length=st.floats(0.1, 1.0), surface=st.sampled_from(["torus", "tanh"]))
def test_distance_recovers_the_length_of_a_geodesic(seed, length, surface):
    """Oracle: a second algorithm; the ODE's end point is at the distance it was sent, and never farther by the path."""
    f, x = (torus, normal(seed, 3)) if surface == "torus" else tanh_field(seed, 4)
    end = geodesic(f, x, length * tangent(f, x, seed + 1), steps=4).points[-1]
    result = geodesic_distance(f, x, end)
    assert result.chord <= result.distance <= length * (1 + 1e-6) + 1e-12
    if surface == "tanh":  # nearly flat, so that no shorter way exists
        assert result.distance >= length * (1 - 1e-8)
    values = torch.stack([f(p) for p in result.path])
    assert_close(values, values[:1].expand_as(values), rtol=1e-13, atol=1e-13)


def test_distance_refuses_points_of_two_levels():
    """Oracle: two spheres."""
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)
    with pytest.raises(ValueError, match="one level set"):
        geodesic_distance(sphere, x, 2 * x)
    with pytest.raises(ValueError, match="power of two"):
        geodesic_distance(sphere, x, x, segments=5)
    assert geodesic_distance(sphere, x, x).distance == 0.0


@given(seed=seeds, n=st.integers(2, 6), radius=st.floats(1e-3, 0.999))
def test_certificate_is_above_the_great_circle(seed, n, radius):
    """Oracle: closed form; for f = |x|^2 the gradient changes by exactly 2 r over the ball, ||G|| = 2."""
    x = normal(seed, n)
    x = x / x.norm()
    angle = 2 * math.asin(radius * 0.4999)  # chord just inside the ball
    q = math.cos(angle) * x + math.sin(angle) * tangent(sphere, x, seed + 1)
    arguments = {"radius": radius, "gradient_norm": 2.0, "gradient_change_bound": 2 * radius}
    if radius < 0.7071:
        bound = geodesic_distance_bound(x, q, **arguments)
        assert angle <= bound <= angle * 1.0001 / math.sqrt(1 - radius**2)
        assert level_set_is_connected(gradient_norm=2.0, gradient_change_bound=2 * radius)
    else:
        assert not level_set_is_connected(gradient_norm=2.0, gradient_change_bound=2 * radius)
        with pytest.raises(NoCertificateError, match="45"):
            geodesic_distance_bound(x, q, **arguments)


@few
@given(seed=seeds, n=st.integers(2, 4), radius=st.floats(0.01, 1.0))
def test_certificate_is_above_the_relaxed_path(seed, n, radius):
    """Oracle: a real path on S, of a field whose Hessian has a closed-form bound."""
    A, b, x = normal(seed, 6, n), normal(seed + 1, 6), normal(seed + 2, n)
    linear = normal(seed + 3, n)

    def f(p):
        return torch.tanh(A @ p) @ b + linear @ p

    # |tanh''| <= 4/(3 sqrt 3) < 0.7699, so ||H|| <= 0.7699 ||A||^2 max|b|.
    change = 0.77 * float(torch.linalg.matrix_norm(A, 2)) ** 2 * float(b.abs().max()) * radius
    try:
        q = project_to_level_set(f, x + radius / 2 * tangent(f, x, seed + 4), float(f(x)))
        norm = float(torch.func.grad(f)(x).norm())
        bound = geodesic_distance_bound(x, q, radius=radius, gradient_norm=norm, gradient_change_bound=change)
    except (NoCertificateError, NotConvergedError, DegenerateLevelSetError):
        return
    result = geodesic_distance(f, x, q)
    assert result.distance <= bound * (1 + 1e-9)


def test_certificate_between_45_and_90_degrees_covers_the_inner_part_only():
    """Oracle: the derivation, r cos(theta)."""
    p = torch.zeros(2, dtype=torch.float64)
    arguments = {"radius": 1.0, "gradient_norm": 1.0, "gradient_change_bound": 0.8}  # cos = 0.6
    near, far = torch.tensor([0.59, 0.0], dtype=torch.float64), torch.tensor([0.61, 0.0], dtype=torch.float64)
    assert math.isclose(geodesic_distance_bound(p, near, **arguments), 0.59 / 0.6, rel_tol=1e-12)
    with pytest.raises(NoCertificateError, match="fall apart"):
        geodesic_distance_bound(p, far, **arguments)


def test_forty_five_degrees_is_sharp():
    """Oracle: 1/sqrt 2 rounded to a double is above the real number, so it must not pass as below it."""
    assert not level_set_is_connected(gradient_norm=1.0, gradient_change_bound=math.sqrt(0.5))
    assert level_set_is_connected(gradient_norm=1.0, gradient_change_bound=0.7071067)


@pytest.mark.parametrize(
    ("change", "norm", "radius"), [(math.nan, 1.0, 1.0), (0.1, math.nan, 1.0), (0.1, 0.0, 1.0), (1.0, 1.0, 1.0),
                                   (-1.0, 1.0, 1.0), (0.1, 1.0, math.nan), (0.1, 1.0, 0.01)]
)  # fmt: skip
def test_certificate_is_refused_with_a_reason(change, norm, radius):
    """Oracle: NaN, a vanishing gradient, a turn of 90 degrees, a point outside of the ball."""
    p, q = torch.zeros(2, dtype=torch.float64), torch.tensor([0.1, 0.0], dtype=torch.float64)
    with pytest.raises(NoCertificateError):
        geodesic_distance_bound(p, q, radius=radius, gradient_norm=norm, gradient_change_bound=change)
