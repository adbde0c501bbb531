import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from curvature.derivatives import ORDERS, fastest_order, gradient, hessian, hvp, hvp_order
from curvature.networks import logit, soften
from tests.strategies import betas, normal, relu_network, seeds, tanh_field


@given(seed=seeds, n=st.integers(1, 6))
def test_quadratic_form_in_all_orders(seed, n):
    """Oracle: closed form, (A + A^T) x and A + A^T."""
    A, x, v = normal(seed, n, n), normal(seed + 1, n), normal(seed + 2, n)

    def f(p):
        return p @ A @ p

    assert_close(gradient(f, x), (A + A.T) @ x, rtol=1e-12, atol=1e-12)
    assert_close(hessian(f, x), A + A.T, rtol=1e-12, atol=1e-12)
    for order in ORDERS:
        assert_close(hvp(f, x, v, order=order), (A + A.T) @ v, rtol=1e-12, atol=1e-12)


@settings(max_examples=15)
@given(seed=seeds, beta=betas)
def test_orders_agree_with_the_dense_hessian_of_a_network(seed, beta):
    """Oracle: three algorithms and the dense matrix."""
    f = logit(soften(relu_network(seed, 4, 5, 3, 2), beta), 1)
    x, v = normal(seed + 1, 4), normal(seed + 2, 4)
    H = hessian(f, x)
    assert torch.equal(H, H.T)
    scale = float(H.norm() * v.norm()) + 1e-30
    for order in ORDERS:
        assert float((hvp(f, x, v, order=order) - H @ v).norm()) <= 1e-12 * scale


@given(seed=seeds)
def test_hvp_is_the_slope_of_the_gradient(seed):
    """Oracle: central differences with their order: a step halved divides the error by four."""
    f, x = tanh_field(seed, 4)
    v = normal(seed + 5, 4)
    exact = hvp(f, x, v)
    errors = [
        float(((gradient(f, x + h * v) - gradient(f, x - h * v)) / (2 * h) - exact).norm()) for h in (2e-2, 1e-2, 5e-3)
    ]
    assert errors[2] <= errors[1] * 0.35 + 1e-11
    assert errors[2] <= 1e-2 * (1 + float(exact.norm()))


@pytest.mark.parametrize("order", ORDERS)
def test_hvp_can_be_differentiated(order):
    """Oracle: closed form, f = sum x^4 has Hv = 12 x^2 v, whose sum has the slope 24 x v."""
    x, v = normal(0, 3).requires_grad_(), normal(1, 3)
    (slope,) = torch.autograd.grad(hvp(lambda p: (p**4).sum(), x, v, order=order).sum(), x)
    assert_close(slope, 24 * x.detach() * v)


def test_shapes_are_kept():
    """Oracle: f = |x|^2 / 2 has gradient x and H = I."""
    x, v = normal(0, 2, 3), normal(1, 2, 3)
    for order in ORDERS:
        assert_close(hvp(lambda p: (p * p).sum() / 2, x, v, order=order), v)
    assert_close(gradient(lambda p: (p * p).sum() / 2, x), x)
    assert_close(hessian(lambda p: (p * p).sum() / 2, x), torch.eye(6, dtype=torch.float64))


def test_order_rule():
    """Oracle: the rule."""
    assert hvp_order(nn.Conv2d(4, 4, 3, groups=4)) == "reverse-over-forward"
    assert hvp_order(nn.Conv2d(4, 4, 3)) == "reverse-over-reverse"
    assert fastest_order(lambda p: p @ p, normal(0, 2), repeats=1) in ORDERS


def test_bad_input_is_refused():
    """Oracle: the documented errors."""
    x = torch.ones(2, dtype=torch.float64)
    for call in (
        lambda y: gradient(sum, y),
        lambda y: hessian(sum, y),
        lambda y: hvp(sum, y, x),
        lambda y: hvp(sum, x, y),
    ):
        with pytest.raises(ValueError, match="finite"):
            call(x * float("nan"))
    with pytest.raises(ValueError, match="order"):  # unwrapped: beartype, in the tests alone, rejects it earlier
        inspect.unwrap(hvp)(lambda p: p @ p, x, x, order="sideways")
    with pytest.raises(ValueError, match="shape"):
        inspect.unwrap(hvp)(lambda p: p @ p, x, torch.ones(3, dtype=torch.float64))
