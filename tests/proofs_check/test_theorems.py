"""Both theorems as properties of random networks and directions."""

import math

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import expit

from proofs_check.float_search import curvatures, jets
from proofs_check.theorem1_networks import hessian_constant, random_network
from proofs_check.theorem1_side import _curve


@given(seed=st.integers(0, 10**6), depth=st.integers(1, 4))
@settings(max_examples=40)
def test_the_normal_turns_by_at_most_the_integrated_curvature(seed, depth):
    """Oracle: Theorem 1 in the plane, where S is one curve and its own geodesic; Simpson's rule on 64 cells."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, inputs=2, softplus_layers=depth)
    p, reach = rng.normal(size=2), 0.02 / network.beta**0.5
    G = jets(network, p[None])[0][0]
    assume(np.linalg.norm(G) > 1e-6)
    n = G / np.linalg.norm(G)
    e = np.array([-n[1], n[0]])
    heights, steps = _curve(network, p, n, reach * e)
    assume(np.abs(np.diff(heights)).max() < 0.7 * np.diff(steps).max())  # the cone of 45 degrees: S is a graph
    points = p + steps[:, None] * e + heights[:, None] * n
    gradients, hessians = jets(network, points)
    kappa = np.abs(curvatures(gradients, hessians)[:, 0])
    pieces = np.hypot(np.diff(heights), np.diff(steps))
    integral = float((pieces * (kappa[1:] + kappa[:-1]) / 2).sum())
    unit = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
    angle = 2 * math.asin(min(1.0, np.linalg.norm(unit[-1] - unit[0]) / 2))

    # Trapezoid on 64 cells: relative error of second order in the cell; curvature near zero leaves rounding only.
    assert angle <= integral * (1 + 1e-2) + 1e-9
    c = float(np.linalg.norm(gradients, axis=1).min())
    assert integral <= network.beta * float(hessian_constant(network)) / c * pieces.sum() * (1 + 1e-9)


@given(seed=st.integers(0, 10**6), d=st.integers(1, 6))
def test_noise_along_w_gives_the_gate_of_theorem_two(seed, d):
    """Oracle: closed form of the logistic distribution, for every level of w.x."""
    rng = np.random.default_rng(seed)
    w, beta = rng.normal(size=d), float(rng.uniform(0.3, 20))
    quantiles = (np.arange(4000) + 0.5) / 4000
    noise = np.log(quantiles / (1 - quantiles)) / beta  # exact quantiles of p_beta
    projected = (noise[:, None] * w / np.linalg.norm(w)) @ w
    levels = np.linspace(-3, 3, 7) * np.linalg.norm(w) / beta
    gate = (projected[:, None] < levels).mean(0)
    np.testing.assert_allclose(gate, expit(beta / np.linalg.norm(w) * levels), atol=1 / 4000)


@given(seed=st.integers(0, 10**6))
def test_product_noise_misses_the_gate_off_the_axes(seed):
    """Oracle: fourth cumulants, by exact quantiles in two dimensions."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0.3, np.pi / 2 - 0.3)
    w = np.array([math.cos(angle), math.sin(angle)])
    quantiles = (np.arange(400) + 0.5) / 400
    noise = np.log(quantiles / (1 - quantiles))
    levels = np.linspace(-3, 3, 13)
    # P(w.eps < t) = E sigma((t - w1 e1)/w2): one component by quantiles, the other in closed form
    gate = expit((levels - w[0] * noise[:, None]) / w[1]).mean(0)
    assert np.abs(gate - expit(levels)).max() > 3e-3
