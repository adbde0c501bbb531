r"""Theorem 1, step 1: the network's gradient and Hessian are bounded by its weights.

Proof for all widths and depths, which the symbolic checks follow. With
:math:`J_l = \|\nabla a_l\|_F` over all neurons, :math:`T_l^2 = \sum_i \|\nabla^2 a_{l,i}\|_F^2`:
the chain rule gives :math:`\nabla^2 a_i = s''\,\nabla z_i \nabla z_i^T + s'\,\nabla^2 z_i`; the
Cauchy-Schwarz inequality gives :math:`\|\nabla z_l\|_F \le \|W_l\|_F J_{l-1}` and the same for second
derivatives; :math:`\sum q_i^2 \le (\sum q_i)^2` for :math:`q_i = \|\nabla z_i\|^2`. So
:math:`J_l \le \|W_l\|_F J_{l-1}` and
:math:`T_l \le \beta \sup g\,(\|W_l\|_F J_{l-1})^2 + \|W_l\|_F T_{l-1}`, which unrolls
to eq. 10 times sup g, and g = sigma(1-sigma) <= 1/4. It holds for several outputs as well.
"""

from functools import partial

import mpmath
import numpy as np
import sympy as sp
from flint import arb, ctx

from proofs_check.algebra import identities
from proofs_check.claim import Check, Claim, Evidence, Strength, Verdict
from proofs_check.softplus_ball import BallNetwork, column, norm
from proofs_check.theorem1_networks import frobenius_norms, hessian_constant, one_neuron, random_box, random_network

PROVED, REFUTED, UNDECIDED = Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED
SYMBOLIC, RIGOROUS, NUMERIC = Strength.SYMBOLIC, Strength.RIGOROUS, Strength.NUMERIC
b = sp.symbols("beta", positive=True)
x, y, w, v, rest = sp.symbols("x y w v rest", real=True)


def sigma(u: sp.Expr) -> sp.Expr:
    """Eq. 6; beta is inside."""
    return 1 / (1 + sp.exp(-b * u))


def g(u: sp.Expr) -> sp.Expr:
    """Eq. 6; beta is inside."""
    return 1 / (sp.exp(b * u / 2) + sp.exp(-b * u / 2)) ** 2


def derivatives_symbolic(_: int, *, factor: sp.Expr = b) -> Evidence:
    """Eq. 4-5 in one input; all others are the symbol ``rest``."""
    z = w * x + rest
    return identities(
        "all widths, weights and inputs, all beta > 0",
        {
            "(4)": sp.diff(sp.log(1 + sp.exp(b * z)) / b, x) - w * sigma(z),
            "(5)": sp.diff(sigma(z), x) - factor * w * g(z),
        },
    )


def derivatives_numeric(seed: int, *, factor: float = 1.0) -> Evidence:
    """Differences with 300 digits, as the tails reach e^-400, in both tails."""
    rng = np.random.default_rng(seed)
    worst = mpmath.mpf(0)
    with mpmath.workdps(300):
        for _ in range(60):
            beta, u = mpmath.mpf(float(rng.uniform(0.3, 50))), mpmath.mpf(float(rng.normal() * 3))
            slope = mpmath.diff(lambda t, beta=beta: mpmath.log1p(mpmath.exp(beta * t)) / beta, u)
            bend = mpmath.diff(lambda t, beta=beta: 1 / (1 + mpmath.exp(-beta * t)), u)
            printed = factor * beta / (mpmath.exp(beta * u / 2) + mpmath.exp(-beta * u / 2)) ** 2
            worst = max(worst, abs(slope * (1 + mpmath.exp(-beta * u)) - 1), abs(bend / printed - 1))
    good = worst < 1e-15
    return Evidence(
        strength=NUMERIC,
        scope="60 random (t, beta), beta from 0.3 to 50",
        verdict=Verdict.VERIFIED if good else REFUTED,
        margin=float(worst),
        witness="margin: the largest relative difference found, in 300 digits (1e-15 allowed)",
    )


def _cauchy_schwarz() -> dict[str, sp.Expr]:
    """AB - C^2 grows by a sum of squares when a pair (p, q) joins the sums A, B, C."""
    A, B, C, p, q = sp.symbols("A B C p q", real=True)
    growth = A * q**2 - 2 * C * p * q + B * p**2  # sum_j (a_j q - b_j p)^2
    return {"Cauchy-Schwarz, by induction": (A + p**2) * (B + q**2) - (C + p * q) ** 2 - (A * B - C**2) - growth}


def gradient_pieces(*, total: sp.Expr = sp.S.One) -> dict[str, sp.Expr]:
    """0 < sigma < 1, as sigma(u) and sigma(-u) are positive and add up to 1, and Cauchy-Schwarz."""
    return {"sigma(u) + sigma(-u) = 1, so 0 < sigma < 1": sigma(x) + sigma(-x) - total, **_cauchy_schwarz()}


def gradient_symbolic(_: int, *, total: sp.Expr = sp.S.One) -> Evidence:
    """Eq. 8 from sigma < 1 and Cauchy-Schwarz."""
    return identities("all widths, depths, weights and biases, all beta > 0", gradient_pieces(total=total))


def hessian_pieces(*, sup_g: sp.Expr = sp.S.One, power: int = 2) -> dict[str, sp.Expr]:
    """Eq. 9-10, and with 1/4, from the recursion of the module's docstring."""
    z, s = sp.Function("z")(x, y), sp.Function("s")
    S, Q, q = sp.symbols("S Q q", nonnegative=True)
    u = sp.Symbol("u")
    second = sp.Derivative(s(u), (u, 2)).subs(u, z).doit()
    first = sp.Derivative(s(u), u).subs(u, z).doit()
    chain = sp.diff(s(z), x, y) - (second * sp.diff(z, x) * sp.diff(z, y) + first * sp.diff(z, x, y))
    return {
        "chain rule": chain.doit(),
        "(sum q)^2 - sum q^2 grows by 2 q sum q with each q >= 0": (S + q) ** 2 - (Q + q**2) - (S**2 - Q) - 2 * S * q,
        "1/4 - g = (sigma - 1/2)^2, so g <= 1/4": sp.Rational(1, 4) - g(x) - (sigma(x) - sp.Rational(1, 2)) ** 2,
        **{f"recursion unrolled to depth {depth}": _unrolled(depth, sup_g, power) for depth in (1, 2, 5)},
        **gradient_pieces(),
    }


def hessian_symbolic(_: int, *, power: int = 2) -> Evidence:
    """Eq. 9-10; a false sibling leaves out the square."""
    return identities("all widths, depths, weights and biases, all beta > 0", hessian_pieces(power=power))


def _unrolled(depth: int, sup_g: sp.Expr, power: int) -> sp.Expr:
    """T_L of the recursion minus beta sup_g times eq. 10."""
    W = sp.symbols(f"W1:{depth + 1}", positive=True)
    T, J = sp.S.Zero, sp.S.One
    for weight in W:
        T = b * sup_g * (weight * J) ** 2 + weight * T
        J = weight * J
    printed = sum(sp.prod(W[m + 1 :]) * sp.prod([value**power for value in W[: m + 1]]) for m in range(depth))
    return sp.expand(T - b * sup_g * printed)


def on_boxes(seed: int, *, quantity: str, factor: str = "1", cases: int = 60) -> Evidence:
    """Enclose the norm on a box for each of many networks and compare with the constant."""
    rng = np.random.default_rng(seed)
    closest = 0.0
    with ctx.workprec(1200):  # a saturated gate is 1 - e^-400: less precision could not tell it from 1
        for case in range(cases):
            network = one_neuron() if case == 0 else random_network(rng, softplus_layers=1 + case % 4)
            box = column([arb("0.001")] * 2) if case == 0 else random_box(rng, network.inputs)
            jet = BallNetwork(network).jet(box)
            if quantity == "gradient":
                value, bound = norm(jet.gradient), _product(frobenius_norms(network))
            else:
                value, bound = norm(jet.hessian), arb(network.beta) * hessian_constant(network)
            bound = bound * arb(factor)
            if not value <= bound:
                refuted = bool(value > bound)
                return Evidence(
                    strength=RIGOROUS,
                    scope=f"network {case} on a box",
                    verdict=REFUTED if refuted else UNDECIDED,
                    margin=float((bound - value).mid()),
                    witness=f"norm {value}, bound {bound}",
                )
            closest = max(closest, float((value / bound).upper()))
    return Evidence(
        strength=RIGOROUS,
        scope=f"every point of one box of width 0.04 in each of {cases - 1} random networks of 1-4 softplus layers, "
        "beta 0.3-50, and s_3(2x - y) at the point (.001, .001)",
        verdict=PROVED,
        margin=1 - closest,
        witness=f"at most {closest:.6f} of the bound is used (margin: the rest; compared with 1200 bits, as a "
        "saturated gate is 1 - e^-400)",
    )


def _product(values: list[arb]) -> arb:
    total = arb(1)
    for value in values:
        total *= value
    return total


def quarter_symbolic(_: int, *, sup_g: sp.Expr = sp.S.One / 4) -> Evidence:
    """The bound with 1/4, and one neuron at 0 that attains it."""
    f = sp.log(1 + sp.exp(b * (w * x + v * y))) / b
    H = sp.hessian(f, (x, y)).subs({x: 0, y: 0})
    attained = sp.simplify(sum(entry**2 for entry in H) - (b * sup_g * (w**2 + v**2)) ** 2)
    return identities(
        "all widths, depths, weights and biases, all beta > 0; attained by s_beta(w x + v y) at 0, all w, v",
        {"one neuron attains it at 0": attained} | hessian_pieces(sup_g=sup_g),
    )


def _boxes(quantity: str, factor: str = "1") -> Check:
    return partial(on_boxes, quantity=quantity, factor=factor)


CLAIMS = (
    Claim(
        id="thm1.step1.derivatives",
        source="eq. 4-6",
        expected=PROVED,
        statement="With z = sum_j W_ij x_j: d/dx_k sp(z) = W_ik sigma(z) and d/dx_l sigma(z) = beta W_il g(z), where "
        "sp(t) = log(1 + e^(beta t))/beta, sigma(t) = 1/(1 + e^(-beta t)), g(t) = (e^(beta t/2) + e^(-beta t/2))^-2.",
        argument="Partial derivatives, in which the other terms of the sum are a constant.",
        checks=((SYMBOLIC, derivatives_symbolic), (NUMERIC, derivatives_numeric)),
    ),
    Claim(
        id="thm1.step1.gradient_norm",
        source="eq. 7-8",
        expected=PROVED,
        statement="For every softplus network a^(L) of any widths and depth, with or without biases, and every x: "
        "||grad a^(L)(x)||_F <= ||W^(1)||_F ... ||W^(L)||_F.",
        argument="0 < sigma < 1 and Cauchy-Schwarz, layer by layer. grad a^(l) = D W^(l) grad a^(l-1), D diagonal "
        "with entries sigma, so ||D W J||_F <= ||W J||_F <= ||W||_F ||J||_F.",
        checks=((SYMBOLIC, gradient_symbolic), (RIGOROUS, _boxes("gradient"))),
    ),
    Claim(
        id="thm1.step1.hessian_frobenius",
        source="eq. 9-10",
        expected=PROVED,
        statement="For every softplus network of one output, any widths and depth, and every x, the Hessian obeys "
        "||H(x)||_F <= beta C~ with C~ = sum over m of prod_(l>m) ||W^(l)||_F prod_(l<=m) ||W^(l)||_F^2. (With a "
        "linear layer on top: m runs over the softplus layers, the top layer's norm is a factor of each term.)",
        argument="The chain rule splits the Hessian in two parts, and Cauchy-Schwarz bounds both. With J_l, T_l the "
        "Frobenius norms of all first and second derivatives of layer l: J_l <= ||W_l|| J_(l-1), T_l <= beta "
        "(||W_l|| J_(l-1))^2 + ||W_l|| T_(l-1); eq. 10 solves the recursion by induction (a further layer multiplies "
        "every term by its norm and adds the term m = L). The supplement cites |sigma| <= 1 and also uses |g| <= 1; "
        "both hold.",
        checks=((SYMBOLIC, hessian_symbolic), (RIGOROUS, _boxes("hessian"))),
    ),
    Claim(
        id="thm1.step1.quarter",
        source="eq. 9-10, sharper",
        expected=PROVED,
        statement="For the same networks ||H(x)||_F <= beta C~/4; a network of one neuron attains equality, so no "
        "factor below 1/4 holds for every network.",
        argument="g = sigma (1 - sigma) is at most 1/4. That replaces |g| <= 1 in the recursion for eq. 10.",
        checks=((SYMBOLIC, quarter_symbolic), (RIGOROUS, _boxes("hessian", "0.25"))),
    ),
)
