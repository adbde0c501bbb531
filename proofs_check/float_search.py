r"""Where a quantity of a tiny softplus network is large: a search in float64.

Nothing here is rigorous. The points that it finds are evaluated in ball arithmetic by
``interval_oracle``, which makes a certified lower end out of each. Fresh numpy code, apart
from the formulas of ``curvature``: Hessians are carried forward neuron by neuron.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from proofs_check.softplus_ball import PlainNetwork

Array = NDArray[np.float64]
Score = Callable[[Array, Array], Array]  # gradients [N, d] and Hessians [N, d, d] to scores [N]


def jets(network: PlainNetwork, points: Array) -> tuple[Array, Array]:
    """Gradients ``[N, d]`` and Hessians ``[N, d, d]`` at the points ``[N, d]``, by forward accumulation."""
    count, d = points.shape
    a, J, T = points, np.broadcast_to(np.eye(d), (count, d, d)), np.zeros((count, d, d, d))
    for W, b in zip(network.weights, network.biases, strict=True):
        z, J, T = a @ np.asarray(W).T + np.asarray(b), np.asarray(W) @ J, np.einsum("ij,njkl->nikl", np.asarray(W), T)
        u = network.beta * z
        slope, other = _sigmoid(u), _sigmoid(-u)
        a = np.logaddexp(0, u) / network.beta
        T = (
            slope[..., None, None] * T
            + (network.beta * slope * other)[..., None, None] * J[..., :, None] * J[..., None, :]
        )
        J = slope[..., None] * J
    head = np.asarray(network.head)
    return np.einsum("i,nij->nj", head, J), np.einsum("i,nijk->njk", head, T)


def frames(gradients: Array) -> Array:
    """Orthonormal tangent bases ``[N, d, d-1]``, by a Householder reflection of the normal."""
    d = gradients.shape[1]
    v = gradients / np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-300)
    v[:, 0] += np.where(v[:, 0] >= 0, 1.0, -1.0)
    scaled = 2 * v / (v * v).sum(1, keepdims=True)
    return (np.eye(d) - scaled[:, :, None] * v[:, None, :])[:, :, 1:]


def curvatures(gradients: Array, hessians: Array) -> Array:
    """Principal curvatures ``[N, d-1]``, ascending; NaN where the gradient vanishes."""
    Q = frames(gradients)
    norms = np.linalg.norm(gradients, axis=1)
    L = -np.einsum("nij,nik,nkl->njl", Q, hessians, Q)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(norms[:, None] > 1e-280, np.linalg.eigvalsh(L) / norms[:, None], np.nan)


def best_point(network: PlainNetwork, centre: Array, radius: float, score: Score, rng: np.random.Generator) -> Array:
    """A point of the closed ball at which ``score`` is large: sampling, then a shrinking random search."""
    d = len(centre)
    directions = rng.normal(size=(400, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    reach = np.where(np.arange(400) % 3 == 0, 1.0, rng.random(400) ** (1 / d))
    offsets = np.vstack([np.zeros(d), directions * reach[:, None]])
    best, width = _keep(network, centre, radius, offsets, score), 0.3
    for _ in range(16):
        moved = (best[:, None] + width * rng.normal(size=(len(best), 12, d))).reshape(-1, d)
        moved /= np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1.0)
        best, width = _keep(network, centre, radius, np.vstack([best, moved]), score), width * 0.45
    return centre + radius * best[0]


def _keep(network: PlainNetwork, centre: Array, radius: float, offsets: Array, score: Score) -> Array:
    values = score(*jets(network, centre + radius * offsets))
    order = np.argsort(-np.nan_to_num(values, nan=-np.inf))
    return offsets[order[:5]]


def _sigmoid(u: Array) -> Array:
    small = np.exp(-np.abs(u))
    return np.where(u >= 0, 1.0, small) / (1 + small)
