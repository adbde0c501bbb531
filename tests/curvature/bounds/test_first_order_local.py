"""Rung 8: the third derivative, its remainder, the matrix inequality, and soundness."""

from importlib import import_module

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curvature.bounds import loewner, tangent_form, third_derivative
from curvature.bounds.entrywise_local import entrywise_local
from curvature.bounds.first_order_local import expand, first_order_local
from curvature.bounds.loewner import diagonal_bound, remainder
from curvature.bounds.rounding import preactivation_errors
from curvature.bounds.third_derivative import Centre, chebyshev_model, first_order, taylor_model
from curvature.derivatives import hessian
from curvature.errors import NoCertificateError
from curvature.feedforward import FeedForward
from curvature.search import Ascent, attained_curvature
from tests.curvature.bounds.tiny import curvatures, in_ball, tiny_network
from tests.strategies import normal, seeds

depths = st.sampled_from([(3,), (5,), (4, 4), (6, 5), (4, 4, 4), (3, 3, 3, 3)])
betas = st.sampled_from([0.3, 1.0, 5.0, 20.0, 50.0])
radii = st.sampled_from([1e-3, 1e-2, 0.1, 0.5, 2.0])


def _centre(net, x):
    return Centre(
        weights=net.weights, head=net.head, beta=net.beta, z=net.preactivations(x), errors=preactivation_errors(net, x)
    )


def _violation(net, x, radius, model):
    """How far H - H_c - T[u] leaves its Loewner bounds, in units of the Hessian's size."""
    layers = model(_centre(net, x), radius)
    (H, T), R = first_order(layers), remainder(net.weights, layers, radius)
    points = in_ball(5, x, radius, 60)
    exact = net.curves(points).hessian()
    left = exact - H - torch.einsum("bk,kij->bij", points - x, T)
    worst = torch.maximum(-torch.linalg.eigvalsh(R.upper - left)[:, 0], -torch.linalg.eigvalsh(R.lower + left)[:, 0])
    return float(worst.max()) / float(exact.abs().max() + R.upper.abs().max())


@given(seed=seeds, n=st.integers(2, 4), hidden=depths, beta=st.sampled_from([0.3, 1.0, 5.0]))
@settings(max_examples=20)
def test_slopes_at_the_centre_are_the_third_derivative(seed, n, hidden, beta):
    """Oracle: automatic differentiation of the dense Hessian."""
    net, x = tiny_network(seed, n, *hidden, beta=beta), normal(seed + 3, n)

    H, T = first_order(taylor_model(_centre(net, x), 0.0))

    third = torch.func.jacrev(lambda p: hessian(net, p))(x).movedim(-1, 0)
    scale = float(third.abs().max()) + 1.0
    assert float((H - hessian(net, x)).abs().max()) <= 1e-11 * scale
    assert float((T - third).abs().max()) <= 1e-10 * scale


@pytest.mark.parametrize("model", [chebyshev_model, taylor_model])
@given(seed=seeds, n=st.integers(2, 4), hidden=depths, beta=betas, radius=radii)
@example(seed=11, n=2, hidden=(4, 4), beta=50.0, radius=0.1)
def test_remainder_lies_between_its_loewner_bounds(model, seed, n, hidden, beta, radius):
    """Oracle: dense Hessians at points of the ball, and eigenvalues of the gaps."""
    net, x = tiny_network(seed, n, *hidden, beta=beta), normal(seed + 3, n)

    assert _violation(net, x, radius, model) <= 1e-11


@given(seed=seeds, hidden=depths, beta=betas)
@settings(max_examples=20)
def test_remainder_holds_with_every_neuron_at_its_kink(seed, hidden, beta):
    """Oracle: as above; the bias puts the first layer where the third derivative changes sign."""
    x = normal(seed + 3, 3)
    net = tiny_network(seed, 3, *hidden, beta=beta, kink=x)

    assert _violation(net, x, 0.3, chebyshev_model) <= 1e-11


@given(seed=seeds, hidden=depths, beta=betas, radius=radii, t=st.floats(0.05, 0.9))
@settings(max_examples=25)
def test_taylor_remainder_shrinks_with_the_square_of_the_radius(seed, hidden, beta, radius, t):
    """Oracle: dense Hessians in the smaller ball against t^2 times the remainder of the larger."""
    net, x = tiny_network(seed, 3, *hidden, beta=beta), normal(seed + 3, 3)
    layers = taylor_model(_centre(net, x), radius)
    (H, T), R = first_order(layers), remainder(net.weights, layers, radius)
    points = in_ball(5, x, t * radius, 40)
    left = net.curves(points).hessian() - H - torch.einsum("bk,kij->bij", points - x, T)

    tolerance = 1e-11 * float(H.abs().max() + R.upper.abs().max())
    assert float(torch.linalg.eigvalsh(t**2 * R.upper - left).min()) >= -tolerance
    assert float(torch.linalg.eigvalsh(t**2 * R.lower + left).min()) >= -tolerance


@given(seed=seeds, n=st.integers(2, 4), hidden=depths, beta=betas, radius=radii)
def test_gradient_remainder_holds_at_every_point(seed, n, hidden, beta, radius):
    """Oracle: gradients at points of the ball, by the network itself."""
    net, x = tiny_network(seed, n, *hidden, beta=beta), normal(seed + 3, n)
    try:
        expansion = expand(net, x)
    except NoCertificateError:
        return
    bound = expansion.gradient_remainder(radius)
    points = in_ball(seed, x, radius, 60)
    G, H = net.curves(x).gradient(), net.curves(x).hessian()
    G2 = net.curves(points).gradient() - G - (points - x) @ H
    normal_part = G2 @ (G / G.norm())

    if len(net.weights[0]) >= n:  # otherwise the expansion lives in other coordinates, with the same norms
        assert float((expansion.G - G).norm()) == 0
    tolerance = 1e-13 * float(G.norm() + radius * H.norm())
    assert float(torch.linalg.vector_norm(G2, dim=1).max()) <= bound.whole + tolerance
    assert (
        float(torch.linalg.vector_norm(G2 - normal_part[:, None] * G / G.norm(), dim=1).max())
        <= bound.tangent + tolerance
    )
    assert float((-normal_part).max()) <= bound.normal + tolerance
    assert float(torch.linalg.matrix_norm(net.curves(points).hessian(), 2).max()) <= bound.hessian * (1 + 1e-12)


@given(seed=seeds, n=st.integers(2, 6), hidden=depths, beta=betas, radius=radii)
@example(seed=3, n=2, hidden=(4, 4), beta=50.0, radius=0.01)
@example(seed=8, n=6, hidden=(3, 5), beta=5.0, radius=0.1)  # fewer neurons than inputs: restricted to the row space
def test_rung_8_is_above_everything_attained_and_below_rung_7(seed, n, hidden, beta, radius):
    """Oracle: points of the ball, gradient ascent for the curvature, and rung 7 as the ceiling."""
    net, x = tiny_network(seed, n, *hidden, beta=beta), normal(seed + 3, n)

    bound, rung7 = first_order_local(net, x, radius), entrywise_local(net, x, radius)

    for name in ("hessian", "gradient_change", "curvature"):
        if getattr(rung7, name) is not None and bound.exactness != "none":
            assert getattr(bound, name) <= getattr(rung7, name)
    if bound.curvature is None:
        assert bound.reason
        return
    low, high = curvatures(net, in_ball(seed, x, radius, 60))
    assert float(torch.maximum(-low, high).max()) <= bound.curvature * (1 + 1e-9)
    attained = attained_curvature(net, x, radius, search=Ascent(10, 3, seed))
    assert attained.value <= bound.curvature * (1 + 1e-9)


@given(seed=seeds, hidden=depths, beta=betas, radius=st.sampled_from([0.01, 0.1, 0.5]))
@settings(max_examples=15)
def test_rung_8_holds_on_a_dense_grid_in_two_dimensions(seed, hidden, beta, radius):
    """Oracle: the curvature at each of 3,000 points of the disc."""
    net, x = tiny_network(seed, 2, *hidden, beta=beta), normal(seed + 3, 2)
    bound = first_order_local(net, x, radius)
    line = torch.linspace(-1, 1, 61, dtype=x.dtype)
    u = torch.cartesian_prod(line, line)
    points = x + radius * u[u.norm(dim=1) <= 1]

    if bound.curvature is not None:
        low, high = curvatures(net, points)
        assert float(torch.maximum(-low, high).max()) <= bound.curvature * (1 + 1e-9)


@given(seed=seeds, hidden=st.sampled_from([(8,), (6, 6), (5, 5, 5)]))
@settings(max_examples=15)
def test_rung_8_is_exact_to_first_order(seed, hidden):
    """Oracle: gradient ascent; the excess over it must be of second order in the radius."""
    net, x = tiny_network(seed, 4, *hidden, beta=1.0), normal(seed + 3, 4)
    low, high = curvatures(net, x[None])
    here = float(torch.maximum(-low, high))
    r = 1e-3 * float(net.curves(x).gradient().norm()) / (1 + float(net.curves(x).hessian().norm()))
    attained = attained_curvature(net, x, r, search=Ascent(40, 4, 0)).value

    excess = first_order_local(net, x, r).curvature / attained - 1

    first = attained / here - 1  # of first order in r; the envelope of rung 8 may exceed it by a factor
    assert -1e-9 <= excess <= 2 * first + 1e-3


def test_one_hidden_layer_with_one_neuron_is_flat():
    """Oracle: closed form, the level sets of one ridge are hyperplanes."""
    net = tiny_network(4, 3, 1, beta=5.0)

    assert first_order_local(net, normal(1, 3), 0.01).curvature == 0


@given(seed=seeds, n=st.integers(1, 8))
def test_diagonal_bound_dominates_every_sign_pattern(seed, n):
    """Oracle: eigenvalues of D - B o (signs), for random signs."""
    B = normal(seed, n, n).abs()
    B = B + B.T
    D = torch.diag(diagonal_bound(B))
    signs = normal(seed + 1, n).sign()

    assert float(torch.linalg.eigvalsh(D - signs[:, None] * B * signs)[0]) >= -1e-12 * float(D.max())


@given(seed=seeds, hidden=st.sampled_from([(4, 4), (6, 3), (3, 4, 4)]), beta=betas, radius=radii)
@settings(max_examples=25)
def test_square_of_the_jacobian_s_change_is_bounded(seed, hidden, beta, radius):
    """Oracle: Jacobians of the last pre-activations at points of the ball, by automatic differentiation."""
    net, x = tiny_network(seed, 3, *hidden, beta=beta), normal(seed + 3, 3)
    layers, C = chebyshev_model(_centre(net, x), radius), normal(seed + 9, hidden[-1]).abs()

    bound = loewner._square(net.weights[-1], layers[-2], layers[-1], C, radius)

    jacobians = torch.func.vmap(torch.func.jacrev(lambda p: net.preactivations(p)[-1]))(in_ball(seed, x, radius, 30))
    change = jacobians - layers[-1].A
    squares = change.mT @ (C[:, None] * change)
    assert float(torch.linalg.eigvalsh(bound - squares).min()) >= -1e-12 * float(bound.trace() + 1)
    if radius * beta < 0.1:  # and is no empty bound: within a factor of what the points reach
        assert float(bound.trace()) <= 100 * float(squares.diagonal(dim1=1, dim2=2).sum(1).max()) + 1e-12


def test_the_cross_term_of_the_remainder_is_attained():
    """Oracle: the Hessian itself, at both ends of a one-dimensional ball, where every inequality is nearly an equality.

    f = g(e (s(y) - s(x))), g even: the first layer's sensitivity vanishes at x, and what is left of second order
    is half the cross term 2 eta K A, half the product of two linear forms. Half of either is too little.
    """
    one, e = torch.ones(1, dtype=torch.float64), 1e-2
    start = torch.nn.functional.softplus(3 * one)
    net = FeedForward(
        weights=(one[:, None], torch.tensor([[e], [-e]], dtype=torch.float64)),
        biases=(3 * one, torch.cat([-e * start, e * start])),
        head=torch.ones(2, dtype=torch.float64),
        head_bias=0 * one[0],
        beta=1.0,
    )
    x, radius = 0 * one, 1e-2
    layers = taylor_model(_centre(net, x), radius)
    (H, T), R = first_order(layers), remainder(net.weights, layers, radius)
    u = torch.tensor([[radius], [-radius]], dtype=torch.float64)

    left = net.curves(x + u).hessian() - H - torch.einsum("bk,kij->bij", u, T)

    worst = -float(left.min())  # below, as the third derivative of softplus is negative at 3
    assert float(R.lower) * (1 - 0.1) <= worst <= float(R.lower)


@pytest.mark.parametrize("swap", [False, True])
def test_both_signs_count_whichever_leads_at_the_centre(swap):
    """Oracle: closed form. H in [-0.9, 0.1] along the only tangent direction, 0.1 at the centre: tau = 0.9."""
    zero = torch.zeros(2, 2, dtype=torch.float64)
    ends = [torch.diag(torch.tensor([value, 0.0], dtype=torch.float64)) for value in (0.1, 1.0)]
    leading = tangent_form.Pencil(
        G=torch.tensor([0.0, 1.0], dtype=torch.float64), H=zero, centre=ends[0], slopes=torch.zeros(2, 2, 2).double(),
        rest=zero, radius=0.1, G2=0.0, lowest=1.0, slack=0.0,
    )  # fmt: skip
    other = leading._replace(centre=-ends[0], rest=ends[1])

    tau = tangent_form.largest_tau(*((other, leading) if swap else (leading, other)))

    assert 0.9 <= tau <= 0.9 * (1 + 1e-3)
    assert tangent_form.smallest_tau(leading) < 0.11  # what forgetting the other sign would return


PLANTED = {
    "no pre-activation remainder": (third_derivative, "_enclose"),
    "no interval of the bends": (loewner, "_bend_weights"),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_planted_mistakes_in_the_remainder_are_refuted(mistake, monkeypatch):
    """Oracle: the same check of the Loewner bounds as above, which must fail for each false sibling."""
    module, name = PLANTED[mistake]
    true = getattr(module, name)

    def enclose(layer, softplus, rho, *, taylor):
        true(layer, softplus, 0 * rho, taylor=taylor)
        layer.slope_rest, layer.bend_rest = 0 * layer.slope_rest, 0 * layer.bend_rest

    false = {
        "_enclose": enclose,
        "_bend_weights": lambda layer, radius: tuple(0 * end for end in true(layer, radius)),
    }[name]
    cases = [(tiny_network(s, 3, 5, 5, beta=5.0), normal(s + 3, 3)) for s in range(12)]
    assert max(_violation(net, x, 0.3, chebyshev_model) for net, x in cases) <= 1e-11
    monkeypatch.setattr(module, name, false)
    assert max(_violation(net, x, 0.3, chebyshev_model) for net, x in cases) > 1e-6


@pytest.mark.parametrize("name", ["rest", "G2"])
def test_inequality_uses_each_of_its_parts(name, monkeypatch):
    """Oracle: gradient ascent; a false sibling without the part must fall below it somewhere, or below the bound."""
    net, x = tiny_network(7, 4, 6, 6, beta=2.0), normal(9, 4)
    expansion = expand(net, x)
    radius = 0.05 * float(expansion.G.norm() / (1e-9 + torch.linalg.matrix_norm(expansion.H, 2)))
    G2 = expansion.gradient_remainder(radius)
    whole = expansion.curvature(radius, G2)
    true = tangent_form.largest_tau

    def without(*pencils):
        return true(*(p._replace(**{name: 0 * getattr(p, name)}) for p in pencils))

    module = import_module("curvature.bounds.first_order_local")  # the package exports the function under this name
    monkeypatch.setattr(module, "largest_tau", without)

    assert expansion.curvature(radius, G2) < whole
    assert attained_curvature(net, x, radius).value <= whole
