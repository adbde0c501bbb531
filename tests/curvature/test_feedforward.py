import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from curvature.derivatives import gradient, hessian, hvp
from curvature.errors import UnsupportedModuleError
from curvature.feedforward import feed_forward
from curvature.networks import logit, soften
from tests.strategies import betas, normal, relu_network, seeds


@settings(max_examples=20)
@given(seed=seeds, beta=betas, hidden=st.lists(st.integers(1, 6), min_size=1, max_size=4), n=st.integers(1, 5))
def test_closed_forms_agree_with_autodiff(seed, beta, hidden, n):
    """Oracle: autodiff of the module; batched and single points."""
    soft = soften(relu_network(seed, n, *hidden, 3), beta)
    f, network = logit(soft, 2), feed_forward(soft, normal(seed, n), 2)
    X, V = normal(seed + 1, 2, n), normal(seed + 2, 2, n)
    curves = network.curves(X)
    H = curves.hessian()
    assert torch.equal(H, H.mT)
    for i in range(2):
        G, dense = gradient(f, X[i]), hessian(f, X[i])
        size = float(dense.norm()) + float(G.norm()) + 1e-200
        assert_close(network(X[i]), f(X[i]), rtol=1e-12, atol=1e-12)
        assert_close(curves.gradient()[i], G, rtol=0, atol=1e-12 * size)
        assert_close(H[i], dense, rtol=0, atol=1e-12 * size)
        assert_close(curves.hvp(V)[i], hvp(f, X[i], V[i]), rtol=0, atol=1e-12 * size * float(V[i].norm()))
        assert_close(network.curves(X[i]).hvp(V[i]), curves.hvp(V)[i])


def convolutional(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular", groups=2, dilation=1, bias=False),
        nn.ReLU(),
        nn.AvgPool2d(2, padding=1, count_include_pad=False),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(16, 3),
    ).double()
    model(normal(seed, 6, 2, 5, 5))  # running statistics that are not 0 and 1
    with torch.no_grad():
        model[1].weight.copy_(normal(seed, 4))
        model[1].bias.copy_(normal(seed + 1, 4))
    return soften(model.eval(), 2.0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_convolution_batch_norm_and_pooling_unroll(seed):
    """Oracle: the module, to second order."""
    soft, x = convolutional(seed), normal(seed + 3, 2, 5, 5)
    network, f = feed_forward(soft, x, 1), logit(soft, 1)
    flat = x.flatten()
    assert_close(network(flat), f(x), rtol=1e-13, atol=1e-13)
    assert_close(network.curves(flat).gradient(), gradient(f, x).flatten(), rtol=1e-12, atol=1e-12)
    assert_close(network.curves(flat).hessian(), hessian(f, x), rtol=1e-12, atol=1e-12)


class Forward(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.a, self.b, self.act = nn.Linear(8, 8).double(), nn.Linear(8, 2).double(), nn.ReLU()
        self.conv, self.run = nn.Conv2d(2, 2, 1).double(), forward

    def forward(self, x):
        return self.run(self, x)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.b(m.act(m.a(x.flatten(1)))),
        lambda m, x: m.b(m.act(m.a(torch.flatten(x, 1)))),
        lambda m, x: m.b(m.act(m.a(x.view(x.size(0), -1)))),
        lambda m, x: m.b(m.act(m.a(x.reshape(x.shape[0], -1)))),
        lambda m, x: m.b(m.act(m.conv(x.view(-1, 2, 2, 2))).reshape(-1, 8)),
    ],
)
def test_ways_to_write_a_reshape(forward):
    """Oracle: the module's output."""
    torch.manual_seed(0)
    soft, x = soften(Forward(forward), 1.5), normal(0, 2, 2, 2)
    assert_close(feed_forward(soft, x, 0)(x.flatten()), logit(soft, 0)(x), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.act(m.a(x)) + x,
        lambda m, x: (m.act(m.a(x)), m.b(x))[1],
        lambda m, x: (lambda h: (h, m.b(h))[0])(m.act(m.a(x))),  # code after the output
        lambda m, x: torch.sin(m.a(x)),
    ],
)
def test_what_is_not_a_chain_is_refused(forward):
    """Oracle: the documented error; the third was once unrolled with the dead layer in it."""
    with pytest.raises(UnsupportedModuleError):
        feed_forward(soften(Forward(forward), 1.0), normal(0, 8), 0)


def test_errors():
    """Oracle: the documented errors."""
    model = relu_network(0, 3, 4, 2)
    with pytest.raises(UnsupportedModuleError, match="'1'"):
        feed_forward(model, normal(0, 3), 0)
    soft = soften(model, 1.0)
    with pytest.raises(ValueError, match="target_class"):
        feed_forward(soft, normal(0, 3), 2)
    with pytest.raises(ValueError, match="eval mode"):
        feed_forward(soft.train(), normal(0, 3), 0)
    two = soften(relu_network(0, 3, 4, 4, 2), 1.0)
    two[1].beta = 2.0
    with pytest.raises(ValueError, match="one beta"):
        feed_forward(two, normal(0, 3), 0)
    with pytest.raises(UnsupportedModuleError):
        feed_forward(soften(nn.Sequential(nn.Linear(3, 3), nn.ReLU6(), nn.Linear(3, 2)), 1.0), normal(0, 3), 0)
