"""Norms of layers against the singular values of their unrolled matrices."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from curvature.bounds.layer_norms import adaptive_pool_norms, average_pool_norms, convolution_norms
from curvature.bounds.norms import batch_norm_bound, frobenius_norm_bound, spectral_norm_bound
from curvature.errors import NoCertificateError, UnsupportedModuleError
from curvature.feedforward import _unroll
from tests.strategies import normal, seeds


def unrolled(layer: nn.Module, *shape: int) -> list[float]:
    """Norm, largest row norm and weighted norm of the matrix, by SVD."""
    W = _unroll(layer, torch.Size(shape))[0]
    rows = W.norm(dim=1)
    return [
        torch.linalg.matrix_norm(W, 2).item(),
        rows.max().item(),
        torch.linalg.matrix_norm(rows[:, None] * W, 2).item(),
    ]


@given(seed=seeds, m=st.integers(1, 12), n=st.integers(1, 12), power=st.integers(-300, 300))
def test_spectral_norm_bound_is_above_and_tight(seed, m, n, power):
    """Oracle: SVD, of matrices scaled to the ends of float64."""
    A = normal(seed, m, n) * 2.0**power
    exact = torch.linalg.matrix_norm(A * 2.0**-power, 2).item() * 2.0**power
    assert exact * (1 - 1e-14) <= spectral_norm_bound(A) <= exact * (1 + 1e-11) + 1e-289
    assert (A * 2.0**-power).square().sum().sqrt() * 2.0**power * (1 - 1e-14) <= frobenius_norm_bound(A)


@given(seed=seeds, error=st.floats(0, 1))
def test_the_error_of_the_matrix_is_added(seed, error):
    """Oracle: a perturbation of rank one in the worst direction, of that Frobenius norm."""
    A = normal(seed, 5, 4)
    worst = torch.linalg.svdvals(A)[0] + error  # reached by A + error u v^T of the first singular pair
    assert worst <= spectral_norm_bound(A, error=error) * (1 + 1e-14)


def test_nan_is_refused():
    """Oracle: NoCertificateError."""
    with pytest.raises(NoCertificateError, match="finite"):
        batch_norm_bound(torch.full((1, 2, 2), torch.nan, dtype=torch.float64))


def test_a_difference_kernel_needs_a_transform_longer_than_the_input():
    """Oracle: unrolled SVD, 1.848. At size n = 3 the symbol of [1, -1] is at most sqrt 3."""
    layer = nn.Conv1d(1, 1, 2, padding=1, bias=False).double()
    layer.weight.data = torch.tensor([[[1.0, -1.0]]], dtype=torch.float64)
    found = convolution_norms(layer, torch.Size([3]))
    assert unrolled(layer, 1, 3)[0] > 3**0.5 + 0.1  # so that size n would be wrong
    assert unrolled(layer, 1, 3)[0] <= found.norm


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
def test_convolution_norms_are_above_the_unrolled_ones(mode):
    """Oracle: SVD of the unrolled matrix, over strides, paddings, dilations, groups and kernel sizes."""
    checked = 0
    for s, p, d, g, k in product([1, 2, 3], [0, 1, 2], [1, 2], [1, 2], [1, 2, 3]):
        if d * (k - 1) + 1 > 5 + 2 * p:
            continue
        layer = nn.Conv2d(2, 4, k, s, p, d, g, padding_mode=mode, bias=False).double()
        layer.weight.data = normal(100 * s + 10 * p + d + g + k, *layer.weight.shape)
        for found, exact in zip(convolution_norms(layer, torch.Size((5, 6))), unrolled(layer, 2, 5, 6), strict=True):
            assert found >= exact * (1 - 1e-13), (s, p, d, g, k)
            # A stride keeps few outputs of so small an image: there only soundness is asked for.
            assert s > 1 or mode != "zeros" or found <= 2 * exact, (s, p, d, g, k)
        checked += 1
    assert checked > 80


def test_a_circular_convolution_is_exact():
    """Oracle: a circulant matrix is diagonal in the Fourier basis."""
    layer = nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular", bias=False).double()
    exact = unrolled(layer, 3, 6, 5)[0]
    assert float(convolution_norms(layer, torch.Size((6, 5))).norm) == pytest.approx(exact, rel=1e-11)


@pytest.mark.parametrize(
    "layer",
    [
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True),
        nn.AvgPool2d((2, 3), 1, (0, 1)),
        nn.AvgPool2d(2),
    ],
)
def test_average_pooling_is_exact(layer):
    """Oracle: SVD of the unrolled matrix."""
    found = average_pool_norms(layer, torch.Size((7, 6)))
    for value, exact in zip(found, unrolled(layer, 1, 7, 6), strict=True):
        assert exact * (1 - 1e-14) <= value <= exact * (1 + 1e-11)


def test_pooling_without_the_padding_can_exceed_one():
    """Oracle: SVD; an average over few pixels at the border has a norm above 1."""
    layer = nn.AvgPool1d(3, 1, 1, count_include_pad=False)
    assert average_pool_norms(layer, torch.Size([2])).norm >= 1
    assert unrolled(layer, 1, 4)[0] > 1
    assert average_pool_norms(layer, torch.Size([4])).norm >= unrolled(layer, 1, 4)[0]


def test_adaptive_pooling_is_exact():
    """Oracle: SVD of the unrolled matrix."""
    exact = unrolled(nn.AdaptiveAvgPool2d((3, 2)), 1, 7, 6)[0]
    assert exact * (1 - 1e-14) <= adaptive_pool_norms((3, 2), torch.Size((7, 6))).norm <= exact * (1 + 1e-11)


def test_an_overridden_divisor_is_refused():
    """Oracle: UnsupportedModuleError."""
    with pytest.raises(UnsupportedModuleError, match="divides by its window"):
        average_pool_norms(nn.AvgPool2d(2, divisor_override=1), torch.Size((4, 4)))
