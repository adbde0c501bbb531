"""Small networks of one output on which the steps of Theorem 1 are tried, as plain lists."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from flint import arb, arb_mat

from proofs_check.softplus_ball import PlainNetwork, column, norm


def random_network(rng: np.random.Generator, *, inputs: int = 3, softplus_layers: int = 2) -> PlainNetwork:
    """The supplement's form: every layer ends in a softplus, the last one has one neuron."""
    widths = [inputs, *rng.integers(3, 6, size=softplus_layers - 1).tolist(), 1]
    pairs = list(pairwise(widths))
    return PlainNetwork(
        weights=[rng.normal(size=(after, before)).tolist() for before, after in pairs],
        biases=[(rng.normal(size=after) / 2).tolist() for _, after in pairs],
        head=[1.0],
        beta=float(np.exp(rng.uniform(np.log(0.3), np.log(50)))),
    )


def one_neuron() -> PlainNetwork:
    """s_beta(2 x - y) with beta = 3: eq. 10 is attained up to g <= 1/4."""
    return PlainNetwork(weights=[[[2.0, -1.0]]], biases=[[0.0]], head=[1.0], beta=3.0)


def bowl(inputs: int = 2, beta: float = 2.0) -> PlainNetwork:
    """sum_i s(x_i) + s(-x_i): smooth, convex, least at 0, its level sets almost circles there."""
    rows = [[sign * float(i == j) for j in range(inputs)] for i in range(inputs) for sign in (1, -1)]
    return PlainNetwork(weights=[rows], biases=[[0.0] * (2 * inputs)], head=[1.0] * (2 * inputs), beta=beta)


def ridge(beta: float = 2.0) -> PlainNetwork:
    """s(x+y) - s(x-y): its zero level is the straight line y = 0, along which the gradient grows."""
    return PlainNetwork(weights=[[[1.0, 1.0], [1.0, -1.0]]], biases=[[0.0, 0.0]], head=[1.0, -1.0], beta=beta)


def valley(beta: float = 2.0) -> PlainNetwork:
    """s(x) + s(-x) on the plane: P H = 0 everywhere, and the normal flips at x = 0."""
    return PlainNetwork(weights=[[[1.0, 0.0], [-1.0, 0.0]]], biases=[[0.0, 0.0]], head=[1.0, 1.0], beta=beta)


def trough(beta: float = 2.0) -> PlainNetwork:
    """s(x) + s(-x) + s(y/1000)/10: near 0 the level sets bend as much as H allows, to a factor sqrt(2) of a quarter."""
    rows = [[1.0, 0.0], [-1.0, 0.0], [0.0, 0.001]]
    return PlainNetwork(weights=[rows], biases=[[0.0] * 3], head=[1.0, 1.0, 0.1], beta=beta)


def frobenius_norms(network: PlainNetwork) -> list[arb]:
    """Of every layer and, unless it is the trivial one, of the head."""
    norms = [norm(arb_mat([list(map(arb, row)) for row in W])) for W in network.weights]
    return norms if list(network.head) == [1.0] else [*norms, norm(column(network.head))]


def eq10(norms: Sequence[arb], softplus_layers: int) -> arb:
    """C~ of eq. 10: a sum over softplus layers m, the layers up to m squared."""
    total = arb(0)
    for m in range(softplus_layers):
        term = arb(1)
        for layer, value in enumerate(norms):
            term *= value**2 if layer <= m else value
        total += term
    return total


def hessian_constant(network: PlainNetwork) -> arb:
    """C~ of eq. 10 for the network."""
    return eq10(frobenius_norms(network), len(network.weights))


def random_box(rng: np.random.Generator, inputs: int, radius: float = 0.02) -> arb_mat:
    """A box around a normal point."""
    return column([arb(float(c), radius) for c in rng.normal(size=inputs)])
