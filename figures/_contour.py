"""The 2-50-1 network of figure 20: value, gradient and curvature in closed form, many points at once."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from numpy.typing import NDArray
from scipy.special import expit

from curvature import contour_network

Array = NDArray[np.float64]


class Jet(NamedTuple):
    """At points ``[N]``: value, gradient ``[N, 2]`` and signed curvature of the level line, 1/length."""

    value: Array
    gradient: Array
    curvature: Array


def weights(seed: int) -> tuple[Array, Array]:
    """W ``[50, 2]`` and V ``[50]`` of ``curvature.contour_network``."""
    first, last = (parameter.detach().numpy() for parameter in contour_network(seed).parameters())
    return first, last[0]


def jet(W: Array, V: Array, beta: float, points: Array) -> Jet:
    r"""Softplus of sharpness ``beta`` at points ``[N, 2]``.

    With z = W x, s' = sigma(beta z), s'' = beta sigma(beta z) sigma(-beta z): G = sum V s' w, H = sum V s'' w w^T,
    kappa = -t^T H t/||G|| for the unit tangent t. Where G = 0 the curvature is not a number.
    """
    z = points @ W.T
    slope, bend = expit(beta * z), beta * expit(beta * z) * expit(-beta * z)
    G = (V * slope) @ W
    length = np.linalg.norm(G, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        tangent = np.stack([-G[:, 1], G[:, 0]], 1) / length[:, None]
        kappa = -((V * bend) * (tangent @ W.T) ** 2).sum(1) / length
    return Jet((np.logaddexp(0, beta * z) / beta) @ V, G, kappa)


def relu_jet(W: Array, V: Array, points: Array) -> Jet:
    """The same with ReLU: flat pieces, whose curvature is 0 beside the kinks."""
    z = points @ W.T
    return Jet(np.maximum(z, 0) @ V, (V * (z > 0)) @ W, np.zeros(len(points)))


def square(steps: int) -> Array:
    """A grid of ``[-1, 1]^2`` as points ``[steps^2, 2]``, the first coordinate fastest."""
    x = np.linspace(-1, 1, steps)
    return np.stack(np.meshgrid(x, x, indexing="xy"), -1).reshape(-1, 2)


def level_lines(axes: Axes, values: Array, curvature: Callable[[Array], Array], norm: Normalize) -> LineCollection:
    """Draw level lines of ``values`` on ``square``'s grid in short pieces, each in the colour of its curvature."""
    steps = round(values.size**0.5)
    x = np.linspace(-1, 1, steps)
    lines = axes.contour(x, x, values.reshape(steps, steps), levels=17, linewidths=0)
    pieces = np.concatenate([np.stack([s[:-1], s[1:]], 1) for level in lines.allsegs for s in level if len(s) > 1])
    drawn = LineCollection(list(pieces), array=curvature(pieces.mean(1)), norm=norm, cmap="viridis", lw=1.1)
    axes.add_collection(drawn)
    return drawn
