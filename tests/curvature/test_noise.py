import math

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstwobign, logistic

from curvature.noise import _half_uniform, kolmogorov, spherical_logistic
from tests.strategies import normal, seeds


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def exact_cdf(k):
    """The theta series in the form that converges fast at k, to 60 digits."""
    with mpmath.workdps(60):
        k = mpmath.mpf(k)
        if k < 1:
            terms = sum(mpmath.exp(-((2 * j - 1) ** 2) * mpmath.pi**2 / (8 * k**2)) for j in range(1, 30))
            return mpmath.sqrt(2 * mpmath.pi) / k * terms
        return 1 - exact_sf(k)


def exact_sf(k):
    with mpmath.workdps(60):
        k = mpmath.mpf(k)
        return 2 * sum((-1) ** (j - 1) * mpmath.exp(-2 * j**2 * k**2) for j in range(1, 60))


@pytest.mark.parametrize("q", [2.0**-107, 1e-30, 1e-20, 1e-10, 1e-5, 1e-2, 0.3, 0.5])
def test_inversion_is_exact_in_both_tails(q):
    """Oracle: mpmath's theta series; the error of K by one Newton step is below 16 roundings."""
    with mpmath.workdps(60):
        for probability, k in ((exact_cdf, float(kstwobign.ppf(q))), (exact_sf, float(kstwobign.isf(q)))):
            step = mpmath.mpf(k) * mpmath.mpf(10) ** -15
            slope = (probability(k + step) - probability(k)) / step
            error = (probability(k) - mpmath.mpf(q)) / slope
            assert abs(float(error)) <= 16 * 2.0**-52 * k


@pytest.mark.parametrize("s", [0.2, 0.5, 1.0, 2.0])
def test_laplace_transform_of_k_squared(s):
    """Oracle: closed form pi s / sinh(pi s), by quadrature of the density to 25 digits."""
    with mpmath.workdps(25):
        value = mpmath.quad(
            lambda k: 4 * s**2 * k * mpmath.exp(-2 * s**2 * k**2) * exact_cdf(k), [0.02, 0.5, 1, 2, 4, 40]
        )
        assert abs(value - mpmath.pi * s / mpmath.sinh(mpmath.pi * s)) < 1e-12


def test_drawn_k_follows_its_distribution():
    """Oracle: the distribution function at 9 points, within 5 standard errors; and its Laplace transform."""
    K = kolmogorov(200_000, generator=generator())
    for q in (1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999):
        share = float((kstwobign.ppf(q) > K).double().mean())
        assert abs(share - q) <= 5 * math.sqrt(q * (1 - q) / len(K))
    for s in (0.3, 1.0):
        values = torch.exp(-2 * s**2 * K**2)
        error = 5 * float(values.std()) / math.sqrt(len(K))
        assert abs(float(values.mean()) - math.pi * s / math.sinh(math.pi * s)) <= error


def test_uniforms_are_fine_in_the_tail():
    """Oracle: P(q < 2^-k) = 2^(1-k) on (0, 1/2); the mantissas below 2^-10 are still all different."""
    q = torch.from_numpy(_half_uniform(400_000, generator()))
    assert 0 < float(q.min()) <= float(q.max()) <= 0.5
    for k in (2, 4, 8, 12):
        p = 2.0 ** (1 - k)
        assert abs(float((q < 2.0**-k).double().mean()) - p) <= 5 * math.sqrt(p / len(q))
    small = q[q < 2.0**-10]
    assert len(small.unique()) == len(small)
    assert bool((torch.frexp(small).mantissa * 2**53 % 1024 != 0).any())


@pytest.mark.parametrize("w", [(1.0, 0.0), (1.0, 1.0), (3.0, -2.0, 0.5, 1.0)])
def test_every_projection_is_logistic(w):
    """Oracle: closed form of the gate, sigma(beta t / ||w||), within 5 standard errors.

    The product of logistic densities fails this for (1, 1) by .0103 at t = 1.68.
    """
    w, beta, count = torch.tensor(w, dtype=torch.float64), 2.0, 400_000
    projections = spherical_logistic([count, len(w)], beta, generator=generator(1)) @ w
    for t in (-3.0, -1.0, 0.0, 0.4, 1.6811 / 2, 2.0):
        expected = logistic.cdf(t * beta / float(w.norm()))
        share = float((projections < t).double().mean())
        assert abs(share - expected) <= 5 * math.sqrt(0.25 / count)


def test_the_gate_is_exact_given_k():
    """Oracle: E over Z in closed form, E over K by quadrature, sigma(beta t / ||w||) to 1e-12."""
    beta, norm, t = 1.5, 2.0, 0.7
    with mpmath.workdps(25):

        def integrand(k):  # by parts: -d/dk Phi(t / (2 k norm / beta)) times the distribution function
            a = mpmath.mpf(t) * beta / (2 * norm)
            return mpmath.npdf(a / k) * a / k**2 * exact_cdf(k)

        gate = mpmath.mpf(1) / 2 + mpmath.quad(integrand, [0.02, 0.5, 1, 2, 4, 10, 100, 10**4, mpmath.inf])
        assert abs(gate - 1 / (1 + mpmath.exp(-beta * t / norm))) < 1e-10


@given(seed=seeds, n=st.integers(1, 5))
def test_seed_shape_and_scale(seed, n):
    """Oracle: metamorphic; the same seed gives the same numbers, beta divides them."""
    a = spherical_logistic([4, n, 2], 1.0, generator=generator(seed))
    b = spherical_logistic([4, n, 2], 4.0, generator=generator(seed))
    assert a.shape == (4, n, 2)
    assert torch.equal(a, 4 * b)
    single = spherical_logistic([4, n, 2], 1.0, generator=generator(seed), dtype=torch.float32)
    assert torch.equal(single, a.float())


def test_a_one_hidden_layer_network_is_smoothed_to_softplus():
    """Oracle: Theorem 2 with beta / ||w_i|| for each neuron; five standard errors of the mean gradient."""
    W, head, x, beta = normal(0, 6, 3), normal(1, 6), normal(2, 3), 1.3
    noise = spherical_logistic([200_000, 3], beta, generator=generator(3))
    gates = ((x - noise) @ W.T > 0).double() * head
    samples = gates @ W
    expected = (torch.sigmoid(beta * (W @ x) / W.norm(dim=1)) * head) @ W
    error = samples.std(dim=0) / math.sqrt(len(samples))
    assert bool(((samples.mean(dim=0) - expected).abs() <= 5 * error).all())


def test_bad_arguments_are_refused():
    """Oracle: the documented errors."""
    with pytest.raises(ValueError, match="beta"):
        spherical_logistic([2, 2], math.nan, generator=generator())
    with pytest.raises(ValueError, match="shape"):
        spherical_logistic([], 1.0, generator=generator())
