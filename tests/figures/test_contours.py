"""Figure 20 and the closed form behind it."""

import numpy as np
import pytest
import torch

from curvature import contour_network, gradient, logit, principal_curvatures, soften
from figures import fig20_contours
from figures._contour import jet, relu_jet, square, weights


@pytest.mark.parametrize("beta", [0.3, 1.0, 30.0, 100.0])
def test_closed_form_equals_automatic_differentiation(beta: float):
    """Oracle: ``curvature``'s value, gradient and principal curvature."""
    points = 2 * np.random.default_rng(0).random((12, 2)) - 1
    found, f = jet(*weights(1), beta, points), logit(soften(contour_network(1), beta), 0)
    for i, p in enumerate(torch.from_numpy(points)):
        np.testing.assert_allclose(found.value[i], f(p).item(), rtol=1e-11)
        np.testing.assert_allclose(found.gradient[i], gradient(f, p).numpy(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found.curvature[i], principal_curvatures(f, p).item(), rtol=1e-9, atol=1e-12)


def test_relu_is_the_limit_of_softplus():
    """Oracle: at beta = 1e6 a neuron is off by at most log(2)/beta."""
    W, V = weights(0)
    points = square(6)
    away = np.abs(points @ W.T).min(axis=1) > 1e-4
    soft, rough = jet(W, V, 1e6, points), relu_jet(W, V, points)
    np.testing.assert_allclose(soft.value, rough.value, atol=np.abs(V).sum() * np.log(2) / 1e6)
    np.testing.assert_allclose(soft.gradient[away], rough.gradient[away], atol=1e-9)


def test_every_region_has_a_bound_above_what_is_attained():
    """Oracle: the grid; a bound shrunk by a tenth is refuted."""
    data = fig20_contours.compute(seed=0, quick=True)
    claims = fig20_contours.claims(data)
    assert all(claim.holds for claim in claims.values())
    false = fig20_contours.claims(data | {"bound": 0.9 * data["bound"]})
    assert not false["no curvature exceeds the bound certified for its region (ours)"].holds


def test_sharp_softplus_is_not_visibly_smoother_than_relu():
    """Oracle: at beta = 1000 a kink is as wide as a hundredth of the way over which turns are compared."""
    found = fig20_contours.claims(fig20_contours.compute(seed=0, quick=True, beta=1000.0))
    claim = found["softplus with beta = 1000 visibly reduces the curvature compared to ReLU"]
    assert not claim.holds
    assert claim.value > 0.9


def test_the_turn_over_a_visible_way_is_the_chord_of_the_circle():
    """Oracle: level lines of |x|^2 are circles; half the way of 0.1 along the tangent at radius r turns by atan."""
    points = np.array([[0.3, 0.4], [-0.6, 0.8]])
    angle = 2 * np.arctan(0.05 / np.linalg.norm(points, axis=1))
    np.testing.assert_allclose(fig20_contours._turn(lambda at: 2 * at, points), 2 * np.sin(angle / 2), rtol=1e-12)
