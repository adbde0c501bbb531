"""Rung 7: the turning of the frame as linear algebra, and soundness on tiny networks."""

import math
from importlib import import_module

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from curvature.bounds.entrywise_local import entrywise_local, hessian_enclosure, turned_form_bound
from curvature.bounds.first_order_local import expand, first_order_local
from curvature.feedforward import FeedForward
from curvature.search import Ascent, attained_curvature
from tests.curvature.bounds.tiny import curvatures, in_ball, tiny_network
from tests.strategies import normal, seeds

rung7 = import_module("curvature.bounds.entrywise_local")  # the package exports the function under this name

depths = st.sampled_from([(3,), (5,), (4, 4), (6, 5), (4, 4, 4)])
betas = st.sampled_from([0.3, 1.0, 5.0, 20.0, 50.0])
radii = st.sampled_from([1e-3, 1e-2, 0.1, 0.5, 2.0])


def _blocks(H, n):
    Hn = H @ n
    P = torch.eye(len(n), dtype=n.dtype) - torch.outer(n, n)
    return float(torch.linalg.matrix_norm(P @ H @ P, 2)), float((P @ Hn).norm()), abs(float(n @ Hn))


def _worst_form(H, n, theta):
    """max |v^T H v| over unit v with |v.n| <= sin theta: exact in the plane, dense over the circle."""
    angles = torch.linspace(-theta, theta, 4001, dtype=n.dtype)
    t = torch.stack([-n[1], n[0]])
    v = angles.cos()[:, None] * t + angles.sin()[:, None] * n
    return float(((v @ H) * v).sum(1).abs().max())


@given(seed=seeds, theta=st.floats(0.0, math.pi / 2), tilt=st.floats(0.0, 3.0))
@example(seed=0, theta=0.7, tilt=0.0)
@example(seed=1, theta=math.pi / 2, tilt=1.0)
def test_turned_form_bounds_every_tangent_direction_of_a_turned_frame(seed, theta, tilt):
    """Oracle: all directions of the plane, densely, with pure linear algebra and no network."""
    n = normal(seed, 2)
    n = n / n.norm()
    H = normal(seed + 1, 2, 2)
    H = H + H.T + tilt * torch.outer(n, n) * 10

    bound = turned_form_bound(*_blocks(H, n), theta)

    assert _worst_form(H, n, theta) <= bound * (1 + 1e-12)


@given(seed=seeds, n=st.integers(3, 6), theta=st.floats(0.0, 1.5))
def test_turned_form_holds_in_higher_dimensions(seed, n, theta):
    """Oracle: the quadratic form on the turned tangent space, by its eigenvalues."""
    normals = normal(seed, 2, n)
    first = normals[0] / normals[0].norm()
    side = normals[1] - (normals[1] @ first) * first
    turned = math.cos(theta) * first + math.sin(theta) * side / side.norm()
    H = normal(seed + 5, n, n)
    H = H + H.T
    Q = torch.linalg.qr(turned[:, None], mode="complete")[0][:, 1:]

    worst = float(torch.linalg.matrix_norm(Q.T @ H @ Q, 2))

    assert worst <= turned_form_bound(*_blocks(H, first), theta) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("mistake", "H"),
    [
        # The wrong formulas, and a form on which each is below the truth.
        (
            lambda tt, tn, nn, a: math.cos(a) ** 2 * tt + math.sin(2 * a) * tn + math.sin(a) ** 2 * nn,
            [[1.0, 0.0], [0.0, 0.0]],
        ),
        (lambda tt, tn, nn, a: tt + math.sin(a) * math.cos(a) * tn + math.sin(a) ** 2 * nn, [[0.0, 1.0], [1.0, 0.0]]),
        (lambda tt, tn, nn, a: tt + math.sin(2 * a) * tn, [[0.0, 0.0], [0.0, 1.0]]),
    ],
    ids=["cos at a = theta", "dropped 2", "dropped nn"],
)
def test_known_mistakes_are_refuted_as_linear_algebra(mistake, H):
    """Oracle: the dense circle again; every false sibling falls below it, the bound does not."""
    n = torch.tensor([0.0, 1.0], dtype=torch.float64)
    H = torch.tensor(H, dtype=torch.float64)
    theta = 0.8

    worst = _worst_form(H, n, theta)

    assert mistake(*_blocks(H, n), theta) < worst * 0.999
    assert turned_form_bound(*_blocks(H, n), theta) >= worst * (1 - 1e-12)


@given(seed=seeds, n=st.integers(2, 4), hidden=depths, beta=betas, radius=radii)
def test_enclosure_holds_the_hessian_at_every_point(seed, n, hidden, beta, radius):
    """Oracle: dense Hessians at points of the ball; entrywise distance against L and D."""
    net, x = tiny_network(seed, n, *hidden, beta=beta), normal(seed + 3, n)

    M, L, D = hessian_enclosure(net, x, radius)

    H = net.curves(in_ball(seed, x, radius, 60)).hessian()
    widest = torch.outer(L.diagonal(), L.diagonal()).clamp_min(0).sqrt() + D  # |L_ij|^2 <= L_ii L_jj
    assert ((H - M).abs() <= widest * (1 + 1e-9) + 1e-11 * (1 + M.abs())).all()


@given(seed=seeds, n=st.integers(2, 4), hidden=depths, beta=betas, radius=radii)
@example(seed=3, n=2, hidden=(4, 4), beta=50.0, radius=0.1)
def test_rung_7_is_above_everything_that_points_attain(seed, n, hidden, beta, radius):
    """Oracle: points of the ball, and gradient ascent for the curvature."""
    net, x = tiny_network(seed, n, *hidden, beta=beta), normal(seed + 3, n)

    bound = entrywise_local(net, x, radius)

    points = in_ball(seed, x, radius, 60)
    curves = net.curves(points)
    tolerance = 1 + 1e-9
    if bound.hessian is not None:
        assert float(torch.linalg.matrix_norm(curves.hessian(), 2).max()) <= bound.hessian * tolerance
        change = torch.linalg.vector_norm(curves.gradient() - net.curves(x).gradient(), dim=1)
        assert float(change.max()) <= bound.gradient_change * tolerance
    if bound.curvature is None:
        assert bound.reason
    else:
        low, high = curvatures(net, points)
        assert float(torch.maximum(-low, high).max()) <= bound.curvature * tolerance
        attained = attained_curvature(net, x, radius, search=Ascent(8, 3, seed))
        assert attained.value <= bound.curvature * tolerance


def _hidden_kink():
    """One neuron off its kink at x, so that s'' at the centre is far below its value in the ball."""
    one = torch.ones((), dtype=torch.float64)
    return FeedForward(
        weights=(torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64),),
        biases=(torch.tensor([-0.3, 5.0], dtype=torch.float64),),
        head=torch.tensor([1.0, 1.0], dtype=torch.float64),
        head_bias=0 * one,
        beta=20.0,
    )


def test_bends_taken_at_the_centre_are_refuted(monkeypatch):
    """Oracle: the Hessian at the kink, 0.3 away; the planted mistake must fall below it."""
    net, x = _hidden_kink(), torch.zeros(2, dtype=torch.float64)
    kink = torch.tensor([0.3, 0.0], dtype=torch.float64)
    worst = float(torch.linalg.matrix_norm(net.curves(kink).hessian(), 2))
    assert worst == pytest.approx(5.0, rel=1e-6)
    assert entrywise_local(net, x, 0.4).hessian >= worst
    whole = rung7.Softplus
    monkeypatch.setattr(rung7, "Softplus", lambda z, R, beta: whole(z, 0 * R, beta))
    assert entrywise_local(net, x, 0.4).hessian < worst


@pytest.mark.parametrize("rung", [entrywise_local, first_order_local, lambda net, x, r: expand(net, x).bound(r)])
@pytest.mark.parametrize("radius", [-0.1, math.inf, math.nan])
def test_a_radius_that_is_none_is_rejected(rung, radius):
    """Oracle: ValueError; a negative radius once gave a bound below the curvature at the centre."""
    with pytest.raises(ValueError, match="radius"):
        rung(tiny_network(0, 3, 4, beta=1.0), normal(1, 3), radius)


def test_a_point_that_is_none_is_rejected():
    """Oracle: ValueError."""
    net = tiny_network(0, 3, 4, beta=1.0)
    for x in (normal(1, 2), torch.full((3,), math.nan, dtype=torch.float64)):
        for rung in (lambda net, x: entrywise_local(net, x, 0.1), expand):
            with pytest.raises(ValueError, match="point"):
                rung(net, x)


def test_underflow_and_a_vanishing_gradient_give_reasons():
    """Oracle: a flat network, and a ball around a minimum."""
    x = torch.tensor([-9.0, 0.0], dtype=torch.float64)
    net = tiny_network(0, 2, 3, beta=1.0)
    flat = FeedForward(
        weights=(torch.eye(2, dtype=torch.float64),), biases=(torch.full((2,), -100.0, dtype=torch.float64),),
        head=torch.ones(2, dtype=torch.float64), head_bias=net.head_bias, beta=100.0,
    )  # fmt: skip

    assert entrywise_local(flat, x, 0.1).curvature is None
    assert "gradient" in entrywise_local(flat, x, 0.1).reason
    assert entrywise_local(net, x, 1e3).curvature is None
