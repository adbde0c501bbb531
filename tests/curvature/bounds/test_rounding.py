"""Outward margins: norms from above, Cholesky's verdict, errors of float64 against longer numbers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curvature.bounds.relaxations import (
    _LARGEST,
    Softplus,
    derivative,
)
from curvature.bounds.rounding import (
    TINY,
    cholesky_accepts,
    gamma,
    largest_eigenvalue_bound,
    preactivation_errors,
    row_norm_bounds,
    spectral_norm_bound,
    symmetric_norm_bounds,
)
from tests.curvature.bounds.tiny import tiny_network
from tests.strategies import normal, seeds

sizes = st.integers(1, 12)
scales = st.sampled_from([1e-80, 1e-6, 1.0, 1e6, 1e80])


@given(seed=seeds, m=sizes, n=sizes, scale=scales)
def test_spectral_norm_bound_is_above_a_known_norm(seed, m, n, scale):
    """Oracle: closed form, a rank-one matrix u v^T has norm ||u|| ||v||, in long double."""
    u, v = normal(seed, m), scale * normal(seed + 1, n)
    exact = np.sqrt((u.numpy().astype(np.longdouble) ** 2).sum()) * np.sqrt(
        (v.numpy().astype(np.longdouble) ** 2).sum()
    )

    bound = spectral_norm_bound(torch.outer(u, v))

    assert exact * (1 - 1e-15) <= bound <= float(exact) * (1 + 1e-12) + 1e-280


@given(seed=seeds, n=sizes, scale=scales)
def test_gram_iteration_is_above_the_norm_and_within_its_factor(seed, n, scale):
    """Oracle: SVD, and the factor n^(1/16) of three squarings."""
    M = normal(seed, 3, n, n) * scale
    M = M + M.mT
    exact = torch.linalg.matrix_norm(M, 2)

    bounds = symmetric_norm_bounds(M)

    assert (bounds >= exact * (1 - 1e-13)).all()
    assert (bounds <= exact * n ** (1 / 16) * (1 + 1e-9) + 1e-280).all()


def test_gram_iteration_of_zero_is_about_zero():
    """Oracle: closed form; the margin for squares that underflow remains."""
    assert float(symmetric_norm_bounds(torch.zeros(2, 3, 3, dtype=torch.float64)).max()) <= TINY


@given(seed=seeds, n=sizes, gap=st.sampled_from([1e-3, 1e-9, 1e-15]), sign=st.sampled_from([-1.0, 1.0]))
def test_cholesky_never_accepts_an_indefinite_matrix(seed, n, gap, sign):
    """Oracle: closed form, the smallest eigenvalue is built in; accepting needs it above the slack."""
    Q = torch.linalg.qr(normal(seed, n, n))[0]
    values = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=Q.dtype) + 0.5
    values[0] = sign * gap
    M = Q @ torch.diag(values) @ Q.T
    M = (M + M.T) / 2

    if sign < 0 and gap > 1e-13:
        assert not cholesky_accepts(M, 0.0)
    if sign > 0 and gap > 1e-10:
        assert cholesky_accepts(M, 0.0)
    assert not cholesky_accepts(M, 2 * gap)


def test_cholesky_rejects_nan_asymmetry_and_a_zero_diagonal():
    """Oracle: closed form."""
    eye = torch.eye(3, dtype=torch.float64)
    skew = eye.clone()
    skew[0, 1] = 1e-3

    assert cholesky_accepts(eye, 0.5)
    assert not cholesky_accepts(eye, 1.0)
    assert not cholesky_accepts(eye, math.inf)
    assert not cholesky_accepts(eye * math.nan, 0.0)
    assert not cholesky_accepts(skew, 0.0)
    assert not cholesky_accepts(torch.zeros(3, 3, dtype=torch.float64), 0.0)


@given(seed=seeds, beta=st.sampled_from([0.3, 5.0, 100.0]), hidden=st.sampled_from([(8,), (16, 16), (8, 8, 8)]))
def test_preactivation_errors_cover_the_error_of_float64(seed, beta, hidden):
    """Oracle: the same network in long double, with 64-bit mantissas."""
    net, x = tiny_network(seed, 6, *hidden, beta=beta), normal(seed + 3, 6)

    errors = preactivation_errors(net, x)

    a = x.numpy().astype(np.longdouble)
    for W, b, z, error in zip(net.weights, net.biases, net.preactivations(x), errors, strict=True):
        t = W.numpy().astype(np.longdouble) @ a + b.numpy().astype(np.longdouble)
        assert (np.abs(t - z.numpy()) <= error.numpy()).all()
        assert float(error.max()) < 1e-11
        a = np.logaddexp(np.longdouble(0), np.longdouble(beta) * t) / np.longdouble(beta)


@given(
    seed=seeds,
    beta=st.sampled_from([0.3, 1.0, 20.0, 100.0]),
    order=st.sampled_from([1, 2, 3, 4]),
    wide=st.floats(-3.0, 1.5),
)
def test_ranges_and_enclosures_hold_on_the_interval(seed, beta, order, wide):
    """Oracle: the derivative itself at 501 points of each interval."""
    z = normal(seed, 40) * 3 / beta**0.5
    R = 10**wide * normal(seed + 1, 40).abs() / beta
    xi = torch.linspace(-1, 1, 501, dtype=z.dtype)[:, None] * R
    t = xi.abs() / R  # the fraction of the interval
    values = derivative(z + xi, beta, order)

    softplus = Softplus(z, R, beta)
    low, high = softplus.range(order)
    assert (values >= low).all()
    assert (values <= high).all()
    assert (values.abs() <= softplus.magnitude(order)).all()
    if order <= 2:
        c, slope, e = softplus.affine(order)
        assert ((values - c - slope * xi).abs() <= e).all()
        # On a smaller part of the interval the Taylor error shrinks with the square, the secant change linearly.
        (c, slope, e), change = softplus.taylor(order)
        assert ((values - c - slope * xi).abs() <= e * t**2 + 1e-13 * beta**order).all()
        assert ((values - c).abs() <= change * t + 1e-13 * beta**order).all()


@given(beta=st.sampled_from([0.3, 5.0, 100.0]), order=st.sampled_from([1, 2, 3]))
def test_derivatives_are_each_other_s_derivative(beta, order):
    """Oracle: automatic differentiation."""
    z = torch.linspace(-5, 5, 101, dtype=torch.float64) / beta

    expected = torch.func.vmap(torch.func.grad(lambda t: derivative(t, beta, order)))(z)

    torch.testing.assert_close(derivative(z, beta, order + 1), expected, rtol=1e-10, atol=1e-12 * beta**order)


def test_constants_of_the_higher_derivatives_are_above_them():
    """Oracle: the derivatives on a dense grid, the fifth as a product of two sigmoids and a polynomial."""
    t = torch.linspace(-12, 12, 100_001, dtype=torch.float64)
    p, q = torch.sigmoid(t), torch.sigmoid(-t)
    fifth = p * q * (q - p) * (1 - 12 * p * q)

    assert float(derivative(t, 1.0, 3).abs().max()) < _LARGEST[3] < float(derivative(t, 1.0, 3).abs().max()) * 1.02
    assert float(derivative(t, 1.0, 4).abs().max()) < _LARGEST[4]
    assert float(fifth.abs().max()) < _LARGEST[5]


def test_margins_of_degenerate_inputs():
    """Oracle: closed form; NaN gives infinity, never a small number."""
    nan = torch.full((2, 2), math.nan, dtype=torch.float64)

    assert spectral_norm_bound(nan) == math.inf
    assert largest_eigenvalue_bound(nan) == math.inf
    assert spectral_norm_bound(torch.zeros(0, 3, dtype=torch.float64)) == 0
    assert float(row_norm_bounds(torch.tensor([[3.0, 4.0]], dtype=torch.float64))[0]) >= 5.0
    with pytest.raises(ValueError, match="roundings"):
        gamma(10**15)
    with pytest.raises(ValueError, match="order"):
        derivative(torch.zeros(1, dtype=torch.float64), 1.0, 5)
