import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.testing import assert_close

from curvature.derivatives import hessian
from curvature.errors import DegenerateLevelSetError
from curvature.level_set import (
    gaussian_curvature,
    mean_curvature,
    principal_curvatures,
    principal_directions,
    second_fundamental_form,
    shape_operator,
    tangent_frame,
    unit_normal,
)
from tests.strategies import EPS, normal, radii, rotation, seeds, tanh_field

TOL = 1e-11
angles = st.floats(0.0, 2 * math.pi)


def assert_near(actual, expected, tol=TOL):
    assert_close(actual, torch.as_tensor(expected, dtype=torch.float64), rtol=tol, atol=tol)


@given(seed=seeds, n=st.integers(2, 8), radius=radii)
@example(seed=0, n=2, radius=1.0)  # the smallest case: a single curvature
def test_sphere_has_curvature_minus_one_over_radius(seed, n, radius):
    """Oracle: closed form."""
    x = normal(seed, n)
    x = radius * x / x.norm()

    def f(p):
        return p @ p

    assert_near(radius * principal_curvatures(f, x), -torch.ones(n - 1, dtype=torch.float64))
    assert_near(radius * mean_curvature(f, x), -1.0)
    assert_near(radius ** (n - 1) * gaussian_curvature(f, x), (-1.0) ** (n - 1))
    assert_near(unit_normal(f, x), x / radius)


@given(angle=angles, height=st.floats(-3, 3), radius=radii)
def test_cylinder_is_flat_along_its_axis(angle, height, radius):
    """Oracle: closed form, curvatures (-1/r, 0) along (circle, axis)."""
    x = torch.tensor([radius * math.cos(angle), radius * math.sin(angle), height], dtype=torch.float64)

    def f(p):
        return p[0] ** 2 + p[1] ** 2

    curvatures, directions = principal_directions(f, x)
    assert_near(radius * curvatures, [-1.0, 0.0])
    assert_near(directions[1].abs(), [0.0, 0.0, 1.0])
    assert_near(radius**2 * gaussian_curvature(f, x), 0.0)


@given(tube=angles, around=angles, r=st.floats(0.2, 1.5))
def test_torus(tube, around, r):
    """Oracle: closed form, -1/r and -cos(t)/(R + r cos t), R = 2."""
    R = 2.0
    rho = R + r * math.cos(tube)
    x = torch.tensor([rho * math.cos(around), rho * math.sin(around), r * math.sin(tube)], dtype=torch.float64)

    def f(p):
        return (torch.sqrt(p[0] ** 2 + p[1] ** 2) - R) ** 2 + p[2] ** 2

    a, b = -1 / r, -math.cos(tube) / rho
    assert_near(principal_curvatures(f, x), sorted([a, b]))
    assert_near(mean_curvature(f, x), (a + b) / 2)
    assert_near(gaussian_curvature(f, x), a * b)


def test_saddle_at_its_centre():
    """Oracle: closed form, z = x^2/2 - y^2/2 seen from above has curvatures 1 and -1."""
    x = torch.zeros(3, dtype=torch.float64)
    curvatures, directions = principal_directions(lambda p: p[2] - p[0] ** 2 / 2 + p[1] ** 2 / 2, x)
    assert_near(curvatures, [-1.0, 1.0])
    assert_near(directions.abs(), [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


@given(seed=seeds, a=st.floats(0.5, 2), b=st.floats(0.5, 2), c=st.floats(0.5, 2))
def test_ellipsoid_gaussian_and_mean_curvature(seed, a, b, c):
    """Oracle: closed form of textbooks, K = 1/(abc)^2 / (sum x^2/a^4)^2, and the mean curvature's."""
    axes = torch.tensor([a, b, c], dtype=torch.float64)
    u = normal(seed, 3)
    x = axes * u / u.norm()
    w = float((x**2 / axes**4).sum())
    K = 1 / ((a * b * c) ** 2 * w**2)
    M = (float(x @ x) - a * a - b * b - c * c) / (2 * (a * b * c) ** 2 * w**1.5)

    def f(p):
        return (p**2 / axes**2).sum()

    assert_near(gaussian_curvature(f, x) / K, 1.0)
    assert_near(mean_curvature(f, x), M, 1e-10 / min(a, b, c) ** 4)
    k = principal_curvatures(f, x)
    assert_near(k.prod(), K, 1e-10)
    assert_near(k.mean(), M, 1e-10)


@given(seed=seeds, n=st.integers(2, 7))
def test_quadric_against_a_null_space_and_a_projected_hessian(seed, n):
    """Oracle: closed form H = A + A^T; tangent space from an SVD, not from the frame."""
    A, b, x = normal(seed, n, n), normal(seed + 1, n), normal(seed + 2, n)
    G, H = (A + A.T) @ x + b, A + A.T
    null = torch.linalg.svd(G[None])[2][1:].T
    expected = torch.linalg.eigvalsh(-null.T @ H @ null / G.norm())
    scale = float(H.norm() / G.norm())

    def f(p):
        return p @ A @ p + b @ p

    assert_near(principal_curvatures(f, x), expected, TOL * max(1, scale))
    P = torch.eye(n, dtype=torch.float64) - torch.outer(G, G) / (G @ G)
    assert_near(shape_operator(f, x), -P @ H @ P / G.norm(), TOL * max(1, scale))
    assert_near(hessian(f, x), H)


@given(seed=seeds, n=st.integers(2, 6))
def test_second_fundamental_form_is_minus_the_derivative_of_the_normal(seed, n):
    """Oracle: L(u, v) = -Dn(u) . v by central differences, error of order step^2."""
    f, x = tanh_field(seed, n)
    Q = tangent_frame(unit_normal(f, x))
    L = second_fundamental_form(f, x, frame=Q)
    errors = []
    for step in (1e-3, 5e-4):
        Dn = torch.stack([(unit_normal(f, x + step * q) - unit_normal(f, x - step * q)) / (2 * step) for q in Q.T])
        errors.append(float((-Dn @ Q - L).abs().max()))
    noise = 1e-11 / 5e-4 * 1e-3 + 1e-10 * float(L.abs().max())
    assert errors[1] <= errors[0] / 3 + noise or errors[1] <= 1e-7 * (1 + float(L.abs().max()))


@given(seed=seeds, n=st.integers(2, 6))
def test_relabelling_the_levels(seed, n):
    """Oracle: metamorphic; phi increasing keeps everything, phi decreasing flips the sign."""
    f, x = tanh_field(seed, n)
    expected, tol = principal_curvatures(f, x), 1e-9 * (1 + float(principal_curvatures(f, x).abs().max()))
    for phi in (torch.exp, lambda t: t**3 + 5 * t, torch.sigmoid):
        assert_near(principal_curvatures(lambda p, phi=phi: phi(f(p)), x), expected, tol)
        assert_near(shape_operator(lambda p, phi=phi: phi(f(p)), x), shape_operator(f, x), tol)
    assert_near(principal_curvatures(lambda p: torch.exp(-f(p)), x), -expected.flip(0), tol)
    assert_near(unit_normal(lambda p: -f(p), x), -unit_normal(f, x))
    assert_near(mean_curvature(lambda p: -f(p), x), -mean_curvature(f, x), tol)


@given(seed=seeds, n=st.integers(2, 6), scale=st.floats(0.1, 10))
def test_motions_and_scaling_of_space(seed, n, scale):
    """Oracle: metamorphic; rotation and translation keep the curvatures, scaling by s divides them by s."""
    f, x = tanh_field(seed, n)
    R, shift = rotation(seed + 9, n), normal(seed + 10, n)
    y = scale * (R @ x) + shift

    def moved(p):
        return f(R.T @ (p - shift) / scale)

    k = principal_curvatures(f, x)
    tol = 1e-9 * (1 + float(k.abs().max()))
    assert_near(scale * principal_curvatures(moved, y), k, tol)
    assert_near(scale * shape_operator(moved, y), R @ shape_operator(f, x) @ R.T, tol)
    assert_near(unit_normal(moved, y), R @ unit_normal(f, x), 1e-10)


@given(seed=seeds, n=st.integers(2, 7))
def test_directions_diagonalise_the_shape_operator(seed, n):
    """Oracle: the definition, S v = kappa v, v unit, tangent and pairwise orthogonal."""
    f, x = tanh_field(seed, n)
    curvatures, V = principal_directions(f, x)
    S = shape_operator(f, x)
    tol = 1e-11 * (1 + float(curvatures.abs().max()))
    assert_near(V @ S, curvatures[:, None] * V, tol)
    assert_near(V @ V.T, torch.eye(n - 1, dtype=torch.float64))
    assert_near(V @ unit_normal(f, x), torch.zeros(n - 1, dtype=torch.float64))


@given(seed=seeds, n=st.integers(2, 9), axis=st.booleans(), sign=st.sampled_from([-1.0, 1.0]))
@example(seed=0, n=2, axis=True, sign=-1.0)
def test_tangent_frame_is_orthonormal_and_normal_to_the_normal(seed, n, axis, sign):
    """Oracle: the definition; normals on an axis are the degenerate reflections."""
    normal_vector = sign * (torch.eye(n, dtype=torch.float64)[0] if axis else 3 * normal(seed, n))
    Q = tangent_frame(normal_vector)
    assert_near(Q.T @ Q, torch.eye(n - 1, dtype=torch.float64), 50 * n * EPS)
    assert_near(Q.T @ (normal_vector / normal_vector.norm()), torch.zeros(n - 1, dtype=torch.float64), 50 * n * EPS)


@given(seed=seeds, n=st.integers(2, 5))
def test_curvatures_are_differentiable(seed, n):
    """Oracle: closed form, d/dx of the sphere's mean curvature -1/|x| is x/|x|^3; gradcheck for the rest."""
    x = normal(seed, n)
    slope = torch.func.grad(lambda p: mean_curvature(lambda q: q @ q, p))(x)
    assert_near(slope * x.norm() ** 2, x / x.norm(), 1e-9)
    f, y = tanh_field(seed, n)
    if float(second_fundamental_form(f, y).norm()) < 10:
        torch.autograd.gradcheck(
            lambda p: principal_curvatures(f, p).square().sum(), y.requires_grad_(), rtol=1e-3, atol=1e-4
        )


def test_bad_points_are_refused():
    """Oracle: the definition; NaN fails every comparison, so a guard `norm < tol` would let it pass."""
    zero = torch.zeros(3, dtype=torch.float64)
    for quantity in (unit_normal, principal_curvatures, shape_operator, mean_curvature, gaussian_curvature):
        with pytest.raises(DegenerateLevelSetError, match="gradient norm"):
            quantity(lambda p: p @ p, zero)
        with pytest.raises(DegenerateLevelSetError, match="nan"):
            quantity(lambda p: torch.sqrt(p @ p), zero)
    with pytest.raises(ValueError, match="at least two"):
        unit_normal(lambda p: p[0], zero[:1])
    with pytest.raises(ValueError, match="finite"):
        unit_normal(lambda p: p[0], zero + float("nan"))
