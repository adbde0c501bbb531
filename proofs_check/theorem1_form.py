r"""Theorem 1, steps 2 and 3: the second fundamental form, its eigenvalues, and the constant.

All identities are checked in as many symbols as matter: along a direction u only the
component of G in the direction e, :math:`a(t)`, and the squared length of the rest,
:math:`\rho(t)`, enter :math:`\langle n, e\rangle = a/\sqrt{a^2 + \rho}`; so they hold in every dimension.
"""

import numpy as np
import sympy as sp
from flint import arb, arb_mat, ctx

from proofs_check.algebra import counterexample, identities
from proofs_check.claim import Claim, Evidence, Strength, Verdict
from proofs_check.enclosure import show
from proofs_check.float_search import frames, jets
from proofs_check.interval_oracle import curvature_bound, curvature_quotient
from proofs_check.softplus_ball import BallNetwork, PlainNetwork, column, norm
from proofs_check.theorem1_hessian import hessian_pieces
from proofs_check.theorem1_networks import bowl, hessian_constant, random_box, random_network, trough

PROVED, REFUTED, UNDECIDED = Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED
SYMBOLIC, RIGOROUS, NUMERIC = Strength.SYMBOLIC, Strength.RIGOROUS, Strength.NUMERIC
t, r1, a1 = sp.symbols("t r1 a1", real=True)
c = sp.symbols("c", positive=True)


def form_pieces(*, sign: int = -1) -> dict[str, sp.Expr]:
    """<D_u n, e> = <H u, e>/||G|| for e orthogonal to G, so L = -H/||G||."""
    R = sp.symbols("R", positive=True)  # ||G||^2 at t = 0, where a = 0
    component = a1 * t / sp.sqrt((a1 * t) ** 2 + R + r1 * t)  # <n, e> to first order; a1 = <H u, e>
    L = -sp.diff(component, t).subs(t, 0)  # eq. 11
    phi, dphi = sp.symbols("phi dphi", real=True)  # 1/||G|| and its derivative
    product = sp.diff((phi + dphi * t) * (a1 * t), t).subs(t, 0)  # <D_u(phi G), e>, eq. 12
    return {
        "(13), L(e, u) = -<H u, e>/||G||": L - sign * a1 / sp.sqrt(R),
        "the dropped term of (12) carries the factor <G, e> = 0": product - phi * a1,
    }


def form_symbolic(_: int, *, sign: int = -1) -> Evidence:
    """Eq. 11-13."""
    return identities("all d, every C^2 function where G != 0, all tangents", form_pieces(sign=sign))


def form_numeric(seed: int, *, sign: int = -1) -> Evidence:
    """Differences of the normal along tangents, against eq. 13, on random networks."""
    rng, worst = np.random.default_rng(seed), 0.0
    for case in range(40):
        network, step = random_network(rng, softplus_layers=2 + case % 3), 1e-5
        point = rng.normal(size=(1, 3))
        G, H = jets(network, point)
        Q, size = frames(G)[0], np.linalg.norm(G)
        if size < 1e-8:
            continue
        moved = [jets(network, point + s * step * Q.T)[0] for s in (1, -1)]
        normals = [g / np.linalg.norm(g, axis=1, keepdims=True) for g in moved]
        L = -(normals[0] - normals[1]) @ Q / (2 * step)
        printed = sign * Q.T @ H[0] @ Q / size
        worst = max(worst, float(np.abs(L - printed).max() / (1 + np.abs(printed).max() ** 3)))
    good = worst < 1e-4
    return Evidence(
        strength=NUMERIC,
        scope="40 random networks of 2-4 softplus layers in R^3",
        verdict=Verdict.VERIFIED if good else REFUTED,
        margin=1e-4 - worst,
        witness=f"central differences of step 1e-5 (error of second order) agree to {worst:.1e}",
    )


def basis_symbolic(_: int, *, cosine: sp.Expr = c) -> Evidence:
    """A sphere in R^3 of curvature k, unit tangents at an angle with the given cosine."""
    k = sp.symbols("k", positive=True)
    L = sp.Matrix([[k, k * cosine], [k * cosine, k]])  # L = k times the inner product
    excess = sp.expand(sum(entry**2 for entry in L) - (k**2 + k**2))
    return counterexample(
        "spheres in R^3 with lambda_1 = lambda_2 = k, two unit tangent vectors with inner product c > 0",
        {"||L||_F^2 - sum lambda_i^2 = 2 k^2 c^2": excess - 2 * k**2 * cosine**2},
        {"||L||_F^2 - sum lambda_i^2": excess},
    )


def basis_rigorous(_: int, *, shear: str = "0.5") -> Evidence:
    """Eq. 14 in a sheared basis of unit vectors, on a softplus network."""
    with ctx.workprec(80):
        jet = BallNetwork(bowl(3)).jet(column([0, 0, 1]))
        length = norm(jet.gradient)
        second = arb(shear)
        basis = arb_mat([[1, second], [0, (1 - second**2).sqrt()], [0, 0]])
        L = basis.transpose() * jet.hessian * basis * (-1 / length)
        difference = norm(L) - (2 * (jet.hessian[0, 0] / length) ** 2).sqrt()  # H is diagonal, h_11 = h_22
    apart = not difference.contains(0)
    return Evidence(
        strength=RIGOROUS,
        scope="sum_i s(x_i) + s(-x_i) in R^3, beta = 2, at (0, 0, 1), two unit tangents at 60 degrees",
        verdict=REFUTED if apart else UNDECIDED,
        margin=float(difference.abs_lower()),
        witness=f"||L||_F - root of sum of squares = {show(difference)}: equality is excluded",
    )


def eigenvalues_symbolic(_: int, *, power: int = 2) -> Evidence:
    """||Q Lambda Q^T||_F = ||Lambda||_F: Newton's identity e1^2 - 2 e2 = tr L^2 for generic symmetric L."""
    zeros = {}
    for m in range(1, 6):
        L = sp.Matrix(m, m, lambda i, j: sp.Symbol(f"l{min(i, j)}{max(i, j)}", real=True))
        minors = sum((L[i, i] * L[j, j] - L[i, j] ** 2 for i in range(m) for j in range(i)), sp.S.Zero)
        zeros[f"m = {m}"] = sp.expand(L.trace() ** power - 2 * minors - sum(entry**2 for entry in L))
    return identities(
        "all d, orthonormal tangent bases (computer algebra: generic symmetric L of size 1 to 5; the argument: any)",
        zeros,
    )


def eigenvalues_numeric(seed: int, *, sheared: bool = False) -> Evidence:
    """Eq. 14 on random networks, curvatures from the eigenvalues of the shape operator PHP/||G||."""
    rng, worst = np.random.default_rng(seed), 0.0
    for case in range(60):
        network = random_network(rng, inputs=4, softplus_layers=2 + case % 3)
        G, H = jets(network, rng.normal(size=(1, 4)))
        size = np.linalg.norm(G)
        if size < 1e-8:
            continue
        Q = frames(G)[0] @ (np.array([[1, 0.5, 0], [0, 0.75**0.5, 0], [0, 0, 1]]) if sheared else np.eye(3))
        L = -Q.T @ H[0] @ Q / size
        n = G[0] / size
        P = np.eye(4) - np.outer(n, n)
        shape = np.linalg.eigvalsh(-P @ H[0] @ P / size)  # with the normal's zero, which adds nothing
        worst = max(worst, float(abs(np.linalg.norm(L) - np.linalg.norm(shape)) / (np.linalg.norm(H[0]) / size)))
    good = worst < 1e-9
    return Evidence(
        strength=NUMERIC,
        scope="60 random networks of 2-4 softplus layers in R^4",
        verdict=Verdict.VERIFIED if good else REFUTED,
        margin=1e-9 - worst,
        witness=f"largest difference {worst:.1e} of ||H||/||G||, the size of what is rounded",
    )


def lambda_pieces(*, mixed: int = 2) -> dict[str, sp.Expr]:
    """The tangent block of H is no larger than H: what a plane rotation keeps is a sum of squares."""
    angle, p, q, r = sp.symbols("angle p q r", real=True)
    C, S = sp.cos(angle), sp.sin(angle)
    H = sp.Matrix([[p, q], [q, r]])
    Q = sp.Matrix([[C, -S], [S, C]])
    turned = Q.T * H * Q
    rest = mixed * turned[0, 1] ** 2 + turned[1, 1] ** 2
    return {
        "a plane rotation keeps the sum of all h_ij^2": turned[0, 0] ** 2 + rest - (p**2 + 2 * q**2 + r**2),
    }


def lambda_symbolic(_: int, *, mixed: int = 2) -> Evidence:
    """Eq. 15 from eq. 9-10, 13 and 14."""
    return identities(
        "all d, every softplus network, every x with ||G(x)|| >= c (a frame is a product of plane rotations)",
        lambda_pieces(mixed=mixed) | hessian_pieces() | form_pieces(),
    )


def lambda_rigorous(seed: int, *, factor: str = "1", cases: int = 40) -> Evidence:
    """Largest |kappa| on a box against beta C~/c, c the smallest gradient norm there."""
    rng = np.random.default_rng(seed)
    closest, skipped = 0.0, 0
    with ctx.workprec(80):
        for case in range(cases):
            network = random_network(rng, softplus_layers=2 + case % 3) if case else trough()
            box = random_box(rng, 3, 0.001) if case else column([arb(0, "1e-6")] * 2)
            found = _kappa_and_bound(network, box)
            if found is None:
                skipped += 1
                continue
            least, most, bound = found[0], found[1], found[2] * arb(factor)
            if not most <= bound:
                return Evidence(
                    strength=RIGOROUS,
                    scope=f"network {case}, a box of width 0.002" if case else "f = s(x) + s(-x) + s(y/1000)/10",
                    verdict=REFUTED if least > bound else UNDECIDED,
                    margin=float((least - bound).mid()),
                    witness=f"sup |kappa| in [{float(least):.6g}, {float(most):.6g}], bound {float(bound.mid()):.6g}",
                )
            closest = max(closest, float((most / bound).upper()))
    return Evidence(
        strength=RIGOROUS,
        scope=f"every point of one box of width 0.002 in each of {cases - 1 - skipped} random networks of 2-4 softplus "
        f"layers ({skipped} skipped: ||G|| > 1e-6 not shown), and f = s(x) + s(-x) + s(y/1000)/10 near 0",
        verdict=PROVED if skipped < cases / 2 else UNDECIDED,
        margin=1 - closest,
        witness=f"at most {closest:.3g} of the bound is used",
    )


def _kappa_and_bound(network: PlainNetwork, box: arb_mat) -> tuple[arb, arb, arb] | None:
    """Lower and upper end of sup |kappa| on a box, and beta C~/c; None where c > 1e-6 is not shown."""
    balls = BallNetwork(network)
    jet, middle = balls.jet(box), balls.jet(box.mid())
    least = norm(jet.gradient).lower()
    if not least > 1e-6:
        return None
    inside = [curvature_quotient(middle.gradient, sign * middle.hessian).lower() for sign in (1, -1)]
    most = max(curvature_bound(jet.gradient, sign * jet.hessian) for sign in (1, -1))
    return inside[0].max(inside[1]), arb(most), arb(network.beta) * hessian_constant(network) / least


def weights_symbolic(_: int, *, product: int = -1) -> Evidence:
    """Curvature times radius tends to -1 along a ray into the minimum of a fixed network."""
    r = sp.symbols("r", positive=True)
    x, y = sp.symbols("x y", real=True)
    f = sum(sp.log(2 * sp.cosh(u)) for u in (x, y))  # s(u) + s(-u) at beta = 2
    fx, fy = sp.diff(f, x), sp.diff(f, y)
    kappa = -(sp.diff(f, x, 2) * fy**2 + sp.diff(f, y, 2) * fx**2) / (fx**2 + fy**2) ** sp.Rational(3, 2)
    u, beta = sp.symbols("u beta", positive=True)
    softplus_pair = (sp.log(1 + sp.exp(beta * u)) + sp.log(1 + sp.exp(-beta * u))) / beta
    pair = sp.diff(softplus_pair.subs(beta, 2) - sp.log(2 * sp.cosh(u)), u)
    limit = sp.limit(sp.series(kappa.subs({x: r, y: 3 * r / 10}) * r, r, 0, 2).removeO(), r, 0)
    radius = sp.sqrt(109) / 10  # of p = (r, .3r), over r
    return counterexample(
        "f = s(x) + s(-x) + s(y) + s(-y), beta = 2, at p = (r, .3r): |kappa| grows like 1/|p| as r -> 0 with the same "
        "weights",
        {
            "s(u) + s(-u) = log(2 cosh u) up to a constant": sp.simplify(pair.rewrite(sp.exp)),
            "limit of kappa |p|": limit * radius - product,
        },
        {"limit of kappa |p|": limit * radius},
    )


def weights_rigorous(_: int, *, smallest: int = 6) -> Evidence:
    """||n(p) - n(p0)||/d_g from below, between (r, .3r) and (.3r, r): same level, an arc that is monotone."""
    network, ratios = bowl(2), []
    constant = arb(network.beta) * hessian_constant(network)
    with ctx.workprec(120):
        balls = BallNetwork(network)
        for k in range(smallest + 1):
            r = arb(10) ** -k
            ends = [balls.jet(column(p)) for p in ([r, r * 3 / 10], [r * 3 / 10, r])]
            normals = [jet.gradient * (1 / norm(jet.gradient)) for jet in ends]
            # In the open quadrant both partial derivatives are positive, so the arc is monotone: d_g <= |dx| + |dy|.
            ratios.append(norm(normals[0] - normals[1]) / (arb(14) / 10 * r))
    exceeded = [k for k, ratio in enumerate(ratios) if ratio > constant]
    return Evidence(
        strength=RIGOROUS,
        scope="f = s(x) + s(-x) + s(y) + s(-y), beta = 2, p = (r, .3r), p0 = (.3r, r), r = 1, .1, ..., 1e-6",
        verdict=REFUTED if exceeded else UNDECIDED,
        margin=float((ratios[-1] - constant).lower()),
        witness=f"||n(p) - n(p0)||/d_g >= {', '.join(f'{float(v.lower()):.3g}' for v in ratios)}: a C that serves "
        f"for all of them has beta C >= the last; beta C~ = {float(constant.mid()):.3g} does not",
    )


CLAIMS = (
    Claim(
        id="thm1.step2.second_fundamental_form",
        source="eq. 11-13",
        expected=PROVED,
        statement="Where G = grad f != 0, n = G/||G||, and for all e_i, e_j tangent to the level set, the second "
        "fundamental form L(e_i, e_j) = -<D_(e_i) n, e_j> equals -<H e_i, e_j>/||G||, H the Hessian of f.",
        argument="<G, e_j> = 0 removes the derivative of 1/||G||. In symbols: differentiate <n, e> = a/sqrt(a^2 + "
        "rho), a = <G, e>, rho the squared length of the rest of G, in direction u at a = 0: only a' = <H u, e> "
        "survives.",
        checks=((SYMBOLIC, form_symbolic), (NUMERIC, form_numeric)),
    ),
    Claim(
        id="thm1.step2.any_basis",
        source="eq. 11-14, 'a basis of the tangent space'",
        expected=REFUTED,
        statement="For every basis e_1, ..., e_(d-1) of the tangent space the matrix L_ij = L(e_i, e_j) has ||L||_F "
        "= sqrt(lambda_1^2 + ... + lambda_(d-1)^2), lambda_i the principal curvatures.",
        argument="A shear changes the matrix L_ij but not the curvatures. The basis must be orthonormal, as step 4 "
        "says of its own; with that one word in step 2 the proof stands (thm1.step3.frobenius_eigenvalues).",
        checks=((SYMBOLIC, basis_symbolic), (RIGOROUS, basis_rigorous)),
    ),
    Claim(
        id="thm1.step3.frobenius_eigenvalues",
        source="eq. 14",
        expected=PROVED,
        statement="For every orthonormal basis of the tangent space the matrix L_ij = L(e_i, e_j) has ||L||_F = "
        "sqrt(lambda_1^2 + ... + lambda_(d-1)^2), lambda_i the principal curvatures.",
        argument="tr L^2 is the sum of the squared entries of a symmetric L and of its squared eigenvalues. The "
        "latter by the spectral theorem.",
        checks=((SYMBOLIC, eigenvalues_symbolic), (NUMERIC, eigenvalues_numeric)),
    ),
    Claim(
        id="thm1.step3.lambda_max",
        source="eq. 15",
        expected=PROVED,
        statement="For every softplus network of one output: where ||grad f|| >= c > 0, every principal curvature of "
        "the level set has |lambda_i| <= beta C~/c, C~ of eq. 10.",
        argument="max |lambda_i| <= ||L||_F = ||Q^T H Q||_F/||G|| <= ||H||_F/c <= beta C~/c, Q an orthonormal "
        "tangent frame. By thm1.step1.hessian_frobenius, thm1.step2.second_fundamental_form, "
        "thm1.step3.frobenius_eigenvalues.",
        checks=((SYMBOLIC, lambda_symbolic), (RIGOROUS, lambda_rigorous)),
    ),
    Claim(
        id="thm1.step3.constant_from_weights_alone",
        source="eq. 3, 'C depends on the weights'",
        expected=REFUTED,
        statement="For every network there is a constant C, which depends on its weights alone, such that ||n(p) - "
        "n(p0)|| <= beta C d_g(p, p0) for all p, p0, eps and c > 0 that meet the hypotheses of Theorem 1.",
        argument="C = C~/c depends on c too, the least gradient norm near p, and so on p and eps. Near the minimum "
        "of this network the level sets are small closed convex curves; with eps above its diameter each meets the "
        "hypotheses, with a c of its own, and its normal turns ever faster. The supplement's own proof has C = C~/c; "
        "the theorem's words 'depends on the weights' have to be read as 'the weights and c'.",
        checks=((SYMBOLIC, weights_symbolic), (RIGOROUS, weights_rigorous)),
    ),
)
