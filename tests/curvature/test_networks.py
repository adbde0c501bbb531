import copy

import pytest
import torch
from hypothesis import given, settings
from torch import fx, nn
from torch.nn import functional as F
from torch.testing import assert_close

from curvature.activations import Softplus
from curvature.errors import UnsupportedModuleError
from curvature.networks import hypotheses, logit, set_beta, soften
from tests.strategies import betas, normal, relu_network, seeds

S = nn.functional.softplus


class Functional(nn.Module):
    """Functional, in-place and tensor-method activations, with readers after the overwriting."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4).double(), nn.Linear(4, 4).double()

    def forward(self, x):
        h = self.first(x)
        g = F.relu(h, inplace=True)
        k = self.second(g + h)
        torch.relu_(k)
        return k.relu() + F.relu6(k)

    def expected(self, x, beta):
        h = S(self.first(x), beta)
        k = S(self.second(2 * h), beta)
        return S(k, beta) + S(k, beta) - S(k - 6, beta)


class Block(nn.Module):
    """A residual block of a shared, in-place ReLU module."""

    def __init__(self):
        super().__init__()
        self.linear, self.relu = nn.Linear(3, 3).double(), nn.ReLU(inplace=True)

    def forward(self, x):
        h = self.linear(x)
        return self.relu(self.relu(h) + h + x)

    def expected(self, x, beta):
        h = S(self.linear(x), beta)
        return S(h + h + x, beta)


@settings(max_examples=10)
@given(seed=seeds, beta=betas)
def test_modules_are_softened_and_the_original_is_untouched(seed, beta):
    """Oracle: the layers applied by hand with torch's softplus."""
    model = relu_network(seed, 3, 4, 2).train()
    before = copy.deepcopy(model.state_dict())
    soft, x = soften(model, beta), normal(seed + 1, 5, 3)
    assert_close(soft(x), model[2](S(model[0](x), beta)), rtol=1e-6, atol=1e-7)  # torch's threshold of 20
    assert isinstance(model[1], nn.ReLU)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(p.requires_grad for p in soft.parameters())
    assert not any(m.training for m in soft.modules())


@pytest.mark.parametrize("make", [Functional, Block, lambda: fx.symbolic_trace(Functional())])
@pytest.mark.parametrize("beta", [0.5, 3.0])
def test_calls_in_place_and_reused(make, beta):
    """Oracle: the same forward written out of place by hand."""
    torch.manual_seed(0)
    model, x = make(), normal(1, 5, 3)
    reference = model if hasattr(model, "expected") else None
    if reference is None:
        reference = Functional()
        reference.load_state_dict(model.state_dict())
    soft = soften(model, beta)
    assert_close(soft(x), reference.expected(x, beta), rtol=1e-7, atol=1e-8)
    again = soften(soft, 2 * beta)
    assert_close(again(x), reference.expected(x, 2 * beta), rtol=1e-7, atol=1e-8)
    assert hypotheses(soft) == []


def test_a_module_used_in_two_places_is_softened_in_both():
    """Oracle: named_children lists a shared child once, which left the second place a ReLU."""
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(2, 2), relu, nn.Linear(2, 2), relu)
    soft = soften(model, 2.0)
    assert isinstance(soft[1], Softplus)
    assert soft[1] is soft[3]
    assert hypotheses(soft) == []
    assert [rough.path for rough in hypotheses(model)]


def test_user_modules_named_like_ours_survive():
    """Oracle: the output, with a module already called softplus_0."""

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.softplus_0 = nn.Linear(2, 2).double()

        def forward(self, x):
            return F.relu(self.softplus_0(x))

    model, x = Named(), normal(0, 3, 2)
    assert_close(soften(model, 1.0)(x), S(model.softplus_0(x)))


def test_nesting_and_relu6_and_set_beta():
    """Oracle: s(t) - s(t - 6) by hand; the new beta."""
    model = nn.Sequential(nn.Sequential(nn.ReLU6()), nn.Sequential(nn.Sequential(nn.ReLU())))
    soft, x = soften(model, 1.0), normal(0, 4, 3)
    assert_close(soft(x), S(S(x) - S(x - 6)))
    set_beta(soft, 4.0)
    assert_close(soft(x), S(S(x, 4.0) - S(x - 6, 4.0), 4.0))
    assert isinstance(soften(nn.ReLU(), 2.0), Softplus)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (F.leaky_relu, "leaky_relu"),
        (lambda t: t.clamp_min(0), "clamp_min"),
        (torch.abs, "abs"),
        (F.hardswish, "hardswish"),
    ],
)
def test_calls_without_a_soft_form_are_refused_by_path(call, name):
    """Oracle: the documented error names the submodule and the call."""

    class Inner(nn.Module):
        def forward(self, x):
            return call(x)

    model = nn.Sequential(nn.Identity(), Inner())
    with pytest.raises(UnsupportedModuleError, match=name) as caught:
        soften(model, 1.0)
    assert "1.forward" in str(caught.value)
    assert any(name in rough.kind for rough in hypotheses(model))


def test_modules_without_a_soft_form_are_refused_by_path():
    """Oracle: the documented error."""
    with pytest.raises(UnsupportedModuleError, match=r"'0\.1' \(LeakyReLU\)"):
        soften(nn.Sequential(nn.Sequential(nn.Identity(), nn.LeakyReLU())), 1.0)


def test_networks_that_cannot_be_traced():
    """Oracle: a value-dependent branch; soften refuses unless told not to look, hypotheses admits it."""

    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x):
            return self.act(x) if x.sum() > 0 else x

    with pytest.raises(UnsupportedModuleError, match="cannot trace"):
        soften(Branch(), 1.0)
    assert isinstance(soften(Branch(), 1.0, trace=False).act, Softplus)
    assert "cannot be traced" in hypotheses(Branch())[-1].reason


def test_hypotheses_name_the_layers():
    """Oracle: the list by hand."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Sequential(nn.PReLU()))
    assert [(r.path, r.kind) for r in hypotheses(model)] == [("1", "ReLU"), ("2", "MaxPool2d"), ("3.0", "PReLU")]

    class Pooled(nn.Module):
        def forward(self, x):
            return F.max_pool2d(x, 2)

    assert len(hypotheses(Pooled())) == 1
    assert hypotheses(soften(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()), 1.0)) == []


def test_logit():
    """Oracle: the network's own output; a wrong class or shape is an error."""
    model, x = relu_network(0, 3, 4, 2), normal(0, 3)
    assert torch.equal(logit(model, 1)(x), model(x[None])[0, 1])
    for k in (-1, 2):
        with pytest.raises(ValueError, match="class"):
            logit(model, k)(x)


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_beta_is_refused(beta):
    """Oracle: the documented error."""
    with pytest.raises(ValueError, match="beta"):
        soften(nn.ReLU(), beta)
