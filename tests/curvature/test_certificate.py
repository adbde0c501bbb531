"""Certificates of explanations: sound against attacks, exact for small radii, honest when vacuous."""

import math
from dataclasses import astuple
from importlib import import_module
from unittest.mock import patch

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from curvature.bounds.bound import Bound
from curvature.bounds.first_order_local import expand
from curvature.bounds.third_derivative import taylor_model
from curvature.certificate import (
    Certifier,
    angle_bound,
    certify_explanation,
    certify_network,
    certify_radii,
    explanation_bounds,
    map_change_bound,
)
from curvature.errors import UnsupportedModuleError
from curvature.networks import soften
from curvature.search import Ascent, attained_change, attained_curvature
from tests.curvature.bounds.tiny import in_ball, tiny_network
from tests.strategies import normal, relu_network, seeds

depths = st.sampled_from([(5,), (4, 4), (4, 4, 4)])
betas = st.sampled_from([0.3, 1.0, 5.0, 50.0])
radii = st.sampled_from([1e-3, 1e-2, 0.1, 0.5, 2.0])


def _maps(G, channels):
    a = G.abs().reshape(len(G), channels, -1).sum(1)
    return a / a.sum(1, keepdim=True)


@given(seed=seeds, n=st.sampled_from([2, 4, 6]), hidden=depths, beta=betas, radius=radii)
@example(seed=5, n=4, hidden=(4, 4), beta=50.0, radius=0.01)
def test_certificate_holds_at_every_point_that_is_tried(seed, n, hidden, beta, radius):
    """Oracle: gradients at points of the ball and at the point that the attack finds."""
    net, x = tiny_network(seed, n, *hidden, beta=beta), normal(seed + 3, n)

    certificate = certify_network(net, x, radius, channels=2, search=False)

    assert not any(isinstance(v, float) and math.isnan(v) for v in astuple(certificate))
    assert certificate.vacuous == (certificate.change_bound >= 2)
    if certificate.vacuous:
        assert certificate.reason
        return
    attacked = attained_change(net, x, radius, search=Ascent(10, 4, seed)).point
    G = net.curves(torch.cat([x[None], attacked[None], in_ball(seed, x, radius, 60)])).gradient()
    normals = G / G.norm(dim=1, keepdim=True)
    assert float((normals - normals[0]).norm(dim=1).max()) <= certificate.change_bound * (1 + 1e-12) + 1e-14
    assert float((normals @ normals[0]).min()) >= certificate.cosine_bound - 1e-14
    assert float(G.norm(dim=1).min()) >= certificate.gradient_norm_bound * (1 - 1e-12)
    maps = _maps(G, 2)
    assert float((maps - maps[0]).norm(dim=1).max()) <= certificate.map_change_bound * (1 + 1e-12) + 1e-14


@given(seed=seeds, n=st.sampled_from([2, 4, 6]), hidden=depths, beta=betas)
@settings(max_examples=20)
def test_balls_inside_each_other_share_shells_and_stay_certified(seed, n, hidden, beta):
    """Oracle: gradients at attacked and drawn points of each ball."""
    net, x, radii = tiny_network(seed, n, *hidden, beta=beta), normal(seed + 3, n), [0.3, 0.003, 0.03, 0.06, 0.0301]

    certificates = certify_radii(net, x, radii, channels=2)

    assert [c.radius for c in certificates] == radii
    for certificate, radius in zip(certificates, radii, strict=True):
        assert certificate.curvature_bound is None
        attacked = attained_change(net, x, radius, search=Ascent(10, 4, seed)).point
        G = net.curves(torch.cat([x[None], attacked[None], in_ball(seed, x, radius, 30)])).gradient()
        if not G.norm(dim=1).min() > 1e-100:
            assert certificate.gradient_norm_bound < 1e-99
            continue
        normals = G / G.norm(dim=1, keepdim=True)
        assert float((normals - normals[0]).norm(dim=1).max()) <= certificate.change_bound * (1 + 1e-12) + 1e-14
        assert float(G.norm(dim=1).min()) >= certificate.gradient_norm_bound * (1 - 1e-12)


def test_no_ball_is_tried_that_contains_one_of_which_nothing_is_proven():
    """Oracle: how many shells are asked for; the reason names the smaller ball, and the other certificates stay."""
    net, x, first = tiny_network(0, 4, 6, 6, beta=5.0), normal(3, 4), "curvature.bounds.first_order_local.taylor_model"
    (alone,) = certify_radii(net, x, [0.01])
    with patch(first, wraps=taylor_model) as model:
        certificates = certify_radii(net, x, [1e5, 0.01, 1e3, 1e4])
        shells = model.call_count
        certify_radii(net, x, [0.01, 1e3])

    assert model.call_count == 2 * shells
    assert [c.vacuous for c in certificates] == [True, False, True, True]
    assert certificates[1] == alone
    assert "contains the ball of radius 1000" in certificates[0].reason
    assert "contains" not in certificates[2].reason
    assert "contains the ball of radius 1000" in certificates[3].reason


def test_many_radii_of_a_module_agree_with_one_at_a_time():
    """Oracle: the certificate of one radius, with the curvature; the order and repetition of radii."""
    soft, x = soften(relu_network(3, 8, 6, 6, 3), beta=1.0), normal(5, 8)

    several = explanation_bounds(soft, x, target_class=1, radii=[0.05, 0.01, 0.05], curvature=True)

    assert several[0] == several[2]
    one = certify_explanation(soft, x, target_class=1, radius=0.01, search=False)
    assert several[1] == one
    alone = certify_explanation(soft, x, target_class=1, radius=0.05, search=False)
    assert 0.98 * alone.change_bound <= several[0].change_bound <= 1.02 * alone.change_bound
    with pytest.raises(ValueError, match="at least one radius"):
        explanation_bounds(soft, x, target_class=1, radii=[])
    with pytest.raises(ValueError, match="radius"):
        explanation_bounds(soft, x, target_class=1, radii=[0.1, -1.0])


@given(seed=seeds, hidden=depths)
@settings(max_examples=10)
def test_change_bound_is_exact_to_first_order(seed, hidden):
    """Oracle: closed form, the change of a free attack is r ||P H|| / ||G|| to first order."""
    net, x = tiny_network(seed, 4, *hidden, beta=1.0), normal(seed + 3, 4)
    G, H = net.curves(x).gradient(), net.curves(x).hessian()
    n = G / G.norm()
    r = 1e-4 * float(G.norm() / (1 + H.norm()))

    bound = certify_network(net, x, r, search=False).change_bound

    expected = r * float(torch.linalg.matrix_norm(H - torch.outer(n, n @ H), 2) / G.norm())
    assert expected * (1 - 1e-4) - 1e-12 <= bound <= expected * (1 + 1e-2) + 1e-11


@given(seed=seeds, n=st.sampled_from([2, 6, 12]), channels=st.sampled_from([1, 2]), size=st.floats(1e-3, 1.5))
def test_map_bound_holds_for_any_two_unit_vectors(seed, n, channels, size):
    """Oracle: pure linear algebra, the abs-sum maps of two random unit vectors."""
    first = normal(seed, n)
    second = first / first.norm() + size * normal(seed + 1, n)
    pair = torch.stack([first / first.norm(), second / second.norm()])
    maps = _maps(pair, channels)

    bound = map_change_bound(pair[0], float((pair[1] - pair[0]).norm()), channels=channels)

    assert float((maps[1] - maps[0]).norm()) <= bound * (1 + 1e-12)
    assert bound <= math.sqrt(2)


@given(seed=seeds, n=st.sampled_from([2, 6, 12]), channels=st.sampled_from([1, 2]), error=st.floats(1e-3, 0.3))
def test_map_bound_covers_the_error_of_the_normal(seed, n, channels, error):
    """Oracle: the bound at the exact normal, for a computed one that is off by the error."""
    exact, off = normal(seed, n), normal(seed + 1, n)
    exact, off = exact / exact.norm(), off / off.norm()
    computed = exact + error / 2 * off
    computed = computed / computed.norm()  # within error of the exact one
    for chord in (1e-6, 0.1):
        bound = map_change_bound(computed, chord, channels=channels, error=error)
        assert bound >= map_change_bound(exact, chord, channels=channels) * (1 - 1e-12)


def test_the_error_of_the_normal_is_needed():
    """Oracle: closed form. Off the peak e_1 the mass of h spreads; without the error the bound is below."""
    exact = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    computed = torch.tensor([0.8, 0.6 / 3**0.5, 0.6 / 3**0.5, 0.6 / 3**0.5], dtype=torch.float64)
    error = float((computed - exact).norm())
    assert map_change_bound(computed, 0.01) < map_change_bound(exact, 0.01)
    assert map_change_bound(computed, 0.01, error=error) >= map_change_bound(exact, 0.01)


def test_the_sine_is_no_stand_in_for_the_displacement_bound():
    """Oracle: closed form; with rung fields that prove nothing the angle is infinite, not small."""
    net, x = tiny_network(0, 3, 4, beta=1.0), normal(3, 3)
    expansion = expand(net, x)

    assert angle_bound(expansion, None, Bound(), 1e6) == math.inf


def test_a_module_is_certified_with_both_ends():
    """Oracle: the certified end is above the attained one, on a flattened image."""
    soft = soften(nn.Sequential(nn.Flatten(), relu_network(3, 8, 6, 6, 3)), beta=1.0)
    x = normal(5, 2, 2, 2)

    certificate = certify_explanation(soft, x, target_class=1, radius=0.02)

    assert not certificate.vacuous
    assert certificate.reason == ""
    assert 0 < certificate.change_attained <= certificate.change_bound < 2
    assert 0 < certificate.curvature_attained <= certificate.curvature_bound
    assert certificate.gradient_norm_bound > 0
    assert certificate.map_change_bound < math.sqrt(2)
    assert certify_explanation(soft, x.requires_grad_(True), target_class=1, radius=0.02) == certificate


def test_rung_7_certifies_where_the_third_derivative_is_too_large(monkeypatch):
    """Oracle: gradients in the ball; and rung 8, whose certificate is tighter."""
    net, x, radius = tiny_network(3, 6, 7, 7, beta=1.0), normal(5, 6), 0.02
    tight = certify_network(net, x, radius, search=False)
    module = import_module("curvature.bounds.first_order_local")  # the package exports the function under this name
    monkeypatch.setattr(module, "_LARGEST", 100)

    wide = certify_network(net, x, radius, search=False)

    assert "at most" in module.first_order_local(net, x, radius).reason
    assert tight.change_bound < wide.change_bound < 2
    assert tight.curvature_bound <= wide.curvature_bound
    assert 0 < wide.gradient_norm_bound <= tight.gradient_norm_bound
    G = net.curves(torch.cat([x[None], in_ball(5, x, radius, 200)])).gradient()
    normals = G / G.norm(dim=1, keepdim=True)
    assert float((normals - normals[0]).norm(dim=1).max()) <= wide.change_bound
    assert float(G.norm(dim=1).min()) >= wide.gradient_norm_bound


@given(seed=seeds, n=st.sampled_from([2, 6]), hidden=depths, beta=betas)
@settings(max_examples=20)
def test_certificates_in_norms_hold_at_every_point_that_is_tried(seed, n, hidden, beta):
    """Oracle: gradients and curvatures at drawn and attacked points, on the path that wide networks take."""
    net, x, some = tiny_network(seed, n, *hidden, beta=beta), normal(seed + 3, n), [0.3, 0.003, 0.03]
    first = import_module("curvature.bounds.first_order_local")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first, "_LARGEST", 0)
        patch.setattr(import_module("curvature.certificate"), "_WIDE", 0)
        certificates = certify_radii(net, x, some, channels=2, curvature=True)
    for certificate, radius in zip(certificates, some, strict=True):
        assert certificate.vacuous == (certificate.change_bound >= 2)
        if certificate.vacuous:
            assert certificate.reason
            continue
        attacked = attained_change(net, x, radius, search=Ascent(10, 4, seed)).point
        bent = attained_curvature(net, x, radius, search=Ascent(10, 4, seed))
        points = torch.cat([x[None], attacked[None], bent.point[None], in_ball(seed, x, radius, 60)])
        G = net.curves(points).gradient()
        normals = G / G.norm(dim=1, keepdim=True)
        assert float((normals - normals[0]).norm(dim=1).max()) <= certificate.change_bound * (1 + 1e-12) + 1e-14
        assert float((normals @ normals[0]).min()) >= certificate.cosine_bound - 1e-14
        assert float(G.norm(dim=1).min()) >= certificate.gradient_norm_bound * (1 - 1e-12)
        maps = _maps(G, 2)
        assert float((maps - maps[0]).norm(dim=1).max()) <= certificate.map_change_bound * (1 + 1e-12) + 1e-14
        if certificate.curvature_bound is not None:
            assert bent.value <= certificate.curvature_bound * (1 + 1e-10) + 1e-13


def test_a_certifier_serves_points_classes_and_radii():
    """Oracle: the certificates that are made one at a time; a change of the module afterwards is not seen."""
    soft = soften(nn.Sequential(nn.Flatten(), relu_network(3, 8, 6, 6, 3)), beta=1.0)
    points = [normal(seed, 2, 2, 2) for seed in (5, 6)]
    expected = [
        explanation_bounds(soft, x, target_class=k, radii=[0.02, 0.01]) for x, k in zip(points, (1, 2), strict=True)
    ]
    certifier = Certifier(soft, points[0])
    with torch.no_grad():
        soft[1][0].weight.zero_()

    assert [certifier.certify(x, target_class=k, radii=[0.02, 0.01]) for x, k in zip(points, (1, 2), strict=True)] == (
        expected
    )
    with pytest.raises(ValueError, match="of shape"):
        certifier.certify(normal(0, 8), target_class=0, radii=[0.1])
    with pytest.raises(ValueError, match="target_class"):
        certifier.certify(points[0], target_class=3, radii=[0.1])


def test_a_large_ball_is_vacuous_and_says_why():
    """Oracle: the definition of vacuous."""
    soft = soften(relu_network(3, 4, 6, 3), beta=5.0)

    certificate = certify_explanation(soft, normal(5, 4), target_class=0, radius=1e3, search=False)

    assert certificate.vacuous
    assert certificate.change_bound == 2
    assert certificate.curvature_bound is None
    assert "gradient" in certificate.reason


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.MaxPool2d(2)])
def test_rough_layers_are_refused_by_name(layer):
    """Oracle: the hypotheses of the theorem."""
    module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), layer, nn.Flatten(), nn.LazyLinear(2)).eval()
    module(torch.zeros(1, 1, 4, 4))

    with pytest.raises(UnsupportedModuleError, match="'1'"):
        certify_explanation(module, normal(0, 1, 4, 4), target_class=0, radius=0.1)


@pytest.mark.parametrize("radius", [-1.0, math.inf, math.nan])
def test_bad_radii_are_rejected(radius):
    """Oracle: the contract."""
    soft = soften(relu_network(3, 4, 6, 3), beta=5.0)

    with pytest.raises(ValueError, match="radius"):
        certify_explanation(soft, normal(5, 4), target_class=0, radius=radius)


@pytest.mark.parametrize("beta", [0.3, 100.0])
def test_extreme_betas_never_give_nan(beta):
    """Oracle: the contract; radius 0 is the exact case."""
    net = tiny_network(2, 3, 5, 5, beta=beta)
    for radius in (0.0, 1e-8, 1e-3, 10.0):
        certificate = certify_network(net, normal(1, 3), radius, search=False)
        assert not any(isinstance(v, float) and math.isnan(v) for v in astuple(certificate))
