"""Every checker refuses a false sibling of its claim: a wrong sign, a smaller factor, beta in the wrong place."""

import pytest
import sympy as sp

from proofs_check import theorem1_chain as chain
from proofs_check import theorem1_contour as contour
from proofs_check import theorem1_form as form
from proofs_check import theorem1_hessian as hessian
from proofs_check import theorem1_side as side
from proofs_check import theorem2_gaps as gaps
from proofs_check import theorem2_gate as gate
from proofs_check.claim import Verdict

b = hessian.b

# Each line: a checker with one thing made false. Where the checker claims something true, it must say REFUTED.
FALSE = {
    "step 1, beta missing in (5)": lambda: hessian.derivatives_symbolic(0, factor=sp.S.One),
    "step 1, beta twice in (5)": lambda: hessian.derivatives_symbolic(0, factor=b**2),
    "step 1, factor 0.9 in (5)": lambda: hessian.derivatives_numeric(0, factor=0.9),
    "step 1, 0.9 of the gradient bound": lambda: hessian.on_boxes(0, quantity="gradient", factor="0.4", cases=1),
    "step 1, 0.9 of a quarter": lambda: hessian.on_boxes(0, quantity="hessian", factor="0.225", cases=1),
    "quarter, 0.9 of it is attained": lambda: hessian.quarter_symbolic(0, sup_g=sp.Rational(9, 40)),
    "step 2, wrong sign": lambda: form.form_symbolic(0, sign=1),
    "step 2, wrong sign, numeric": lambda: form.form_numeric(0, sign=1),
    "step 3, trace instead of its square": lambda: form.eigenvalues_symbolic(0, power=1),
    "step 3, sheared basis": lambda: form.eigenvalues_numeric(0, sheared=True),
    "step 4, wrong sign": lambda: chain.path_symbolic(0, sign=1),
    "theorem, wrong sign": lambda: chain.theorem_symbolic(0, sign=1),
    "displacement, wrong sign": lambda: chain.displacement_symbolic(0, sign=1),
    "angle, chord = 2 sin(angle/3)": lambda: chain.angle_symbolic(0, halves=3),
    "abs-sum map, norm to the fourth": lambda: side.map_symbolic(0, power=2),
    "abs-sum map, 0.9 of the bound": lambda: side.map_rigorous(0, factor="0.9", cases=60),
    "displacement, a tenth of the bound": lambda: side.displacement_rigorous(0, factor="0.1", cases=8),
    "connectedness, steeper cone": lambda: side.connected_symbolic(0, tangent=sp.S(2)),
    "connectedness, 0.9 of the length": lambda: side.connected_numeric(0, factor=0.9, cases=6),
    "theorem on the contour network, 0.1 of the middle term": lambda: contour.whole_chain(0, factor="0.1"),
    "gradient on the contour network, 1e-6 of the bound": lambda: contour.outer_chain(0, factor="0.000001"),
    "distance on the contour network, 0.5 of the bound": lambda: contour.connected(0, factor="0.5"),
    "22, another sharpness of the noise": lambda: gate.scalar_rigorous(0, sharpness=1.01),
    "22, a Gaussian for the logistic": lambda: gate.scalar_numeric(0, gaussian=True),
    "25, beta in the wrong place": lambda: gate.scalar_symbolic(0, noise=gate.density(gate.x, sp.Integer(1)) * gate.b),
    "noise along w, beta ||w|| for beta/||w||": lambda: gate.along_w_symbolic(0, beta=gate.b * gate.W),
    "on axis, shifted noise": lambda: gate.on_axis_symbolic(0, shift=sp.S.One),
    "spherical, K/beta for 2K/beta": lambda: gate.spherical_symbolic(0, scale=1),
    "spherical, another s": lambda: gate.spherical_rigorous(0, factor=1.01),
    "spherical, one K for each component": lambda: gate.spherical_numeric(0, shared=False),
    "one hidden layer, the same beta for all": lambda: gate.hidden_layer_numeric(0, same_beta=True),
    "only on axis, second cumulants": lambda: gaps.only_on_axis_symbolic(0, power=2),
    "only on axis, w on the axis": lambda: gaps.only_on_axis_rigorous(0, axis=True),
    "Gaussian gap, another sixth digit": lambda: gaps.gaussian_rigorous(0, paper="0.013596"),
    "product gap, another fifth digit": lambda: gaps.product_rigorous(0, dimensions={3: "0.014155"}),
    "product gap, numeric": lambda: gaps.product_numeric(0, gap=0.0143),
}  # fmt: skip

# Each line: a refutation whose witness is taken away. It must not refute.
HARMLESS = {
    "any basis, no shear": lambda: form.basis_rigorous(0, shear="0"),
    "constant from weights, far from the minimum": lambda: form.weights_rigorous(0, smallest=0),
    "sign, mended": lambda: chain.sign_rigorous(0, sign=-1),
    "raw gradient, the normal in its place": lambda: chain.raw_rigorous(0, use_normal=True),
    "without condition, ends on the same side": lambda: chain.condition_rigorous(0, ends=("0.5", "0.9")),
    "without smoothness, far from the kink": lambda: chain.rough_rigorous(0, factor="100000"),
    "product noise, w on the axis": lambda: gaps.product_witness(0, w=("1", "0")),
    "product noise, w on the axis, sampled": lambda: gaps.product_sampled(0, w=(1.0, 0.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", FALSE)
def test_a_false_sibling_is_refuted(name):
    """Oracle: the sibling is false by construction."""
    assert FALSE[name]().verdict is Verdict.REFUTED


@pytest.mark.parametrize("name", HARMLESS)
def test_a_refutation_needs_its_witness(name):
    """Oracle: without the witness the statement holds there."""
    assert HARMLESS[name]().verdict is not Verdict.REFUTED
