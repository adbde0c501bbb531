"""How evidence adds up, and the command's exit status."""

import json
from pathlib import Path

import pytest
import sympy as sp

from proofs_check.__main__ import main, markdown
from proofs_check.algebra import counterexample, identities
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


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (["thm1.step2.any_bases"], "thm1.step2.any_basis"),  # the nearest id
        (["--budget", "-1"], "more than 0"),
        (["--budget", "nan"], "more than 0"),
        (["--seed", "-1"], "seed from 0"),
        (["--seed", str(2**63)], "seed from 0"),
        (["--strength", "strong"], "symbolic"),
        (["thm2.noise_along_w", "--strength", "numeric"], "leave out --strength"),
        (["--json", "--markdown"], "not allowed with"),
    ],
)
def test_bad_usage_exits_with_two(bad, said, capsys):
    """Oracle: the exit status that the command promises; the message names the remedy."""
    with pytest.raises(SystemExit) as stop:
        main(bad)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_the_table_shows_statement_reason_and_evidence(capsys):
    """Oracle: the claim's own fields."""
    claim = CLAIMS["thm2.noise_along_w"]
    assert main([claim.id]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for part in (claim.statement, "Why: " + claim.argument, claim.source, "symbolic proved", "1 claims: 1 proved"):
        assert " ".join(part.split()) in shown


def test_a_run_of_one_strength_says_that_others_were_left_out(capsys):
    """Oracle: the docstring of ``agrees``: verified for proved is no deviation then."""
    assert main(["thm2.only_on_axis", "thm2.noise_along_w", "--strength", "rigorous"]) == 0
    output = capsys.readouterr()
    assert "nothing contradicts the record" in output.out
    assert "thm2.noise_along_w: no rigorous evidence, left out" in output.err


def test_a_verdict_that_deviates_exits_with_one(capsys):
    """Oracle: a budget that is spent at once leaves everything undecided."""
    assert main(["thm2.noise_along_w", "--budget", "1e-9"]) == 1
    assert "not as on record: thm2.noise_along_w" in capsys.readouterr().out


def test_the_page_holds_the_recorded_verdicts():
    """Oracle: the registry; a full run compares the record with the evidence."""
    page = (Path(__file__).parents[2] / "docs" / "proofs.md").read_text()
    assert markdown([(claim, claim.expected) for claim in CLAIMS.values()]) in page


def test_markdown_gives_the_verdict_of_the_run(capsys):
    """Oracle: the row of the same claim on record."""
    claim = CLAIMS["thm2.noise_along_w"]
    assert main([claim.id, "--markdown"]) == 0
    assert capsys.readouterr().out == markdown([(claim, claim.expected)]) + "\n"


def test_a_counterexample_has_to_differ():
    """Oracle: closed form; an identity alone refutes nothing."""
    k = sp.symbols("k", positive=True)
    assert counterexample("", {"true": k - k}, {"apart": k**2}).verdict is Verdict.REFUTED
    assert counterexample("", {"true": k - k}, {"apart": k - k}).verdict is Verdict.UNDECIDED
    assert counterexample("", {"true": k - k}, {"apart": k - 1}).verdict is Verdict.UNDECIDED  # zero at k = 1
    assert counterexample("", {"true": k - k}, {}).verdict is Verdict.UNDECIDED
    assert counterexample("", {"false": k}, {"apart": k}).verdict is Verdict.UNDECIDED


def test_an_identity_in_unknown_functions_is_undecided():
    """Oracle: no value can be given to f(x) - f(y)."""
    x, y, f = sp.symbols("x"), sp.symbols("y"), sp.Function("f")
    assert identities("", {"unknown": f(x) - f(y)}).verdict is Verdict.UNDECIDED


def test_json_has_the_published_keys(capsys):
    """Oracle: the published schema."""
    assert main(["thm2.noise_along_w", "--json"]) == 0
    (claim,) = json.loads(capsys.readouterr().out)["claims"]
    assert set(claim) == {"id", "statement", "source", "expected", "verdict", "evidence"}
    assert set(claim["evidence"][0]) == {"strength", "scope", "verdict", "margin", "witness", "seconds"}
