import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn
from torch.testing import assert_close

from curvature.activations import Softplus
from curvature.errors import DegenerateLevelSetError
from curvature.level_set import principal_curvatures
from curvature.penalty import curvature_penalty
from tests.strategies import normal, seeds


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=10)
@given(seed=seeds, n=st.integers(2, 4))
def test_estimate_averages_to_the_sum_of_squared_curvatures(seed, n):
    """Oracle: dense curvatures; the mean of 300 directions within 6 standard errors."""
    A, x = normal(seed, n, n), normal(seed + 1, 1, n)
    drawn = torch.stack(
        [curvature_penalty(lambda p: ((p @ A) * p).sum(1), x, generator=generator(i), samples=1) for i in range(300)]
    ).detach()
    exact = float(principal_curvatures(lambda p: p @ A @ p, x[0]).square().sum())
    assert abs(float(drawn.mean()) - exact) <= 6 * float(drawn.std()) / 300**0.5 + 1e-9 * exact


@given(seed=seeds, n=st.integers(2, 2), batch=st.integers(1, 5))
def test_circles_need_no_average(seed, n, batch):
    """Oracle: closed form, PHP/||G|| = t t^T / r has one eigenvalue; the mean over signs of (t.s)^2 is 1."""
    x = normal(seed, batch, n)
    value = curvature_penalty(lambda p: (p * p).sum(1), x, generator=generator(seed), samples=400).detach()
    exact = (1 / (x * x).sum(1)).mean()
    assert 0.6 * float(exact) <= float(value) <= 1.4 * float(exact)


def test_gradient_with_respect_to_weights():
    """Oracle: finite differences of the same draw, through the projection's dependence on the weights too."""
    x = normal(0, 3, 4)

    def value(W):
        return curvature_penalty(lambda p: torch.tanh(p @ W.T).sum(1), x, generator=generator(5))

    assert torch.autograd.gradcheck(value, (normal(1, 6, 4).requires_grad_(),))


def test_degenerate_input_is_refused():
    """Oracle: the documented errors."""
    x = torch.zeros(2, 3, dtype=torch.float64)
    with pytest.raises(DegenerateLevelSetError):
        curvature_penalty(lambda p: (p * p).sum(1), x, generator=generator())
    with pytest.raises(ValueError, match="outputs of shape"):
        curvature_penalty(lambda p: p * p, x, generator=generator())
    with pytest.raises(ValueError, match="samples"):
        curvature_penalty(lambda p: p.sum(1), x, generator=generator(), samples=0)


def train(weight):
    torch.manual_seed(0)
    digits = load_digits()
    x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    order = torch.randperm(len(x), generator=generator(0))
    x, y = x[order], y[order]
    model = nn.Sequential(nn.Linear(64, 24), Softplus(3.0), nn.Linear(24, 24), Softplus(3.0), nn.Linear(24, 10))
    optimiser, directions = torch.optim.Adam(model.parameters(), lr=5e-3), generator(1)
    for _ in range(300):
        pick = torch.randint(1400, (64,), generator=directions)
        loss = nn.functional.cross_entropy(model(x[pick]), y[pick])
        if weight:
            labels = y[pick][:, None]
            outputs = lambda p, labels=labels: model(p).gather(1, labels)[:, 0]  # noqa: E731
            loss = loss + weight * curvature_penalty(outputs, x[pick], generator=directions)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    held = slice(1400, None)
    accuracy = float((model(x[held]).argmax(1) == y[held]).double().mean())
    model.double().requires_grad_(False)
    curvature = torch.stack(
        [principal_curvatures(lambda p, k=int(y[i]): model(p)[k], x[i].double()).abs().max() for i in range(1400, 1440)]
    )
    return accuracy, float(curvature.median())


def test_training_with_the_penalty_lowers_curvature_at_about_equal_accuracy():
    """Oracle: dense curvatures on held-out digits, which the penalty never saw."""
    plain_accuracy, plain = train(0.0)
    accuracy, penalised = train(0.1)
    assert penalised <= 0.7 * plain, (plain, penalised)
    assert accuracy >= plain_accuracy - 0.02, (plain_accuracy, accuracy)
    assert_close(plain_accuracy, 0.95, rtol=0, atol=0.05)
