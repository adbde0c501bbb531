"""The compositional bound on graphs: residual sums, concatenations, inverted residuals."""

import operator

import pytest
import torch
import torchvision
from torch import Tensor, nn

from attacks.efficientnet_lite import efficientnet_lite0
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


class Meeting(nn.Module):
    """Two linear maps that meet in an operation written by hand."""

    def __init__(self, meet, widths: tuple[int, int] = (8, 8)) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.meet, self.buffer = meet, nn.Buffer(torch.full((8,), 0.3))
        self.a, self.b = nn.Linear(5, widths[0]), nn.Linear(5, widths[1])
        self.relu, self.head = nn.ReLU(), nn.Linear(8, 2)
        with torch.no_grad():
            self.b.weight.mul_(1e-3)
            self.head.weight.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.meet(self, self.a(x), self.b(x))))


@pytest.mark.parametrize(
    ("meet", "offset"),
    [(lambda m, a, b: a + b, 0.0), (lambda m, a, b: b - a, 0.0), (lambda m, a, b: a + m.buffer, 0.3)],
    ids=["sum", "difference", "constant"],
)
def test_a_broadcast_term_counts_as_often_as_it_is_repeated(meet, offset):
    """Oracle: closed form. All eight neurons see nearly the same number w.x: ||H|| = 8 beta ||w||^2 / 4 where it is 0.

    Without the factor the bound was eight times too small.
    """
    module = soften(Meeting(meet, (1, 8)).double().eval(), 2.0)
    w = module.a.weight[0]
    bound = entesari_2024_graph(module, torch.zeros(5), target_class=0, radius=0.1)
    x = -w * (module.a.bias + offset) / (w @ w)
    attained = torch.linalg.matrix_norm(hessian(logit(module, 0), x), 2).item()
    assert attained == pytest.approx(8 * 2.0 * (w @ w).item() / 4, rel=0.05)
    assert attained <= bound.hessian <= 2 * attained


def _overwritten(m, a, b):
    b.add_(a)  # the result is dropped, the tensor is not
    return b


def _view_overwritten(m, a, b):
    view = b.view(-1, 8)
    b += a
    return view


@pytest.mark.parametrize("meet", [_overwritten, _view_overwritten])
def test_a_tensor_that_is_overwritten_before_it_is_read_is_refused(meet):
    """Oracle: UnsupportedModuleError. Its old constants would give a bound 1e5 times too small."""
    module = soften(Meeting(meet).double().eval(), 2.0)
    with pytest.raises(UnsupportedModuleError, match="in place"):
        entesari_2024_graph(module, torch.zeros(5), target_class=0, radius=0.1)


def test_an_in_place_sum_whose_result_is_read_is_bounded():
    """Oracle: the same network written out of place."""

    def in_place(m, a, b):
        a += b
        return a

    bounds = [
        entesari_2024_graph(soften(Meeting(meet).double().eval(), 2.0), torch.zeros(5), target_class=0, radius=0.1)
        for meet in (in_place, lambda m, a, b: a + b)
    ]
    assert bounds[0].hessian == bounds[1].hessian


@pytest.mark.parametrize(
    "meet",
    [
        lambda m, a, b: torch.div(a, 0.1, rounding_mode="floor"),
        lambda m, a, b: torch.add(a, b, alpha=3),
        lambda m, a, b: m.buffer.add_(a[0]),
    ],
    ids=["rounded quotient", "scaled sum", "overwritten constant"],
)
def test_operations_that_only_look_like_sums_and_scales_are_refused(meet):
    """Oracle: UnsupportedModuleError; the first is not even continuous."""
    module = soften(Meeting(meet).double().eval(), 2.0)
    with pytest.raises(UnsupportedModuleError):
        entesari_2024_graph(module, torch.zeros(5), target_class=0, radius=0.1)


@pytest.mark.parametrize("kind", ["hook", "pre-hook", "own forward"])
def test_a_layer_that_does_not_compute_what_its_weights_say_is_refused(kind):
    """Oracle: the contract; each of these multiplies the output by 100, of which the weights know nothing."""
    module = soften(Meeting(lambda m, a, b: a + b).double().eval(), 2.0)
    layer = module.head
    if kind == "hook":
        layer.register_forward_hook(lambda m, inputs, output: 100 * output)
    elif kind == "pre-hook":
        layer.register_forward_pre_hook(lambda m, inputs: (100 * inputs[0],))
    else:
        layer.forward = lambda a: 100 * nn.functional.linear(a, layer.weight, layer.bias)
    bounds = curvature_bounds(module, torch.zeros(5), target_class=0, radius=0.1)
    assert all(bound.hessian is None and bound.reason for bound in bounds.values())


@pytest.mark.parametrize("pad", [nn.ZeroPad2d((0, 1, 2, 1)), nn.ConstantPad2d(1, 0.7), nn.ZeroPad2d(-1)])
def test_padding_by_constants_keeps_the_constants(pad):
    """Oracle: dense Hessians by autodiff, and the matrices of the unrolled network where the padding is 0."""
    torch.manual_seed(2)
    layers = [nn.Conv2d(1, 3, 3), nn.ReLU(), pad, nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)]
    module = nn.Sequential(*layers).double().eval()
    module(torch.zeros(1, 1, 8, 8, dtype=torch.float64))
    module, x = soften(module, 2.0), normal(1, 1, 8, 8)
    bound = entesari_2024_graph(module, x, target_class=1, radius=0.1)
    f = logit(module, 1)
    attained = max(torch.linalg.matrix_norm(hessian(f, normal(s, 1, 8, 8)), 2).item() for s in range(5))
    assert attained <= bound.hessian <= 100 * attained
    if isinstance(pad, nn.ZeroPad2d):
        dense = entesari_2024(feed_forward(module, x, 1), x.flatten(), 0.1)
        assert dense.hessian <= bound.hessian * (1 + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "densenet121", "efficientnet_lite0"])
def test_named_architectures_have_a_rung(name):
    """Oracle: none but finiteness; soundness is tested on the blocks. Full width, small pictures."""
    torch.manual_seed(0)
    networks = {"efficientnet_lite0": efficientnet_lite0, **vars(torchvision.models)}
    options = {} if name == "efficientnet_lite0" else {"weights": None}
    module = soften(averaged(networks[name](**options).eval()), 1.0)
    bound = entesari_2024_graph(module, torch.zeros(3, 32, 32), target_class=3, radius=0.1)
    assert 0 < bound.hessian < float("inf")


def test_a_layer_in_training_mode_is_refused():
    """Oracle: ValueError; its scale would be the batch's, not the one that is read."""
    module = soften(Block("sum").double().eval(), 1.0)
    module.norm.train()
    with pytest.raises(ValueError, match="eval mode"):
        entesari_2024_graph(module, torch.zeros(1, 4, 4), target_class=0, radius=0.1)
