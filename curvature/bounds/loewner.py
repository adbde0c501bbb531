r"""The remainder of the first-order model of H, between two Loewner bounds.

:math:`-R_- \le H(y) - H_c - T[u] \le R_+` on the ball. Every term is a sum of
:math:`A^T \mathrm{diag}(\cdot)A` with non-negative weights, found with three tools:

- an interval of :math:`F_l s''_l` at the fixed Jacobian is such a form at once;
- :math:`2\sum_i \epsilon_i (Kv)_i(Av)_i \le \sum_i |\epsilon_i|(\alpha_i (Av)_i^2 + (Kv)_i^2/\alpha_i)`;
- :math:`\sum_j C_j(\Delta A_j v)^2` with :math:`\Delta A_j = u^T Q_j + \mathrm{rem}_j`:
  :math:`\sum_j C_j (u^TQ_jv)^2 \le r^2 v^T(\sum_j C_jQ_j^2)v`, and for
  :math:`\mathrm{rem} = W\mathrm{diag}(\eta)A`, :math:`|\eta| \le h`, Gershgorin with weights p > 0:
  :math:`\sum_{ij} B_{ij}|v_i||v_j| \le \sum_i (Bp)_i/p_i\, v_i^2`, :math:`B = |hMh|`, :math:`M = W^TCW`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.bounds.rounding import TINY, gamma, row_norm_bounds
from curvature.bounds.third_derivative import Layer


class Remainder(NamedTuple):
    r""":math:`-\mathrm{lower} \le R \le \mathrm{upper}`, both positive semidefinite, ``[n, n]``."""

    upper: Tensor
    lower: Tensor


def remainder(weights: tuple[Tensor, ...], layers: list[Layer], radius: float) -> Remainder:
    """Loewner bounds of what the first-order model leaves of H on the ball.

    Exactness: upper bound up to rounding, which the caller adds as a multiple of the absolute scale.
    Cost: two products ``[n, N n] x [N n, n]`` a layer with a varying Jacobian.
    """
    n = layers[0].A.shape[1]
    upper, lower = torch.zeros(n, n, dtype=weights[0].dtype), torch.zeros(n, n, dtype=weights[0].dtype)
    for k, layer in enumerate(layers):
        above, below = _bend_weights(layer, radius)
        both = torch.zeros_like(above)
        last = k == len(layers) - 1
        if not last:
            ratio = _ratio(row_norm_bounds(layer.K), row_norm_bounds(layer.A))
            both = both + layer.slope_rest * ratio
            upper = upper + _form(layer.K, layer.slope_rest / ratio)
            lower = lower + _form(layer.K, layer.slope_rest / ratio)
        if layer.Q is not None:
            change = radius * layer.Q_norm + layer.rest_norm
            spread = layer.F.abs() * layer.bend_change + layer.F_change * _magnitude(layer.bend_range)
            ratio = _ratio(change, row_norm_bounds(layer.A))
            both = both + spread * ratio
            extra = spread / ratio
            if not last:
                ratio = _ratio(change, row_norm_bounds(layer.K))
                upper = upper + _form(layer.K, layer.slope_change * ratio)
                lower = lower + _form(layer.K, layer.slope_change * ratio)
                extra = extra + layer.slope_change / ratio
            low, high = _curvature_range(layer)
            upper = upper + _square(weights[k], layers[k - 1], layer, high.clamp_min(0) + extra, radius)
            lower = lower + _square(weights[k], layers[k - 1], layer, (-low).clamp_min(0) + extra, radius)
        upper, lower = upper + _form(layer.A, above + both), lower + _form(layer.A, below + both)
    return Remainder((upper + upper.T) / 2, (lower + lower.T) / 2)


def diagonal_bound(B: Float[Tensor, "n n"], *, rounds: int = 3) -> Float[Tensor, " n"]:
    r"""A diagonal D with :math:`v^TBv \le v^TDv` for a symmetric B with entries >= 0.

    :math:`D_i = (Bp)_i/p_i` holds for every p > 0; a few products bring p near the Perron vector.
    """
    p = B.sum(1)
    floor = float(p.max()) * 1e-3 + TINY
    p = p + floor
    for _ in range(rounds):
        p = B @ p
        p = p / p.max().clamp_min(TINY) + 1e-3
    return (B @ p) / p * (1 + gamma(len(p) + 8))


def _bend_weights(layer: Layer, radius: float) -> tuple[Tensor, Tensor]:
    r"""Upper and lower ends of :math:`F s'' - \bar F c'' - (\text{its part linear in } u)`.

    The product of linear forms :math:`(\Phi u)(\lambda''\bar A u)` lies between
    :math:`\frac{r^2}{2}(\pm\|\Phi\|\|\lambda''A\| + \Phi\cdot\lambda''A)`.
    """
    Phi_norm, bent = row_norm_bounds(layer.Phi), layer.bend.slope[:, None] * layer.A
    base = layer.F.abs() * layer.bend_rest + layer.F_rest * (layer.bend.centre.abs() + layer.bend_change)
    base = base + radius * Phi_norm * layer.bend_rest
    size, aligned = Phi_norm * row_norm_bounds(bent), (layer.Phi * bent).sum(1)
    half = radius**2 / 2
    margin = gamma(64 + layer.A.shape[1]) * size
    return base + half * (size + aligned + margin).clamp_min(0), base + half * (size - aligned + margin).clamp_min(0)


def _curvature_range(layer: Layer) -> tuple[Tensor, Tensor]:
    """Lower and upper bound of ``F s''`` on the ball."""
    low, high = layer.bend_range
    ends = torch.stack([(layer.F + side * layer.F_change) * bend for side in (-1, 1) for bend in (low, high)])
    return ends.amin(0), ends.amax(0)


def _square(W: Tensor, before: Layer, layer: Layer, C: Tensor, radius: float) -> Tensor:
    r"""Loewner bound of :math:`\Delta A^T \mathrm{diag}(C) \Delta A` for C >= 0."""
    assert layer.Q_square is not None
    n = layer.A.shape[1]
    first = radius**2 * (C @ layer.Q_square).reshape(n, n)
    M = W.T @ (C[:, None] * W)
    rounding = gamma(len(W) + 8) * (W.abs().T @ (C[:, None] * W.abs()))
    h = before.slope_rest
    near = _form(before.A, diagonal_bound(h[:, None] * (M.abs() + rounding) * h))
    deep = float((C[:, None] * layer.deep**2).sum())
    rest = _join(near, deep * torch.eye(n, dtype=near.dtype))
    split = _join(first, rest)
    if before.Q is not None:
        return split
    # Without the split into a linear part and the rest: better once the rest is not small.
    d = before.slope_change
    whole = _form(before.A, diagonal_bound(d[:, None] * (M.abs() + rounding) * d))
    return whole if whole.trace() < split.trace() else split


def _join(X: Tensor, Y: Tensor) -> Tensor:
    r"""Bound of :math:`\|x + y\|^2` from forms of both: :math:`(1+t)X + (1+1/t)Y`."""
    a, b = float(X.trace()), float(Y.trace())
    if b <= 0:
        return X
    if a <= 0:
        return Y
    t = (b / a) ** 0.5
    return (1 + t) * X + (1 + 1 / t) * Y


def _form(A: Tensor, weights: Tensor) -> Tensor:
    return A.T @ (weights[:, None] * A)


def _ratio(top: Tensor, bottom: Tensor) -> Tensor:
    """A positive finite quotient; any value is sound, this one balances the two squares."""
    return (top / bottom.clamp_min(TINY)).clamp(1e-100, 1e100)


def _magnitude(ends: tuple[Tensor, Tensor]) -> Tensor:
    return torch.maximum(ends[1], -ends[0])
