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
        statement="For every curve in S with velocity u and every orthonormal tangent frame e_j: D_u n = sum_j "
        "L(e_j, u) e_j with L as defined in (11), and so n(p) - n(p0) = integral of sum_i lambda_i u^i e_i dt.",
        argument="A minus sign is lost between (11) and (17). By (11) <e_j, D_u n> = -L(e_j, u). It is harmless: "
        "(20) takes norms.",
        checks=((SYMBOLIC, chain.sign_symbolic), (RIGOROUS, chain.sign_rigorous)),
    ),
    Claim(
        id="thm1.step4.path_integral",
        source="eq. 16-20, the sign mended",
        expected=PROVED,
        statement="Where G != 0, along every piecewise C^1 curve in S from p0 to p, with velocity u and orthonormal "
        "tangent frames e_j: n(p) - n(p0) = -integral of sum_j L(e_j, u) e_j dt, so ||n(p) - n(p0)|| <= integral of "
        "max_i |lambda_i| ds <= sup |lambda_i| times its length.",
        argument="Fundamental theorem of calculus, and ||D_u n|| <= max_i |lambda_i| ||u|| at each point. That needs "
        "no eigenbasis which varies continuously along the curve, as (18)-(19) suggest.",
        checks=((SYMBOLIC, chain.path_symbolic), (NUMERIC, geodesics.sharp)),
    ),
    Claim(
        id="thm1.theorem",
        source="eq. 3, 16-20, h = n as in the main text",
        expected=PROVED,
        statement="Let f be a softplus network of one output, S the level set of p, U = B(p, eps), the intersection "
        "of U and S connected and ||grad f|| >= c > 0 on it. Then for all p0 in it ||n(p) - n(p0)|| <= |lambda_max| "
        "d_g(p, p0) <= beta C d_g(p, p0): n the unit normal, |lambda_max| the supremum of |lambda_i| over the "
        "intersection, d_g the infimum of lengths of curves inside it, C = C~/c with C~ of eq. 10.",
        argument="The supplement's steps 1-4, with an orthonormal basis, the sign mended, and C = C~/c. "
        "thm1.step4.path_integral for every curve in the intersection (connected and open in a C^2 surface, so its "
        "points are joined by C^1 curves); the infimum over their lengths (a shortest one need not exist, as U is "
        "open); then thm1.step3.lambda_max.",
        checks=((SYMBOLIC, chain.theorem_symbolic), (RIGOROUS, contour.whole_chain), (NUMERIC, geodesics.certified)),
    ),
    Claim(
        id="thm1.angle_form",
        source="eq. 3, sharper",
        expected=PROVED,
        statement="Under the hypotheses of Theorem 1 the angle between n(p) and n(p0) is at most |lambda_max| d_g(p, "
        "p0), so ||n(p) - n(p0)|| <= 2 sin(min(|lambda_max| d_g, pi)/2).",
        argument="n moves on the unit sphere with speed at most |lambda_max|. An angle is the shortest distance there.",
        checks=((SYMBOLIC, chain.angle_symbolic), (NUMERIC, partial(geodesics.certified, angle=True))),
    ),
    Claim(
        id="thm1.raw_gradient_reading",
        source="eq. 3 with h = grad f: not the paper's claim, whose main text says h = n",
        expected=REFUTED,
        statement="(Not the paper's claim.) Theorem 1 with h = grad f instead of h = n: ||grad f(p) - grad f(p0)|| "
        "<= |lambda_max| d_g(p, p0).",
        argument="The length of the gradient can change along a flat level set. This shows why the normalisation "
        "matters.",
        checks=((SYMBOLIC, chain.raw_symbolic), (RIGOROUS, chain.raw_rigorous)),
    ),
    Claim(
        id="thm1.raw_gradient_outer",
        source="eq. 3 with h = grad f, its two ends",
        expected=PROVED,
        statement="For every softplus network of one output, all p, p0 on one level set and every set that contains "
        "both: ||grad f(p) - grad f(p0)|| <= beta C~ d_g(p, p0), without a lower bound of the gradient.",
        argument="The Hessian bounds the change of the gradient along any curve. D_u G = H u, ||H u|| <= ||H||_F "
        "||u|| <= beta C~ ||u|| by thm1.step1.hessian_frobenius.",
        checks=((SYMBOLIC, chain.raw_outer_symbolic), (RIGOROUS, contour.outer_chain)),
    ),
    Claim(
        id="thm1.displacement",
        source="extends eq. 3 to points off S",
        expected=PROVED,
        statement="For every C^2 function f and points x, y, on one level set or not, with G = grad f != 0 on the "
        "segment [x, y]: angle(n(x), n(y)) <= ||x - y|| sup ||P H||_2/||G|| over the segment, P = I - n n^T.",
        argument="D_u n = P H u/||G|| for every direction u. Then as in thm1.angle_form.",
        checks=((SYMBOLIC, chain.displacement_symbolic), (RIGOROUS, side.displacement_rigorous)),
    ),
    Claim(
        id="thm1.displacement_without_condition",
        source="extends eq. 3 to points off S",
        expected=REFUTED,
        statement="For every softplus network and all x, y with G(x), G(y) != 0: angle(n(x), n(y)) <= ||x - y|| sup "
        "||P H||_2/||G||, the supremum over those points of [x, y] at which G != 0.",
        argument="f = s(x) + s(-x) has P H = 0 off x = 0, and its normal flips there.",
        checks=((SYMBOLIC, chain.condition_symbolic), (RIGOROUS, chain.condition_rigorous)),
    ),
    Claim(
        id="thm1.abs_sum_map",
        source="extends eq. 3 to normalised maps of the gradient",
        expected=PROVED,
        statement="Let h = a/sum(a) with a_i the sum of |G| over the channels of pixel i, d = channels x pixels, and "
        "delta = ||n(x) - n(x0)||. Then for all x, x0 with G != 0, h0 = h(x0), n0 = n(x0): ||h - h0||_2 <= sqrt(d) "
        "||h0||_2 delta/max(1, ||n0||_1 - sqrt(d) delta).",
        argument="An oblique projection carries a - a0 to h - h0. h - h0 = (I - h0 1^T)(a - a0)/S with a, a0, S = "
        "sum(a) those of n and n0, as h does not depend on the length of G. The projection's norm is ||h0|| ||1|| "
        "(>= 1, also off the plane of h0 and 1), ||a - a0|| <= sqrt(channels) delta, S = ||n||_1 >= 1 and >= "
        "||n0||_1 - sqrt(d) delta.",
        checks=((SYMBOLIC, side.map_symbolic), (RIGOROUS, side.map_rigorous)),
    ),
    Claim(
        id="thm1.connectedness",
        source="hypothesis 'fully connected', and d_g",
        expected=PROVED,
        statement="Let f be C^1, G(p) != 0, S the level set of p, delta = sup over B(p, r) of ||G(y) - G(p)||, sin "
        "theta = delta/||G(p)|| < 1/sqrt(2). Then the intersection of S and B(p, r) is connected, and d_g(p, q) <= "
        "||q - p||/cos theta for every q in it, d_g measured inside.",
        argument="S is a graph of slope at most tan theta over its tangent plane, and the diamond between p and q "
        "stays in the ball. Mean gradients lie in the cone of half-angle theta about n(p), so q lies in the double "
        "cone of slope T = tan theta about the tangent plane, and on the upper (lower) edges of the diamond between "
        "p and q f is >= (<=) its level. The diamond is the convex hull of p, q and two corners, which lie in the "
        "ball if T <= 1. f increases along n(p), so S crosses the diamond in one graph over the segment.",
        checks=((SYMBOLIC, side.connected_symbolic), (RIGOROUS, contour.connected), (NUMERIC, side.connected_numeric)),
    ),
    Claim(
        id="thm1.without_smoothness",
        source="hypothesis 'sp_beta non-linearities'",
        expected=REFUTED,
        statement="Theorem 1's first inequality, with lambda_max the supremum over the points near which f is C^2, "
        "holds for ReLU networks, or for networks with max-pooling.",
        argument="The normal jumps across a kink of the level set while the distance goes to zero.",
        checks=((SYMBOLIC, chain.rough_symbolic), (RIGOROUS, chain.rough_rigorous)),
    ),
)
