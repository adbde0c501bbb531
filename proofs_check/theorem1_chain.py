r"""Theorem 1, step 4 and the readings of the theorem: from curvature to the change of the normal.

The general facts, each checked in symbols: :math:`D_u n = P H u/\|G\|` (its part along e is
``thm1.step2``, its part along n is zero as :math:`\|n\| = 1`), :math:`\|PHPu\| \le |\lambda_{max}|\|G\|\|u\|`, and
on the unit sphere an angle is at most the length of a curve: with
:math:`n = \cos\theta\, n_0 + \sin\theta\, w`, :math:`\|n'\|^2 = \theta'^2 + \sin^2\theta\,\|w'\|^2`.
"""

import sympy as sp
from flint import arb, ctx

from proofs_check.algebra import identities
from proofs_check.claim import Evidence, Strength, Verdict
from proofs_check.enclosure import show
from proofs_check.softplus_ball import BallNetwork, column, norm
from proofs_check.theorem1_networks import bowl, ridge, valley

PROVED, REFUTED, UNDECIDED = Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED
SYMBOLIC, RIGOROUS, NUMERIC = Strength.SYMBOLIC, Strength.RIGOROUS, Strength.NUMERIC
t = sp.symbols("t", real=True)


def normal_derivative(sign: int = -1) -> dict[str, sp.Expr]:
    """<D_u n, e> = -L(e, u) (eq. 11, 17 with the sign mended) and <D_u n, n> = 0."""
    R = sp.symbols("R", positive=True)
    a, r = sp.symbols("a r", real=True)
    theta = sp.Function("theta", real=True)(t)
    along_e = sp.diff(a * t / sp.sqrt((a * t) ** 2 + R + r * t), t).subs(t, 0)
    L = -a / sp.sqrt(R)  # eq. 13, a = <H u, e>, R = ||G||^2
    unit = sp.Matrix([sp.cos(theta), sp.sin(theta)])
    return {"<D_u n, e> = -L(e, u)": along_e - sign * L, "<D_u n, n> = 0": sp.simplify(sp.diff(unit, t).dot(unit))}


def length_of_image() -> dict[str, sp.Expr]:
    """Max of |lambda| in an orthonormal eigenbasis; equality of speeds on the sphere; chord of an angle."""
    M, lam, u, omega = sp.symbols("M lambda u omega", real=True)
    theta = sp.Function("theta", real=True)(t)
    phi = sp.Function("phi", real=True)(t)
    n = sp.Matrix([sp.cos(theta), sp.sin(theta) * sp.cos(phi), sp.sin(theta) * sp.sin(phi)])
    speed = sp.diff(n, t).dot(sp.diff(n, t)) - sp.diff(theta, t) ** 2 - sp.sin(theta) ** 2 * sp.diff(phi, t) ** 2
    chord = (1 - sp.cos(omega)) ** 2 + sp.sin(omega) ** 2 - 4 * sp.sin(omega / 2) ** 2
    return {
        "M^2 u^2 - lambda^2 u^2 = (M - lambda)(M + lambda) u^2": sp.expand(
            (M**2 - lam**2) * u**2 - (M - lam) * (M + lam) * u**2
        ),
        "speed on the sphere": sp.simplify(speed),
        "chord = 2 sin(angle/2)": sp.simplify(chord),
    }


def path_symbolic(_: int, *, sign: int = -1) -> Evidence:
    """Eq. 16-20 with the sign mended."""
    return identities(
        "all d, every C^2 function with G != 0, every piecewise C^1 curve in S",
        normal_derivative(sign) | length_of_image(),
    )


def sign_symbolic(_: int) -> Evidence:
    """On a circle of radius r, L(t, t) = -1/r by eq. 11 and <D_t n, t> = 1/r: eq. 17 would make them equal."""
    r = sp.symbols("r", positive=True)
    angle = t / r  # arc length t
    n, e = sp.Matrix([sp.cos(angle), sp.sin(angle)]), sp.Matrix([-sp.sin(angle), sp.cos(angle)])
    turned = sp.simplify(sp.diff(n, t).dot(e))
    return identities(
        "circles: eq. 17 says D_u n = L(t, t) t, but by eq. 11 L(t, t) = -<D_t n, t>, and both are not zero",
        {"<D_t n, t> = 1/r": turned - 1 / r, "printed minus true = -2/r": (-turned) - turned + 2 / r},
        true=REFUTED,
    )


def sign_rigorous(_: int, *, sign: int = 1) -> Evidence:
    """On a softplus network eq. 17 as printed turns the normal the wrong way."""
    with ctx.workprec(80):
        balls = BallNetwork(bowl(2))
        p, p0 = column([1, arb("0.9")]), column([arb("0.9"), 1])
        ends = [balls.jet(q) for q in (p, p0)]
        normals = [jet.gradient * (1 / norm(jet.gradient)) for jet in ends]
        turn = ((normals[0] - normals[1]).transpose() * (p - p0))[0, 0]
        # The arc between them lies in this box: it is monotone, as both partial derivatives are positive.
        box = column([arb("0.95", "0.05001"), arb("0.95", "0.05001")])
        jet, chord = balls.jet(box), p - p0
        along = -(chord.transpose() * jet.hessian * chord)[0, 0] / norm(jet.gradient)  # L(chord, chord), eq. 13
    wrong = sign > 0 and bool(turn > 0) and bool(along < 0)
    return Evidence(
        strength=RIGOROUS,
        scope="sum_i s(x_i) + s(-x_i) in R^2, beta = 2, p = (1, .9), p0 = (.9, 1)",
        verdict=REFUTED if wrong else UNDECIDED,
        margin=float(turn.abs_lower()),
        witness=f"(n(p) - n(p0)).(p - p0) = {show(turn)} > 0, while L < 0 all along the arc makes the printed "
        "right-hand side of (19) negative",
    )


def theorem_symbolic(seed: int, *, sign: int = -1) -> Evidence:
    """The pieces that the chain (3) is made of, for the unit normal."""
    pieces = normal_derivative(sign) | length_of_image()
    return identities("all networks and points that meet the hypotheses, h = n, C = C~/c", pieces)


def angle_symbolic(_: int, *, halves: int = 2) -> Evidence:
    """The angle form follows from the same pieces; the chord is at most the angle."""
    omega = sp.symbols("omega", real=True)
    chord = (1 - sp.cos(omega)) ** 2 + sp.sin(omega) ** 2 - 4 * sp.sin(omega / halves) ** 2
    return identities(
        "all d, every C^2 function with G != 0, every curve in S", length_of_image() | {"chord": sp.simplify(chord)}
    )


def raw_symbolic(_: int) -> Evidence:
    """On y = 0 the level set of s(x+y) - s(x-y) is flat and the gradient moves."""
    x, y = sp.symbols("x y", real=True)
    b = sp.symbols("beta", positive=True)
    f = (sp.log(1 + sp.exp(b * (x + y))) - sp.log(1 + sp.exp(b * (x - y)))) / b
    slope = 2 / (1 + sp.exp(-b * x))
    return identities(
        "f = s(x+y) - s(x-y), level 0: lambda_max = 0 on S = {y = 0}, G = (0, 2 sigma(beta x)); 'not the paper's "
        "claim'",
        {
            "f = 0 on y = 0": f.subs(y, 0),
            "f_x = 0 there": sp.diff(f, x).subs(y, 0),
            "f_xx = 0 there, so no curvature": sp.diff(f, x, 2).subs(y, 0),
            "G moves": sp.simplify(sp.diff(f, y).subs(y, 0) - slope),
        },
        true=REFUTED,
    )


def raw_rigorous(_: int, *, use_normal: bool = False) -> Evidence:
    """The gradient's change between (0, 0) and (1, 0), where |lambda_max| d_g = 0."""
    with ctx.workprec(80):
        balls = BallNetwork(ridge())
        ends = [balls.jet(column(p)).gradient for p in ([0, 0], [1, 0])]
        if use_normal:
            ends = [G * (1 / norm(G)) for G in ends]
        change = norm(ends[1] - ends[0])
    return Evidence(
        strength=RIGOROUS,
        scope="f = s(x+y) - s(x-y), beta = 2, p = (1, 0), p0 = (0, 0)",
        verdict=REFUTED if change > 0 else UNDECIDED,
        margin=float(change.lower()),
        witness=f"||grad f(p) - grad f(p0)|| = {show(change)} > 0 = |lambda_max| d_g",
    )


def raw_outer_symbolic(_: int) -> Evidence:
    """||D_u G|| = ||H u|| <= ||H||_F ||u|| <= beta C~ ||u||."""
    A, B, C, p, q = sp.symbols("A B C p q", real=True)
    growth = A * q**2 - 2 * C * p * q + B * p**2
    return identities(
        "all networks, any curve, C = C~ without c",
        {"Cauchy-Schwarz": sp.expand((A + p**2) * (B + q**2) - (C + p * q) ** 2 - (A * B - C**2) - growth)},
    )


def displacement_symbolic(_: int, *, sign: int = -1) -> Evidence:
    """D_u n = P H u/||G|| for every direction u, then the angle on the sphere."""
    return identities(
        "all d, every C^2 function, segments on which G != 0", normal_derivative(sign) | length_of_image()
    )


def condition_symbolic(_: int) -> Evidence:
    """P H = 0 wherever G != 0, and the normal flips."""
    x = sp.symbols("x", real=True)
    b = sp.symbols("beta", positive=True)
    f = (sp.log(1 + sp.exp(b * x)) + sp.log(1 + sp.exp(-b * x))) / b  # does not depend on y
    return identities(
        "f(x, y) = s(x) + s(-x): H has only the entry xx, n = (sign x, 0), so P H = 0; angle pi across x = 0",
        {
            "f_x is odd, so n flips": sp.simplify((sp.diff(f, x) + sp.diff(f, x).subs(x, -x)).rewrite(sp.exp)),
            "f_x = 0 at 0": sp.diff(f, x).subs(x, 0),
        },
        true=REFUTED,
    )


def condition_rigorous(_: int, *, ends: tuple[str, str] = ("-0.5", "0.5")) -> Evidence:
    """The change of n against a sup of ||PH||/||G|| that is zero."""
    with ctx.workprec(80):
        balls = BallNetwork(valley())
        jets = [balls.jet(column([arb(x), 0])) for x in ends]
        normals = [jet.gradient * (1 / norm(jet.gradient)) for jet in jets]
        change = norm(normals[1] - normals[0])
        mixed = [jet.hessian - normals[i] * (normals[i].transpose() * jet.hessian) for i, jet in enumerate(jets)]
    return Evidence(
        strength=RIGOROUS,
        scope="s(x) + s(-x) on R^2, beta = 2, from (-.5, 0) to (.5, 0)",
        verdict=REFUTED if change > 1 else UNDECIDED,
        margin=float(change.lower()),
        witness=f"||n - n0|| = {show(change)}; ||P H|| at the ends is at most "
        f"{float(max(norm(m).upper() for m in mixed)):.1e}",
    )


def rough_symbolic(_: int) -> Evidence:
    """relu(x) + relu(y) and max(x, y): the normal jumps over a kink, the distance goes to zero."""
    s = sp.symbols("s", positive=True)
    relu = {"relu(x)+relu(y): (-s, 1) and (s, 1-s) share the level 1": sp.Max(0, -s) + 1 - (s + (1 - s))}
    jump = (sp.Matrix([0, 1]) - sp.Matrix([1, 1]) / sp.sqrt(2)).norm() ** 2 - (2 - sp.sqrt(2))
    length = sp.limit(s + sp.sqrt(2) * s, s, 0)
    return identities(
        "relu(x) + relu(y), level 1: S is two segments of curvature 0; ||n - n0||^2 = 2 - sqrt(2) at every "
        "distance, which tends to 0",
        relu | {"jump": sp.simplify(jump), "length -> 0": length},
        true=REFUTED,
    )


def rough_rigorous(_: int, *, factor: str = "1") -> Evidence:
    """Change over length, for a ReLU and for a max-pool network, across the kink; off it lambda_max = 0."""
    with ctx.workprec(80):
        s = arb("0.000001") * arb(factor)
        relu = (2 - arb(2).sqrt()).sqrt() / (s + arb(2).sqrt() * s)
        pool = arb(2).sqrt() / (2 * s)  # max(x, y) at (1-s, 1) and (1, 1-s)
    least = relu.min(pool)
    return Evidence(
        strength=RIGOROUS,
        scope="relu(x) + relu(y) and max(x, y) at level 1, two points 1e-6 from the kink",
        verdict=REFUTED if least > 1000 else UNDECIDED,
        margin=float(least.lower()),
        witness=f"change/d_g >= {float(relu.lower()):.3g} (ReLU), {float(pool.lower()):.3g} (max-pool) with "
        "lambda_max = 0 off the kink; no finite constant serves",
    )
