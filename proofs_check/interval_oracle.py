r"""Both ends of local curvature quantities of tiny softplus networks, in ball arithmetic.

For every quantity q (curvature ends, :math:`\max_i|\kappa_i|`, :math:`\|H\|_2`,
:math:`\|G(y) - G(x)\|`, :math:`\|n(y) - n(x)\|`) the supremum over the ball B(x, r) is enclosed:

- **lower end**: a float search proposes a point (and a direction); there q is evaluated in
  ball arithmetic. A Rayleigh quotient in *any* tangent direction is at most the largest
  curvature, so no eigenvalue has to be enclosed;
- **upper end**: boxes that cover the ball, each bounded from above, the worst split first.

Curvatures on a box: at y the tangent space is the graph over the tangent space of the
centre, :math:`v = Ma`, :math:`M = Q - n t^T`, :math:`t = Q^T G/(n \cdot G)`, so with
:math:`A = -M^T H M \preceq \tau I` and :math:`M^T M = I + tt^T` the largest curvature is at most
:math:`\tau/\|G\|_{low}` for :math:`\tau \ge 0` and :math:`\tau/(\|G\|_{up}(1 + \|t\|^2_{up}))` else.
:math:`\tau I - A \succ 0` is shown by elimination in balls with positive pivots.
"""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from flint import arb, arb_mat, ctx

from proofs_check.float_search import Array, Score, best_point, curvatures, frames, jets
from proofs_check.softplus_ball import BallNetwork, Jet, PlainNetwork, column, norm

QUANTITIES = ("curvature", "curvature_high", "curvature_low", "hessian", "gradient_change", "normal_change")
PRECISION = 96  # bits; the network's own cancellation at beta = 50 costs about 30


@dataclass(frozen=True)
class Supremum:
    """Certified ends of one supremum over the ball.

    Attributes:
        lower: The value at ``point``, rounded down; -inf if it could not be enclosed.
        upper: No point of the ball exceeds it; inf if undecided.
        point: Where the lower end is attained.
        boxes: How many boxes were bounded.
        undecided: The budget was spent before the gradient was shown to be non-zero.
    """

    lower: float
    upper: float
    point: tuple[float, ...]
    boxes: int
    undecided: bool

    @property
    def gap(self) -> float:
        """Relative gap between the two ends."""
        return (self.upper - self.lower) / max(abs(self.upper), abs(self.lower), 1e-300)


def enclose_suprema(  # noqa: PLR0913
    network: PlainNetwork, x: Array, radius: float, *, max_boxes: int = 400, gap: float = 0.02, seed: int = 0
) -> dict[str, Supremum]:
    r"""Both ends of every quantity in ``QUANTITIES`` over the closed ball B(x, r).

    ``curvature_high`` is :math:`\sup \kappa_{d-1}`, ``curvature_low`` is
    :math:`\sup(-\kappa_1)`, ``curvature`` the larger of the two.

    Args:
        network: 2 to 4 inputs; the numbers count as exact.
        x: The centre ``[d]``.
        radius: > 0.
        max_boxes: Budget for each quantity; 0 gives lower ends only.
        gap: Relative gap at which a search for the upper end stops.
        seed: Of the float search.

    Exactness: enclosure, outward rounded.
    """
    if not 2 <= len(x) <= 4 or not radius > 0:
        raise ValueError(f"expected 2 to 4 inputs and a radius > 0, got {len(x)} and {radius}")
    with ctx.workprec(PRECISION):
        problem = _Problem(network, np.asarray(x, dtype=np.float64), radius)
        rng = np.random.default_rng(seed)
        found = {name: problem.supremum(name, rng, max_boxes, gap) for name in QUANTITIES if name != "curvature"}
    high, low = found["curvature_high"], found["curvature_low"]
    larger = max(high, low, key=lambda end: end.lower)
    found["curvature"] = Supremum(
        larger.lower, max(high.upper, low.upper), larger.point, high.boxes + low.boxes, high.undecided or low.undecided
    )
    return found


class _Problem:
    """One network and ball; jets on boxes are shared between the quantities."""

    def __init__(self, network: PlainNetwork, x: Array, radius: float) -> None:
        self.network, self.x, self.radius = network, x, radius
        self.balls = BallNetwork(network)
        self.centre = column(x.tolist())
        self.centre_gradient = self.balls.jet(self.centre).gradient
        self.cache: dict[tuple[float, ...], Jet] = {}

    def supremum(self, name: str, rng: np.random.Generator, max_boxes: int, gap: float) -> Supremum:
        point = best_point(self.network, self.x, self.radius, self._score(name), rng)
        lower, point = self.value(name, point)
        upper, boxes = self._upper(name, lower, max_boxes, gap)
        return Supremum(lower, upper, tuple(point.tolist()), boxes, not math.isfinite(upper))

    def value(self, name: str, point: Array) -> tuple[float, Array]:
        """The certified lower end at a point, which is first moved into the closed ball."""
        offset = point - self.x
        while not norm(column((self.x + offset).tolist()) - self.centre) <= arb(self.radius):
            offset = offset * (1 - 1e-14)
        point = self.x + offset
        jet = self.balls.jet(column(point.tolist()))
        enclosed = self._point_value(name, point, jet)
        return (_down(enclosed) if enclosed.is_finite() else -math.inf), point

    def _point_value(self, name: str, point: Array, jet: Jet) -> arb:
        G, H = jet.gradient, jet.hessian
        if name == "gradient_change":
            return norm(G - self.centre_gradient)
        if name == "normal_change":
            return norm(_unit(G) - _unit(self.centre_gradient))
        g, h = jets(self.network, point[None])
        if name == "hessian":
            values, vectors = np.linalg.eigh(h[0])
            v = column(vectors[:, np.argmax(np.abs(values))].tolist())
            return abs((v.transpose() * H * v)[0, 0]) / norm(v) ** 2
        Q = frames(g)[0]
        if not np.isfinite(g).all():
            return arb.nan()
        which = -1 if name == "curvature_high" else 0
        quotient = _quotient(G, H, Q @ np.linalg.eigh(-Q.T @ h[0] @ Q)[1][:, which])
        return quotient if which == -1 else -quotient

    def _score(self, name: str) -> Score:
        g0 = jets(self.network, self.x[None])[0]
        scores: dict[str, Callable[[Array, Array], Array]] = {
            "gradient_change": lambda g, h: np.linalg.norm(g - g0, axis=1),
            "normal_change": lambda g, h: -(g @ g0[0]) / np.maximum(np.linalg.norm(g, axis=1), 1e-300),
            "hessian": lambda g, h: np.abs(np.linalg.eigvalsh(h)).max(1),
            "curvature_high": lambda g, h: curvatures(g, h)[:, -1],
            "curvature_low": lambda g, h: -curvatures(g, h)[:, 0],
        }
        return scores[name]

    def _upper(self, name: str, lower: float, max_boxes: int, gap: float) -> tuple[float, int]:
        d = len(self.x)
        first = tuple(float(value) for c in self.x for value in (c, self.radius))
        heap = [(-math.inf, first)]
        boxes = 0
        while heap and boxes < max_boxes:
            worst, box = heapq.heappop(heap)
            if -worst <= lower + gap * abs(lower) and boxes:
                heapq.heappush(heap, (worst, box))
                break
            halves = [box] if boxes == 0 else _split(box, d)
            for half in halves:
                if not self._meets_ball(half):
                    continue
                boxes += 1
                bound = self._box_bound(name, half)
                heapq.heappush(heap, (-bound, half))
        return max((-bound for bound, _ in heap), default=math.inf) if boxes else math.inf, boxes

    def _meets_ball(self, box: tuple[float, ...]) -> bool:
        return not norm(_balls(box) - self.centre).lower() > arb(self.radius)

    def _box_bound(self, name: str, box: tuple[float, ...]) -> float:
        jet = self.cache.get(box)
        if jet is None:
            jet = self.cache[box] = self.balls.jet(_balls(box))
        G, H = jet.gradient, jet.hessian
        if name == "gradient_change":
            return _up(norm(G - self.centre_gradient))
        if name == "hessian":
            return max(largest_eigenvalue_bound(H), largest_eigenvalue_bound(-H))
        length = norm(G)
        if not length > 0:
            return 2.0 if name == "normal_change" else math.inf
        if name == "normal_change":
            change = _up(norm(_unit(G) - _unit(self.centre_gradient)))
            return min(2.0, change) if math.isfinite(change) else 2.0
        return curvature_bound(G, H if name == "curvature_high" else -H)


def curvature_quotient(G: arb_mat, H: arb_mat) -> arb:
    """A Rayleigh quotient of -H/|G| in a tangent direction, which the largest curvature is not below.

    The direction is the float64 eigenvector, made exactly tangent as balls: a bad direction gives a low value.
    """
    g, h = (np.array([[float(entry.mid()) for entry in row] for row in A.tolist()]) for A in (G, H))
    Q = frames(g.T)[0]
    return _quotient(G, H, Q @ np.linalg.eigh(-Q.T @ h @ Q)[1][:, -1])


def _quotient(G: arb_mat, H: arb_mat, direction: Array) -> arb:
    v = column(direction.tolist())
    v = v - G * ((G.transpose() * v)[0, 0] / norm(G) ** 2)  # exactly tangent, as balls
    return -(v.transpose() * H * v)[0, 0] / (norm(G) * norm(v) ** 2)


def curvature_bound(G: arb_mat, H: arb_mat) -> float:
    """Upper bound of the largest eigenvalue of -H/|G| on the tangent space, over a box."""
    middle = np.array([[float(entry.mid()) for entry in G.entries()]])
    Q = arb_mat(frames(middle)[0].tolist())
    n = column((middle[0] / np.linalg.norm(middle[0])).tolist())
    # Q and n are only almost orthonormal, so the tangent space is parametrised exactly:
    # v = Q a - n (t.a) with t = Q^T G / (n.G) is orthogonal to G for every a.
    slope = (n.transpose() * G)[0, 0]
    if not slope > 0:
        return math.inf
    t = Q.transpose() * G * (1 / slope)
    M = Q - n * t.transpose()
    gram = M.transpose() * M
    tau = arb(largest_eigenvalue_bound(-(M.transpose() * H * M)))
    if not tau.is_finite():
        return math.inf
    length = norm(G)
    if tau > 0:
        least = -largest_eigenvalue_bound(-gram)
        return _up(tau / (length.lower() * arb(least))) if least > 0 else math.inf
    return _up(tau / (length.upper() * arb(largest_eigenvalue_bound(gram))))


def largest_eigenvalue_bound(A: arb_mat) -> float:
    """A number that no eigenvalue of any symmetric matrix in the enclosure exceeds."""
    entries = A.entries()
    if not all(entry.is_finite() for entry in entries):
        return math.inf
    n = A.nrows()
    middle = np.array([float(entry.mid()) for entry in entries]).reshape(n, n)
    radius = np.array([float(entry.rad()) for entry in entries]).reshape(n, n)
    if not (np.isfinite(middle).all() and np.isfinite(radius).all()):
        return math.inf
    size = np.abs(middle).max() + radius.max() + 1e-300
    guess = float(np.linalg.eigvalsh((middle + middle.T) / 2)[-1]) + float(np.linalg.norm(radius))
    for margin in (1e-14, 1e-9, 1e-4, 1.0, 10.0):
        tau = guess + margin * size * n
        if is_positive_definite(
            arb_mat(n, n, [arb(tau if i == j else 0) - A[i, j] for i in range(n) for j in range(n)])
        ):
            return tau
    return math.inf


def is_positive_definite(A: arb_mat) -> bool:
    """True only if every symmetric matrix in the enclosure is positive definite (elimination, positive pivots)."""
    rows = A.tolist()
    n = len(rows)
    for k in range(n):
        pivot = rows[k][k]
        if not pivot > 0:
            return False
        for i in range(k + 1, n):
            for j in range(i, n):
                change = rows[k][i] * rows[k][j] / pivot
                rows[i][j] = rows[i][j] - change
    return True


def _unit(G: arb_mat) -> arb_mat:
    return G * (1 / norm(G))


def _balls(box: tuple[float, ...]) -> arb_mat:
    return column([arb(box[i], box[i + 1]) for i in range(0, len(box), 2)])


def _split(box: tuple[float, ...], d: int) -> list[tuple[float, ...]]:
    widest = max(range(d), key=lambda i: box[2 * i + 1])
    c, half = box[2 * widest], box[2 * widest + 1] / 2
    # The halves overlap by an ulp, as their centres are rounded.
    wide = half + 2 * math.ulp(abs(c) + half)
    return [(*box[: 2 * widest], c + sign * half, wide, *box[2 * widest + 2 :]) for sign in (-1, 1)]


def _down(value: arb) -> float:
    return math.nextafter(float(value.lower()), -math.inf)


def _up(value: arb) -> float:
    return math.nextafter(float(value.upper()), math.inf) if value.is_finite() else math.inf
