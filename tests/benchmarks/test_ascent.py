"""The ascent that judges the bounds: were it blind, no violation would ever be found."""

import pytest
import torch

from benchmarks.ascent import Ascent
from benchmarks.random_networks import large_case, tiny_case
from curvature.feedforward import feed_forward
from curvature.search import attained_change, attained_curvature


@pytest.mark.parametrize(("draw", "seed"), [(tiny_case, 1), (tiny_case, 2), (large_case, 0), (large_case, 2)])
def test_every_quantity_is_climbed_to_near_what_another_search_attains(draw, seed):
    """Oracle: the library's own search, by dense eigenvectors, and dense derivatives at the centre.

    The curvature's value once was 0 everywhere: its direction was differentiated as if it stayed tangent.
    """
    case = draw(seed)
    net, x = feed_forward(case.module, case.x, 0), case.x.flatten()
    found = Ascent(case.module, case.x, case.radius, target_class=0, steps=40).attained()

    curves = net.curves(x)
    assert found["hessian"] >= 0.7 * float(torch.linalg.matrix_norm(curves.hessian(), 2))
    assert found["curvature"] >= 0.5 * attained_curvature(net, x, case.radius).value
    assert found["normal_change"] >= 0.5 * attained_change(net, x, case.radius).value
    assert 0 < found["gradient_norm"] <= float(curves.gradient().norm()) * (1 + 1e-12)
    assert found["gradient_change"] > 0
    assert found["map_change"] > 0
