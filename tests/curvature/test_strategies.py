import torch
from hypothesis import find, given
from hypothesis import strategies as st
from torch.func import grad
from torch.testing import assert_close

from tests.strategies import betas, normal, radii, relu_network, rotation, seeds, tanh_field


@given(seed=seeds)
def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(seed):
    """Oracle: the definition of a seed."""
    assert torch.equal(normal(seed, 3, 2), normal(seed, 3, 2))
    assert not torch.equal(normal(seed, 3, 2), normal(seed + 1, 3, 2))
    a, b = relu_network(seed, 3, 4, 2), relu_network(seed, 3, 4, 2)
    assert torch.equal(a[0].weight, b[0].weight)


def test_normal_is_standard():
    """Oracle: five standard errors of mean and variance."""
    x = normal(0, 100_000)
    assert abs(float(x.mean())) < 5 / 100_000**0.5
    assert abs(float(x.var()) - 1) < 5 * (2 / 100_000) ** 0.5


@given(seed=seeds, widths=st.lists(st.integers(1, 6), min_size=2, max_size=5))
def test_networks_have_the_widths_and_end_without_activation(seed, widths):
    """Oracle: the definition."""
    network = relu_network(seed, *widths)
    assert network(normal(seed, 7, widths[0])).shape == (7, widths[-1])
    assert len(network) == 2 * len(widths) - 3
    assert not network.training


@given(seed=seeds, n=st.integers(1, 8))
def test_rotations_are_orthogonal(seed, n):
    """Oracle: the definition."""
    R = rotation(seed, n)
    assert_close(R @ R.T, torch.eye(n, dtype=torch.float64), rtol=0, atol=1e-13)


@given(seed=seeds, n=st.integers(2, 6))
def test_tanh_fields_are_nowhere_degenerate(seed, n):
    """Oracle: the norm that the construction promises, at its point and elsewhere."""
    f, x = tanh_field(seed, n)
    for point in (x, 10 * x, 0 * x):
        assert float(grad(f)(point).norm()) >= 2 - 1e-9


def test_ends_of_the_ranges_are_reached():
    """Oracle: hypothesis finds the degenerate ends."""
    assert find(betas, lambda b: b <= 0.31) <= 0.31
    assert find(betas, lambda b: b >= 49) >= 49
    assert find(radii, lambda r: r <= 0.011) <= 0.011
    assert find(seeds, lambda s: s == 0) == 0
