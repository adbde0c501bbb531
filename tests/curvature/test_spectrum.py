"""Matrix-free extreme curvatures against dense ones."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from curvature import DegenerateLevelSetError, extreme_curvatures, logit, principal_curvatures, soften
from tests.strategies import betas, normal, relu_network, seeds


def quadric(seed: int, n: int):
    A = normal(seed, n, n)
    return lambda p: p @ (A + A.T) @ p / 2 + normal(seed + 1, n) @ p


@given(seed=seeds, n=st.integers(3, 30))
@example(seed=0, n=3)
def test_extremes_agree_with_the_dense_spectrum(seed, n):
    """Oracle: eigenvalues of the dense second fundamental form."""
    f, x = quadric(seed, n), normal(seed + 2, n)
    dense = principal_curvatures(f, x)
    scale = dense.abs().max()
    for which, expected in (("largest", dense[-1]), ("smallest", dense[0]), ("magnitude", dense[dense.abs().argmax()])):
        found = extreme_curvatures(f, x, which=which, rtol=1e-8, max_hvps=4 * n)
        assert found.converged
        assert (found.curvatures[0].abs() - expected.abs()).abs() <= 1e-7 * scale


@given(seed=seeds, beta=betas)
def test_directions_are_unit_tangent_eigenvectors_within_the_residual(seed, beta):
    """Oracle: the definition, with a dense Hessian; softened networks."""
    net, x = soften(relu_network(seed, 6, 9, 7, 3), beta), normal(seed + 3, 6)
    f = logit(net, 1)
    G = torch.func.grad(f)(x)
    if G.norm() < 1e-8:
        return
    n = G / G.norm()
    H = torch.func.hessian(f)(x)
    found = extreme_curvatures(f, x, 2, verify=True)
    shape = -(torch.eye(6, dtype=x.dtype) - torch.outer(n, n)) @ H / G.norm()
    for value, direction, residual in zip(found.curvatures, found.directions, found.residuals, strict=True):
        assert abs(direction.norm() - 1) < 1e-10
        assert abs(direction @ n) < 1e-10
        # Projected twice: the shape operator maps into the tangent space only up to rounding.
        error = (shape @ direction - value * direction).norm()
        assert abs(error - residual) <= 1e-9 * max(1.0, float(H.norm() / G.norm()))


def test_a_multiple_eigenvalue_is_found_with_its_multiplicity():
    """Oracle: closed form, the sphere and the cylinder, on which the Krylov space is exhausted at once."""
    x = normal(3, 5)
    sphere = extreme_curvatures(lambda p: p @ p, x, 4)
    torch.testing.assert_close(
        sphere.curvatures, torch.full((4,), -1 / float(x.norm()), dtype=x.dtype), rtol=1e-10, atol=0
    )
    cylinder = extreme_curvatures(lambda p: p[:3] @ p[:3], x, 4)
    expected = torch.tensor([-1 / float(x[:3].norm())] * 2 + [0.0] * 2, dtype=x.dtype)
    torch.testing.assert_close(cylinder.curvatures, expected, rtol=1e-10, atol=1e-12)


def test_float32_at_photograph_size_says_how_good_it_is():
    """Oracle: closed form, an ellipsoid in 150,528 dimensions with known curvature at a vertex."""
    n = 150_528
    weights = torch.linspace(0.1, 1.0, n)
    weights[7] = 3.0
    x = torch.zeros(n)
    x[0] = 2.0
    found = extreme_curvatures(lambda p: (weights * p * p).sum() / 2, x, verify=True)
    assert found.curvatures.dtype == torch.float32
    exact = -3.0 / (0.1 * 2.0)
    assert abs(float(found.curvatures[0]) - exact) <= 1e-3 * abs(exact)
    assert float(found.residuals[0]) <= 0.2 * abs(exact)
    assert found.hvps < 30


def test_bad_arguments_and_critical_points_are_named():
    """Oracle: the error's text."""
    x = normal(0, 4)
    with pytest.raises(ValueError, match="1 <= k <= 3"):
        extreme_curvatures(lambda p: p @ p, x, 4)
    with pytest.raises(DegenerateLevelSetError, match="gradient norm"):
        extreme_curvatures(lambda p: p @ p, 0 * x)
    with pytest.raises(ValueError, match="finite"):
        extreme_curvatures(lambda p: p @ p, x * float("nan"))
    with pytest.raises(ValueError, match="finite Hessian-vector product"):
        extreme_curvatures(lambda p: p @ p, x, product=lambda v: v * float("inf"))
