"""Theorem 1, step 4, the theorem and its readings: the statements, with their checks."""

from functools import partial

from proofs_check import theorem1_chain as chain
from proofs_check import theorem1_contour as contour
from proofs_check import theorem1_geodesics as geodesics
from proofs_check import theorem1_side as side
from proofs_check.claim import Claim, Strength, Verdict

PROVED, REFUTED = Verdict.PROVED, Verdict.REFUTED
SYMBOLIC, RIGOROUS, NUMERIC = Strength.SYMBOLIC, Strength.RIGOROUS, Strength.NUMERIC

CLAIMS = (
    Claim(
        id="thm1.step4.sign_as_printed",
        source="eq. 17-19",
        expected=REFUTED,
        statement="D_u n = sum_j L(e_j, u) e_j with L as defined in (11), and so n(p) - n(p0) = + integral of "
        "sum_i lambda_i u^i e_i.",
        argument="By (11) <e_j, D_u n> = -L(e_j, u): a minus sign is lost between (11) and (17). It is harmless "
        "for (20), which takes norms.",
        checks=((SYMBOLIC, chain.sign_symbolic), (RIGOROUS, chain.sign_rigorous)),
    ),
    Claim(
        id="thm1.step4.path_integral",
        source="eq. 16-20, the sign mended",
        expected=PROVED,
        statement="n(p) - n(p0) = -integral of sum_j L(e_j, u) e_j dt along any piecewise C^1 curve in S, so "
        "||n(p) - n(p0)|| <= integral of max_i |kappa_i| ds <= |lambda_max| length.",
        argument="Fundamental theorem of calculus; ||D_u n|| <= |lambda_max| ||u|| pointwise, which needs no "
        "eigenbasis that varies continuously along the curve.",
        checks=((SYMBOLIC, chain.path_symbolic), (NUMERIC, geodesics.sharp)),
    ),
    Claim(
        id="thm1.theorem",
        source="eq. 3, 16-20, h = n as in the main text",
        expected=PROVED,
        statement="Under the hypotheses of Theorem 1, ||n(p) - n(p0)|| <= |lambda_max| d_g(p, p0) <= beta C d_g(p, "
        "p0), C = C~/c, |lambda_max| the supremum over U and S, d_g measured inside.",
        argument="thm1.step4.path_integral for every curve in the intersection (connected and open in a C^2 "
        "surface, so joined by C^1 curves), infimum over their lengths (a shortest one need not exist, as "
        "U is open), then thm1.step3.lambda_max.",
        checks=((SYMBOLIC, chain.theorem_symbolic), (RIGOROUS, contour.whole_chain), (NUMERIC, geodesics.certified)),
    ),
    Claim(
        id="thm1.angle_form",
        source="eq. 3, sharper",
        expected=PROVED,
        statement="The angle between n(p) and n(p0) is at most |lambda_max| d_g, so ||n(p) - n(p0)|| <= 2 "
        "sin(min(|lambda_max| d_g, pi)/2).",
        argument="n moves on the unit sphere with speed at most |lambda_max|, and an angle is the shortest "
        "distance there.",
        checks=((SYMBOLIC, chain.angle_symbolic), (NUMERIC, partial(geodesics.certified, angle=True))),
    ),
    Claim(
        id="thm1.raw_gradient_reading",
        source="eq. 3 with h = grad f: not the paper's claim, whose main text says h = n",
        expected=REFUTED,
        statement="(Not the paper's claim.) If h were the gradient itself: ||grad f(p) - grad f(p0)|| <= "
        "|lambda_max| d_g(p, p0).",
        argument="The length of the gradient can change along a flat level set. It shows why the normalisation "
        "matters.",
        checks=((SYMBOLIC, chain.raw_symbolic), (RIGOROUS, chain.raw_rigorous)),
    ),
    Claim(
        id="thm1.raw_gradient_outer",
        source="eq. 3 with h = grad f, its two ends",
        expected=PROVED,
        statement="||grad f(p) - grad f(p0)|| <= beta C~ d_g(p, p0), without a lower bound of the gradient.",
        argument="D_u G = H u, ||H u|| <= ||H||_F ||u|| <= beta C~ ||u|| by thm1.step1.hessian_frobenius, "
        "integrated along curves in S.",
        checks=((SYMBOLIC, chain.raw_outer_symbolic), (RIGOROUS, contour.outer_chain)),
    ),
    Claim(
        id="thm1.displacement",
        source="extends eq. 3 to points off S",
        expected=PROVED,
        statement="If G != 0 on the segment [x, y]: angle(n(x), n(y)) <= sup ||P H||_2/||G|| over the segment, "
        "times ||x - y||.",
        argument="D_u n = P H u/||G|| in every direction u; then as in thm1.angle_form.",
        checks=((SYMBOLIC, chain.displacement_symbolic), (RIGOROUS, side.displacement_rigorous)),
    ),
    Claim(
        id="thm1.displacement_without_condition",
        source="extends eq. 3 to points off S",
        expected=REFUTED,
        statement="The same where G may vanish on the segment, the supremum taken where it does not.",
        argument="s(x) + s(-x) has P H = 0 off x = 0, and its normal flips there.",
        checks=((SYMBOLIC, chain.condition_symbolic), (RIGOROUS, chain.condition_rigorous)),
    ),
    Claim(
        id="thm1.abs_sum_map",
        source="extends eq. 3 to normalised maps of the gradient",
        expected=PROVED,
        statement="For h = a/sum(a), a = sum over channels of |G|, delta = ||n - n0||: ||h - h0||_2 <= sqrt(d) "
        "||h0||_2 delta/max(1, ||n0||_1 - sqrt(d) delta).",
        argument="h - h0 = (I - h0 1^T)(a - a0)/S with a, a0 those of n, n0; the oblique projection has norm "
        "||h0|| ||1||, ||a - a0|| <= sqrt(channels) delta, S = ||n||_1 >= 1 and >= ||n0||_1 - sqrt(d) "
        "delta.",
        checks=((SYMBOLIC, side.map_symbolic), (RIGOROUS, side.map_rigorous)),
    ),
    Claim(
        id="thm1.connectedness",
        source="hypothesis 'fully connected', and d_g",
        expected=PROVED,
        statement="delta = sup over B(p, r) of ||G(y) - G(p)||, sin theta = delta/||G(p)|| < 1/sqrt(2): S in B(p, "
        "r) is connected and d_g(p, q) <= ||q - p||/cos theta for every q in it.",
        argument="Mean gradients lie in the cone of half-angle theta about n, so q lies in the double cone of "
        "slope T = tan theta about T_pS, and f has the sign of the cone on the edges of the diamond "
        "between p and q. The diamond stays in the ball if T <= 1. f increases along n, so S crosses it in one "
        "graph over the segment, of slope at most T.",
        checks=((SYMBOLIC, side.connected_symbolic), (RIGOROUS, contour.connected), (NUMERIC, side.connected_numeric)),
    ),
    Claim(
        id="thm1.without_smoothness",
        source="hypothesis 'sp_beta non-linearities'",
        expected=REFUTED,
        statement="(3), with lambda_max over the smooth points, holds for networks with ReLU or max-pooling as well.",
        argument="The normal jumps by a fixed amount across a kink of the level set while the distance goes to zero.",
        checks=((SYMBOLIC, chain.rough_symbolic), (RIGOROUS, chain.rough_rigorous)),
    ),
)
