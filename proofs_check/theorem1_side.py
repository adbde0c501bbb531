r"""Theorem 1, side results: displacements off the level set, the abs-sum map, connectedness."""

import math

import numpy as np
import sympy as sp
from flint import arb, arb_mat, ctx

from proofs_check.algebra import identities
from proofs_check.claim import Evidence, Strength, Verdict
from proofs_check.float_search import jets
from proofs_check.interval_oracle import enclose_suprema, largest_eigenvalue_bound
from proofs_check.softplus_ball import BallNetwork, Jet, PlainNetwork, column, norm
from proofs_check.theorem1_networks import random_network

PROVED, REFUTED, UNDECIDED = Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED
SYMBOLIC, RIGOROUS, NUMERIC = Strength.SYMBOLIC, Strength.RIGOROUS, Strength.NUMERIC


def displacement_rigorous(seed: int, *, factor: str = "1", cases: int = 32) -> Evidence:
    """Angle between the ends of a segment against both ends of the supremum, times its length.

    It holds on a segment if the angle is at most the lower end, and fails if it is above the upper end.
    """
    rng = np.random.default_rng(seed)
    shares, skipped, open_cases = [], 0, 0
    with ctx.workprec(80):
        for case in range(cases):
            network = random_network(rng, softplus_layers=2 + case % 3)
            start, step = rng.normal(size=3), rng.normal(size=3) * 0.05
            found = _segment(BallNetwork(network), start, step, pieces=24)
            if found is None:
                skipped += 1
                continue
            angle, low, high = found[0], found[1] * arb(factor), found[2] * arb(factor)
            if angle > high:
                return Evidence(
                    strength=RIGOROUS,
                    scope=f"network {case}",
                    verdict=REFUTED,
                    margin=float((angle - high).lower()),
                    witness=f"angle {angle}, bound {high}",
                )
            open_cases += not angle <= low
            shares.append(float((angle / low).mid()))
    decided = len(shares) - open_cases
    return Evidence(
        strength=RIGOROUS,
        scope=f"{decided} segments in random networks of 2-4 softplus layers in R^3 (of {cases}: {skipped} skipped as "
        f"G may vanish, {open_cases} too close to call)",
        verdict=PROVED if open_cases == 0 and decided > cases / 2 else UNDECIDED,
        margin=1 - max(shares, default=1.0),
        witness=f"used of the bound: median {np.median(shares):.3f}, largest {max(shares):.3f}" if shares else "none",
    )


def _segment(balls: BallNetwork, start: np.ndarray, step: np.ndarray, *, pieces: int) -> tuple[arb, arb, arb] | None:
    """The angle and both ends of sup ||P H||_2/||G|| times the length; None if G may vanish."""
    low, high = arb(0), arb(0)
    at, along = ([arb(float(value)) for value in vector] for vector in (start, step))
    for k in range(pieces):
        middle, half = (k + 0.5) / pieces, 0.5001 / pieces
        box = column([a + arb(middle, half) * s for a, s in zip(at, along, strict=True)])
        jet = balls.jet(box)
        if not norm(jet.gradient) > 1e-6:
            return None
        high = high.max(_mixed_bound(jet) / norm(jet.gradient))
        low = low.max(_mixed_attained(balls.jet(column([a + middle * s for a, s in zip(at, along, strict=True)]))))
    ends = [balls.jet(column(p)).gradient for p in (at, [a + s for a, s in zip(at, along, strict=True)])]
    unit = [G * (1 / norm(G)) for G in ends]
    length = norm(column(step.tolist()))
    return 2 * (norm(unit[1] - unit[0]) / 2).asin(), low.lower() * length, high.upper() * length


def _mixed(jet: Jet) -> arb_mat:
    """P H."""
    n = jet.gradient * (1 / norm(jet.gradient))
    return jet.hessian - n * (n.transpose() * jet.hessian)


def _mixed_bound(jet: Jet) -> arb:
    """||P H||_2 from above, as the root of the largest eigenvalue of (P H)^T P H."""
    A = _mixed(jet)
    return arb(largest_eigenvalue_bound(A.transpose() * A)).sqrt()


def _mixed_attained(jet: Jet) -> arb:
    """||P H v||/(||v|| ||G||) from below, v the float64 singular vector: no larger than the spectral norm's."""
    A = _mixed(jet)
    middle = np.array([[float(entry.mid()) for entry in row] for row in A.tolist()])
    v = column(np.linalg.svd(middle)[2][0].tolist())
    return norm(A * v) / (norm(v) * norm(jet.gradient))


def map_symbolic(_: int, *, power: int = 1) -> Evidence:
    """||I - h0 1^T||_2 = ||h0|| ||1|| for an oblique projection, in the plane of the two vectors."""
    v, p = sp.symbols("v p", positive=True)  # 1 = v e1, h0 = (1/v, p): their product is 1
    projection = sp.eye(2) - sp.Matrix([1 / v, p]) * sp.Matrix([[v, 0]])
    gram = projection.T * projection
    norm_squared = (v**2 * (1 / v**2 + p**2)) ** power
    a, s, s0, h = sp.symbols("a s s0 h", positive=True)
    return identities(
        "all numbers of pixels and channels; every pair n, n0 of unit vectors",
        {
            "h - h0 = ((a - a0) - h0 (S - S0))/S where a0 = h0 S0": a / s - h - ((a - h * s0) - h * (s - s0)) / s,
            "I - h0 1^T in the plane of h0 and 1: its Gram matrix has the trace ||h0||^2 ||1||^2": gram.trace()
            - norm_squared,
            "and the determinant 0": gram.det(),
        },
    )


def map_rigorous(seed: int, *, factor: str = "1", cases: int = 3_000) -> Evidence:
    """Random pairs of unit normals, one to three channels, nearly tight ones among them."""
    rng, closest = np.random.default_rng(seed), 0.0
    with ctx.workprec(80):
        for case in range(cases):
            channels, pixels = int(rng.integers(1, 4)), int(rng.integers(2, 6))
            n0 = rng.normal(size=(channels, pixels)) * 10.0 ** rng.uniform(-6, 0, size=(channels, pixels))
            n = n0 + rng.normal(size=n0.shape) * 10.0 ** rng.uniform(-5, 0) * np.abs(n0).max()
            if case % 3 == 0:  # the tight case: n on an axis, n0 near it
                channels, pixels = 1, 2
                n0, n = np.array([[1.0, 10.0 ** rng.uniform(-6, -1)]]), np.array([[1.0, 0.0]])
            ratio = _map_ratio(n, n0)
            closest = max(closest, float(ratio.mid()))
            if not ratio <= arb(factor):
                verdict = REFUTED if ratio > arb(factor) else UNDECIDED
                return Evidence(
                    strength=RIGOROUS,
                    scope=f"pair {case}",
                    verdict=verdict,
                    margin=float((1 - ratio).mid()),
                    witness=f"n {n.tolist()}, n0 {n0.tolist()}",
                )
    return Evidence(
        strength=RIGOROUS,
        scope=f"{cases} pairs of unit vectors, 1-3 channels, 2-5 pixels",
        verdict=PROVED,
        margin=1 - closest,
        witness=f"up to {closest:.9f} of the bound is used: it cannot be lowered by a factor",
    )


def _map_ratio(n: np.ndarray, n0: np.ndarray) -> arb:
    """||h - h0||_2 over the bound."""
    unit = [[arb(float(v)) for v in m.flatten()] for m in (n, n0)]
    unit = [[v / norm(column(m)) for v in m] for m in unit]
    d, pixels = n.size, n.shape[1]
    sums = [[sum((abs(m[i]) for i in range(k, d, pixels)), arb(0)) for k in range(pixels)] for m in unit]
    totals = [sum(a, arb(0)) for a in sums]
    h, h0 = ([v / total for v in a] for a, total in zip(sums, totals, strict=True))
    delta = norm(column([v - w for v, w in zip(unit[0], unit[1], strict=True)]))
    root = arb(d).sqrt()
    bound = root * norm(column(h0)) * delta / arb(1).max(totals[1] - root * delta)
    return norm(column([v - w for v, w in zip(h, h0, strict=True)])) / bound


def connected_symbolic(_: int, *, tangent: sp.Expr = sp.S.One) -> Evidence:
    """The double cone between p and q stays in the ball: its corner, for slopes T <= 1."""
    T, eta, A = sp.symbols("T eta A", positive=True)  # q = (A, eta A T) in the plane of T_pS and n
    u = (eta + 1) * A / 2  # the upper corner: u T = eta A T + (A - u) T
    corner = u**2 * (1 + (T * tangent) ** 2)
    room = A**2 * (1 + eta**2 * T**2) - corner
    return identities(
        "all d, every C^1 function, sin theta = delta/||G(p)|| < 1/sqrt(2) (T = tan theta <= 1, |eta| <= 1)",
        {
            "corner lies on both cones": u * T - (eta * A * T + (A - u) * T),
            "||q||^2 - ||corner||^2 = A^2 (1-eta)((3+eta) - T^2 (1+3 eta))/4": room
            - A**2 * (1 - eta) * (3 + eta - T**2 * (1 + 3 * eta)) / 4,
            "affine in T^2, A^2 (1-eta)^2/2 >= 0 at T = 1": room.subs(T, 1) - A**2 * (1 - eta) ** 2 / 2,
            "and A^2 (1-eta)(3+eta)/4 >= 0 at T = 0": room.subs(T, 0) - A**2 * (1 - eta) * (3 + eta) / 4,
        },
    )


def connected_numeric(seed: int, *, factor: float = 1.0, cases: int = 25) -> Evidence:
    """Curves in S over the tangent plane: they exist, stay in the ball, and are short enough."""
    rng = np.random.default_rng(seed)
    tried, worst, reach, stray, vacuous, sines = 0, 0.0, 0.0, 0.0, 0, []
    for case in range(cases):
        network = random_network(rng, inputs=2 + case % 2, softplus_layers=2 + case % 3)
        p, radius = rng.normal(size=network.inputs), 0.05 / network.beta**0.5
        delta = enclose_suprema(network, p, radius, max_boxes=12)["gradient_change"].upper
        G = jets(network, p[None])[0][0]
        sine = delta / np.linalg.norm(G)
        if not sine < math.sqrt(0.5):
            vacuous += 1
            continue
        sines.append(sine)
        for _ in range(4):
            tangent = rng.normal(size=len(p))
            n = G / np.linalg.norm(G)
            tangent -= (tangent @ n) * n
            heights, steps = _curve(network, p, n, radius * 0.9 * tangent / np.linalg.norm(tangent))
            length = float(np.hypot(np.diff(heights), np.diff(steps)).sum())
            chord = math.hypot(heights[-1], steps[-1])
            if chord <= radius:
                tried += 1
                worst = max(worst, length * math.sqrt(1 - sine**2) / chord / factor)
                reach = max(reach, float(np.hypot(heights, steps).max()) / radius)
                q = p + steps[-1] * tangent / np.linalg.norm(tangent) + heights[-1] * n
                stray = max(stray, _off_level(network, p, q) / (float(np.linalg.norm(G)) * radius))
    false = worst > 1 + 1e-9 or reach > 1 + 1e-9
    good = tried >= cases and vacuous < cases / 2 and stray < 1e-6 and not false
    verdict = Verdict.VERIFIED if good else (REFUTED if false and stray < 1e-6 else UNDECIDED)
    return Evidence(
        strength=NUMERIC,
        scope=f"{tried} curves in S from p, {cases} random networks of 2-4 softplus layers in R^2 and R^3, delta "
        f"certified by ball arithmetic ({vacuous} networks vacuous: theta of 45 degrees or more)",
        verdict=verdict,
        margin=1 - worst,
        witness=f"length x cos(theta)/chord is at most {worst:.6f}, distance from p over r at most {reach:.6f} (1e-9 "
        f"over 1 allowed for rounding); ends are off S by at most {stray:.0e} r; sin theta: median "
        f"{np.median(sines):.3f}, largest {max(sines):.3f}, below .001 (nearly flat) in "
        f"{sum(s < 1e-3 for s in sines)} networks",
    )


def _off_level(network: PlainNetwork, p: np.ndarray, q: np.ndarray) -> float:
    """|f(q) - f(p)| by ball arithmetic, apart from the values that the bisection uses."""
    balls = BallNetwork(network)
    ends = [balls.jet(column(point.tolist())).value for point in (p, q)]
    return float(abs(ends[1] - ends[0]).upper())


def _curve(network: PlainNetwork, p: np.ndarray, n: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heights s(u) with f(p + u step + s n) = f(p), by bisection along the normal."""
    grid, reach = np.linspace(0, 1, 65), 2 * float(np.linalg.norm(step))
    low, high = np.full(65, -reach), np.full(65, reach)
    level = _value(network, p[None])[0]
    for _ in range(60):
        middle = (low + high) / 2
        above = _value(network, p + grid[:, None] * step + middle[:, None] * n) > level
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    heights = (low + high) / 2
    heights[0] = 0
    return heights, grid * np.linalg.norm(step)


def _value(network: PlainNetwork, points: np.ndarray) -> np.ndarray:
    a = points
    for W, b in zip(network.weights, network.biases, strict=True):
        a = np.logaddexp(0, network.beta * (a @ np.asarray(W).T + np.asarray(b))) / network.beta
    return a @ np.asarray(network.head)
