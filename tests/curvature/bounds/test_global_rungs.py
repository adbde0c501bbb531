"""The global rungs against gradient ascent over points and weights, and against each other."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from curvature.bounds import BOUNDS, anchored, curvature_bounds, tightest
from curvature.bounds.anchor import anchor
from curvature.bounds.anchored import gradient_lipschitz_from, secant_slope_bound
from curvature.bounds.bound import Bound
from curvature.bounds.frobenius import frobenius, frobenius_paper
from curvature.bounds.sign_aware import hessian_ends, sensitivity_enclosures
from curvature.bounds.singla_feizi_2020 import absolute_sensitivities, singla_feizi_2020
from curvature.bounds.spectral import spectral
from curvature.errors import NoCertificateError
from curvature.feedforward import FeedForward, feed_forward
from curvature.networks import soften
from tests.strategies import betas, normal, relu_network, seeds

HESSIAN_RUNGS = ("frobenius_paper", "frobenius", "spectral", "singla_feizi_2020", "entesari_2024", "sign_aware")
depths = st.integers(1, 3)


def network(seed: int, n: int, depth: int, beta: float) -> FeedForward:
    widths = [n, *([6] * depth), 2]
    return feed_forward(soften(relu_network(seed, *widths), beta), torch.zeros(n), 0)


def from_matrices(weights: list[torch.Tensor], head: torch.Tensor, beta: float) -> FeedForward:
    """A network without biases, differentiable in its weights."""
    biases = tuple(torch.zeros(len(W), dtype=torch.float64) for W in weights)
    bias = torch.zeros((), dtype=torch.float64)
    return FeedForward(weights=tuple(weights), biases=biases, head=head, head_bias=bias, beta=beta)


def hessian_rung(name: str, net: FeedForward) -> float:
    found = BOUNDS[name](net, torch.zeros(net.weights[0].shape[1], dtype=torch.float64), 0.0).hessian
    assert found is not None
    return found


def ascended_points(net: FeedForward, seed: int, sign: float) -> torch.Tensor:
    """Points where the signed extreme eigenvalue of the Hessian is locally largest."""
    x = (normal(seed, 16, net.weights[0].shape[1]) * 3).requires_grad_(True)
    optimiser = torch.optim.Adam([x], lr=0.05 / min(net.beta, 5))
    for _ in range(20):
        optimiser.zero_grad()
        (-(sign * torch.linalg.eigvalsh(sign * net.curves(x).hessian())[..., -1]) * sign).sum().backward()
        optimiser.step()
    return x.detach()


@settings(max_examples=12)
@given(seed=seeds, n=st.integers(1, 4), depth=depths, beta=betas)
def test_every_global_rung_is_above_the_hessian_that_ascent_attains(seed, n, depth, beta):
    """Oracle: gradient ascent from below, both ends of the spectrum."""
    net = network(seed, n, depth, beta)
    ends = hessian_ends(net)
    attained = 0.0
    for sign, end in ((1.0, ends.upper), (-1.0, ends.lower)):
        H = net.curves(ascended_points(net, seed, sign)).hessian()
        value = (sign * torch.linalg.eigvalsh(sign * H)[..., -1] * sign).max().item()
        assert value <= end * Fraction(1 + 1e-12) + Fraction(1e-12)
        attained = max(attained, value)
    for name in HESSIAN_RUNGS:
        assert attained <= hessian_rung(name, net) * (1 + 1e-12), name


@given(seed=seeds, beta=betas, n=st.integers(1, 4))
def test_one_neuron_attains_the_quarter(seed, beta, n):
    """Oracle: closed form, sup ||H|| = beta |v| ||w||^2 / 4 for f = v s(w.x), at w.x = 0."""
    w, v = normal(seed, 1, n), normal(seed + 1, 1)
    net = from_matrices([w], v, beta)
    exact = beta * v.abs().item() * w.square().sum().item() / 4
    for name in HESSIAN_RUNGS[1:]:
        assert hessian_rung(name, net) == pytest.approx(exact, rel=1e-13), name
    assert hessian_rung("frobenius_paper", net) == pytest.approx(4 * exact, rel=1e-13)
    ends = hessian_ends(net)
    assert float(ends.lower if v.item() > 0 else ends.upper) <= 1e-200


@settings(max_examples=20)
@given(seed=seeds, depth=depths, beta=betas)
def test_sharper_rungs_are_not_above_their_parents(seed, depth, beta):
    """Oracle: THEORY's order where it is a theorem: 1 >= 2, printed >= 1, 3 >= 5."""
    net = network(seed, 3, depth, beta)
    printed, quarter, product, absolute, signed = (
        hessian_rung(name, net)
        for name in ("frobenius_paper", "frobenius", "spectral", "singla_feizi_2020", "sign_aware")
    )
    assert quarter <= printed
    assert product <= quarter * (1 + 1e-11)
    assert signed <= absolute * (1 + 1e-11)


def test_hadamard_layers_put_rung_3_above_rung_2():
    """Oracle: a counterexample to the order of the ladder, so that nobody returns one rung only."""
    H = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(6):
        H = torch.cat([torch.cat([H, H], 1), torch.cat([H, -H], 1)])
    net = from_matrices([H / 8] * 3, torch.ones(64, dtype=torch.float64), 1.0)
    assert hessian_rung("singla_feizi_2020", net) > hessian_rung("spectral", net)


@given(seed=seeds, depth=st.integers(2, 3), beta=betas)
def test_sensitivities_are_enclosed(seed, depth, beta):
    """Oracle: the sensitivities themselves at points far and near."""
    net = network(seed, 3, depth, beta)
    found = net.curves(normal(seed, 200, 3) * 4).sensitivities
    for F, (lo, hi), S in zip(found, sensitivity_enclosures(net), absolute_sensitivities(net), strict=True):
        assert (lo - 1e-12 * hi.abs().max() <= F).all()
        assert (hi + 1e-12 * hi.abs().max() >= F).all()
        assert (F.abs() <= S * (1 + 1e-12)).all()


@given(seed=seeds, scale=st.floats(1e-3, 300), beta=betas)
@example(seed=0, scale=0.0, beta=1.0)
@example(seed=0, scale=1e5, beta=50.0)
def test_secant_slope_bounds_every_secant_and_is_attained(seed, scale, beta):
    """Oracle: a dense sample of secants, from below, and 1e-3 of tightness."""
    z = normal(seed, 20) * scale / beta
    t = torch.cat([torch.linspace(-40, 40, 4001, dtype=torch.float64) / beta, normal(seed + 1, 100) * scale / beta])
    gap = t[None] - z[:, None]
    # s'(t) - s'(z) = sinh(..)-free product form would share code; float64 differences with their error do.
    slopes = (torch.sigmoid(beta * t)[None] - torch.sigmoid(beta * z)[:, None]).abs()
    error = 4e-16
    secant = torch.where(gap.abs() * beta > 1e-4, (slopes - error) / gap.abs(), 0.0).amax(1)
    bend = beta * torch.sigmoid(beta * z) * torch.sigmoid(-beta * z)
    found = secant_slope_bound(z, torch.zeros_like(z), beta)
    assert (torch.maximum(secant, bend) <= found * (1 + 1e-12)).all()
    assert (found <= beta / 4 * (1 + 1e-12)).all()
    near = z.abs() * beta < 30
    assert (found[near] <= torch.maximum(secant, bend)[near] * (1 + 1e-3)).all()


@given(seed=seeds, beta=betas)
def test_secant_slope_exceeds_the_bend_away_from_zero(seed, beta):
    """Oracle: s'' at the centre is a false bound; the false sibling must be below the true one."""
    z = (normal(seed, 20).abs() + 1) / beta
    bend = beta * torch.sigmoid(beta * z) * torch.sigmoid(-beta * z)
    assert (secant_slope_bound(z, torch.zeros_like(z), beta) > bend * 1.05).all()


@settings(max_examples=12)
@given(seed=seeds, n=st.integers(1, 4), depth=depths, beta=st.floats(0.3, 10.0))
def test_anchored_bounds_the_gradient_change(seed, n, depth, beta):
    """Oracle: gradient ascent over the second point."""
    net, x = network(seed, n, depth, beta), normal(seed + 3, n)
    K = float(gradient_lipschitz_from(net, anchor(net, x)))
    G = net.curves(x).gradient()
    y = (x + normal(seed + 4, 64, n) * torch.logspace(-3, 1, 64, dtype=torch.float64)[:, None]).requires_grad_(True)
    optimiser = torch.optim.Adam([y], lr=0.03)
    for _ in range(20):
        optimiser.zero_grad()
        ratio = (net.curves(y).gradient() - G).norm(dim=1) / (y - x).norm(dim=1)
        assert (ratio <= K * (1 + 1e-9)).all()
        (-ratio).sum().backward()
        optimiser.step()


def attained_ratio(net: FeedForward, distance: float) -> float:
    """Largest ||G(y)-G(0)|| / ||y|| on spheres, by sampling."""
    y = normal(5, 400, net.weights[0].shape[1])
    y = distance * y / y.norm(dim=1, keepdim=True)
    origin = torch.zeros(y.shape[1], dtype=torch.float64)
    change = (net.curves(y).gradient() - net.curves(origin).gradient()).norm(dim=1)
    return (change / distance).max().item()


@pytest.mark.parametrize("copies", [1, 4, 25])
def test_anchored_bound_scales_with_the_sensitivity(copies):
    """Oracle: closed form. f = c s(x_1) has change c beta |y| / 4 near 0, for c far from 1 and many equal neurons.

    One neuron of weight c shows a missing factor of the sensitivity's norm for any c > 1; random networks do not.
    """
    W, head = torch.ones(copies, 1, dtype=torch.float64), torch.full((copies,), 7.0, dtype=torch.float64)
    net = from_matrices([W], head, 1.0)
    K = float(gradient_lipschitz_from(net, anchor(net, torch.zeros(1, dtype=torch.float64))))
    exact = copies * 7.0 / 4
    assert exact * (1 - 1e-12) <= K <= exact * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(2))
def test_no_weights_break_the_anchored_bound(seed):
    """Oracle: gradient ascent over all weights, the head included, of attained / bound."""
    shapes = [(4, 2), (4, 4)]
    parameters = [normal(seed + i, *s).requires_grad_(True) for i, s in enumerate([*shapes, (4,)])]
    optimiser = torch.optim.Adam(parameters, lr=0.05)
    y = normal(seed + 9, 64, 2) * torch.logspace(-2, 1, 64, dtype=torch.float64)[:, None]
    x = normal(seed + 10, 2)
    worst = 0.0
    for _ in range(60):
        optimiser.zero_grad()
        net = from_matrices(parameters[:-1], parameters[-1], 2.0)
        ratio = ((net.curves(x + y).gradient() - net.curves(x).gradient()).norm(dim=1) / y.norm(dim=1)).max()
        with torch.no_grad():
            fixed = from_matrices([p.detach() for p in parameters[:-1]], parameters[-1].detach(), 2.0)
            K = float(gradient_lipschitz_from(fixed, anchor(fixed, x)))
        worst = max(worst, ratio.item() / K)
        # The bound's own growth, up to a constant: its norms are products of Frobenius norms.
        size = sum(2 * p.square().sum().log() for p in parameters[:-1]) / 2 + parameters[-1].norm().log()
        (size - ratio.log()).backward()
        optimiser.step()
    assert worst <= 1 + 1e-9


@settings(max_examples=6)
@given(seed=seeds, n=st.integers(2, 3), depth=depths, beta=st.floats(0.3, 5.0), radius=st.floats(1e-4, 1e-1))
def test_curvature_over_the_ball_is_bounded(seed, n, depth, beta, radius):
    """Oracle: curvatures sampled in the ball, on its centre and its sphere."""
    module = soften(relu_network(seed, *[n, *([6] * depth), 2]), beta)
    x = normal(seed + 1, n)
    bounds = curvature_bounds(module, x, target_class=0, radius=radius)
    net = feed_forward(module, x, 0)
    step = normal(seed + 2, 200, n)
    y = x + torch.cat(
        [torch.zeros(1, n, dtype=torch.float64), radius * (1 - 1e-12) * step / step.norm(dim=1, keepdim=True)]
    )
    curves = net.curves(y)
    G, H = curves.gradient(), curves.hessian()
    normals = G / G.norm(dim=1, keepdim=True)
    P = torch.eye(n, dtype=torch.float64) - normals[:, :, None] * normals[:, None]
    kappa = (torch.linalg.eigvalsh(P @ H @ P).abs().amax(1) / G.norm(dim=1)).max().item()
    change = (G - G[0]).norm(dim=1).max().item()
    for name, bound in bounds.items():
        assert bound.curvature is None or kappa <= bound.curvature * (1 + 1e-9), name
        assert bound.gradient_change is None or change <= bound.gradient_change * (1 + 1e-9) + 1e-12, name
        values = [v for v in (bound.hessian, bound.gradient_change, bound.curvature) if v is not None]
        assert all(math.isfinite(v) for v in values), name
        assert values or bound.reason, name


def test_every_rung_keeps_its_promise():
    """Oracle: the list of promised fields."""
    module = soften(relu_network(1, 3, 6, 2), 1.0)
    bounds = curvature_bounds(module, normal(2, 3), target_class=1, radius=1e-3)
    assert set(bounds) == set(BOUNDS)
    for name in HESSIAN_RUNGS:
        assert bounds[name].hessian is not None
        assert bounds[name].gradient_change == pytest.approx(1e-3 * bounds[name].hessian)
    assert bounds["anchored"].hessian is None
    assert bounds["anchored"].gradient_change <= bounds["sign_aware"].gradient_change * 1.5
    name, value = tightest(bounds)
    assert value == min(b.curvature for b in bounds.values() if b.curvature is not None)
    assert bounds[name].curvature == value


def test_rough_layers_are_named_and_bound_nothing():
    """Oracle: the hypothesis of the theorem."""
    module = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 2)).eval()
    bounds = curvature_bounds(module, torch.zeros(16), target_class=0, radius=0.1)
    for bound in bounds.values():
        assert bound.hessian is bound.gradient_change is bound.curvature is None
        assert "'1' (MaxPool2d)" in bound.reason
    with pytest.raises(NoCertificateError, match="MaxPool2d"):
        tightest(bounds)


def attempt(name: str, net: FeedForward) -> Bound | None:
    """The rung's bound, or None when it refuses with a reason."""
    try:
        return BOUNDS[name](net, normal(3, 3), 0.1)
    except NoCertificateError:
        return None


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_extreme_weights_give_a_reason_and_never_nan(scale):
    """Oracle: refusal; a bound that overflows is none, one that underflows stays positive."""
    W = scale * normal(0, 5, 3)
    net = from_matrices([W, scale * normal(1, 5, 5)], normal(2, 5), 50.0)
    for name in HESSIAN_RUNGS:
        bound = attempt(name, net)
        if bound is None:
            continue
        assert 0 < bound.hessian < math.inf, name
        assert bound.curvature is None, name


@pytest.mark.parametrize("rung", [frobenius_paper, frobenius, spectral, singla_feizi_2020, anchored])
def test_malformed_arguments_are_rejected(rung):
    """Oracle: ValueError."""
    net = network(0, 3, 2, 1.0)
    for x, radius in (
        (torch.zeros(2), 0.1),
        (torch.full((3,), math.nan), 0.1),
        (torch.zeros(3), -1.0),
        (torch.zeros(3), math.nan),
    ):
        with pytest.raises(ValueError, match="expected"):
            rung(net, x, radius)
