r"""Extreme principal curvatures without a dense Hessian, for any n.

Lanczos on the tangent space: the operator :math:`A v = -P H P v / \|G\|` needs one
Hessian-vector product a step. The residual :math:`\|Av - \kappa v\|` says that *some*
curvature lies within it, not that none is larger: a start that happens to be nearly
orthogonal to the extreme direction converges to another one, with a small residual. So the
stop asks something else. The component of the i-th Lanczos vector along a unit
eigenvector :math:`u` is :math:`p_i(\lambda)\,\langle q_0, u\rangle`, where the
:math:`p_i` are the Lanczos polynomials, hence

.. math:: \textstyle\sum_i p_i(\lambda)^2 \, \langle q_0, u\rangle^2 \le 1 .

The sum grows monotonically outside the Ritz values. For a Gaussian start :math:`g` the overlap
:math:`\langle g, u\rangle` is a standard normal number, below :math:`\delta` with probability
:math:`\mathrm{erf}(\delta/\sqrt 2)`, whatever the operator. Once the sum at
:math:`\mu` exceeds :math:`\|g\|^2/\delta^2`, no curvature is beyond :math:`\mu` but with that probability.

Source: J. L. M. van Dorsselaer, M. E. Hochstenbach, H. A. van der Vorst, "Computing probabilistic
bounds for extreme eigenvalues of symmetric matrices with the Lanczos method", SIAM J. Matrix Anal.
Appl. 22 (2000) 837-852.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import NormalDist
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from curvature.derivatives import Order, gradient, hvp, require_finite
from curvature.errors import DegenerateLevelSetError
from curvature.feedforward import FeedForward
from curvature.level_set import MIN_GRADIENT
from curvature.networks import ScalarField

_Array = NDArray[np.floating[Any]]  # the basis, in the dtype of the point, on the host
_Vector = NDArray[np.float64]
_Operator = Callable[[_Array], _Array]
Which = Literal["magnitude", "largest", "smallest"]
MISS = 0.01  # our choice: a tenth of it costs one to three products more
_OVERLAP = NormalDist().inv_cdf((1 + MISS) / 2)  # a standard normal number is nearer to 0 with probability MISS


class _Plan(NamedTuple):
    k: int
    which: Which
    rtol: float
    max_hvps: int


@dataclass(frozen=True)
class ExtremeCurvatures:
    """Curvatures found by Lanczos, an estimate from inside the spectrum.

    Attributes:
        curvatures: ``[k]`` in 1/length, ordered as asked for.
        directions: Unit tangent vectors in rows, ``[k, n]``.
        residuals: ``[k]``, the norm of ``A v - kappa v``, in the curvatures' units; measured
            with a further product each when ``verify`` is set, else Lanczos' own.
        hvps: Number of Hessian-vector products.
        converged: Whether no curvature can be further out than those found by more than ``rtol`` times
            the largest of them, but with probability ``MISS`` for each.
        gradient_norm: ``||grad f||`` at the point.
    """

    curvatures: Tensor
    directions: Tensor
    residuals: Tensor
    hvps: int
    converged: bool
    gradient_norm: float


def extreme_curvatures(  # noqa: PLR0913
    f: ScalarField,
    x: Float[Tensor, "*shape"],
    k: int = 1,
    *,
    which: Which = "magnitude",
    rtol: float = 1e-3,
    max_hvps: int = 200,
    order: Order = "reverse-over-reverse",
    start: Float[Tensor, " n"] | None = None,
    generator: torch.Generator | None = None,
    product: Callable[[Tensor], Tensor] | None = None,
    verify: bool = False,
) -> ExtremeCurvatures:
    r"""The ``k`` most extreme principal curvatures of the level set through ``x``.

    Args:
        f: Twice differentiable scalar field; a ``FeedForward`` gives its gradient and products in closed form, and
            is searched in the row space of its first layer where that has at most ``n / 2`` neurons.
        x: One point with ``n >= 2`` numbers.
        k: How many; at most ``n - 1``.
        which: Largest in magnitude, largest or smallest algebraic.
        rtol: Accepted error relative to the largest magnitude found, down to the rounding of the products.
        max_hvps: Budget; ``converged`` tells whether it sufficed.
        order: Autodiff order of the products.
        start: A guess of the first direction; better values where the budget is short. A random one of the same
            length is added to it, without which nothing could be said about what the guess is orthogonal to.
        generator: Source of the random start; a fixed seed when None.
        product: Hessian-vector product to use in the place of autodiff, on flat vectors.
        verify: Measure the residuals with ``k`` further products.

    Raises:
        DegenerateLevelSetError: If the gradient is about zero.
        ValueError: If ``k``, ``which``, ``rtol`` or ``max_hvps`` is out of range, ``start`` is no direction,
            or a product is not finite.

    Exactness: estimate from inside the spectrum. Cost: ``hvps`` products, one gradient, ``hvps * n`` memory.
    Each value beyond the first has a Lanczos run of its own, so that multiple ones count as often as they occur.
    """
    n = x.numel()
    if not rtol > 0:
        raise ValueError(f"expected rtol > 0, got {rtol}; 1e-3 is the default")
    if start is not None and (start.shape != (n,) or not 0 < float(torch.linalg.vector_norm(start)) < math.inf):
        raise ValueError(
            f"expected a start of shape [{n}], finite and not zero, got {tuple(start.shape)}; leave it out"
        )
    if not 1 <= k <= n - 1 or which not in get_args(Which) or max_hvps < k:
        raise ValueError(
            f"expected 1 <= k <= {n - 1}, which among {get_args(Which)}, max_hvps >= k; got {k}, {which!r}, {max_hvps}"
        )
    if isinstance(f, FeedForward) and product is None and k < len(f.weights[0]) <= n // 2:
        search = partial(extreme_curvatures, k=k, rtol=rtol, max_hvps=max_hvps, generator=generator, verify=verify)
        return _in_row_space(f, x, start, which, search)
    G, multiply = _derivatives(f, x, order)
    norm = torch.linalg.vector_norm(G)
    if not norm >= MIN_GRADIENT:
        raise DegenerateLevelSetError(
            f"gradient norm is {norm:.2e}, need >= {MIN_GRADIENT:.0e}; is x a critical point?"
        )
    normal, scale = G / norm, -1 / float(norm)
    multiply = product or multiply

    def operator(v: _Array) -> _Array:
        w: _Array = (multiply(torch.from_numpy(v).to(x.device)) * scale).numpy(force=True)
        return w  # Lanczos takes the normal part out with the rest of its basis

    draw = partial(_draw, normal.cpu(), generator or torch.Generator().manual_seed(0))
    plan = _Plan(k, which, rtol, max_hvps)
    guess = None if start is None else start.numpy(force=True)
    values, rows, remainders, hvps, converged = _deflated(operator, normal.numpy(force=True), draw, guess, plan)
    if verify:
        products = np.stack([operator(v) for v in rows])
        remainders = products - values[:, None] * rows
        remainders = remainders - np.outer(remainders @ normal.numpy(force=True), normal.numpy(force=True))
        hvps += k
    residuals = normal.new_tensor(np.linalg.norm(remainders, axis=1))
    return ExtremeCurvatures(
        normal.new_tensor(values), normal.new_tensor(rows), residuals, hvps, converged, float(norm)
    )


def _in_row_space(
    f: FeedForward, x: Tensor, start: Tensor | None, which: Which, search: Callable[..., ExtremeCurvatures]
) -> ExtremeCurvatures:
    """The search in the row space of the first layer; along what the network is blind to curvatures are zero."""
    require_finite(x)
    narrow, Q = f.in_row_space
    guess = None if start is None else Q @ start
    if guess is not None and not float(torch.linalg.vector_norm(guess)) > 0:
        guess = None  # the network is blind to it
    found = search(narrow, Q @ x.flatten(), start=guess, which=which)
    values, directions, residuals = found.curvatures.clone(), found.directions @ Q, found.residuals.clone()
    inward = {"magnitude": values.isnan(), "largest": values < 0, "smallest": values > 0}[which]
    if inward.any():  # zeros are further out; there are enough of them, as fewer values are asked for than Q has rows
        blind = torch.randn(x.numel(), int(inward.sum()), generator=torch.Generator().manual_seed(0), dtype=Q.dtype)
        blind = blind - Q.T @ (Q @ blind)
        values[inward], residuals[inward] = 0.0, 0.0
        directions[inward] = torch.linalg.qr(blind - Q.T @ (Q @ blind))[0].T
    return replace(found, curvatures=values, directions=directions, residuals=residuals)


def _derivatives(f: ScalarField, x: Tensor, order: Order) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The flat gradient and the product with the Hessian on flat vectors."""
    if isinstance(f, FeedForward):
        require_finite(x)
        curves = f.curves(x.flatten())
        return curves.gradient(), curves.hvp
    return gradient(f, x).flatten(), lambda v: hvp(f, x, v.reshape(x.shape), order=order).flatten()


def _draw(like: Tensor, generator: torch.Generator, guess: _Array | None) -> _Array:
    """A standard normal vector, plus the guess at the same length."""
    g: _Array = torch.randn(like.numel(), generator=generator, dtype=like.dtype).numpy()
    return g if guess is None else g + guess.astype(g.dtype) * (np.linalg.norm(g) / np.linalg.norm(guess))


class _Run(NamedTuple):
    """Ritz pairs of one Lanczos run, the wanted ones first, and whether the first is as far out as values go."""

    values: _Vector  # [m]
    vectors: _Array  # [m, n]
    remainders: _Array  # [m, n]: A v - value v, up to the part along what was locked
    converged: bool


def _deflated(
    operator: _Operator, normal: _Array, draw: Callable[[_Array | None], _Array], start: _Array | None, plan: _Plan
) -> tuple[_Vector, _Array, _Array, int, bool]:
    """One run for each value, in the complement of those found before; then Rayleigh-Ritz on all of them."""
    values, rows, remainders = np.empty(0), normal[None], normal[None][:0]
    used, converged = 0, True
    while len(values) < plan.k:
        missing = plan.k - len(values)
        steps = min(plan.max_hvps - used - missing + 1, len(normal) - len(rows))
        known = float(np.abs(values).max(initial=0.0))
        run = _lanczos(operator, rows, partial(draw, start), (steps, known), plan)
        keep = 1 if run.converged else min(missing, steps)  # out of budget: this run's other pairs are the best at hand
        values = np.concatenate([values, run.values[:keep]])
        rows, remainders = (
            np.concatenate([rows, run.vectors[:keep]]),
            np.concatenate([remainders, run.remainders[:keep]]),
        )
        start = run.vectors[keep] if keep < len(run.vectors) else None
        used, converged = used + len(run.values), converged and run.converged
    if plan.k == 1:
        return values, rows[1:], remainders, used, converged
    return (*_rayleigh_ritz(values, rows[1:], remainders, plan.which), used, converged)


@np.errstate(over="ignore", invalid="ignore")  # a product that is not finite is told by an error
def _lanczos(
    operator: _Operator, locked: _Array, draw: Callable[[], _Array], limits: tuple[int, float], plan: _Plan
) -> _Run:
    """Lanczos with full reorthogonalisation in the complement of the rows of ``locked``."""
    m, (steps, known) = len(locked), limits
    eps = float(np.finfo(locked.dtype).eps)
    basis = np.empty((m + steps, locked.shape[1]), dtype=locked.dtype)
    basis[:m] = locked
    w, length, _ = _remainder(draw(), locked)
    state = _State(steps, length, plan, known, eps)
    beta = length
    for j in range(1, steps + 1):
        if j > 1 and beta <= 8 * eps * state.scale:
            # An invariant space up to rounding: go on with a random direction, decoupled from it.
            w, beta, _ = _remainder(draw(), basis[: m + j - 1])
        np.divide(w, beta, out=basis[m + j - 1])
        w, beta, alpha = _remainder(operator(basis[m + j - 1]), basis[: m + j])
        if not (math.isfinite(beta) and math.isfinite(alpha)):
            raise ValueError(
                "expected a finite Hessian-vector product, got NaN or infinity; is beta too large for this dtype?"
            )
        state.append(alpha, beta)
        converged = j == locked.shape[1] - m or state.excludes_more(last=j == steps)
        if converged or j == steps:
            break
    values, coefficients = state.ritz()
    vectors = coefficients.T.astype(locked.dtype) @ basis[m : m + j]
    return _Run(values, vectors, np.outer(coefficients[-1].astype(locked.dtype), w), converged)


class _State:
    """The coefficients of a Lanczos run, and the test whether a value further out can have been missed."""

    def __init__(self, steps: int, length: float, plan: _Plan, known: float, eps: float) -> None:
        self.T = np.zeros((steps, steps))  # lower triangle
        self.coefficients: list[tuple[float, float]] = []
        self.scale = 0.0
        self.enough = (length / _OVERLAP) ** 2
        self.which, self.rtol, self.known, self.eps = plan.which, plan.rtol / plan.k, known, eps
        self.signs = {"magnitude": (1.0, -1.0), "largest": (1.0,), "smallest": (-1.0,)}[plan.which]
        self.next_look = 1

    def append(self, alpha: float, beta: float) -> None:
        """The coefficients of one more step."""
        j = len(self.coefficients)
        self.T[j, j] = alpha
        if j:
            self.T[j, j - 1] = self.coefficients[-1][1]
        self.coefficients.append((alpha, beta))
        self.scale = max(self.scale, abs(alpha), beta)

    def ritz(self) -> tuple[_Vector, _Vector]:
        """Ritz values, the wanted ones first, and their coefficients in columns."""
        j = len(self.coefficients)
        values, coefficients = np.linalg.eigh(self.T[:j, :j])
        wanted = np.argsort(_key(values, self.which), kind="stable")
        return values[wanted], coefficients[:, wanted]

    def excludes_more(self, *, last: bool) -> bool:
        """Whether the extreme Ritz value has settled, and no value is further out by more than the tolerance."""
        j = len(self.coefficients)
        if j < self.next_look and not last:
            return False
        values = np.linalg.eigvalsh(self.T[:j, :j])
        extreme = max(s * float(values[0 if s < 0 else -1]) for s in self.signs)
        tolerance = max(self.rtol * max(abs(extreme), self.known), 8 * self.eps * self.scale)
        total = min(self._sum(s * (extreme + tolerance)) for s in self.signs)
        # The sum grows about geometrically: fewer looks while far from enough (ours: 2.5 costs no product, 4 does).
        share = math.log(min(total, self.enough)) / math.log(self.enough)
        self.next_look = j + 1 + int(2.5 * (1 - share))
        return total >= self.enough and self._error() <= tolerance

    def _error(self) -> float:
        """The error of the extreme Ritz value, estimated from its residual r: r, or r^2 over its gap to the others."""
        values, coefficients = self.ritz()
        residual = abs(self.coefficients[-1][1] * float(coefficients[-1, 0]))
        gap = float(np.abs(values[1:] - values[0]).min(initial=math.inf)) - residual
        return min(residual, residual**2 / max(gap, 1e-300))

    def _sum(self, mu: float) -> float:
        """The sum of ``p_i(mu)^2``, or infinity when it is enough."""
        p, before, total = 1.0, 0.0, 1.0  # before: the previous polynomial times its beta
        for alpha, beta in self.coefficients:
            if beta <= 0:
                return math.inf  # the space is invariant, and a random start has a part along every eigenvector
            p, before = ((mu - alpha) * p - before) / beta, beta * p
            total += p * p
            if total >= self.enough:
                return math.inf
        return total


def _remainder(w: _Array, basis: _Array) -> tuple[_Array, float, float]:
    """The part of w that is orthogonal to the basis, its length, and w's component along the last basis vector."""
    components = basis @ w
    w = w - components @ basis
    w -= (basis @ w) @ basis  # twice is enough (Kahan); once is not: the errors of the basis would multiply
    return w, math.sqrt(float(w @ w)), float(components[-1])


def _rayleigh_ritz(values: _Vector, Y: _Array, remainders: _Array, which: Which) -> tuple[_Vector, _Array, _Array]:
    """Values, directions and remainders on the span of ``Y``, whose rows were found in the complement of those before.

    ``A Y[i]`` is ``values[i] Y[i] + remainders[i]`` and its part along earlier rows, which by symmetry
    is the earlier remainders' part along ``Y[i]``.
    """
    coupling = np.triu(remainders @ Y.T, 1)
    S = np.diag(values) + coupling + coupling.T
    found, V = np.linalg.eigh(S.astype(np.float64))
    wanted = np.argsort(_key(found, which), kind="stable")
    W = V[:, wanted].T.astype(Y.dtype)
    return found[wanted], W @ Y, W @ (remainders - coupling @ Y)


def _key(values: _Vector, which: Which) -> _Vector:
    """Ascending in the order that is asked for."""
    return {"magnitude": -np.abs(values), "largest": -values, "smallest": values}[which]
