"""Branch and bound against dense grids, closed forms, and its own budget."""

import math

import numpy as np
import pytest
import torch
from flint import arb, arb_mat

from curvature.bounds.branch_and_bound import Region, ball, branch_and_bound, curvature_enclosure
from curvature.bounds.intervals import Interval, slopes
from curvature.demo_networks import contour_network
from curvature.errors import NoCertificateError
from curvature.feedforward import FeedForward, feed_forward
from curvature.networks import soften
from proofs_check.softplus_ball import BallNetwork, Jet, PlainNetwork
from proofs_check.softplus_ball import norm as arb_norm
from tests.strategies import normal, relu_network

SQUARE = {"lo": np.array([-1.0, -1.0]), "hi": np.array([1.0, 1.0])}


def curvatures(net: FeedForward, points: torch.Tensor) -> torch.Tensor:
    """Largest |kappa| at each point, by the projected Hessian."""
    curves = net.curves(points)
    G, H = curves.gradient(), curves.hessian()
    normals = G / G.norm(dim=1, keepdim=True)
    P = torch.eye(G.shape[1], dtype=torch.float64) - normals[:, :, None] * normals[:, None]
    return torch.linalg.eigvalsh(P @ H @ P).abs().amax(1) / G.norm(dim=1)


def contour() -> FeedForward:
    return feed_forward(soften(contour_network(0), 1.0), torch.zeros(2), 0)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_contour_level_sets_are_enclosed_to_one_percent(quantile):
    """Oracle: a dense grid near the level set, from below; the enclosure's own two ends."""
    net, axis = contour(), torch.linspace(-1, 1, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    values = net(grid)
    level = values.quantile(quantile).item()
    found = curvature_enclosure(net, Region(**SQUARE, level=level))
    assert found.reason == ""
    assert found.gap <= 0.0101
    assert found.gradient_norm_bound > 0
    sampled = curvatures(net, grid[(values - level).abs() < 5e-3]).max().item()
    assert sampled <= found.upper * 1.005  # grid points lie next to the level set
    assert sampled >= found.lower * 0.97


def arb_curvature(jet: Jet) -> arb:
    """|t^T H t| / ||G||^3, t = (-G_2, G_1), over a box in the plane; NaN where G may vanish."""
    (g, h), H = jet.gradient.entries(), jet.hessian
    form = H[0, 0] * h * h - 2 * H[0, 1] * g * h + H[1, 1] * g * g
    return abs(form) / arb_norm(jet.gradient) ** 3


def arb_proves_at_most(network: BallNetwork, level: arb, claim: float, budget: int = 60_000) -> bool:
    """Whether boxes that cover the square and may meet the level set all have |kappa| <= claim."""
    todo = [(0.0, 0.0, 1.0)]
    for _ in range(budget):
        if not todo:
            return True
        x, y, half = todo.pop()
        jet = network.jet(arb_mat([[arb(x, half)], [arb(y, half)]]))
        if jet.value.overlaps(level) and not arb_curvature(jet) <= claim:
            h = half / 2
            todo += [(x + i * h, y + j * h, h) for i in (-1, 1) for j in (-1, 1)]
    return False


def arb_attained(network: BallNetwork, net: FeedForward, level: float, start: torch.Tensor) -> arb:
    """|kappa| at the point of the level set on a short segment along the normal, proven to cross it."""
    p = start
    for _ in range(20):
        G = net.curves(p).gradient()
        p = p - (net(p) - level) * G / (G @ G)
    step = 1e-9 * G / G.norm()
    ends = [network.jet(arb_mat([[arb(float(c))] for c in q])).value for q in (p - step, p + step)]
    assert ends[0] < level < ends[1]
    half = 1.0001 * step.abs() + 1e-15
    return arb_curvature(network.jet(arb_mat([[arb(float(c), float(w))] for c, w in zip(p, half, strict=True)])))


@pytest.mark.slow
def test_ball_arithmetic_confirms_both_ends_on_the_contour_network():
    """Oracle: Arb, in code of its own: a cover of the level set for the upper end, a point on it for the lower."""
    net, axis = contour(), torch.linspace(-1, 1, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    values = net(grid)
    level = values.quantile(0.5).item()
    found = curvature_enclosure(net, Region(**SQUARE, level=level))
    network = BallNetwork(
        PlainNetwork(
            weights=[W.tolist() for W in net.weights],
            biases=[b.tolist() for b in net.biases],
            head=net.head.tolist(),
            head_bias=float(net.head_bias),
            beta=net.beta,
        )
    )
    near = grid[((values - level).abs() < 2e-3) & (grid.abs().amax(1) < 0.99)]
    best = near[curvatures(net, near).argmax()]

    assert arb_proves_at_most(network, arb(level), found.upper * (1 + 1e-2))
    assert not arb_proves_at_most(network, arb(level), found.lower * (1 - 1e-2), budget=6_000)  # the false sibling
    attained = arb_attained(network, net, level, best)
    assert attained <= found.upper
    assert attained >= found.lower * (1 - 1e-2)


@pytest.mark.parametrize(("widths", "radius"), [((2, 5, 4, 1), 0.2), ((3, 5, 1), 0.1), ((4, 5, 1), 0.01)])
def test_balls_are_enclosed(widths, radius):
    """Oracle: sampled curvatures from below."""
    net = feed_forward(soften(relu_network(3, *widths), 2.0), torch.zeros(widths[0]), 0)
    x = normal(8, widths[0])
    found = curvature_enclosure(net, ball(x, radius), gap=0.05, max_boxes=2_000)
    step = normal(1, 2_000, widths[0])
    sampled = curvatures(net, x + radius * step / step.norm(dim=1, keepdim=True)).max().item()
    assert sampled <= found.upper * (1 + 1e-12)
    assert found.lower <= found.upper


def test_one_circle_has_the_curvature_of_the_closed_form():
    """Oracle: closed form. f = s(x)+s(-x)+s(y)+s(-y) on its axes: kappa = s''(0) / (2 s'(x) - 1) there."""
    W = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    zero = torch.zeros(4, dtype=torch.float64)
    net = FeedForward(
        weights=(W,), biases=(zero,), head=torch.ones(4, dtype=torch.float64), head_bias=zero[0], beta=1.0
    )
    point = torch.tensor([1.0, 0.0], dtype=torch.float64)
    exact = 0.5 / (2 / (1 + math.exp(-1)) - 1)  # H_yy = 2 g(0) = 1/2, |G| = 2 sigma(1) - 1
    found = curvature_enclosure(net, ball(point, 0.0))
    assert found.lower <= exact * (1 + 1e-14)
    assert found.upper >= exact * (1 - 1e-14)
    assert found.gap < 1e-6


def test_a_critical_point_inside_gives_no_certificate():
    """Oracle: f = s(x)+s(-x)+s(y)+s(-y) has its minimum at 0."""
    W = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    zero = torch.zeros(4, dtype=torch.float64)
    net = FeedForward(
        weights=(W,), biases=(zero,), head=torch.ones(4, dtype=torch.float64), head_bias=zero[0], beta=1.0
    )
    found = branch_and_bound(net, torch.tensor([0.01, 0.0], dtype=torch.float64), 0.1)
    assert found.curvature is None
    assert "critical point" in found.reason


def test_a_level_that_is_not_taken_is_no_certificate():
    """Oracle: the range of f."""
    with pytest.raises(NoCertificateError, match="does not meet"):
        curvature_enclosure(contour(), Region(**SQUARE, level=100.0))


def test_five_inputs_are_refused():
    """Oracle: the promise of the rung."""
    net = feed_forward(soften(relu_network(0, 5, 3, 1), 1.0), torch.zeros(5), 0)
    with pytest.raises(NoCertificateError, match="2 to 4 inputs"):
        branch_and_bound(net, torch.zeros(5), 0.1)


@pytest.mark.parametrize("beta", [0.3, 1.0, 50.0])
def test_ranges_of_slopes_hold_their_samples(beta):
    """Oracle: the derivatives at points of the interval, with products of sigmoids."""
    middle, width = normal(0, 500).numpy() * 3 / beta, np.abs(normal(1, 500).numpy()) * 2 / beta
    box = Interval(middle - width, middle + width)
    first, second, third = slopes(box, beta)
    for t in np.linspace(0, 1, 41):
        z = torch.from_numpy(box.lo * (1 - t) + box.hi * t)
        s, m = torch.sigmoid(beta * z), torch.sigmoid(-beta * z)
        for value, enclosure in ((s, first), (beta * s * m, second), (beta**2 * s * m * (m - s), third)):
            slack = 1e-13 * beta**2
            assert (value.numpy() >= enclosure.lo - slack).all()
            assert (value.numpy() <= enclosure.hi + slack).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_slopes_keep_their_digits_in_both_tails(sign):
    """Oracle: s'' = g(1 + O(g)), g = e^-|u|: sigma (1 - sigma) has lost it at u = 38 on the right."""
    u = sign * np.array([30.0, 34.0, 38.0, 100.0, 600.0])
    second = slopes(Interval(u, u), 1.0)[1]
    exact = np.exp(-np.abs(u)) / (1 + np.exp(-np.abs(u))) ** 2
    assert (second.lo <= exact * (1 + 1e-15)).all()
    assert (second.hi >= exact * (1 - 1e-15)).all()
    assert (second.hi - second.lo <= 1e-12 * exact).all()
