"""Checks in ball arithmetic that can prove, refute, or admit that they do not know."""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

from flint import arb

from proofs_check.claim import Verdict

Ball = Callable[[arb], arb]


@dataclass(frozen=True)
class CheckResult:
    """A verdict, the boxes it took, and the point that refutes."""

    verdict: Verdict
    boxes: int
    witness: float | None = None


def check_upper_bound(f: Ball, lo: float, hi: float, claim: arb, *, max_boxes: int = 100_000) -> CheckResult:
    """Decide ``f(s) <= claim`` for all s in [lo, hi], by bisection; ends are taken as exact."""
    todo, boxes = [(lo, hi)], 0
    while todo and boxes < max_boxes:
        a, b = todo.pop()
        boxes += 1
        if f(interval(a, b)) <= claim:
            continue
        middle = (a + b) / 2
        if f(arb(middle)) > claim:
            return CheckResult(Verdict.REFUTED, boxes, middle)
        if not a < middle < b:
            return CheckResult(Verdict.UNDECIDED, boxes)
        todo += [(a, middle), (middle, b)]
    return CheckResult(Verdict.UNDECIDED if todo else Verdict.PROVED, boxes)


@dataclass(frozen=True)
class Maximum:
    """Both ends of a maximum, and where the lower one is attained."""

    lower: arb
    upper: arb
    where: float
    boxes: int


def enclose_maximum(  # noqa: PLR0913
    f: Ball, slope: Ball, lo: float, hi: float, *, tolerance: float, max_boxes: int = 20_000
) -> Maximum:
    """Enclose the maximum of f on [lo, hi] by the mean value form, the worst interval first.

    Args:
        f: Evaluated at points only.
        slope: Encloses f' on an interval.
        lo: Left end.
        hi: Right end.
        tolerance: Absolute gap at which it stops.
        max_boxes: Budget; a wider gap is returned when it is spent.
    """
    best, where, boxes = arb(-math.inf), lo, 0
    heap: list[tuple[float, float, float]] = []

    def push(a: float, b: float) -> None:
        nonlocal best, where, boxes
        boxes += 1
        middle = (a + b) / 2
        value = f(arb(middle))
        if value.lower() > best:
            best, where = value.lower(), middle
        box = interval(a, b)
        upper = (value + slope(box) * (box - middle)).upper()
        heapq.heappush(heap, (-float(upper) if upper.is_finite() else -math.inf, a, b))

    push(lo, hi)
    while boxes < max_boxes and -heap[0][0] > float(best) + tolerance:
        _, a, b = heapq.heappop(heap)
        push(a, (a + b) / 2)
        push((a + b) / 2, b)
    return Maximum(best, arb(math.nextafter(-heap[0][0], math.inf)), where, boxes)


def interval(a: float, b: float) -> arb:
    """The ball that holds [a, b]."""
    return arb(a).union(arb(b))


def show(ball: arb, digits: int = 6) -> str:
    """A ball as a short interval, rounded outward."""
    scale = 10**digits
    lower, upper = ball.lower() * scale, ball.upper() * scale
    if not ball.is_finite():
        return str(ball)
    return f"[{float(lower.floor().lower()) / scale:.{digits}g}, {float(upper.ceil().upper()) / scale:.{digits}g}]"
