r"""Geodesics and distances on a level set :math:`S = \{f = f(p)\}`.

A unit-speed geodesic solves :math:`\ddot x = -(\dot x^T H \dot x)\, G / \|G\|^2`: its
acceleration is normal to S.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.integrate import solve_ivp
from torch import Tensor
from torch.func import grad

from curvature.derivatives import require_finite
from curvature.distance_bound import geodesic_distance_bound, level_set_is_connected
from curvature.errors import DegenerateLevelSetError, NotConvergedError
from curvature.level_set import MIN_GRADIENT
from curvature.networks import ScalarField
from curvature.projection import (
    project_rows,
    project_to_level_set,
    row_norms,
    rowwise,
    tangential,
    values_and_gradients,
)

__all__ = [
    "Geodesic",
    "GeodesicDistance",
    "geodesic",
    "geodesic_distance",
    "geodesic_distance_bound",
    "level_set_is_connected",
    "project_to_level_set",
]

_RELAXATIONS = 500  # steps on one grid; smooth paths need 5 to 50


@dataclass(frozen=True, kw_only=True)
class Geodesic:
    """A unit-speed geodesic, sampled at equal steps of arc length.

    Attributes:
        points: ``[steps + 1, *shape]``, the start first.
        tangents: Unit tangent vectors at the points, ``[steps + 1, *shape]``.
        arc_length: Length from the start to each point, ``[steps + 1]``.
        residuals: ``|f(point) - level|``, ``[steps + 1]``.
    """

    points: Tensor
    tangents: Tensor
    arc_length: Tensor
    residuals: Tensor


@dataclass(frozen=True, kw_only=True)
class GeodesicDistance:
    """A path on the level set between two points, relaxed until it is straight.

    Attributes:
        distance: Length of a true path on S (its chords refined and projected, the lengths
            extrapolated), so an estimate of the distance **from above**.
        chord: ``||q - p||``, never above the distance.
        residual: Angle in radians by which the path still bends along S, summed over the
            vertices; 0 for a geodesic.
        error_estimate: Error of the path's length by the last extrapolation.
        path: Vertices on S, ``[segments + 1, *shape]``, from p to q.
        iterations: Relaxation steps taken.
    """

    distance: float
    chord: float
    residual: float
    error_estimate: float
    path: Tensor
    iterations: int


def geodesic(
    f: ScalarField,
    x: Float[Tensor, "*shape"],
    velocity: Float[Tensor, "*shape"],
    *,
    steps: int = 32,
    rtol: float | None = None,
) -> Geodesic:
    r"""The exponential map: the geodesic from ``x`` of length ``||velocity||``.

    Solves :math:`\ddot x = -(\dot x^T H \dot x)\, G/\|G\|^2` with an adaptive Runge-Kutta
    method of order 8 on each of ``steps`` pieces; after each piece the point is projected
    back to S and the velocity to its tangent space, at unit length.

    Args:
        f: Twice differentiable scalar field; S is its level set through ``x``.
        x: Start.
        velocity: Initial direction, tangent to S; its norm is the length.
        steps: Pieces, and output points after the start.
        rtol: Relative tolerance of a piece; default 1e-12 for float64, 1e-5 for float32.

    Raises:
        ValueError: If shapes differ, a number is not finite, or the velocity is zero or not
            tangent to S (to the root of the precision).
        DegenerateLevelSetError: If the gradient vanishes on the way.
        NotConvergedError: If the solver or a projection fails.

    Exactness: estimate; the residuals tell how well S is kept. Cost: about 14 double
    backwards a piece, more where S bends much.
    Source: do Carmo, Differential Geometry of Curves and Surfaces, section 4.4.
    """
    length = _checked_length(f, x, velocity, steps)
    level = float(f(x.detach()))
    rtol = max(1e-12, 100 * torch.finfo(x.dtype).eps) if rtol is None else rtol
    point, tangent = x.detach(), velocity.detach() / length
    points, tangents = [point], [tangent]
    for _ in range(steps):
        point, tangent = _flow(f, point, tangent, length / steps, rtol)
        point = project_rows(f, point[None], level)[0]
        tangent = _tangent_unit(f, point, tangent)
        points.append(point)
        tangents.append(tangent)
    path = torch.stack(points)
    values, _ = values_and_gradients(f, path)
    return Geodesic(
        points=path,
        tangents=torch.stack(tangents),
        arc_length=torch.linspace(0, length, steps + 1, dtype=x.dtype, device=x.device),
        residuals=(values - level).abs(),
    )


def geodesic_distance(
    f: ScalarField,
    p: Float[Tensor, "*shape"],
    q: Float[Tensor, "*shape"],
    *,
    segments: int = 32,
    tolerance: float = 1e-9,
) -> GeodesicDistance:
    r"""Distance from ``p`` to ``q`` along their common level set, by relaxing a path.

    Vertices on S minimise :math:`\sum \|x_{i+1} - x_i\|^2` by gradient steps in the Sobolev
    metric :math:`H^1` with projection to S, on 4, 8, ... up to ``segments`` pieces. It
    finds a local minimum; past the cut locus that need not be the shortest path.

    Args:
        f: Differentiable scalar field that ``torch.func.vmap`` can batch.
        p: One end.
        q: The other end, with ``f(q) = f(p)`` up to 1e-6 relative (root of eps in float32);
            it is projected to S.
        segments: Chords of the finest path, a power of two >= 4.
        tolerance: Accepted bend of the path along S, in radians.

    Raises:
        ValueError: If shapes differ, a number is not finite, ``segments`` is no power of two,
            or the two points are on different levels.
        DegenerateLevelSetError: If the gradient vanishes on the path.
        NotConvergedError: If the bend stays above ``tolerance``.

    Exactness: estimate from above; the excess of a relaxed path falls as ``segments**-4``
    (32 segments, length times curvature about 1: 1e-9 relative). Cost: ``segments`` gradients an
    iteration, commonly 10 to 100 iterations.
    """
    level, q = _checked_ends(f, p, q, segments)
    chord = float(torch.linalg.vector_norm(q - p))
    if chord == 0:
        path = p.detach().expand(segments + 1, *p.shape).clone()
        return GeodesicDistance(distance=0.0, chord=0.0, residual=0.0, error_estimate=0.0, path=path, iterations=0)
    path, total, bend = torch.stack([p.detach(), q]), 0, math.inf
    while len(path) <= segments:
        path = _refine(f, path, level)
        if len(path) > 4:
            path, bend, iterations = _relax(f, path, level, tolerance)
            total += iterations
    if not bend <= _accepted_bend(path, tolerance):
        raise NotConvergedError(
            f"the path still bends by {bend:.1e} along S, need {tolerance:.1e}; raise segments or tolerance, "
            "or bring the points closer"
        )
    distance, error = _path_length(f, path, level)
    return GeodesicDistance(
        distance=distance, chord=chord, residual=bend, error_estimate=error, path=path, iterations=total
    )


def _checked_length(f: ScalarField, x: Tensor, velocity: Tensor, steps: int) -> float:
    if velocity.shape != x.shape:
        raise ValueError(f"expected a velocity of the point's shape {tuple(x.shape)}, got {tuple(velocity.shape)}")
    if steps < 1:
        raise ValueError(f"expected steps >= 1, got {steps}")
    require_finite(x)
    require_finite(velocity)
    _, G = values_and_gradients(f, x.detach()[None])
    if not float(row_norms(G)) >= MIN_GRADIENT:
        raise DegenerateLevelSetError(f"gradient norm is {float(row_norms(G)):.2e}, need >= {MIN_GRADIENT:.2e}")
    v = velocity.detach()[None]
    length, normal = float(row_norms(v)), float(row_norms(v - tangential(v, G)))
    if not length > 0 or not normal <= torch.finfo(x.dtype).eps ** 0.5 * length:
        raise ValueError(
            f"expected a tangent velocity, got length {length:.2e} with normal part {normal:.2e}; subtract (v.n) n"
        )
    return length


def _flow(f: ScalarField, point: Tensor, tangent: Tensor, length: float, rtol: float) -> tuple[Tensor, Tensor]:
    """Solve the geodesic equation over one piece of arc length; the ends are not yet projected."""

    def rate(_: float, state: Any) -> Any:
        x, v = torch.from_numpy(state).to(point).reshape(2, *point.shape)

        def along(y: Tensor) -> tuple[Tensor, Tensor]:
            slope = grad(f)(y)
            return (slope * v).sum(), slope

        Hv, G = grad(along, has_aux=True)(x)
        squared = float((G * G).sum())
        if not squared >= MIN_GRADIENT**2:
            raise DegenerateLevelSetError(f"gradient norm is {squared**0.5:.2e} on the geodesic")
        bend = -(v * Hv).sum() / squared * G
        return torch.cat([v.flatten(), bend.flatten()]).double().cpu().numpy()

    start = torch.cat([point.flatten(), tangent.flatten()]).double().cpu().numpy()
    solution = solve_ivp(rate, (0.0, length), start, method="DOP853", rtol=rtol, atol=rtol * min(length, 1.0))
    if not solution.success or not np.isfinite(solution.y).all():
        raise NotConvergedError(f"the geodesic equation was not solved: {solution.message}")
    end, velocity = torch.from_numpy(solution.y[:, -1].copy()).to(point).reshape(2, *point.shape)
    return end, velocity


def _tangent_unit(f: ScalarField, point: Tensor, vector: Tensor) -> Tensor:
    _, G = values_and_gradients(f, point[None])
    along = tangential(vector[None], G)[0]
    return along / torch.linalg.vector_norm(along)


def _checked_ends(f: ScalarField, p: Tensor, q: Tensor, segments: int) -> tuple[float, Tensor]:
    if p.shape != q.shape:
        raise ValueError(f"expected two points of one shape, got {tuple(p.shape)} and {tuple(q.shape)}")
    if segments < 4 or segments & (segments - 1):
        raise ValueError(f"expected segments to be a power of two >= 4, got {segments}")
    require_finite(p)
    require_finite(q)
    values, G = values_and_gradients(f, torch.stack([p.detach(), q.detach()]))
    level, gap = float(values[0]), float((values[1] - values[0]).abs())
    scale = abs(level) + float((row_norms(G) * row_norms(torch.stack([p.detach(), q.detach()]))).max())
    if not gap <= max(1e-6, torch.finfo(p.dtype).eps ** 0.5) * scale:
        raise ValueError(
            f"expected two points of one level set, got f(p) = {level}, f(q) = {float(values[1])}; project q"
        )
    return level, project_rows(f, q.detach()[None], level)[0]


def _refine(f: ScalarField, path: Tensor, level: float) -> Tensor:
    """Insert the projected midpoint of every chord."""
    middle = project_rows(f, (path[1:] + path[:-1]) / 2, level)
    woven = torch.stack([path[:-1], middle], dim=1).flatten(0, 1)
    return torch.cat([woven, path[-1:]])


def _relax(f: ScalarField, path: Tensor, level: float, tolerance: float) -> tuple[Tensor, float, int]:
    """Straighten the path along S by Barzilai-Borwein steps in the Sobolev metric, never to a longer one."""
    inverse = _inverse_laplacian(len(path) - 2, path)
    gradient, bend = _sobolev_gradient(f, path, inverse)
    energy, step = _energy(path), 1.0
    for iteration in range(_RELAXATIONS):
        if bend <= _accepted_bend(path, tolerance):
            return path, bend, iteration
        trial = path.clone()
        trial[1:-1] = project_rows(f, path[1:-1] - step * gradient, level)
        if _energy(trial) > energy * (1 + 1e-13):
            step /= 4
            if step < 1e-6:
                break
            continue
        new_gradient, bend = _sobolev_gradient(f, trial, inverse)
        step = _next_step((trial - path)[1:-1], new_gradient - gradient)
        path, gradient, energy = trial, new_gradient, _energy(trial)
    return path, bend, _RELAXATIONS


def _accepted_bend(path: Tensor, tolerance: float) -> float:
    """The tolerance, or what the rounding of the vertices bends a path of chords this short."""
    eps, chord = torch.finfo(path.dtype).eps, float(row_norms(path[1:] - path[:-1]).mean())
    return max(tolerance, 32 * eps * len(path) * float(row_norms(path).max()) / chord)


def _next_step(moved: Tensor, changed: Tensor) -> float:
    along = float((moved * changed).sum())
    # The second-order term of the metric's Laplacian is one, so steps far from one are noise.
    return min(max(float((moved * moved).sum()) / along, 0.1), 20.0) if along > 0 else 1.0


def _energy(path: Tensor) -> float:
    return float((path[1:] - path[:-1]).square().sum())


def _inverse_laplacian(inner: int, like: Tensor) -> Tensor:
    """Inverse of the second difference with fixed ends, ``min(i,j) (m - max(i,j)) / m``, ``m = inner + 1``."""
    i = torch.arange(1, inner + 1, dtype=like.dtype, device=like.device)
    return torch.minimum(i[:, None], i) * (inner + 1 - torch.maximum(i[:, None], i)) / (inner + 1)


def _sobolev_gradient(f: ScalarField, path: Tensor, inverse: Tensor) -> tuple[Tensor, float]:
    r"""Gradient of half the energy in the :math:`H^1` metric along S, and the total bend in radians.

    Minimises :math:`\tfrac12 d^T K d - g^T d` over moves with :math:`G_i \cdot d_i = 0`: ``d = K^-1 (g - A^T lambda)``
    with ``(A K^-1 A^T) lambda = A K^-1 g``, whose entries are ``(K^-1)_ij G_i . G_j``.
    """
    _, G = values_and_gradients(f, path[1:-1])
    g = (2 * path[1:-1] - path[2:] - path[:-2]).flatten(1)
    normals = (G / rowwise(row_norms(G), G)).flatten(1)
    tangential = g - (g * normals).sum(1, keepdim=True) * normals
    chord = float(row_norms(path[1:] - path[:-1]).mean())
    bend = float(torch.linalg.vector_norm(tangential, dim=1).sum()) / chord
    free = inverse @ tangential
    multipliers = torch.linalg.solve(inverse * (normals @ normals.T), (free * normals).sum(1))
    move = free - inverse @ (multipliers[:, None] * normals)
    return move.reshape(G.shape), bend


def _path_length(f: ScalarField, path: Tensor, level: float) -> tuple[float, float]:
    """Length of the path on S through the vertices: chords halved thrice, Romberg's table."""
    lengths = [float(row_norms(path[1:] - path[:-1]).sum())]
    for _ in range(3):
        path = _refine(f, path, level)
        lengths.append(float(row_norms(path[1:] - path[:-1]).sum()))
    rows = [lengths]
    for order in (4, 16, 64):
        coarse = rows[-1]
        rows.append([b + (b - a) / (order - 1) for a, b in itertools.pairwise(coarse)])
    return rows[3][0], abs(rows[3][0] - rows[2][1])
