r"""Theorem 1, steps 2 and 3: the second fundamental form, its eigenvalues, and the constant.

All identities are checked in as many symbols as matter: along a direction u only the
component of G in the direction e, :math:`a(t)`, and the squared length of the rest,
:math:`\rho(t)`, enter :math:`\langle n, e\rangle = a/\sqrt{a^2 + \rho}`; so they hold in every dimension.
"""

import numpy as np
import sympy as sp
from flint import arb, arb_mat, ctx

from proofs_check.algebra import identities
from proofs_check.claim import Claim, Evidence, Strength, Verdict
from proofs_check.enclosure import show
from proofs_check.float_search import frames, jets
from proofs_check.interval_oracle import _curvature_bound
from proofs_check.softplus_ball import BallNetwork, column, norm
from proofs_check.theorem1_networks import bowl, hessian_constant, random_box, random_network

PROVED, REFUTED, UNDECIDED = Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED
SYMBOLIC, RIGOROUS, NUMERIC = Strength.SYMBOLIC, Strength.RIGOROUS, Strength.NUMERIC
t, r0, r1, a1 = sp.symbols("t r0 r1 a1", real=True)


def form_symbolic(_: int, *, sign: int = -1) -> Evidence:
    """<D_u n, e> = <H u, e>/||G|| for e orthogonal to G, so L = -H/||G||."""
    R = sp.symbols("R", positive=True)  # ||G||^2 at t = 0, where a = 0
    component = a1 * t / sp.sqrt((a1 * t) ** 2 + R + r1 * t)  # <n, e> to first order; a1 = <H u, e>
    L = -sp.diff(component, t).subs(t, 0)  # eq. 11
    phi, dphi = sp.symbols("phi dphi", real=True)  # 1/||G|| and its derivative
    product = sp.diff((phi + dphi * t) * (a1 * t), t).subs(t, 0)  # <D_u(phi G), e>, eq. 12
    return identities(
        "all d, every C^2 function with G != 0",
        {
            "(13)": L - sign * a1 / sp.sqrt(R),
            "the dropped term of (12) carries the factor <G, e> = 0": product - phi * a1,
        },
    )


def form_numeric(seed: int, *, sign: int = -1) -> Evidence:
    """Differences of the normal along tangents, against eq. 13, on random networks."""
    rng, worst = np.random.default_rng(seed), 0.0
    for case in range(40):
        network, step = random_network(rng, softplus_layers=1 + case % 4), 1e-5
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
        scope="40 random networks of 1-4 softplus layers",
        verdict=Verdict.VERIFIED if good else REFUTED,
        margin=1e-4 - worst,
        witness=f"central differences of step 1e-5 (error of second order) agree to {worst:.1e}",
    )


def basis_symbolic(_: int) -> Evidence:
    """A sphere in R^3 of curvature k, unit tangents at an angle with cosine c."""
    k, c = sp.symbols("k c", positive=True)
    L = sp.Matrix([[k, k * c], [k * c, k]])
    excess = sum(entry**2 for entry in L) - (k**2 + k**2)
    return identities(
        "spheres in R^3, unit tangent vectors with inner product c: ||L||_F^2 exceeds the sum of squares by 2 k^2 "
        "c^2 > 0",
        {"excess": excess - 2 * k**2 * c**2},
        true=REFUTED,
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
        scope="sum_i s(x_i) + s(-x_i) in R^3 at (0, 0, 1), two unit tangents at 60 degrees",
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
        "all d, orthonormal tangent bases (generic symmetric L up to 5x5; any size by (sum l_ii)^2 - tr L^2 = 2 e2)",
        zeros,
    )


def eigenvalues_numeric(seed: int, *, sheared: bool = False) -> Evidence:
    """Eq. 14 on random networks, curvatures from the eigenvalues of the shape operator PHP/||G||."""
    rng, worst = np.random.default_rng(seed), 0.0
    for case in range(60):
        network = random_network(rng, inputs=4, softplus_layers=1 + case % 4)
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
        scope="60 random networks in R^4",
        verdict=Verdict.VERIFIED if good else REFUTED,
        margin=1e-9 - worst,
        witness=f"largest difference {worst:.1e} of ||H||/||G||, the size of what is rounded",
    )


def lambda_symbolic(_: int) -> Evidence:
    """Max lambda^2 <= sum lambda^2, and the tangent block is smaller than H."""
    angle, p, q, r = sp.symbols("angle p q r", real=True)
    c, s = sp.cos(angle), sp.sin(angle)
    H = sp.Matrix([[p, q], [q, r]])
    Q = sp.Matrix([[c, -s], [s, c]])
    turned = Q.T * H * Q
    rest = 2 * turned[0, 1] ** 2 + turned[1, 1] ** 2
    top, S = sp.symbols("top S", nonnegative=True)
    return identities(
        "all d and all networks with ||G|| >= c (a frame is a product of plane rotations)",
        {
            "||H||_F^2 = tangent^2 + 2 mixed^2 + normal^2, kept by a rotation": turned[0, 0] ** 2
            + rest
            - (p**2 + 2 * q**2 + r**2),
            "sum of squares minus the largest is a sum of squares": (top**2 + S) - top**2 - S,
        },
    )


def lambda_rigorous(seed: int, *, factor: str = "1", cases: int = 40) -> Evidence:
    """Largest |kappa| on a box against beta C~/c, c the smallest gradient norm there."""
    rng = np.random.default_rng(seed)
    closest, skipped = 0.0, 0
    with ctx.workprec(80):
        for case in range(cases):
            network = random_network(rng, softplus_layers=1 + case % 4)
            jet = BallNetwork(network).jet(random_box(rng, 3, 0.001))
            c = norm(jet.gradient).lower()
            if not c > 1e-6:
                skipped += 1
                continue
            kappa = max(_curvature_bound(jet.gradient, sign * jet.hessian) for sign in (1, -1))
            bound = float((arb(network.beta) * hessian_constant(network) / c * arb(factor)).lower())
            if not kappa <= bound:
                return Evidence(
                    strength=RIGOROUS,
                    scope=f"network {case}",
                    verdict=UNDECIDED,
                    margin=bound - kappa,
                    witness="bound not shown",
                )
            closest = max(closest, kappa / bound)
    return Evidence(
        strength=RIGOROUS,
        scope=f"{cases - skipped} random networks of 1-4 softplus layers, a box each ({skipped} skipped: no c > 1e-6)",
        verdict=PROVED if skipped < cases / 2 else UNDECIDED,
        margin=1 - closest,
        witness=f"at most {closest:.3g} of the bound is used",
    )


def weights_symbolic(_: int) -> Evidence:
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
    return identities(
        "f = sum_i s(x_i) + s(-x_i), beta = 2: |kappa| -> oo as r -> 0 with the same weights",
        {
            "s(u) + s(-u) = log(2 cosh u) up to a constant": sp.simplify(pair.rewrite(sp.exp)),
            "kappa |p| -> -1": limit * sp.sqrt(109) / 10 + 1,
        },
        true=REFUTED,
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
        scope="f = sum_i s(x_i) + s(-x_i) in R^2, beta = 2, p = (r, .3r), p0 = (.3r, r), r = 1 to 1e-6",
        verdict=REFUTED if exceeded else UNDECIDED,
        margin=float((ratios[-1] - constant).lower()),
        witness=f"change/d_g >= {', '.join(f'{float(v.lower()):.3g}' for v in ratios)} against beta C~ = "
        f"{float(constant.mid()):.3g}; it grows as 1/r beyond every constant",
    )


CLAIMS = (
    Claim(
        id="thm1.step2.second_fundamental_form",
        source="eq. 11-13",
        expected=PROVED,
        statement="For tangent e_i, e_j: L(e_i, e_j) = -<D_(e_i) n, e_j> = -e_i^T H e_j/||G||, as <G, e_j> = 0.",
        argument="Differentiate <n, e> = a/sqrt(a^2 + rho) where a = 0: only a' = <H u, e> survives. The chain "
        "rule along S gives <G, e> = 0.",
        checks=((SYMBOLIC, form_symbolic), (NUMERIC, form_numeric)),
    ),
    Claim(
        id="thm1.step2.any_basis",
        source="eq. 11-14, 'a basis of the tangent space'",
        expected=REFUTED,
        statement="Eq. 14, ||L||_F = sqrt(sum of lambda_i^2), holds for the matrix of L in any basis of the "
        "tangent space.",
        argument="The matrix L(e_i, e_j) changes under a shear, the curvatures do not. The basis must be "
        "orthonormal, as step 4 says of its own; with that word the proof stands.",
        checks=((SYMBOLIC, basis_symbolic), (RIGOROUS, basis_rigorous)),
    ),
    Claim(
        id="thm1.step3.frobenius_eigenvalues",
        source="eq. 14",
        expected=PROVED,
        statement="In an orthonormal tangent basis ||L||_F = sqrt(sum of lambda_i^2), lambda_i the principal "
        "curvatures.",
        argument="L is symmetric, so tr L^2 is the sum of its squared entries and, by the spectral theorem, of its "
        "squared eigenvalues.",
        checks=((SYMBOLIC, eigenvalues_symbolic), (NUMERIC, eigenvalues_numeric)),
    ),
    Claim(
        id="thm1.step3.lambda_max",
        source="eq. 15",
        expected=PROVED,
        statement="|lambda_max| <= beta C~/c wherever ||G|| >= c > 0.",
        argument="max |lambda_i| <= ||L||_F = ||Q^T H Q||_F/||G|| <= ||H||_F/c <= beta C~/c, by "
        "thm1.step1.hessian_frobenius.",
        checks=((SYMBOLIC, lambda_symbolic), (RIGOROUS, lambda_rigorous)),
    ),
    Claim(
        id="thm1.step3.constant_from_weights_alone",
        source="eq. 3, 'C depends on the weights'",
        expected=REFUTED,
        statement="One constant C, that depends on the weights alone, serves in (3) for every p, eps and c that "
        "meet the hypotheses.",
        argument="C = C~/c depends on c, the least gradient norm near p, and so on p and eps. Near the minimum of "
        "a fixed network the level sets are small circles "
        "of unbounded curvature, each of which meets the hypotheses with a c of its own. The theorem holds with "
        "'the weights and c'.",
        checks=((SYMBOLIC, weights_symbolic), (RIGOROUS, weights_rigorous)),
    ),
)
