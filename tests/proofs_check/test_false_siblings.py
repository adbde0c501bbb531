"""Every checker refuses a false sibling of its claim: a wrong sign, a smaller factor, beta in the wrong place."""

from functools import partial

import pytest
import sympy as sp

from curvature.errors import NotConvergedError
from proofs_check import theorem1_chain as chain
from proofs_check import theorem1_contour as contour
from proofs_check import theorem1_form as form
from proofs_check import theorem1_geodesics as geodesics
from proofs_check import theorem1_hessian as hessian
from proofs_check import theorem1_side as side
from proofs_check import theorem2_gaps as gaps
from proofs_check import theorem2_gate as gate
from proofs_check.claim import Verdict
from proofs_check.registry import CLAIMS

b = hessian.b
FEW = {"per_cell": 2, "depths": (1, 2)}

# Each line: a checker with one thing made false. Where the checker claims something true, it must say REFUTED.
FALSE = {
    "step 1, beta missing in (5)": partial(hessian.derivatives_symbolic, 0, factor=sp.S.One),
    "step 1, beta twice in (5)": partial(hessian.derivatives_symbolic, 0, factor=b**2),
    "step 1, factor 0.9 in (5)": partial(hessian.derivatives_numeric, 0, factor=0.9),
    "step 1, sigma(u) + sigma(-u) = 1/2": partial(hessian.gradient_symbolic, 0, total=sp.S.Half),
    "step 1, 0.9 of the gradient bound": partial(hessian.on_boxes, 0, quantity="gradient", factor="0.9"),
    "eq. 10 without the squares": partial(hessian.hessian_symbolic, 0, power=1),
    "step 1, 0.9 of a quarter": partial(hessian.on_boxes, 0, quantity="hessian", factor="0.225"),
    "step 1, a quarter of eq. 10, beta missing": partial(hessian.on_boxes, 0, quantity="hessian", factor="0.0834"),
    "quarter, 0.9 of it is attained": partial(hessian.quarter_symbolic, 0, sup_g=sp.Rational(9, 40)),
    "step 2, wrong sign": partial(form.form_symbolic, 0, sign=1),
    "step 2, wrong sign, numeric": partial(form.form_numeric, 0, sign=1),
    "step 3, trace instead of its square": partial(form.eigenvalues_symbolic, 0, power=1),
    "step 3, sheared basis": partial(form.eigenvalues_numeric, 0, sheared=True),
    "eq. 15, mixed entries counted once": partial(form.lambda_symbolic, 0, mixed=1),
    "eq. 15, 0.9 of what the trough attains": partial(form.lambda_rigorous, 0, factor="0.159"),
    "step 4, wrong sign": partial(chain.path_symbolic, 0, sign=1),
    "step 4, 0.9 of the integral": partial(geodesics.sharp, 0, factor=0.9, **FEW),
    "theorem, wrong sign": partial(chain.theorem_symbolic, 0, sign=1),
    "theorem, 0.8 of the middle term on the contour network": partial(contour.whole_chain, 0, factor="0.8"),
    "theorem, 0.9 of certified sup x length": partial(geodesics.certified, 0, factor=0.9, **FEW),
    "angle form, 0.9 of certified sup x length": partial(geodesics.certified, 0, factor=0.9, angle=True, **FEW),
    "angle, chord = 2 sin(angle/3)": partial(chain.angle_symbolic, 0, halves=3),
    "raw gradient, eq. 10 without the squares": partial(chain.raw_outer_symbolic, 0, power=1),
    "gradient on the contour network, 0.004 of the bound": partial(contour.outer_chain, 0, factor="0.004"),
    "displacement, wrong sign": partial(chain.displacement_symbolic, 0, sign=1),
    "displacement, 0.7 of the bound": partial(side.displacement_rigorous, 0, factor="0.7"),
    "abs-sum map, norm to the fourth": partial(side.map_symbolic, 0, power=2),
    "abs-sum map, 0.9 of the bound": partial(side.map_rigorous, 0, factor="0.9", cases=60),
    "connectedness, steeper cone": partial(side.connected_symbolic, 0, tangent=sp.S(2)),
    "connectedness, 0.9 of the length": partial(side.connected_numeric, 0, factor=0.9, cases=6),
    "distance on the contour network, 0.9 of the bound": partial(contour.connected, 0, factor="0.9"),
    "22, another sharpness of the noise": partial(gate.scalar_rigorous, 0, sharpness=1.01),
    "22, a Gaussian for the logistic": partial(gate.scalar_numeric, 0, gaussian=True),
    "25, beta in the wrong place": partial(gate.scalar_symbolic, 0, noise=gate.density(gate.x, sp.S.One) * gate.b),
    "noise along w, beta ||w|| for beta/||w||": partial(gate.along_w_symbolic, 0, beta=gate.b * gate.W),
    "on axis, shifted noise": partial(gate.on_axis_symbolic, 0, shift=sp.S.One),
    "spherical, K/beta for 2K/beta": partial(gate.spherical_symbolic, 0, scale=1),
    "spherical, another s": partial(gate.spherical_rigorous, 0, factor=1.01),
    "spherical, one K for each component": partial(gate.spherical_numeric, 0, shared=False),
    "one hidden layer, the same beta for all, symbolic": partial(gate.hidden_layer_symbolic, 0, same_beta=True),
    "one hidden layer, the same beta for all": partial(gate.hidden_layer_numeric, 0, same_beta=True),
    "only on axis, second cumulants": partial(gaps.only_on_axis_symbolic, 0, power=2),
    "Gaussian gap, another last digit": partial(gaps.gaussian_rigorous, 0, paper="0.0135978"),
    "product gap, another last digit": partial(gaps.product_rigorous, 0, dimensions={3: "0.0141449"}),
    "product gap, numeric": partial(gaps.product_numeric, 0, gap=0.0143),
}  # fmt: skip

# Each line: a refutation whose witness is taken away, or a comparison of equals. It must not refute, nor prove.
HARMLESS = {
    "any basis, unit tangents at a right angle": partial(form.basis_symbolic, 0, cosine=sp.S.Zero),
    "any basis, no shear": partial(form.basis_rigorous, 0, shear="0"),
    "constant from weights, another limit": partial(form.weights_symbolic, 0, product=0),
    "constant from weights, far from the minimum": partial(form.weights_rigorous, 0, smallest=0),
    "sign, mended, on a circle": partial(chain.sign_symbolic, 0, sign=-1),
    "sign, mended": partial(chain.sign_rigorous, 0, sign=-1),
    "raw gradient, the normal in its place, symbolic": partial(chain.raw_symbolic, 0, use_normal=True),
    "raw gradient, the normal in its place": partial(chain.raw_rigorous, 0, use_normal=True),
    "without condition, ends on the same side, symbolic": partial(chain.condition_symbolic, 0, start=2),
    "without condition, ends on the same side": partial(chain.condition_rigorous, 0, ends=("0.5", "0.9")),
    "without smoothness, two points on one piece": partial(chain.rough_symbolic, 0, kink=False),
    "without smoothness, far from the kink": partial(chain.rough_rigorous, 0, factor="100000"),
    "product noise, another closed form": partial(gaps.product_closed_form, 0, sign=-1),
    "product noise, w on the axis": partial(gaps.product_witness, 0, w=("1", "0")),
    "product noise, w on the axis, sampled": partial(gaps.product_sampled, 0, w=(1.0, 0.0)),
    "only on axis, w on the axis": partial(gaps.only_on_axis_rigorous, 0, axis=True),
}  # fmt: skip


@pytest.mark.parametrize("name", FALSE)
def test_a_false_sibling_is_refuted(name):
    """Oracle: the sibling is false by construction."""
    assert FALSE[name]().verdict is Verdict.REFUTED


@pytest.mark.parametrize("name", HARMLESS)
def test_a_refutation_needs_its_witness(name):
    """Oracle: without the witness the statement holds there."""
    assert HARMLESS[name]().verdict not in {Verdict.REFUTED, Verdict.PROVED}


def test_a_mostly_vacuous_run_fails(monkeypatch):
    """Oracle: arcs that all lack certified hypotheses, or a solver that always gives up, show nothing."""

    def gives_up(*_, **__):
        raise NotConvergedError("planted")

    monkeypatch.setattr(geodesics, "geodesic", gives_up)
    geodesics.arcs.cache_clear()
    evidence = geodesics.sharp(0, per_cell=1, depths=(1,))
    geodesics.arcs.cache_clear()
    assert evidence.verdict is Verdict.UNDECIDED
    assert "mostly vacuous" in evidence.witness
    assert "5 unsolved" in evidence.witness


def test_every_checker_has_a_false_sibling():
    """Oracle: the checkers of the registry, by name."""
    checkers = {_checker(check) for claim in CLAIMS.values() for _, check in claim.checks}
    assert checkers == {_checker(check) for check in [*FALSE.values(), *HARMLESS.values()]}


def _checker(check):
    function = getattr(check, "func", check)
    return f"{function.__module__}.{function.__name__}"
