r"""Theorem 1, step 4 and the readings of the theorem: from curvature to the change of the normal.

The general facts, each checked in symbols: :math:`D_u n = P H u/\|G\|` (its part along e is
``thm1.step2``, its part along n is zero as :math:`\|n\| = 1`), :math:`\|PHPu\| \le |\lambda_{max}|\|G\|\|u\|`, and
on the unit sphere an angle is at most the length of a curve: with
:math:`n = \cos\theta\, n_0 + \sin\theta\, w`, :math:`\|n'\|^2 = \theta'^2 + \sin^2\theta\,\|w'\|^2`.
"""

import sympy as sp
from flint import arb, arb_mat, ctx

from proofs_check.algebra import counterexample, identities
from proofs_check.claim import Evidence, Strength, Verdict
from proofs_check.enclosure import show
from proofs_check.softplus_ball import BallNetwork, Jet, column, norm
from proofs_check.theorem1_form import lambda_pieces
from proofs_check.theorem1_hessian import hessian_pieces
from proofs_check.theorem1_networks import bowl, ridge, valley

PROVED, REFUTED, UNDECIDED = Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED
SYMBOLIC, RIGOROUS, NUMERIC = Strength.SYMBOLIC, Strength.RIGOROUS, Strength.NUMERIC
t = sp.symbols("t", real=True)


def plane_curvature(jet: Jet) -> arb:
    """-e^T H e/||G|| with e the unit tangent: the only curvature in the plane."""
    size = norm(jet.gradient)
    e = arb_mat([[-jet.gradient[1, 0]], [jet.gradient[0, 0]]])
    return -(e.transpose() * jet.hessian * e)[0, 0] / size**3


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


def sign_symbolic(_: int, *, sign: int = 1) -> Evidence:
    """On a circle of radius r, L(t, t) = -1/r by eq. 11 and <D_t n, t> = 1/r: eq. 17 would make them equal."""
    r = sp.symbols("r", positive=True)
    angle = t / r  # arc length t
    n, e = sp.Matrix([sp.cos(angle), sp.sin(angle)]), sp.Matrix([-sp.sin(angle), sp.cos(angle)])
    turned = sp.simplify(sp.diff(n, t).dot(e))
    L = -turned  # eq. 11
    return counterexample(
        "a circle of radius r with outer normal n and unit tangent t, u = t",
        {"<t, D_t n> = 1/r": turned - 1 / r, "L(t, t) = -1/r by (11)": L + 1 / r},
        {"<t, D_t n> - L(t, t), zero by (17)": sp.simplify(turned - sign * L)},
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
        jet = balls.jet(column([arb("0.95", "0.05001"), arb("0.95", "0.05001")]))
        monotone = bool(jet.gradient[0, 0] > 0) and bool(jet.gradient[1, 0] > 0)
        curvature = plane_curvature(jet)  # eq. 13, at every point of the box
    wrong = monotone and bool(turn > 0) and bool(sign * curvature < 0)
    return Evidence(
        strength=RIGOROUS,
        scope="f = s(x) + s(-x) + s(y) + s(-y), beta = 2, p = (1, .9), p0 = (.9, 1), the arc of S between them",
        verdict=REFUTED if wrong else UNDECIDED,
        margin=float(turn.abs_lower()),
        witness=f"<n(p) - n(p0), p - p0> in {show(turn)}, > 0. All along the arc lambda in {show(curvature, 3)}, < 0, "
        "and <u, p - p0> > 0, so the printed right-hand side of (19) has a negative product with p - p0",
    )


def theorem_symbolic(_: int, *, sign: int = -1) -> Evidence:
    """The pieces that the chain (3) is made of, for the unit normal: those of steps 1 to 4."""
    pieces = normal_derivative(sign) | length_of_image() | lambda_pieces() | hessian_pieces()
    return identities("all softplus networks and points that meet the hypotheses, h = n, C = C~/c", pieces)


def angle_symbolic(_: int, *, halves: int = 2) -> Evidence:
    """The angle form follows from the same pieces; the chord is at most the angle."""
    omega = sp.symbols("omega", real=True)
    chord = (1 - sp.cos(omega)) ** 2 + sp.sin(omega) ** 2 - 4 * sp.sin(omega / halves) ** 2
    return identities(
        "all d, every C^2 function with G != 0, every curve in S",
        normal_derivative() | length_of_image() | {"chord of an angle": sp.simplify(chord)},
    )


def raw_symbolic(_: int, *, use_normal: bool = False) -> Evidence:
    """On y = 0 the level set of s(x+y) - s(x-y) is flat and the gradient moves."""
    x, y = sp.symbols("x y", real=True)
    b = sp.symbols("beta", positive=True)
    f = (sp.log(1 + sp.exp(b * (x + y))) - sp.log(1 + sp.exp(b * (x - y)))) / b
    slope = 1 + sp.tanh(b * x / 2)  # 2 sigma(beta x), with s' = sigma(beta .)
    G = sp.diff(f, y).subs(y, 0)
    moved = slope.subs(x, 1) / (slope.subs(x, 1) if use_normal else 1) - 1  # from x = 0, where the length is 1
    return counterexample(
        "f = s(x+y) - s(x-y), level 0, from (0, 0) to (1, 0), all beta > 0: S = {y = 0} is flat, so lambda_max = 0",
        {
            "f = 0 on y = 0": f.subs(y, 0),
            "f_x = 0 there": sp.diff(f, x).subs(y, 0),
            "f_xx = 0 there, so no curvature": sp.diff(f, x, 2).subs(y, 0),
            "f_y = 1 + tanh(beta x/2) there": sp.simplify((G - slope).rewrite(sp.exp)),
        },
        {"f_y(1, 0) - f_y(0, 0), zero by the claim": moved},
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


def raw_outer_symbolic(_: int, *, power: int = 2) -> Evidence:
    """||D_u G|| = ||H u|| <= ||H||_F ||u|| (Cauchy-Schwarz) <= beta C~ ||u|| (step 1)."""
    return identities("all softplus networks, all curves, C = C~ without c", hessian_pieces(power=power))


def displacement_symbolic(_: int, *, sign: int = -1) -> Evidence:
    """D_u n = P H u/||G|| for every direction u, then the angle on the sphere."""
    return identities(
        "all d, every C^2 function, segments on which G != 0", normal_derivative(sign) | length_of_image()
    )


def condition_symbolic(_: int, *, start: int = -1) -> Evidence:
    """P H = 0 wherever G != 0, and the normal flips between x = start and x = 1."""
    x = sp.symbols("x", real=True)
    b = sp.symbols("beta", positive=True)
    f = (sp.log(1 + sp.exp(b * x)) + sp.log(1 + sp.exp(-b * x))) / b  # does not depend on y
    sides = [sp.sign(sp.tanh(b * sp.S(end) / 2)) for end in (start, 1)]
    return counterexample(
        f"f(x, y) = s(x) + s(-x), from ({start}, 0) to (1, 0): H has only the entry xx and G only the entry x, so "
        "P H = 0 and the claimed bound is 0",
        {"f_x = tanh(beta x/2), so n = (sign x, 0)": sp.simplify((sp.diff(f, x) - sp.tanh(b * x / 2)).rewrite(sp.exp))},
        {"n_1(end) - n_1(start), zero by the claim": sides[1] - sides[0]},
    )


def condition_rigorous(_: int, *, ends: tuple[str, str] = ("-0.5", "0.5")) -> Evidence:
    """The change of n against a sup of ||PH||/||G|| that is zero (f does not depend on y)."""
    with ctx.workprec(80):
        balls = BallNetwork(valley())
        jets = [balls.jet(column([arb(x), 0])) for x in ends]
        normals = [jet.gradient * (1 / norm(jet.gradient)) for jet in jets]
        change = norm(normals[1] - normals[0])
        mixed = [jet.hessian - normals[i] * (normals[i].transpose() * jet.hessian) for i, jet in enumerate(jets)]
    return Evidence(
        strength=RIGOROUS,
        scope=f"f(x, y) = s(x) + s(-x), beta = 2, from ({ends[0]}, 0) to ({ends[1]}, 0)",
        verdict=REFUTED if change > 1 else UNDECIDED,
        margin=float(change.lower()),
        witness=f"||n - n0|| in {show(change)}, an angle pi; ||P H|| at the ends is at most "
        f"{float(max(norm(m).upper() for m in mixed)):.1e} (it is 0)",
    )


def rough_symbolic(_: int, *, kink: bool = True) -> Evidence:
    """relu(x) + relu(y) and max(x, y): the normal jumps over a kink, the distance goes to zero."""
    x, y, s, q = sp.symbols("x y s q", positive=True)
    m = sp.symbols("m", negative=True)
    pieces = {
        "relu(x) + relu(y) = y for x < 0 < y": sp.Max(0, m) + sp.Max(0, y) - y,
        "= x + y for x, y > 0": sp.Max(0, x) + sp.Max(0, y) - (x + y),
        "max(x, y) = y for y = x + q > x": sp.Max(x, x + q) - (x + q),
        "= x for x = y + q > y": sp.Max(y + q, y) - (y + q),
    }
    distance = {  # the legs from (-s, 1) over (0, 1) to (s, 1-s), and from (1-s, 1) over (1, 1) to (1, 1-s)
        "length of S between (-s, 1) and (s, 1-s), level 1, as s -> 0": sp.limit(s + sp.sqrt(s**2 + s**2), s, 0),
        "length of S between (1-s, 1) and (1, 1-s), level 1, as s -> 0": sp.limit(s + s, s, 0),
    }
    sides = {"relu": (y, x + y), "max": (y, x)}
    jumps = {}
    for name, (first, second) in sides.items():
        ends = [sp.Matrix([sp.diff(f, x), sp.diff(f, y)]).normalized() for f in (first, second if kink else first)]
        jumps[f"||n - n0||^2, {name}"] = sp.simplify((ends[1] - ends[0]).dot(ends[1] - ends[0]))
    return counterexample(
        "relu(x) + relu(y) and max(x, y) at level 1: S is two straight pieces of curvature 0 that meet at a corner",
        pieces | distance,
        jumps,
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
        scope="relu(x) + relu(y), from (-s, 1) to (s, 1-s), and max(x, y), from (1-s, 1) to (1, 1-s), s = 1e-6, "
        "level 1",
        verdict=REFUTED if least > 1000 else UNDECIDED,
        margin=float(least.lower()),
        witness=f"||n - n0||/d_g = {float(relu.lower()):.3g} (ReLU), {float(pool.lower()):.3g} (max-pool), rounded, "
        "where lambda_max = 0 off the kink; s cancels: ||n - n0||/d_g = constant/s",
    )
