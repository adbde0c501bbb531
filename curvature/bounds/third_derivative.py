r"""First-order models of a network's derivatives on a ball, with enclosed remainders.

Write :math:`s'(z_l(y)) = c'_l + \delta_l`, :math:`s''(z_l(y)) = c''_l + \gamma_l` and
:math:`z_l(y) = z_l(x) + \bar A_l u + \rho_l`, :math:`u = y - x`. With affine enclosures
:math:`\delta_l = \lambda'_l \bar A_l u + \eta'_l`, :math:`|\eta'_l| \le h'_l = |\lambda'_l|\rho_l + e'_l` (and
the same with two primes), the Jacobians :math:`A_l = \partial z_l/\partial x` and sensitivities
:math:`F_l = \partial f/\partial a_l` obey

.. math::
    A_{l+1} = W_{l+1}(c'_l + \delta_l)A_l = \bar A_{l+1} + Q_{l+1}[u] + \mathrm{rem}, \qquad
    F_{l-1} = W_l^T (c'_l + \delta_l) F_l = \bar F_{l-1} + \Phi_{l-1}u + \mathrm{rem},

whose coefficients follow by recursion (see ``docs/derivations.md``). At the centre's own
slopes, :math:`T[u] = \sum_k u_k\,\partial H/\partial x_k` is the third derivative itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.bounds.relaxations import Affine, Softplus
from curvature.bounds.rounding import gamma, row_norm_bounds, symmetric_norm_bounds

_CHUNK = 2**22  # numbers in one block of outer products


@dataclass(frozen=True, kw_only=True)
class Centre:
    """Where a model is expanded: matrices, float64 pre-activations and bounds of their errors."""

    weights: tuple[Tensor, ...]
    head: Tensor
    beta: float
    z: list[Tensor]
    errors: list[Tensor]


@dataclass(kw_only=True)
class Layer:
    r"""One layer of a first-order model; all remainders hold for every y in the ball.

    Attributes:
        A: :math:`\bar A`, ``[N, n]``.
        Q: Slopes of the Jacobian, ``[N, n, n]``, or None where A is constant.
        Q_square: Each Q times itself, ``[N, n * n]``.
        Q_norm: Spectral norms of the Q, bounded, ``[N]``.
        slope, bend: Affine enclosures of s' and s'', each with ``[N]`` entries.
        slope_rest, bend_rest: :math:`h', h''`, what remains after the part linear in u.
        slope_change, bend_change: Bounds of :math:`|\delta|, |\gamma|`.
        bend_range: Lower and upper bound of s''.
        deep: Entrywise bound of the remainder of A that stems from layers below the one before.
        rest: Entrywise bound of the whole remainder of A.
        rest_norm: Bounds of its row norms.
        F, Phi, F_rest, F_change: Sensitivity, its slope, and bounds of its remainder and change.
        K: Derivative of the quadratic form by the slopes of this layer, ``[N, n]``.
    """

    A: Tensor
    Q: Tensor | None
    Q_square: Tensor | None
    Q_norm: Tensor
    deep: Tensor
    rest: Tensor
    rest_norm: Tensor
    slope: Affine = field(init=False)
    bend: Affine = field(init=False)
    slope_rest: Tensor = field(init=False)
    bend_rest: Tensor = field(init=False)
    slope_change: Tensor = field(init=False)
    bend_change: Tensor = field(init=False)
    bend_range: tuple[Tensor, Tensor] = field(init=False)
    F: Tensor = field(init=False)
    Phi: Tensor = field(init=False)
    F_rest: Tensor = field(init=False)
    F_change: Tensor = field(init=False)
    K: Tensor = field(init=False)


def chebyshev_model(centre: Centre, radius: float) -> list[Layer]:
    """The model with nearly best affine enclosures: the smallest remainders on the whole ball."""
    return _model(centre, radius)


def taylor_model(centre: Centre, radius: float, known: list[Layer] | None = None) -> list[Layer]:
    r"""The model with the derivatives at the centre as slopes.

    All its remainders of second order shrink at least like :math:`t^2` on the ball of radius
    tr, as every factor is bounded by a constant times a power of the distance. ``known`` is a model
    of the same centre at any radius, whose coefficients are used again.
    """
    return _model(centre, radius, taylor=True, known=known)


def first_order(layers: list[Layer]) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n n n"]]:
    r"""The constant part of H, and T with ``T[k]`` the coefficient of :math:`u_k`.

    :math:`H_c = \sum_l \bar A_l^T \mathrm{diag}(\bar F_l c''_l) \bar A_l` and

    .. math::
        T[u] = \sum_l \bar A_l^T \mathrm{diag}((\bar F_l\lambda''_l \bar A_l + c''_l\Phi_l)u)\bar A_l
             + \mathrm{sym}\,\bar A_l^T \mathrm{diag}(\lambda'_l \bar A_l u) K_l .

    Cost: one product ``[n, 2N] x [2N, n^2]`` a layer.
    """
    n = layers[0].A.shape[1]
    H = torch.zeros(n, n, dtype=layers[0].A.dtype)
    T = torch.zeros(n, n * n, dtype=H.dtype)
    for i, layer in enumerate(layers):
        A, K = layer.A, layer.K
        H = H + A.T @ ((layer.F * layer.bend.centre)[:, None] * A)
        linear = (layer.F * layer.bend.slope)[:, None] * A + layer.bend.centre[:, None] * layer.Phi
        slopes = layer.slope.slope[:, None] * A
        for rows in _blocks(len(A), n):
            T.addmm_(linear[rows].T, (A[rows, :, None] * A[rows, None, :]).flatten(1))
            if i < len(layers) - 1:
                AK = A[rows, :, None] * K[rows, None, :]
                T.addmm_(slopes[rows].T, (AK + AK.mT).flatten(1))
    return (H + H.T) / 2, T.reshape(n, n, n)


def _blocks(count: int, n: int) -> Iterator[slice]:
    """Slices of neurons whose ``[n, n]`` outer products fit into a block."""
    step = max(1, _CHUNK // (n * n))
    return (slice(first, first + step) for first in range(0, count, step))


def absolute_scale(centre: Centre, layers: list[Layer], radius: float) -> float:
    r"""Bound of the sum of absolute values of all terms of H on the ball, as a trace.

    The polynomial in :math:`\delta, \gamma` has positive coefficients in absolute values, so its
    value at :math:`|c| + 2|\delta|` bounds every partial sum that the models form.
    """
    A, total, jacobians = centre.weights[0].abs(), 0.0, []
    for i in range(len(layers)):
        if i:
            A = centre.weights[i].abs() @ (_whole(layers[i - 1].slope, layers[i - 1].slope_change)[:, None] * A)
        jacobians.append((A * A).sum(1))
    F = centre.head.abs()
    for i in reversed(range(len(layers))):
        total += float((F * _whole(layers[i].bend, layers[i].bend_change) * jacobians[i]).sum())
        F = centre.weights[i].abs().T @ (_whole(layers[i].slope, layers[i].slope_change) * F)
    return total


def _whole(enclosure: Affine, change: Tensor) -> Tensor:
    return enclosure.centre.abs() + 2 * change + enclosure.error


def _model(centre: Centre, radius: float, *, taylor: bool = False, known: list[Layer] | None = None) -> list[Layer]:
    layers: list[Layer] = []
    for k, W in enumerate(centre.weights):
        layer = _first_layer(W) if k == 0 else _next_layer(W, layers[-1], radius, known[k] if known else None)
        distance = row_norm_bounds(layer.A)
        rho = radius**2 / 2 * layer.Q_norm + radius * layer.rest_norm + centre.errors[k]
        reach = (radius * distance + rho) * (1 + gamma(64))
        _enclose(layer, Softplus(centre.z[k], reach, centre.beta), rho, taylor=taylor)
        layers.append(layer)
    _sweep_back(centre, layers, radius)
    return layers


def _first_layer(W: Tensor) -> Layer:
    zeros = torch.zeros(len(W), dtype=W.dtype)
    nothing = torch.zeros_like(W)
    return Layer(A=W, Q=None, Q_square=None, Q_norm=zeros, deep=nothing, rest=nothing, rest_norm=zeros)


def _next_layer(W: Tensor, before: Layer, radius: float, known: Layer | None) -> Layer:
    r"""Jacobian, its slope, and its remainder :math:`W(\eta'\bar A + c'\,\mathrm{rem} + \delta\Delta A)`."""
    c, slope = before.slope.centre[:, None], before.slope.slope[:, None]
    if known is None:
        A = W @ (c * before.A)
        n = A.shape[1]
        Q = torch.zeros(len(W), n * n, dtype=W.dtype)
        for rows in _blocks(len(before.A), n):
            bends = (slope[rows] * before.A[rows])[:, :, None] * before.A[rows, None, :]
            if before.Q is not None:
                bends.addcmul_(c[rows, :, None], before.Q[rows])
            Q.addmm_(W[:, rows], bends.flatten(1))
        Q = Q.reshape(-1, n, n)
        Q_square = torch.matmul(Q.mT, Q).flatten(1)
        Q_norm = torch.cat([symmetric_norm_bounds((Q[rows] + Q[rows].mT).mul_(0.5)) for rows in _blocks(len(Q), n)])
    else:
        assert known.Q is not None
        assert known.Q_square is not None
        A, Q, Q_square, Q_norm = known.A, known.Q, known.Q_square, known.Q_norm
    magnitude = W.abs() * (1 + gamma(W.shape[1] + 64))
    deep = torch.zeros_like(A)
    if before.Q is not None:
        change = radius * torch.linalg.vector_norm(before.Q, dim=1) + before.rest
        deep = magnitude @ (c.abs() * before.rest + before.slope_change[:, None] * change)
    rest = magnitude @ (before.slope_rest[:, None] * before.A.abs()) + deep
    spectral = torch.linalg.matrix_norm(before.A.T @ before.A) ** 0.5 * (1 + 1e-10)
    product = row_norm_bounds(magnitude * before.slope_rest) * spectral + row_norm_bounds(deep)
    rest_norm = torch.minimum(row_norm_bounds(rest), product)
    return Layer(A=A, Q=Q, Q_square=Q_square, Q_norm=Q_norm, deep=deep, rest=rest, rest_norm=rest_norm)


def _enclose(layer: Layer, softplus: Softplus, rho: Tensor, *, taylor: bool) -> None:
    layer.bend_range = softplus.range(2)
    if taylor:  # Lipschitz, not the range: it must shrink with the radius
        layer.slope, layer.slope_change = softplus.taylor(1)
        layer.bend, layer.bend_change = softplus.taylor(2)
    else:
        layer.slope, layer.bend = softplus.affine(1), softplus.affine(2)
        low, high = softplus.range(1)
        layer.slope_change = torch.maximum(high - layer.slope.centre, layer.slope.centre - low)
        low, high = layer.bend_range
        layer.bend_change = torch.maximum(high - layer.bend.centre, layer.bend.centre - low)
    layer.slope_rest = layer.slope.slope.abs() * rho + layer.slope.error
    layer.bend_rest = layer.bend.slope.abs() * rho + layer.bend.error


def _sweep_back(centre: Centre, layers: list[Layer], radius: float) -> None:
    last = layers[-1]
    F, Phi, K = centre.head, torch.zeros_like(last.A), torch.zeros_like(last.A)
    F_rest = torch.zeros_like(F)
    for W, layer in zip(reversed(centre.weights), reversed(layers), strict=True):
        layer.F, layer.Phi, layer.K, layer.F_rest = F, Phi, K, F_rest
        layer.F_change = F_rest if layer is last else radius * row_norm_bounds(Phi) + F_rest
        if layer is layers[0]:
            break
        c, slope = layer.slope.centre, layer.slope.slope
        spread = c.abs() * F_rest + layer.slope_rest * F.abs() + layer.slope_change * layer.F_change
        F_rest = W.abs().T @ spread * (1 + gamma(len(W) + 64))
        Phi = W.T @ ((F * slope)[:, None] * layer.A + c[:, None] * Phi)
        K = W.T @ ((F * layer.bend.centre)[:, None] * layer.A + c[:, None] * K)
        F = W.T @ (c * F)
