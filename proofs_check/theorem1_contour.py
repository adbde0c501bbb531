r"""The chain of Theorem 1 on the 2-50-1 contour network, in ball arithmetic on a stated region.

Region: U = B(p, 0.25), p = (0.3, -0.2), beta = 1, weights uniform in (-1, 1) by seed 0. By the
cone condition the level set in U is a graph y = p + u e + s(u) n over its tangent e with
\|s\| <= \|u\| tan theta. Cells in u are enclosed; s is enclosed by a sign change of f, which
increases along n. That gives the arc between p and p0 (at u = 0.2) and its length, which is
d_g as S is one arc. min\|\|G\|\| and sup\|kappa\| over U and S lie between points on S and
boxes that cover it (those of a grid on which f may take the level).
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from flint import arb, arb_mat, ctx
from torch import nn

from curvature.demo_networks import contour_network
from proofs_check.claim import Evidence, Strength, Verdict
from proofs_check.enclosure import show
from proofs_check.softplus_ball import BallNetwork, Jet, PlainNetwork, column, norm
from proofs_check.theorem1_chain import plane_curvature
from proofs_check.theorem1_networks import hessian_constant

PROVED, REFUTED, UNDECIDED = Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED
POINT, RADIUS, REACH = ("0.3", "-0.2"), "0.25", "0.2"
GRID, CELLS = 16, 16
SCOPE = (
    f"one network, 2-50-1 with weights uniform in (-1, 1), seed 0, beta = 1; U = B(p, {RADIUS}), p = ({POINT[0]}, "
    f"{POINT[1]}), p0 the point of S at {REACH} along the tangent"
)


@dataclass(frozen=True)
class Chain:
    """Enclosures on the region."""

    least_gradient: arb  # over U and S
    curvature: arb  # sup |kappa| over U and S
    change: arb
    gradient_change: arb  # between p and p0
    distance: arb
    chord: arb  # ||p0 - p||
    constant: arb  # beta C~
    sine: arb


def network() -> PlainNetwork:
    """The contour network as plain lists."""
    first, last = (layer.weight.detach() for layer in contour_network(0) if isinstance(layer, nn.Linear))
    zero = [0.0] * 50
    return PlainNetwork(weights=[first.tolist()], biases=[zero], head=last[0].tolist(), beta=1.0)


@dataclass(frozen=True)
class _Frame:
    """The network in coordinates: u along the tangent e, s along the normal n, from p."""

    balls: BallNetwork
    p: arb_mat
    n: arb_mat
    e: arb_mat
    level: arb

    def point(self, u: arb, s: arb) -> arb_mat:
        return self.p + self.e * u + self.n * s

    def side(self, u: arb, s: arb) -> arb:
        """F minus the level, whose sign tells the side of S."""
        return self.balls.jet(self.point(u, s)).value - self.level


@lru_cache(maxsize=1)
def chain() -> Chain:
    """All enclosures, once."""
    with ctx.workprec(80):
        plain = network()
        balls = BallNetwork(plain)
        p = column([arb(c) for c in POINT])
        at_p = balls.jet(p)
        frame = _frame(balls, p, at_p)
        change, boxes = _over_ball(frame, at_p)
        end = _on_level(frame, arb(REACH))
        at_end = balls.jet(end)
        least, curvature = _over_curve(frame, boxes)
        return Chain(
            least_gradient=least,
            curvature=curvature,
            change=norm(at_end.gradient * (1 / norm(at_end.gradient)) - frame.n),
            gradient_change=norm(at_end.gradient - at_p.gradient),
            distance=_length(frame),
            chord=norm(end - p),
            constant=arb(plain.beta) * hessian_constant(plain),
            sine=change / norm(at_p.gradient),
        )


def _over_ball(frame: _Frame, at_p: Jet) -> tuple[arb, list[arb_mat]]:
    """Sup ||G(y) - G(p)|| over U from a grid of boxes, and those boxes that may meet S."""
    r, half = arb(RADIUS), arb(RADIUS) / GRID
    change, meeting = arb(0), []
    for i in range(GRID):
        for j in range(GRID):
            offset = column([(2 * k + 1 - GRID) * half + half * arb(0, 1) for k in (i, j)])
            if norm(offset).lower() > r:
                continue
            jet = frame.balls.jet(frame.p + offset)
            change = change.max(norm(jet.gradient - at_p.gradient))
            if (jet.value - frame.level).contains(0):
                meeting.append(offset)
    return change, meeting


def _over_curve(frame: _Frame, boxes: list[arb_mat]) -> tuple[arb, arb]:
    """Enclose min ||G|| and sup |kappa| over U and S: one end from points on it, one from boxes that cover it."""
    seen = [frame.balls.jet(_on_level(frame, arb(REACH) * k / 8)) for k in range(-8, 9)]
    least, most = norm(seen[0].gradient), abs(plane_curvature(seen[0]))
    for jet in seen[1:]:
        least, most = least.min(norm(jet.gradient)), most.max(abs(plane_curvature(jet)))
    low, high = least.lower(), most.upper()
    for part in (part for offset in boxes for part in _parts(offset)):
        jet = frame.balls.jet(frame.p + part)
        if (jet.value - frame.level).contains(0):
            low, high = low.min(norm(jet.gradient).lower()), high.max(abs(plane_curvature(jet)).upper())
    return low.union(least.upper()), most.lower().union(high)


def _parts(box: arb_mat, pieces: int = 4) -> list[arb_mat]:
    """Smaller boxes that cover the box, as balls."""
    sides = [
        [e.mid() + e.rad() * (arb(2 * k + 1 - pieces) + arb(0, 1)) / pieces for k in range(pieces)]
        for e in box.entries()
    ]
    return [column([first, second]) for first in sides[0] for second in sides[1]]


def _frame(balls: BallNetwork, p: arb_mat, at_p: Jet) -> _Frame:
    n = at_p.gradient * (1 / norm(at_p.gradient))
    return _Frame(balls, p, n, arb_mat([[-n[1, 0]], [n[0, 0]]]), at_p.value)


def _on_level(frame: _Frame, u: arb) -> arb_mat:
    """Enclose the point of S over u by bisection; f increases along n within the region."""
    # Not symmetric: a middle that is exactly on S would end the bisection with a wide bracket.
    low, high = -arb(REACH) * arb("0.7"), arb(REACH) * arb("0.75")
    if not (frame.side(u, low) < 0 and frame.side(u, high) > 0):
        raise ArithmeticError("the level set does not cross the normal line inside the region")
    for _ in range(30):
        middle = ((low + high) / 2).mid()
        value = frame.side(u, middle)
        if value > 0:
            high = middle
        elif value < 0:
            low = middle
        else:
            break
    return frame.point(u, low.union(high))


def _length(frame: _Frame) -> arb:
    """Arc length of the graph over [0, REACH]: each cell's slope from an enclosing box."""
    step, total = arb(REACH) / CELLS, arb(0)
    points = [_on_level(frame, step * k) for k in range(CELLS + 1)]
    for ends in pairwise(points):
        # Slopes are below tan 45 degrees in the region, so the arc strays from its chord's box by less than a step.
        box = arb_mat(
            2, 1, [a.union(b) + step * arb(0, 1) for a, b in zip(ends[0].entries(), ends[1].entries(), strict=True)]
        )
        G = frame.balls.jet(box).gradient
        slope = -(frame.e.transpose() * G)[0, 0] / (frame.n.transpose() * G)[0, 0]
        total += step * (1 + slope * slope).sqrt()
    return total


def whole_chain(_: int, *, factor: str = "1") -> Evidence:
    """Every inequality of (3), and the hypotheses before it."""
    c = chain()
    middle, right = c.curvature * c.distance * arb(factor), c.constant / c.least_gradient.lower() * c.distance
    hypotheses = bool(c.sine < arb(2).rsqrt()) and bool(c.least_gradient > 0) and bool(c.chord < arb(RADIUS))
    verdict = PROVED if hypotheses and c.change <= middle and middle <= right else UNDECIDED
    if c.change > middle or middle > right:
        verdict = REFUTED
    return Evidence(
        strength=Strength.RIGOROUS,
        scope=SCOPE,
        verdict=verdict,
        margin=float((middle - c.change).lower()),
        witness=f"U and S is connected (sin theta <= {float(c.sine.upper()):.3f} < 0.707), on it min ||grad f|| in "
        f"{show(c.least_gradient, 4)} and sup |kappa| in {show(c.curvature, 4)}; d_g(p, p0) in {show(c.distance, 5)}; "
        f"||n - n0|| in {show(c.change, 5)} <= |lambda_max| d_g in {show(middle, 5)} <= beta C~/c d_g in "
        f"{show(right, 4)}, c the least of its interval",
    )


def outer_chain(_: int, *, factor: str = "1") -> Evidence:
    """||grad f(p) - grad f(p0)|| <= beta C~ d_g."""
    c = chain()
    bound = c.constant * c.distance * arb(factor)
    verdict = PROVED if c.gradient_change <= bound else (REFUTED if c.gradient_change > bound else UNDECIDED)
    return Evidence(
        strength=Strength.RIGOROUS,
        scope=SCOPE,
        verdict=verdict,
        margin=float((bound - c.gradient_change).lower()),
        witness=f"||grad f(p) - grad f(p0)|| in {show(c.gradient_change, 5)} <= beta C~ d_g in {show(bound, 4)}",
    )


def connected(_: int, *, factor: str = "1") -> Evidence:
    """d_g(p, p0) <= ||p0 - p||/cos theta, on the same region."""
    c = chain()
    with ctx.workprec(80):
        bound = c.chord / (1 - c.sine.upper() ** 2).sqrt() * arb(factor)
    verdict = PROVED if c.distance <= bound else (REFUTED if c.distance > bound else UNDECIDED)
    return Evidence(
        strength=Strength.RIGOROUS,
        scope=SCOPE,
        verdict=verdict,
        margin=float((bound - c.distance).lower()),
        witness=f"d_g in {show(c.distance, 5)} <= ||p0 - p||/cos theta in {show(bound, 5)}",
    )
