"""Matrix-free extreme curvatures against dense ones."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.tightness import cases
from curvature import DegenerateLevelSetError, extreme_curvatures, feed_forward, logit, principal_curvatures, soften
from curvature.spectrum import _Plan, _remainder, _State
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


@given(seed=seeds, beta=betas, k=st.integers(1, 3))
@example(seed=0, beta=1.0, k=1)
def test_a_narrow_first_layer_is_searched_in_its_row_space(seed, beta, k):
    """Oracle: the dense spectrum; most curvatures are zero, and count where all others are on one side of it."""
    net, x = soften(relu_network(seed, 12, 4, 5, 3), beta), normal(seed + 3, 12)
    f = feed_forward(net, x, 1)
    if f.curves(x).gradient().norm() < 1e-8:
        return
    dense = principal_curvatures(logit(net, 1), x)
    scale = float(dense.abs().max())
    order = {"magnitude": dense[dense.abs().argsort(descending=True)], "largest": dense.flip(0), "smallest": dense}
    for which, expected in order.items():
        found = extreme_curvatures(f, x, k, which=which, rtol=1e-8, start=normal(seed + 4, 12), verify=True)
        difference = found.curvatures - expected[:k]
        if which == "magnitude":  # of equal magnitude, either may come first
            difference = found.curvatures.abs() - expected[:k].abs()
        assert found.converged
        assert difference.abs().max() <= 1e-7 * scale + 1e-12
        gram = found.directions @ found.directions.T
        assert (gram - torch.eye(k, dtype=x.dtype)).abs().max() < 1e-10
        products = -f.curves(x).hessian() @ found.directions.T / f.curves(x).gradient().norm()
        n = f.curves(x).gradient() / f.curves(x).gradient().norm()
        shaped = products - torch.outer(n, n @ products)
        assert (shaped.T - found.curvatures[:, None] * found.directions).norm() <= 1e-5 * scale + 1e-12


def test_a_guess_that_the_network_is_blind_to_is_no_error():
    """Oracle: the search without a guess."""
    net, x = soften(relu_network(0, 12, 4, 5, 3), 2.0), normal(3, 12)
    f = feed_forward(net, x, 1)
    blind = torch.linalg.svd(f.weights[0])[2][-1]
    expected = extreme_curvatures(f, x).curvatures
    assert abs(float(extreme_curvatures(f, x, start=blind).curvatures - expected)) <= 1e-3 * abs(float(expected))


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


ADVERSARIAL = {
    "one far out": torch.cat([torch.tensor([2.0]), torch.linspace(-1, 1, 118)]),
    "clustered ends": torch.cat(
        [1 - 1e-5 * torch.arange(10), -0.99 + 1e-5 * torch.arange(10), torch.linspace(-0.5, 0.5, 99)]
    ),
    "a pair of nearly equal magnitude": torch.cat([torch.tensor([1.0, -0.998]), torch.linspace(-0.6, 0.6, 117)]),
    "a gap just above the tolerance": torch.cat([torch.tensor([1.0, 0.998]), torch.linspace(0, 0.5, 117)]),
    "a gap of one part in fifty": torch.cat([torch.tensor([1.0, 0.98]), torch.linspace(-0.3, 0.3, 117)]),
    "a flat bulk": torch.linspace(-1, 1, 119),
    "many at the far end": torch.cat([torch.tensor([1.0]), torch.full((100,), -0.995), torch.linspace(0, 0.4, 18)]),
    "negative": torch.linspace(-1, -1e-3, 119),
}  # fmt: skip


def diagonal(spectrum: torch.Tensor):
    """A linear field and a product whose principal curvatures are the given ones."""
    entries = torch.cat([torch.zeros(1), -spectrum]).double()
    return (lambda p: p[0]), torch.zeros(len(entries), dtype=torch.float64), lambda v: entries * v


def wanted(spectrum: torch.Tensor, which: str, k: int) -> torch.Tensor:
    key = {"magnitude": -spectrum.abs(), "largest": -spectrum, "smallest": spectrum}[which]
    return spectrum[key.argsort(stable=True)[:k]]


@pytest.mark.parametrize("which", ["magnitude", "largest", "smallest"])
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_what_is_called_converged_is_within_the_tolerance(name, which):
    """Oracle: spectra by construction, 40 starts each; a start may mislead with probability MISS at most."""
    spectrum = ADVERSARIAL[name].double()
    f, x, product = diagonal(spectrum)
    expected = wanted(spectrum, which, 1)
    scale = float(expected.abs())
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        found = extreme_curvatures(f, x, which=which, rtol=1e-3, product=product, generator=generator)
        assert found.converged
        excess = found.curvatures.abs() - expected.abs() if which == "magnitude" else found.curvatures - expected
        assert abs(float(excess)) <= max(1e-3 * scale, 1e-14)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_several_values_are_found_as_often_as_they_occur(name):
    """Oracle: spectra by construction with every value doubled, which one Krylov space cannot show."""
    spectrum = ADVERSARIAL[name].double()[::2].repeat(2)
    f, x, product = diagonal(spectrum)
    for which in ("magnitude", "largest", "smallest"):
        found = extreme_curvatures(f, x, 3, which=which, product=product, max_hvps=360)
        expected = wanted(spectrum, which, 3)
        errors = found.curvatures.abs() - expected.abs() if which == "magnitude" else found.curvatures - expected
        assert found.converged
        assert float(errors.abs().max()) <= 1e-3 * float(found.curvatures.abs().max())
        gram = found.directions @ found.directions.T
        torch.testing.assert_close(gram, torch.eye(3, dtype=x.dtype), rtol=0, atol=1e-12)
        outside = -product(found.directions) - found.curvatures[:, None] * found.directions
        torch.testing.assert_close(outside.norm(dim=1), found.residuals, rtol=1e-6, atol=1e-12)


def test_a_guess_that_is_orthogonal_to_the_extreme_direction_does_not_hide_it():
    """Oracle: a diagonal operator whose second eigenvector is the guess: residual zero at the first step."""
    spectrum = ADVERSARIAL["one far out"]
    f, x, product = diagonal(spectrum)
    guess = torch.eye(len(x), dtype=x.dtype)[2]
    found = extreme_curvatures(f, x, product=product, start=guess)
    assert found.converged
    assert abs(float(found.curvatures[0]) - 2) <= 2e-3


def test_a_guess_that_is_right_helps_a_short_budget_and_costs_at_most_one_product():
    """Oracle: metamorphic, the same operator without a guess."""
    f, x, product = diagonal(ADVERSARIAL["a gap of one part in fifty"])
    cold = extreme_curvatures(f, x, product=product)
    assert extreme_curvatures(f, x, product=product, start=cold.directions[0]).hvps <= cold.hvps + 1
    cold_short = extreme_curvatures(f, x, product=product, max_hvps=3)
    warm_short = extreme_curvatures(f, x, product=product, max_hvps=3, start=cold.directions[0])
    assert abs(float(warm_short.curvatures[0]) - 1) < abs(float(cold_short.curvatures[0]) - 1) / 4


@given(seed=seeds, n=st.integers(3, 20))
def test_the_polynomials_bound_every_overlap_with_the_start(seed, n):
    """Oracle: dense eigenvectors; the sum at an eigenvalue times the squared overlap is at most 1."""
    A = normal(seed, n, n).numpy()
    A = A + A.T
    values, vectors = np.linalg.eigh(A)
    q = normal(seed + 1, n).numpy()
    basis = (q / np.linalg.norm(q))[None]
    state = _State(n, math.inf, _Plan(1, "magnitude", 1e-3, n), 0.0, 1e-16)
    for j in range(1, n):
        w, beta, alpha = _remainder(A @ basis[-1], basis)
        state.append(alpha, beta)
        basis = np.concatenate([basis, w[None] / beta])
        sums = np.array([state._sum(value) for value in values])
        overlaps = basis @ vectors
        # The same sum from the vectors themselves; the recurrence loses digits as the product of 1 / beta grows.
        expected = (overlaps**2).sum(0) / overlaps[0] ** 2
        if j <= n // 2:
            np.testing.assert_allclose(sums, expected, rtol=1e-4)
        assert (expected * overlaps[0] ** 2 <= 1 + 1e-10).all()


def test_a_digit_whose_start_misses_the_extreme_direction_is_found():
    """Oracle: the dense Hessian. A stop on the residual alone ended here after 4 products, 18 % short."""
    net, x = cases(5.0, 20)[19]
    G = net.curves(x).gradient()
    P = torch.eye(len(x), dtype=x.dtype) - torch.outer(G, G) / (G @ G)
    dense = torch.linalg.eigvalsh(P @ net.curves(x).hessian() @ P / -G.norm())
    found = extreme_curvatures(net, x)
    assert found.converged
    assert abs(abs(float(found.curvatures[0])) / float(dense.abs().max()) - 1) <= 1e-3


@given(seed=seeds, k=st.integers(1, 5), spare=st.integers(0, 6))
def test_a_budget_is_kept_and_a_short_one_is_told(seed, k, spare):
    """Oracle: the count of calls, and a spectrum that so few products cannot settle."""
    f, x, product = diagonal(ADVERSARIAL["a flat bulk"])
    calls = []
    found = extreme_curvatures(f, x, k, product=lambda v: (calls.append(1), product(v))[1], max_hvps=k + spare,
                               generator=torch.Generator().manual_seed(seed))  # fmt: skip
    assert found.curvatures.shape == (k,)
    assert found.hvps == len(calls) <= k + spare
    assert not found.converged


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
    with pytest.raises(ValueError, match="rtol > 0"):
        extreme_curvatures(lambda p: p @ p, x, rtol=0.0)
    for start in (0 * x, x * float("nan"), x[:3]):
        with pytest.raises(ValueError, match="start of shape"):
            extreme_curvatures(lambda p: p @ p, x, start=start)
