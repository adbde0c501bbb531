"""Symbolic evidence: identities that computer algebra reduces to zero."""

from collections.abc import Mapping

import sympy as sp

from proofs_check.claim import Evidence, Strength, Verdict


def identities(
    scope: str, zeros: Mapping[str, sp.Expr], *, covers: bool = True, true: Verdict = Verdict.PROVED
) -> Evidence:
    """Evidence that every expression is identically zero.

    An expression that does not simplify to zero is evaluated at rational points with 60
    digits: a value away from zero refutes the identity, otherwise it stays undecided.

    Args:
        scope: What the symbols stand for.
        zeros: Named expressions, left-hand side minus right-hand side.
        covers: Whether the scope is the whole statement's, together with its argument.
        true: What it means for the claim that the identities hold; REFUTED when they exhibit a witness.
    """
    for name, expression in zeros.items():
        if _is_zero(expression):
            continue
        value = _value_away_from_zero(expression)
        verdict = Verdict.UNDECIDED if value is None or true is Verdict.REFUTED else Verdict.REFUTED
        return Evidence(
            strength=Strength.SYMBOLIC,
            scope=scope,
            verdict=verdict,
            covers=covers,
            witness=f"not an identity: {name}, off by {value}",
        )
    return Evidence(
        strength=Strength.SYMBOLIC,
        scope=scope,
        verdict=true,
        covers=covers,
        witness="; ".join(zeros) + ": identically zero",
    )


def _is_zero(expression: sp.Expr) -> bool:
    expression = sp.sympify(expression)
    attempts = (
        lambda e: e,
        sp.expand,
        sp.simplify,
        lambda e: sp.simplify(e.rewrite(sp.exp)),
        lambda e: sp.simplify(sp.gammasimp(e)),
    )
    return any(attempt(expression) == 0 for attempt in attempts)


def _value_away_from_zero(expression: sp.Expr) -> float | None:
    expression = sp.sympify(expression).doit()
    if expression.has(sp.Derivative) or expression.atoms(sp.core.function.AppliedUndef):
        return None
    symbols = sorted(expression.free_symbols, key=str)
    for k in range(1, 6):
        values = {s: sp.Rational(2 * i + 3 * k + 1, 7 + k) for i, s in enumerate(symbols)}
        number = sp.N(expression.subs(values), 60)
        if number.is_number and abs(number) > sp.Float("1e-40"):
            return float(abs(number))
    return None
