import mpmath
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.func import grad, jacfwd, jvp, vmap
from torch.testing import assert_close

from curvature.activations import Softplus, sigmoid, softplus
from tests.strategies import betas, normal, seeds

REL = 1e-14


def high_precision(t, beta):
    """Softplus and its three derivatives to 60 digits, of the doubles t and beta."""
    with mpmath.workdps(400):
        t, beta = mpmath.mpf(t), mpmath.mpf(beta)
        value = mpmath.log1p(mpmath.exp(beta * t)) / beta
        p, q = 1 / (1 + mpmath.exp(-beta * t)), 1 / (1 + mpmath.exp(beta * t))
        return [float(v) for v in (value, p, beta * p * q, beta**2 * p * q * (q - p))]


@given(u=st.floats(-650, 650), beta=betas)
@example(u=0.0, beta=1.0)
@example(u=39.999, beta=1.0)  # both sides of the threshold
@example(u=40.001, beta=1.0)
@example(u=36.8, beta=1.0)  # sigma (1 - sigma) has one digit left here
@example(u=-600.0, beta=50.0)
def test_all_orders_in_both_tails(u, beta):
    """Oracle: mpmath. The rounding of beta * t inside moves the tails by |beta t| roundings."""
    t = torch.tensor(u / beta, dtype=torch.float64)

    def f(p):
        return softplus(p, beta)

    actual = [f(t), grad(f)(t), grad(grad(f))(t), grad(grad(grad(f)))(t)]
    expected = high_precision(float(t), beta)
    tail = REL + abs(u) * 2.0**-52
    for order, (a, e) in enumerate(zip(actual, expected, strict=True)):
        slack = beta**2 * 1e-16 if order == 3 else 0.0  # s''' changes its sign at 0
        assert abs(float(a) - e) <= tail * abs(e) + slack * (abs(u) < 1) + 1e-300, order


@given(seed=seeds, beta=betas)
def test_all_routes_of_autodiff_agree(seed, beta):
    """Oracle: a second algorithm; forward, reverse, mixed and batched give one number."""
    t = normal(seed, 5)

    def f(p):
        return softplus(p, beta)

    first, second = vmap(grad(f))(t), vmap(grad(grad(f)))(t)
    assert_close(first, sigmoid(t, beta))
    assert_close(jvp(f, (t,), (torch.ones_like(t),))[1], first)
    assert_close(vmap(jacfwd(grad(f)))(t), second)
    assert_close(vmap(grad(jacfwd(f)))(t), second)
    assert_close(vmap(jacfwd(grad(grad(f))))(t), vmap(grad(grad(grad(f))))(t))


def test_nested_forward_mode_is_refused():
    """Oracle: torch drops the outer tangent in a jvp rule; before the guard the answer was 0."""
    t = torch.tensor(0.3, dtype=torch.float64)
    for derivative in (jacfwd(jacfwd(lambda p: softplus(p, 2.0))), jacfwd(jacfwd(grad(lambda p: softplus(p, 2.0))))):
        with pytest.raises(NotImplementedError, match="forward-mode"):
            derivative(t)


@given(t=st.floats(-50, 50), beta=betas)
def test_capped_slope_and_bend_stay_in_their_ranges(t, beta):
    """Oracle: s(t) - s(t - 6) by mpmath, slope in [0, 1], |bend| <= beta / 4."""
    capped = Softplus(beta, cap=6.0)
    point = torch.tensor(t, dtype=torch.float64)
    upper, lower = high_precision(t, beta), high_precision(t - 6, beta)
    assert abs(float(capped(point)) - (upper[0] - lower[0])) <= 1e-13 * (1 + abs(t))
    assert 0 <= float(grad(capped)(point)) <= 1
    bend = float(grad(grad(capped))(point))
    assert abs(bend) <= beta / 4 * (1 + 1e-15)
    assert abs(bend - (upper[2] - lower[2])) <= 1e-12 * beta


@pytest.mark.parametrize("t", [-1e4, -90.0, -25.0, 0.0, 19.0, 21.0, 88.0, 1e4])
def test_float32_has_no_inf_and_no_nan(t):
    """Oracle: mpmath; absolute accuracy of the slopes is enough in single precision."""
    point = torch.tensor(t, dtype=torch.float32)
    for beta in (0.3, 1.0, 50.0):
        value, slope, bend, _ = high_precision(t, beta)
        assert abs(float(softplus(point, beta)) - value) <= 1e-6 * (1 + abs(value))
        assert abs(float(grad(lambda p, b=beta: softplus(p, b))(point)) - slope) <= 1e-6
        assert abs(float(grad(grad(lambda p, b=beta: softplus(p, b)))(point)) - bend) <= 1e-6 * beta


@pytest.mark.parametrize("beta", [0.0, -1.0, float("inf"), float("nan")])
def test_bad_beta_is_refused(beta):
    """Oracle: the documented error."""
    with pytest.raises(ValueError, match="beta"):
        Softplus(beta)
