"""Metrics of maps, images and outputs."""

import numpy as np
import torch
from hypothesis import given
from scipy.stats import pearsonr
from skimage.metrics import structural_similarity

from attacks import metrics
from tests.strategies import seeds


def maps(seed: int, n: int = 2, side: int = 9) -> torch.Tensor:
    a = torch.rand(n, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return a / a.sum((1, 2), keepdim=True)


@given(seed=seeds)
def test_metrics_agree_with_their_libraries(seed):
    """Oracle: numpy, scipy and scikit-image, written out for one sample."""
    a, b = maps(seed), maps(seed + 1)
    u, v = a[1].numpy(), b[1].numpy()
    span = max(u.max(), v.max()) - min(u.min(), v.min())
    assert np.isclose(metrics.mse(a, b)[1], np.mean((u - v) ** 2), rtol=1e-12)
    assert np.isclose(metrics.pcc(a, b)[1], pearsonr(u.ravel(), v.ravel())[0], rtol=1e-10)
    assert np.isclose(metrics.ssim_maps(a, b)[1], structural_similarity(u, v, data_range=span), rtol=1e-12)


@given(seed=seeds)
def test_a_map_compared_with_itself_is_perfect(seed):
    """Oracle: closed form."""
    a = maps(seed)
    ones = torch.ones(2, dtype=torch.float64)
    assert (metrics.mse(a, a) == 0).all()
    assert (metrics.mass_centre_shift(a, a) == 0).all()
    for similarity in (
        metrics.pcc(a, a),
        metrics.ssim_maps(a, a),
        metrics.spearman(a, a),
        metrics.topk_intersection(a, a, k=7),
    ):
        torch.testing.assert_close(similarity, ones)


def test_unrelated_maps_do_not_look_alike():
    """Oracle: the trap of data_range=1, where two unrelated maps score nearly 1."""
    a, b = maps(1, side=64), maps(2, side=64)
    assert metrics.ssim_maps(a, b).max() < 0.1
    assert structural_similarity(a[0].numpy(), b[0].numpy(), data_range=1.0) > 0.999


def test_mass_centre_moves_with_the_map():
    """Oracle: closed form, a shift by (2, 1) pixels."""
    a = torch.zeros(1, 8, 8)
    a[0, 3, 4] = 1
    b = torch.roll(a, (2, 1), (1, 2))
    torch.testing.assert_close(metrics.mass_centre_shift(a, b), torch.tensor([5.0], dtype=torch.float64).sqrt())


def test_output_metrics_refer_to_the_original_winner():
    """Oracle: numbers worked by hand."""
    before, after = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    found = metrics.output_metrics(after, before)
    p = float(torch.tensor(2.0).sigmoid())
    assert not found["class_kept"][0]
    assert abs(float(found["probability_before"][0]) - p) < 1e-6
    assert abs(float(found["probability_after"][0]) - (1 - p)) < 1e-6
    assert abs(float(found["logits_change"][0]) - 8**0.5) < 1e-6
