"""Attacks in balls: where they may go, how far they get, and what the derivatives are."""

import pytest
import torch

import curvature
from attacks.correlation.ascent import Ascent, attack_in_ball, attack_on_level_set
from attacks.correlation.certificates import change_bounds
from attacks.correlation.estimates import estimated_geometry
from attacks.correlation.fields import AutogradField, MatrixField
from attacks.correlation.geometry import dense_geometry
from attacks.correlation.subjects import load_subject
from curvature.errors import NoCertificateError
from curvature.feedforward import feed_forward
from curvature.search import Ascent as Search
from curvature.search import attained_change

RADII = torch.tensor([0.01, 0.1, 1.0], dtype=torch.float64)


def _case(beta: float, images: int = 6, k: int = 3):
    subject = load_subject("digits")
    soft = curvature.soften(subject.module, beta)
    net = feed_forward(soft, subject.images[0], k)
    x = subject.images[subject.classes == k][:images].flatten(1)
    return soft, net, x, dense_geometry(net, x)


@pytest.mark.parametrize("beta", [0.8, 20.0])
def test_the_attack_stays_on_the_level_set_and_in_the_ball(beta):
    """Oracle: the definition, evaluated anew at the reported points; all balls are entered."""
    _, net, x, geometry = _case(beta)
    reached = attack_on_level_set(MatrixField(net), x, RADII, geometry.principal, ascent=Ascent(steps=10))
    assert ((net(reached.point) - net(x)).abs() <= 1e-10 * (1 + net(x).abs())).all()
    assert ((reached.point - x).norm(dim=2) <= RADII[:, None]).all()
    G = net.curves(reached.point).gradient()
    n, n0 = G / G.norm(dim=2, keepdim=True), curvature.unit_normal
    normals = torch.stack([n0(lambda p: net(p), point) for point in x])
    assert torch.allclose((n - normals).norm(dim=2), reached.change, rtol=1e-8, atol=1e-14)
    assert (reached.change > 0).all()


def test_first_order_is_curvature_times_radius():
    """Oracle: closed form; for a small radius the change is |lambda_max| r on S, ||PH|| r / ||G|| off it."""
    _, net, x, geometry = _case(1.0)
    radius = torch.tensor([1e-5], dtype=torch.float64)
    for attack, starts, name in (
        (attack_on_level_set, geometry.principal, "lambda_max"),
        (attack_in_ball, geometry.singular, "ph_over_g"),
    ):
        reached = attack(MatrixField(net), x, radius, starts, ascent=Ascent(steps=10))
        assert torch.allclose(reached.change[0], geometry.columns[name] * 1e-5, rtol=2e-3)


@pytest.mark.parametrize("beta", [1.0, 5.0])
def test_attack_is_as_strong_as_a_slow_search(beta):
    """Oracle: a second implementation, the search of the certificates with 200 steps and 32 restarts."""
    _, net, x, geometry = _case(beta, images=3)
    reached = attack_in_ball(MatrixField(net), x, RADII, geometry.singular, ascent=Ascent())
    for i, point in enumerate(x):
        for j, radius in enumerate(RADII.tolist()):
            slow = attained_change(net, point, radius, search=Search(200, 32)).value
            assert reached.change[j, i] >= 0.97 * slow


def test_the_attack_on_the_level_set_is_as_strong_as_a_longer_one():
    """Oracle: twice the steps and three times the restarts, where beta r is large and the ascent is hardest."""
    _, net, x, geometry = _case(20.0, images=4)
    usual, longer = (
        attack_on_level_set(MatrixField(net), x, RADII, geometry.principal, ascent=ascent).change
        for ascent in (Ascent(), Ascent(steps=60, restarts=20, seed=1))
    )
    assert (usual >= 0.9 * longer).all()
    assert (usual / longer).median() > 0.99


@pytest.mark.parametrize("beta", [0.8, 5.0, 50.0])
def test_nothing_attained_exceeds_its_certificate(beta):
    """Oracle: the theorem; and the certificate is tight for the smallest ball."""
    _, net, x, geometry = _case(beta)
    surface = attack_on_level_set(MatrixField(net), x, RADII, geometry.principal, ascent=Ascent(steps=15))
    free = attack_in_ball(MatrixField(net), x, RADII, geometry.singular, ascent=Ascent(steps=15))
    certified = torch.tensor([change_bounds(net, point, RADII.tolist())[0] for point in x]).T
    assert (surface.change <= certified).all()
    assert (free.change <= certified).all()
    if beta < 10:
        assert (certified[0] <= 1.1 * free.change[0]).all()


def test_certificate_is_at_most_that_of_certify_explanation():
    """Oracle: the same certificate alone, one radius at a time; the anchored form can only help."""
    soft, net, x, _ = _case(1.0, images=2)
    for point in x:
        radii = RADII.tolist()[:2]
        bounds, _ = change_bounds(net, point, radii)
        for radius, bound in zip(radii, bounds, strict=True):
            one = curvature.certify_explanation(
                soft.double(), point.reshape(1, 8, 8), target_class=3, radius=radius, search=False
            ).change_bound
            assert 0.5 * one <= bound <= one * (1 + 1e-3)  # shells of many radii are other than those of one


def test_wide_networks_have_certificates_too(monkeypatch):
    """Oracle: the theorem; where no third derivative fits, the forms in operator norms serve."""

    def too_large(*_):
        raise NoCertificateError("too large")

    _, net, x, geometry = _case(1.0, images=2)
    monkeypatch.setattr(curvature.certificate, "expand", too_large)
    free = attack_in_ball(MatrixField(net), x, RADII, geometry.singular, ascent=Ascent(steps=10))
    for i, point in enumerate(x):
        bounds = torch.tensor(change_bounds(net, point, RADII.tolist())[0])
        assert (free.change[:, i] <= bounds).all()
        assert bounds[0] < 0.1


def test_both_fields_agree():
    """Oracle: a second implementation, double backward on the module."""
    soft, net, x, _ = _case(2.0)
    matrices, graph = MatrixField(net), AutogradField(soft.double(), (1, 8, 8), 3)
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for a, b in zip(matrices.first(x), graph.first(x), strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)
    one, other = matrices.second(x), graph.second(x)
    assert torch.allclose(one.value, other.value, rtol=1e-12)
    assert torch.allclose(one.product(v), other.product(v), rtol=1e-10, atol=1e-12)


def test_geometry_is_that_of_the_dense_functions():
    """Oracle: a second implementation, ``principal_curvatures`` and the dense Hessian of autodiff."""
    soft, _, x, geometry = _case(2.0, images=3)
    f = curvature.logit(soft.double(), 3)
    for i, point in enumerate(x.reshape(-1, 1, 8, 8)):
        kappa = curvature.principal_curvatures(f, point)
        G, H = curvature.gradient(f, point).flatten(), curvature.hessian(f, point).reshape(64, 64)
        n = G / G.norm()
        PH = H - torch.outer(n, n @ H)
        columns = {name: float(values[i]) for name, values in geometry.columns.items()}
        assert abs(columns["lambda_max"] - float(kappa.abs().max())) < 1e-9
        assert abs(columns["ph_over_g"] - float(torch.linalg.matrix_norm(PH, 2) / G.norm())) < 1e-9
        assert abs(columns["h"] - float(torch.linalg.matrix_norm(H, 2))) < 1e-9
        direction = geometry.principal[i, 0]
        assert abs(abs(float(direction @ H @ direction / G.norm())) - columns["lambda_max"]) < 1e-9


def test_estimated_geometry_is_the_dense_one():
    """Oracle: a second implementation, dense eigenvalues; Lanczos is below them by no more than its tolerance."""
    soft, _, x, geometry = _case(2.0, images=3)
    estimated = estimated_geometry(AutogradField(soft.double(), (1, 8, 8), 3), x)
    for name, values in geometry.columns.items():
        assert (estimated.columns[name] <= values * (1 + 1e-9)).all()
        assert (estimated.columns[name] >= values * (1 - 2e-3)).all()
    for a, b in ((geometry.principal, estimated.principal), (geometry.singular, estimated.singular)):
        assert ((a[:, 0] * b[:, 0]).sum(1).abs() > 0.98).all()


@pytest.mark.parametrize("radii", [[0.0], [0.1, -1.0]])
def test_radii_must_be_positive(radii):
    """Oracle: the promise of a ValueError."""
    _, net, x, geometry = _case(1.0, images=1)
    with pytest.raises(ValueError, match="radii > 0"):
        attack_in_ball(MatrixField(net), x, torch.tensor(radii), geometry.singular, ascent=Ascent())


def test_an_attack_needs_steps_and_restarts():
    """Oracle: the promise of a ValueError."""
    with pytest.raises(ValueError, match="restarts >= 2"):
        Ascent(restarts=1)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "low", "high"), [("mnist_vgg", 0.1, 0.2), ("mnist_lenet", 0.0, 1e-6)])
def test_images_lie_on_kinks_of_max_pooling(network: str, low: float, high: float):
    """Oracle: the unit normal of the softened network, autograd, before and after noise of length 1e-9."""
    subject = load_subject(network)
    module = curvature.soften(subject.module, 1.0).double()
    held_out = torch.nonzero(~subject.trained_on)[:20, 0]
    x, classes = subject.images[held_out].double(), subject.classes[held_out, None]

    def normals(points: torch.Tensor) -> torch.Tensor:
        points = points.clone().requires_grad_(True)
        (gradients,) = torch.autograd.grad(module(points).gather(1, classes).sum(), points)
        return torch.nn.functional.normalize(gradients.flatten(1))

    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    noise = 1e-9 * torch.nn.functional.normalize(noise.flatten(1)).reshape(x.shape)
    turned = torch.linalg.vector_norm(normals(x + noise) - normals(x), dim=1)
    assert low <= float(turned.median()) <= high
