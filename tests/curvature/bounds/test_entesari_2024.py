"""The compositional bound on graphs: residual sums, concatenations, inverted residuals."""

import operator

import pytest
import torch
from torch import Tensor, nn

from curvature.bounds import curvature_bounds
from curvature.bounds.entesari_2024 import entesari_2024, entesari_2024_graph
from curvature.derivatives import hessian
from curvature.errors import UnsupportedModuleError
from curvature.feedforward import feed_forward
from curvature.networks import logit, soften
from tests.strategies import normal, relu_network


class Block(nn.Module):
    """A small graph whose branches meet in one operation."""

    def __init__(self, meet: str) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.meet = meet
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.norm, self.relu, self.relu6 = nn.BatchNorm2d(3), nn.ReLU(), nn.ReLU6()
        self.pool, self.head = nn.AvgPool2d(2), nn.Linear(4 * (6 if meet == "concat" else 3), 2)
        self.norm.running_var.uniform_(0.5, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        a = self.relu(self.first(x))
        b = self.relu6(self.norm(self.second(a)))
        if self.meet == "concat":
            c = torch.cat([a, b], 1)
        else:
            c = {"sum": operator.add, "product": operator.mul}[self.meet](a, b)
        return self.head(torch.flatten(self.pool(c), 1))


class InvertedResidual(nn.Module):
    """EfficientNet-Lite0's block: expand, depthwise, project, skip; ReLU6, no squeeze-and-excite."""

    def __init__(self, before: int, after: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = before * expand
        self.skip = stride == 1 and before == after
        self.body = nn.Sequential(
            nn.Conv2d(before, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, after, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.skip else self.body(x)


def lite() -> nn.Module:
    blocks = [InvertedResidual(8, 8, 1, 2), InvertedResidual(8, 12, 2, 6), InvertedResidual(12, 12, 1, 6)]
    stem = [nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10))


def averaged(model: nn.Module) -> nn.Module:
    """Max-pools replaced by average pools of the same geometry."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(parent, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    return model


@pytest.mark.parametrize("meet", ["sum", "concat"])
@pytest.mark.parametrize("beta", [0.5, 5.0])
def test_graph_bound_is_above_sampled_hessians(meet, beta):
    """Oracle: dense Hessians by autodiff, at points found by sampling."""
    module = soften(Block(meet).double().eval(), beta)
    bound = entesari_2024_graph(module, torch.zeros(1, 4, 4), target_class=1, radius=0.5)
    f = logit(module, 1)
    attained = max(torch.linalg.matrix_norm(hessian(f, normal(s, 1, 4, 4) * 2), 2).item() for s in range(20))
    assert attained <= bound.hessian
    assert bound.hessian <= 1e3 * attained
    assert bound.gradient_change == pytest.approx(bound.hessian / 2)


@pytest.mark.parametrize("depth", [1, 3])
def test_graph_and_matrices_agree_on_a_chain(depth):
    """Oracle: the same formula on the unrolled network."""
    module = soften(relu_network(5, *[3, *([6] * depth), 2]), 2.0)
    x = normal(1, 3)
    graph = entesari_2024_graph(module, x, target_class=1, radius=0.1)
    dense = entesari_2024(feed_forward(module, x, 1), x, 0.1)
    assert graph.hessian == pytest.approx(dense.hessian, rel=1e-11)


def test_a_graph_fills_rung_4_only():
    """Oracle: the promise of the table."""
    module = soften(Block("sum").eval(), 1.0)
    bounds = curvature_bounds(module, torch.zeros(1, 4, 4), target_class=0, radius=0.1)
    assert bounds.pop("entesari_2024").hessian > 0
    assert all(bound.hessian is None and "not a feed-forward stack" in bound.reason for bound in bounds.values())


def test_a_product_of_tensors_is_refused():
    """Oracle: UnsupportedModuleError; a gate needs bounded values."""
    module = soften(Block("product").eval(), 1.0)
    with pytest.raises(UnsupportedModuleError, match="mul"):
        entesari_2024_graph(module, torch.zeros(1, 4, 4), target_class=0, radius=0.1)


def test_inverted_residuals_are_bounded():
    """Oracle: dense Hessians by autodiff at a few points."""
    torch.manual_seed(0)
    module = soften(lite().double().eval(), 1.0)
    bound = entesari_2024_graph(module, torch.zeros(3, 8, 8), target_class=3, radius=0.1)
    f = logit(module, 3)
    attained = max(torch.linalg.matrix_norm(hessian(f, normal(s, 3, 8, 8)), 2).item() for s in range(3))
    assert attained <= bound.hessian
