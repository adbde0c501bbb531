"""The operator-norm form of rung 7: sound on tiny networks, equal columns or not, and on convolutions."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from curvature.bounds.entrywise_local import entrywise_local
from curvature.bounds.first_order_local import first_order_local
from curvature.bounds.operator_local import expand_in_norms, operator_local
from curvature.bounds.rounding import largest_eigenvalue_bound, positive_form_bound
from curvature.bounds.weighted_forms import Layers
from curvature.feedforward import FeedForward, feed_forward
from curvature.networks import soften
from curvature.search import Ascent, attained_change, attained_curvature
from proofs_check.interval_oracle import enclose_suprema
from proofs_check.softplus_ball import PlainNetwork
from tests.curvature.bounds.tiny import curvatures, in_ball, tiny_network
from tests.strategies import normal, seeds

depths = st.sampled_from([(5,), (4, 4), (6, 3, 5), (4, 4, 4, 4)])
betas = st.sampled_from([0.3, 1.0, 5.0, 50.0])
radii = st.sampled_from([0.0, 1e-3, 1e-2, 0.1, 0.5])


def convolution(seed: int, side: int = 6) -> tuple[FeedForward, torch.Tensor]:
    """A small network with a pooled convolution: the second matrix has equal columns."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(),
        nn.LazyLinear(5), nn.ReLU(), nn.Linear(5, 2),
    ).eval()  # fmt: skip
    model(torch.zeros(1, 1, side, side))
    x = normal(seed, 1, side, side)
    return feed_forward(soften(model.double(), 2.0), x, 1), x.flatten()


def _require_above(net, x, radius, points):
    curves = net.curves(points)
    H, G = curves.hessian(), curves.gradient()
    bound, expansion = operator_local(net, x, radius), expand_in_norms(net, x)
    if bound.hessian is None:
        assert bound.reason
        return
    size = 1e-12 * float(torch.linalg.matrix_norm(H).max()) + 1e-200
    D, c, norm, _, _ = expansion.deviation(radius)
    bracket = D + c * torch.eye(len(x), dtype=x.dtype)
    for side in (-1, 1):
        assert float(torch.linalg.eigvalsh(bracket + side * (H - H[0])).min()) >= -size
    assert norm >= largest_eigenvalue_bound(D)
    assert float(torch.linalg.matrix_norm(H, 2).max()) <= bound.hessian + size
    assert float((G - G[0]).norm(dim=1).max()) <= bound.gradient_change + size
    if bound.curvature is not None:
        low, high = curvatures(net, points)
        assert float(torch.maximum(-low, high).max()) <= bound.curvature * (1 + 1e-10) + 1e-12


@given(seed=seeds, hidden=depths, beta=betas, radius=radii)
@settings(max_examples=30)
@example(seed=2, hidden=(6, 3, 5), beta=5.0, radius=0.1)
def test_deviation_brackets_the_hessian_at_drawn_and_attacked_points(seed, hidden, beta, radius):
    """Oracle: Hessians, gradients and curvatures at drawn points and at those that gradient ascent finds."""
    net, x = tiny_network(seed, 4, *hidden, beta=beta), normal(seed + 3, 4)
    if not float(net.curves(x).gradient().norm()) > 1e-30:
        assert operator_local(net, x, radius).reason or beta == 50.0
        return
    search = Ascent(10, 3, seed)
    attacked = [attained_change(net, x, radius, search=search).point, attained_curvature(net, x, radius).point]
    points = torch.cat([x[None], torch.stack(attacked), in_ball(seed, x, radius, 40)])
    if float(net.curves(points).gradient().norm(dim=1).min()) > 1e-30:
        _require_above(net, x, radius, points)


@pytest.mark.parametrize("radius", [0.01, 0.1, 0.4])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_pooled_convolutions_are_bracketed(seed, radius):
    """Oracle: Hessians at drawn and attacked points; the merged columns are exact."""
    net, x = convolution(seed)
    layers = Layers(net.weights)
    assert layers.merged[0].C.shape[1] < net.weights[1].shape[1]
    for W, merged in zip(net.weights[1:], layers.merged, strict=True):
        assert torch.equal(merged.C[:, merged.groups], W)
    search = Ascent(20, 4, seed)
    attacked = [f(net, x, radius, search=search).point for f in (attained_change, attained_curvature)]
    _require_above(net, x, radius, torch.cat([x[None], torch.stack(attacked), in_ball(seed, x, radius, 60)]))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_convolution_of_four_pixels_is_above_ball_arithmetic(seed):
    """Oracle: certified lower ends of Arb, for a 2x2 image; the oracle gets no slack."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 2, padding=1), nn.ReLU(), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(2, 3), nn.ReLU(),
        nn.Linear(3, 1),
    ).eval()  # fmt: skip
    beta, x = 3.0, normal(seed, 1, 2, 2)
    net = feed_forward(soften(model.double(), beta), x, 0)
    plain = PlainNetwork(
        weights=[W.tolist() for W in net.weights],
        biases=[b.tolist() for b in net.biases],
        head=net.head.tolist(),
        head_bias=float(net.head_bias),
        beta=beta,
    )
    for radius in (0.05, 0.3):
        bound = operator_local(net, x.flatten(), radius)
        ends = enclose_suprema(plain, x.flatten().numpy(), radius, max_boxes=20)
        assert bound.hessian >= ends["hessian"].lower
        assert bound.gradient_change >= ends["gradient_change"].lower
        if bound.curvature is not None:
            assert bound.curvature >= ends["curvature"].lower


def test_the_bound_is_exact_at_radius_0_and_grows_linearly():
    """Oracle: the closed form at the centre; the ratio of deviations at radii that halve tends to 2."""
    net, x = convolution(5)
    expansion = expand_in_norms(net, x)
    H = net.curves(x).hessian()
    assert math.isclose(operator_local(net, x, 0.0).hessian, float(torch.linalg.matrix_norm(H, 2)), rel_tol=1e-6)
    deviations = [expansion.deviation(r).norm for r in (2e-3, 1e-3)]
    assert 1.9 <= deviations[0] / deviations[1] <= 2.2


def test_smaller_balls_have_proportionally_smaller_deviations():
    """Oracle: the promise that D(tr) <= t D(r), which the shells integrate."""
    net, x = convolution(1)
    expansion = expand_in_norms(net, x)
    whole = expansion.deviation(0.3)
    points = in_ball(3, x, 0.3, 200)
    H = net.curves(x).hessian()
    for t in (0.5, 0.1):
        inner = x + t * (points - x)
        D = t * (whole.D + whole.c * torch.eye(len(x), dtype=x.dtype))
        for side in (-1, 1):
            assert float(torch.linalg.eigvalsh(D + side * (net.curves(inner).hessian() - H)).min()) >= 0


@pytest.mark.parametrize("n", [5, 300])
def test_form_bound_is_above_the_largest_eigenvalue_and_near(n):
    """Oracle: a second algorithm, all eigenvalues; both sides of the switch to Lanczos."""
    A = normal(n, n, 3 * n)
    S = A @ A.T
    S = (S + S.T) / 2
    largest = float(torch.linalg.eigvalsh(S)[-1])
    assert largest <= positive_form_bound(S) <= 1.25 * largest
    assert positive_form_bound(torch.full((n, n), math.nan, dtype=S.dtype)) == math.inf


@pytest.mark.parametrize("bound", [operator_local, entrywise_local, first_order_local])
@pytest.mark.parametrize(
    ("scale", "head"), [(1e-150, 1e30), (1e-30, 1e-108), (1e-163, 1e100), (1e30, 1e-160), (1e-14, 1e-14), (1e-14, 1e14)]
)
def test_bounds_hold_where_squares_of_the_numbers_underflow(bound, scale, head):
    """Oracle: the Hessian and the gradient at four points, or a refusal with a reason."""
    beta = 1.0
    net = FeedForward(
        weights=(scale * torch.tensor([[1.0, 0.5], [1.0, -1.0]], dtype=torch.float64),),
        biases=(torch.tensor([1.0, -0.5], dtype=torch.float64),),
        head=head * torch.tensor([1.0, 1 / 3], dtype=torch.float64),
        head_bias=torch.zeros((), dtype=torch.float64),
        beta=beta,
    )
    x, radius = torch.zeros(2, dtype=torch.float64), 0.25 / scale
    u = radius * torch.cat([torch.eye(2, dtype=torch.float64), -torch.eye(2, dtype=torch.float64)])
    curves, G = net.curves(x + u), net.curves(x).gradient()
    H, change = curves.hessian(), curves.gradient() - G
    result = bound(net, x, radius)
    if result.hessian is None:
        assert result.reason
        return
    assert float(H.abs().max()) <= result.hessian
    assert float(change.abs().max()) <= result.gradient_change
    if result.curvature is not None:
        unit = H.abs().max()
        G = curves.gradient() / (unit * radius)
        t = torch.stack([-G[:, 1], G[:, 0]], 1) / G.norm(dim=1, keepdim=True)
        bent = ((t[:, None] @ (H / unit) @ t[:, :, None]).flatten() / G.norm(dim=1)).abs() / radius
        assert float(bent.max()) <= result.curvature * (1 + 1e-10)


@pytest.mark.parametrize("bound", [operator_local, entrywise_local, first_order_local])
def test_bounds_hold_where_every_slope_underflows(bound):
    """Oracle: one neuron deep in its flat part, s'' = beta e^(beta z) in closed form, and one that is linear."""
    net = FeedForward(
        weights=(torch.tensor([[1.0, 0.5], [1.0, -1.0]], dtype=torch.float64),),
        biases=(torch.tensor([-9.0, 10.0], dtype=torch.float64),),
        head=torch.tensor([1.0, 1.0], dtype=torch.float64),
        head_bias=torch.zeros((), dtype=torch.float64),
        beta=50.0,
    )
    result = bound(net, torch.zeros(2, dtype=torch.float64), 1e-3)
    assert result.hessian >= 1.25 * 50.0 * math.exp(-450.0)  # the square of the first row's norm is 1.25


@pytest.mark.parametrize("bound", [operator_local, first_order_local])
@pytest.mark.parametrize("beta", [1e76, 1e103, 1e160])
def test_a_beta_whose_powers_overflow_is_refused(bound, beta):
    """Oracle: the promise that what float64 cannot do is told with a reason, never by another error."""
    result = bound(tiny_network(0, 2, 3, beta=beta), torch.zeros(2, dtype=torch.float64), 1e-3)
    assert result.hessian is None
    assert result.reason
