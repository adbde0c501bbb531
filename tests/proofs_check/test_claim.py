"""How evidence adds up, and the command's exit status."""

import json

import pytest
import sympy as sp

from proofs_check.__main__ import main
from proofs_check.algebra import identities
from proofs_check.claim import Claim, Evidence, Outcome, Strength, Verdict, combine, run
from proofs_check.registry import CLAIMS

REQUIRED = [
    "thm1.step1.derivatives",
    "thm1.step1.gradient_norm",
    "thm1.step1.hessian_frobenius",
    "thm1.step1.quarter",
    "thm1.step2.second_fundamental_form",
    "thm1.step2.any_basis",
    "thm1.step3.frobenius_eigenvalues",
    "thm1.step3.lambda_max",
    "thm1.step3.constant_from_weights_alone",
    "thm1.step4.sign_as_printed",
    "thm1.step4.path_integral",
    "thm1.theorem",
    "thm1.angle_form",
    "thm1.raw_gradient_reading",
    "thm1.raw_gradient_outer",
    "thm1.displacement",
    "thm1.displacement_without_condition",
    "thm1.abs_sum_map",
    "thm1.connectedness",
    "thm1.without_smoothness",
    "thm2.scalar_identity",
    "thm2.product_noise",
    "thm2.product_noise_on_axis",
    "thm2.only_on_axis",
    "thm2.noise_along_w",
    "thm2.spherical_logistic",
    "thm2.one_hidden_layer",
    "thm2.gaussian_gap",
    "thm2.product_gap_by_dimension",
]


def evidence(verdict, *, covers=False):
    return Evidence(strength=Strength.NUMERIC, scope="s", verdict=verdict, covers=covers)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], Verdict.UNDECIDED),
        ([evidence(Verdict.VERIFIED)], Verdict.VERIFIED),
        ([evidence(Verdict.PROVED)], Verdict.VERIFIED),  # a scope narrower than the statement's
        ([evidence(Verdict.PROVED, covers=True), evidence(Verdict.VERIFIED)], Verdict.PROVED),
        ([evidence(Verdict.PROVED, covers=True), evidence(Verdict.UNDECIDED)], Verdict.UNDECIDED),
        ([evidence(Verdict.PROVED, covers=True), evidence(Verdict.REFUTED)], Verdict.UNDECIDED),  # contradiction
        ([evidence(Verdict.REFUTED), evidence(Verdict.REFUTED)], Verdict.REFUTED),
    ],
)
def test_evidence_adds_up(items, expected):
    """Oracle: the table of the docstring."""
    assert combine(tuple(items)) is expected


def test_a_check_that_raises_is_undecided():
    """Oracle: planted error."""

    def broken(_):
        raise ZeroDivisionError("planted")

    claim = Claim(
        id="x", statement="", source="", expected=Verdict.PROVED, argument="", checks=((Strength.NUMERIC, broken),)
    )
    outcome = run(claim, seed=0)
    assert outcome.verdict is Verdict.UNDECIDED
    assert "planted" in outcome.evidence[0].witness


def test_a_spent_budget_is_undecided():
    """Oracle: a deadline in the past."""
    assert run(CLAIMS["thm2.noise_along_w"], seed=0, deadline=0.0).verdict is Verdict.UNDECIDED


def test_all_required_claims_are_on_record():
    """Oracle: the list of the proofs' steps; enough claims have symbolic and rigorous checks."""
    assert set(REQUIRED) <= set(CLAIMS)
    for strength in (Strength.SYMBOLIC, Strength.RIGOROUS):
        assert sum(any(kind is strength for kind, _ in claim.checks) for claim in CLAIMS.values()) >= 8


def test_partial_runs_accept_verified_for_proved_only():
    """Oracle: the docstring of ``agrees``."""
    outcome = Outcome(CLAIMS["thm2.noise_along_w"], (evidence(Verdict.VERIFIED),))
    assert outcome.agrees(partial=True)
    assert not outcome.agrees(partial=False)


def test_identities_refute_what_is_not_zero():
    """Oracle: closed form."""
    x = sp.symbols("x", positive=True)
    assert identities("", {"true": sp.sin(x) ** 2 + sp.cos(x) ** 2 - 1}).verdict is Verdict.PROVED
    assert identities("", {"false": sp.sin(x) - x}).verdict is Verdict.REFUTED


@pytest.mark.parametrize("bad", [["thm3"], ["--budget", "-1"], ["--seed", "-1"], ["--strength", "strong"]])
def test_bad_usage_exits_with_two(bad, capsys):
    """Oracle: the exit status that the command promises; the message names the remedy."""
    with pytest.raises(SystemExit) as stop:
        main(bad)
    assert stop.value.code == 2
    assert "error" in capsys.readouterr().err


def test_json_has_the_published_keys(capsys):
    """Oracle: the published schema."""
    assert main(["thm2.noise_along_w", "--json"]) == 0
    (claim,) = json.loads(capsys.readouterr().out)["claims"]
    assert set(claim) == {"id", "statement", "source", "expected", "verdict", "evidence"}
    assert set(claim["evidence"][0]) == {"strength", "scope", "verdict", "margin", "witness", "seconds"}
