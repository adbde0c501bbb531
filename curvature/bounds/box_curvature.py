"""Curvature of a softplus network on small boxes, enclosed; the kernel of ``branch_and_bound``."""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np

from curvature.bounds.intervals import (
    Array,
    Interval,
    Jet,
    Mask,
    identity_jet,
    intersection,
    linear_jet,
    outward,
    root,
    softplus_jet,
    square,
    thin,
    total,
)
from curvature.feedforward import FeedForward


class BoxBounds(NamedTuple):
    """For each box: sup |kappa| from above, ||G|| from below, and whether the region may meet it."""

    upper: Array
    slope: Array
    kept: Mask

    def where(self, mask: Mask) -> "BoxBounds":
        """The boxes of a mask."""
        return BoxBounds(self.upper[mask], self.slope[mask], self.kept[mask])


@dataclass(frozen=True)
class Field:
    """Enclosures of f, G, H, T over boxes ``[N]``, derivatives by index."""

    jet: Jet
    inputs: int

    @property
    def G(self) -> list[Interval]:  # noqa: N802
        """The gradient."""
        return [self.jet[i,] for i in range(self.inputs)]

    @property
    def H(self) -> list[list[Interval]]:  # noqa: N802
        """The Hessian."""
        return [[self.jet[i, j] for j in range(self.inputs)] for i in range(self.inputs)]

    @property
    def norm(self) -> Interval:
        """The gradient's norm."""
        return root(total([square(g) for g in self.G]))


def box_bounds(net: FeedForward, lo: Array, hi: Array, level: float | None) -> BoxBounds:
    """Bounds on boxes ``[N, d]``; ``upper`` is infinite where the gradient may vanish."""
    c = lo + (hi - lo) / 2
    step = outward(lo - c, hi - c)
    offset = [step.part(np.s_[:, k]) for k in range(lo.shape[1])]
    with np.errstate(all="ignore"):  # infinities and NaN become "undecided" below
        centre = _field(net, thin(c), 2)
        wide = _refined(_field(net, Interval(lo, hi), 3), centre, offset)
        slope = wide.norm.lo
        upper = _matrix_bound(centre, wide, offset) / slope
        if lo.shape[1] == 2:
            upper = np.fmin(upper, _plane_bound(centre, wide, offset))
        upper = np.where((slope > 0) & ~np.isnan(upper), np.nextafter(upper, np.inf), np.inf)
    f = wide.jet.value
    kept: Mask = np.ones(len(lo), dtype=np.bool_)
    if level is not None:
        kept = ~((f.lo > level) | (f.hi < level))
    return BoxBounds(upper, np.where(slope > 0, slope, 0.0), kept)


def segment_floor(net: FeedForward, start: Array, stop: Array, level: float | None) -> Array:
    """Lower bounds on max |kappa| at some point of each segment ``[N, d]``, 0 where nothing is certified.

    With a level the segment must rise through it; the point is then on the level set.
    """
    d = start.shape[1]
    with np.errstate(all="ignore"):
        field = _field(net, Interval(np.minimum(start, stop), np.maximum(start, stop)), 2)
        G, H = field.G, field.H
        v = _widest_direction(field)
        along = total([G[i] * thin(v[:, i]) for i in range(d)])
        squared = total([square(g) for g in G])
        w = [squared * thin(v[:, i]) - G[i] * along for i in range(d)]
        form = total([w[i] * H[i][j] * w[j] for i in range(d) for j in range(d)])
        floor = thin(form.mignitude) / (total([square(t) for t in w]) * field.norm)
        valid = np.isfinite(floor.lo) & (field.norm.lo > 0)
        if level is not None:
            below, above = _field(net, thin(start), 1).jet.value, _field(net, thin(stop), 1).jet.value
            valid &= (below.hi < level) & (above.lo > level)
    return np.where(valid, np.maximum(floor.lo, 0.0), 0.0)


def _field(net: FeedForward, box: Interval, order: int) -> Field:
    jet = identity_jet(box, order)
    for W, b in zip(net.weights, net.biases, strict=True):
        jet = softplus_jet(linear_jet(jet, W.numpy(), b.numpy()), net.beta)
    jet = linear_jet(jet, net.head[None].numpy(), net.head_bias[None].numpy())
    partial = {key: p.part(np.s_[:, 0]) for key, p in jet.partial.items()}
    return Field(Jet(jet.value.part(np.s_[:, 0]), partial), box.lo.shape[1])


def _refined(wide: Field, centre: Field, offset: list[Interval]) -> Field:
    """Natural enclosures met with mean value forms, highest order first."""
    d, partial = wide.inputs, dict(wide.jet.partial)
    for order in (2, 1):
        for key in combinations_with_replacement(range(d), order):
            form = centre.jet[key] + total([partial[tuple(sorted((*key, k)))] * offset[k] for k in range(d)])
            partial[key] = intersection(partial[key], form)
    value = centre.jet.value + total([partial[(k,)] * offset[k] for k in range(d)])
    return Field(Jet(intersection(wide.jet.value, value), partial), d)


def _matrix_bound(centre: Field, wide: Field, offset: list[Interval]) -> Array:
    """Upper bound on the norm of N = H - G b^T - b G^T over each box."""
    d = wide.inputs
    g, A = _middle(centre)
    b = _shift(g, A)
    beta = [thin(b[:, i]) for i in range(d)]

    def entry(i: int, j: int) -> Interval:
        at_centre = centre.H[i][j] - centre.G[i] * beta[j] - beta[i] * centre.G[j]
        slopes = [(wide.jet[i, j, k] - wide.H[i][k] * beta[j] - beta[i] * wide.H[j][k]) * offset[k] for k in range(d)]
        return at_centre + total(slopes)

    N = {(i, j): entry(i, j) for i in range(d) for j in range(i, d)}
    V = _eigenvectors(A - g[:, :, None] * b[:, None, :] - b[:, :, None] * g[:, None, :])
    columns = [[thin(V[:, i, k]) for i in range(d)] for k in range(d)]
    NV = [[total([N[min(i, j), max(i, j)] * columns[k][j] for j in range(d)]) for i in range(d)] for k in range(d)]
    turned = [[total([columns[m][i] * NV[k][i] for i in range(d)]).magnitude for k in range(d)] for m in range(d)]
    rows = np.array(turned).sum(1)
    skew = np.linalg.norm(V.transpose(0, 2, 1) @ V - np.eye(d), axis=(1, 2)) + 1e-14
    bound: Array = rows.max(0) * (1 + 1e-14) / (1 - skew) * (1 + 1e-15)
    return np.where(skew < 0.5, bound, np.inf)


def _plane_bound(centre: Field, wide: Field, offset: list[Interval]) -> Array:
    """Upper bound on |q|, q = t^T H t / ||G||^3, by its mean value form; two inputs."""
    (g0, g1), H, r = wide.G, wide.H, wide.norm
    two, three = thin(np.array([2.0])), thin(np.array([3.0]))
    cube = r * square(r)
    numerator = _plane_form(wide)
    change = np.zeros(len(r.lo))
    for k in (0, 1):
        T = [wide.jet[0, 0, k], wide.jet[0, 1, k], wide.jet[1, 1, k]]
        third = T[0] * square(g1) - two * T[1] * g0 * g1 + T[2] * square(g0)
        turn = H[0][0] * g1 * H[1][k] - H[0][1] * (H[0][k] * g1 + g0 * H[1][k]) + H[1][1] * g0 * H[0][k]
        stretch = three * numerator * (g0 * H[0][k] + g1 * H[1][k]) / (cube * square(r))
        slope = (third + two * turn) / cube - stretch
        change = np.nextafter(change + (slope * offset[k]).magnitude, np.inf)
    middle = (_plane_form(centre) / (centre.norm * square(centre.norm))).magnitude
    bound: Array = np.fmin(np.nextafter(middle + change, np.inf), (numerator / cube).magnitude)
    return bound


def _plane_form(field: Field) -> Interval:
    (g0, g1), H = field.G, field.H
    return H[0][0] * square(g1) - thin(np.array([2.0])) * H[0][1] * g0 * g1 + H[1][1] * square(g0)


def _middle(field: Field) -> tuple[Array, Array]:
    """Floating gradient ``[N, d]`` and Hessian ``[N, d, d]``; proposals only."""
    d = field.inputs
    g = np.stack([(x.lo + x.hi) / 2 for x in field.G], axis=1)
    A = np.stack([(field.H[i][j].lo + field.H[i][j].hi) / 2 for i in range(d) for j in range(d)], axis=1)
    return np.nan_to_num(g), np.nan_to_num(A.reshape(-1, d, d))


def _shift(g: Array, A: Array) -> Array:
    """The b that makes N at the centre equal to PHP."""
    size = np.maximum(np.linalg.norm(g, axis=1, keepdims=True), 1e-300)
    n = g / size
    h = np.einsum("nij,nj->ni", A, n)
    shift: Array = np.nan_to_num((h - 0.5 * (n * h).sum(1, keepdims=True) * n) / size, posinf=0.0, neginf=0.0)
    return shift


def _widest_direction(field: Field) -> Array:
    """The direction of the curvature that is largest in magnitude; a proposal."""
    g, A = _middle(field)
    b = _shift(g, A)
    N = np.clip(A - g[:, :, None] * b[:, None, :] - b[:, :, None] * g[:, None, :], -1e150, 1e150)
    values, vectors = np.linalg.eigh(N)
    best = np.abs(values).argmax(1)
    direction: Array = vectors[np.arange(len(best)), :, best]
    return direction


def _eigenvectors(N: Array) -> Array:
    vectors: Array = np.linalg.eigh(np.clip(np.nan_to_num(N), -1e150, 1e150))[1]
    return vectors
