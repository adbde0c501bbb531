"""The geometry of one image: dense, and by Lanczos."""

import pytest
import torch

import curvature
from attacks import geometry, load_network, load_picture
from attacks.geometry import local_geometry
from attacks.soft_logit import soft_logit
from curvature import DegenerateLevelSetError, UnsupportedModuleError
from tests.attacks.odd_networks import leaky


@pytest.fixture(scope="module")
def digit():
    network = load_network("digits")
    return network, network.preprocess(load_picture("digits/3", channels=1).image)[0]


@pytest.mark.parametrize("beta", [0.8, 5.0])
def test_curvatures_and_rate_of_turn_are_those_of_the_core(digit, beta):
    """Oracle: ``principal_curvatures`` and a Jacobian of the unit normal by autodiff, without matrices."""
    network, x = digit
    field = soft_logit(network, x, 3, beta=beta)
    found = local_geometry(field, x.flatten().double())
    f = curvature.logit(field.module, 3)
    expected = curvature.principal_curvatures(f, x.double())
    torch.testing.assert_close(found.curvatures, expected, rtol=1e-9, atol=1e-11)
    jacobian = torch.func.jacrev(lambda p: curvature.unit_normal(f, p.reshape(x.shape)))(x.flatten().double())
    assert found.turn_rate == pytest.approx(float(torch.linalg.matrix_norm(jacobian, 2)), rel=1e-9)
    turned = jacobian @ found.turn_direction
    assert float(turned.norm()) == pytest.approx(found.turn_rate, rel=1e-9)
    assert abs(found.largest) <= found.turn_rate * (1 + 1e-12)
    assert found.complete


def test_lanczos_finds_what_the_dense_hessian_has(network, images, monkeypatch):
    """Oracle: the dense path on the same point of a convolutional network; 1e-2 is what Lanczos is asked for."""
    field = soft_logit(network, images[0], 1, beta=2.0)
    x = images[0].flatten()
    dense = local_geometry(field, x)
    monkeypatch.setattr(geometry, "DENSE", 10)
    free = local_geometry(field, x, count=3)
    assert not free.complete
    assert free.hessian_norm is None
    assert free.largest == pytest.approx(dense.largest, rel=1e-2)
    assert free.turn_rate == pytest.approx(dense.turn_rate, rel=1e-2)
    assert free.turn_rate <= dense.turn_rate * (1 + 1e-9)
    assert abs(float(free.direction @ dense.direction)) > 0.99
    assert abs(float(free.turn_direction @ dense.turn_direction)) > 0.99


def test_products_and_gradients_agree_with_and_without_matrices(digit):
    """Oracle: autodiff of the module against the closed form."""
    network, x = digit
    field = soft_logit(network, x, 3, beta=1.0)
    assert field.matrices is not None
    points = torch.stack([x.flatten().double(), x.flatten().double().flip(0)])
    v = points.roll(1, 1)
    object.__setattr__(plain := soft_logit(network, x, 3, beta=1.0), "matrices", None)
    for ours, theirs in zip(field.at(points), plain.at(points), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(field.product(points, v), plain.product(points, v), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(field.hessian(points[0]), plain.hessian(points[0]), rtol=1e-9, atol=1e-12)


def test_what_cannot_be_measured_is_refused(digit):
    """Oracle: the contract's errors."""
    network, x = digit
    with pytest.raises(ValueError, match="class from 0 to 9"):
        soft_logit(network, x, 10, beta=1.0)
    with pytest.raises(ValueError, match="beta"):
        soft_logit(network, x, 3, beta=-1.0)
    with pytest.raises(UnsupportedModuleError, match="'2'"):
        soft_logit(type(network)(module=leaky().eval()), x, 3, beta=1.0)
    dead = soft_logit(network, x, 3, beta=1.0)
    with torch.no_grad():
        for parameter in dead.module.parameters():
            parameter.zero_()
    object.__setattr__(dead, "matrices", None)
    with pytest.raises(DegenerateLevelSetError, match="gradient of the explained logit"):
        local_geometry(dead, x.flatten().double())
