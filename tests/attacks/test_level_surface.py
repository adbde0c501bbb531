"""Moves along a level set inside a box: tangent, held pixels, Newton's way back."""

import math

import pytest
import torch
from torch import Tensor, nn

from attacks import Network
from attacks.level_surface import TOLERANCE, LevelSurface, State, norms, project
from curvature import DegenerateLevelSetError
from tests.strategies import normal


class Sphere(nn.Module):
    """Logits ``(|x - centre|^2, 0)`` of inputs [B, 1, 2, 3]."""

    def __init__(self, centre: float = 0.0) -> None:
        super().__init__()
        self.centre = centre

    def forward(self, x: Tensor) -> Tensor:
        squared = (x - self.centre).flatten(1).square().sum(1)
        return torch.stack([squared, torch.zeros_like(squared)], 1)


def surface_through(x: Tensor, *, limit: float = 10.0, centre: float = 0.0) -> tuple[LevelSurface, State]:
    network = Network(module=Sphere(centre).eval(), low=(-limit,), high=(limit,))
    return LevelSurface.through(network, x, torch.zeros(len(x), dtype=torch.long), chunk=2)


def test_the_tangent_part_is_orthogonal_to_the_gradient_and_the_nearest():
    """Oracle: closed form v - (v.n) n on a sphere, and Pythagoras."""
    x, v = normal(0, 4, 1, 2, 3), normal(1, 4, 1, 2, 3)
    surface, state = surface_through(x)
    part, free = surface.tangent(state, v)
    n = x / norms(x).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(part, v - (v * n).flatten(1).sum(1).reshape(-1, 1, 1, 1) * n)
    assert free.all()


def test_pixels_at_a_limit_are_held_exactly_while_they_would_leave():
    """Oracle: the conditions that define the part: tangent, in the box, zero where held, never against v."""
    x = normal(2, 1, 1, 2, 3).clamp(-0.5, 0.5)
    surface, state = surface_through(x, limit=0.5, centre=0.1)
    at_limit = x.abs() == 0.5
    assert 2 <= int(at_limit.sum()) <= 5
    for seed in range(20):
        v = normal(seed + 10, 1, 1, 2, 3)
        part, free = surface.tangent(state, v)
        assert (part * state.G).sum().abs() < 1e-12 * norms(part) * norms(state.G) + 1e-13
        assert not ((x == 0.5) & (part > 0) | (x == -0.5) & (part < 0)).any()
        assert (free | at_limit).all()
        assert (part[~free] == 0).all()
        torch.testing.assert_close(part, project(v, state.G, free))
        # It never goes against v, so a descent direction stays one.
        assert (part * v).sum() >= 0
    # False sibling: without holding, some of these parts leave the box.
    loose = [project(normal(seed + 10, 1, 1, 2, 3), state.G, torch.ones_like(at_limit)) for seed in range(20)]
    assert any(((x == 0.5) & (p > 0) | (x == -0.5) & (p < 0)).any() for p in loose)


def test_retraction_on_a_sphere_is_radial():
    """Oracle: closed form, (x + step) scaled to the sphere's radius."""
    x, v = normal(3, 5, 1, 2, 3), 0.3 * normal(4, 5, 1, 2, 3)
    surface, state = surface_through(x)
    step, _ = surface.tangent(state, v)
    moved, taken = surface.retract(state, step)
    expected = (x + step) * (norms(x) / norms(x + step)).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(moved.x, expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(moved.G, 2 * expected, rtol=1e-11, atol=1e-11)
    assert (taken == 1).all()
    assert (surface.deviation(moved) <= TOLERANCE[torch.float64]).all()


def test_a_step_that_is_too_long_is_halved_and_an_impossible_one_not_taken():
    """Oracle: a box that the surface barely enters, so that only short steps come back; a NaN step never does."""
    x = torch.full((1, 1, 2, 3), 1.0, dtype=torch.float64)
    x[0, 0, 0, 0] = -1.0
    surface, state = surface_through(x, limit=1.0, centre=-1.0)
    long = torch.zeros_like(x)
    long[0, 0, 0, 0] = 1e3
    long[0, 0, 1] = -1e3
    moved, taken = surface.retract(state, long)
    assert float(taken) < 1
    assert (surface.deviation(moved) <= TOLERANCE[torch.float64]).all()
    stayed, none = surface.retract(state, torch.full_like(x, math.nan))
    assert float(none) == 0
    assert torch.equal(stayed.x, x)


def test_each_sample_moves_as_if_alone():
    """Oracle: metamorphic, among samples that need different numbers of Newton steps."""
    x, v = normal(5, 4, 1, 2, 3), normal(6, 4, 1, 2, 3) * torch.tensor([1e-3, 0.1, 1, 5.0])[:, None, None, None]
    surface, state = surface_through(x)
    step, _ = surface.tangent(state, v.double())
    moved, _ = surface.retract(state, step)
    for i in range(4):
        one, start = surface_through(x[i : i + 1])
        alone, _ = one.retract(start, one.tangent(start, v[i : i + 1].double())[0])
        torch.testing.assert_close(moved.x[i], alone.x[0], rtol=1e-12, atol=1e-12)


def test_what_has_no_level_set_is_refused():
    """Oracle: the error's text."""
    network = Network(module=Sphere().eval(), low=(-1.0,), high=(1.0,))
    x = normal(7, 2, 1, 2, 3).clamp(-1, 1)
    with pytest.raises(ValueError, match=r"about zero.*sample\(s\) \[0, 1\]"):
        LevelSurface.through(network, x, torch.ones(2, dtype=torch.long), chunk=1)
    with pytest.raises(ValueError, match="valid images"):
        LevelSurface.through(network, x * 3, torch.zeros(2, dtype=torch.long), chunk=1)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(6, 2)).double().eval()
    nn.init.zeros_(flat[1].weight)
    with pytest.raises(DegenerateLevelSetError, match="no normal"):
        LevelSurface.through(Network(module=flat), x.abs(), torch.zeros(2, dtype=torch.long), chunk=1)
