"""The walking rules once more, as plainly as they can be written: dense matrices, loops, ReLU or softplus."""

import torch
from torch import Tensor, nn


def unrolled(layer: nn.Module, shape: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """The dense matrix of a layer without its bias, and the shape of its output."""
    count = int(torch.tensor(shape).prod())
    columns = torch.eye(count, dtype=torch.float64).reshape(count, *shape)
    with torch.no_grad():
        zero = layer(torch.zeros(1, *shape, dtype=torch.float64))
        out = layer(columns) - zero
    return out.flatten(1).T.contiguous(), tuple(out.shape[1:])


def matrices(network: nn.Sequential, shape: tuple[int, ...]) -> list[tuple[Tensor, Tensor] | None]:
    """Weights and biases of a feed-forward network of linear, convolution and average-pool layers; None for a ReLU."""
    steps: list[tuple[Tensor, Tensor] | None] = []
    for layer in network:
        if isinstance(layer, nn.ReLU):
            steps.append(None)
            continue
        W, after = unrolled(layer, shape)
        if isinstance(layer, nn.Flatten):
            shape = after
            continue
        with torch.no_grad():
            b = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
        steps.append((W, b))
        shape = after
    return steps


def activations(steps: list[tuple[Tensor, Tensor] | None], x: Tensor, beta: float | None) -> list[Tensor]:
    """Values before each step, and the logits last."""
    values = [x]
    for step in steps:
        a = values[-1]
        if step is not None:
            values.append(step[0] @ a + step[1])
        else:
            values.append(torch.relu(a) if beta is None else torch.log(1 + torch.exp(beta * a)) / beta)
    return values


def lrp(steps: list[tuple[Tensor, Tensor] | None], x: Tensor, k: int, low: float, high: float) -> Tensor:
    """z^B on the first layer, z^+ on the others, neuron by neuron; one point ``[n]`` of a ReLU network."""
    values = activations(steps, x, None)
    r = torch.zeros_like(values[-1])
    r[k] = values[-1][k]
    for i in reversed(range(len(steps))):
        step = steps[i]
        if step is None:
            continue
        W, a, shares = step[0], values[i], torch.zeros_like(values[i])
        for j in range(len(W)):
            plus, minus = W[j].clamp(min=0), W[j].clamp(max=0)
            z = a * W[j] - low * plus - high * minus if i == 0 else a.clamp(min=0) * plus + a.clamp(max=0) * minus
            shares = shares + z / (z.sum() + 1e-9) * r[j]
        r = shares
    return r


def gated(
    steps: list[tuple[Tensor, Tensor] | None], patterns: list[Tensor], x: Tensor, k: int, beta: float | None
) -> Tensor:
    """Backwards with each matrix times its pattern, and the (soft) gate; one point ``[n]``."""
    values = activations(steps, x, beta)
    r = torch.zeros_like(values[-1])
    r[k] = values[-1][k]
    waiting = list(patterns)
    for i in reversed(range(len(steps))):
        step = steps[i]
        if step is None:
            z = values[i]
            r = r * ((z >= 0).double() if beta is None else torch.sigmoid(beta * z))
        else:
            r = (step[0] * waiting.pop()).T @ r
    return r
