"""Symbolic evidence: identities that computer algebra reduces to zero."""

from collections.abc import Mapping

import sympy as sp

from proofs_check.claim import Evidence, Strength, Verdict


def identities(scope: str, zeros: Mapping[str, sp.Expr]) -> Evidence:
    """Evidence that every expression is identically zero, as the claim's written argument needs.

    An expression that does not simplify to zero is evaluated at rational points with 60
    digits: a value away from zero refutes the identity, otherwise it stays undecided.

    Args:
        scope: What the symbols stand for, together with the claim's argument: the whole statement's.
        zeros: Named expressions, left-hand side minus right-hand side.
    """
    return _first_failure(scope, zeros, Verdict.REFUTED) or Evidence(
        strength=Strength.SYMBOLIC,
        scope=scope,
        verdict=Verdict.PROVED,
        covers=True,
        witness="identities that the argument uses, each reduced to 0: " + "; ".join(zeros),
    )


def counterexample(scope: str, zeros: Mapping[str, sp.Expr], apart: Mapping[str, sp.Expr]) -> Evidence:
    """Evidence that refutes: a witness described by identities, at which the two sides differ.

    Args:
        scope: The witness.
        zeros: Named expressions that must vanish identically for it to be one.
        apart: Named differences of the two sides that the claim equates, or of a ratio and its limit; each has
            to be non-zero for all values of its symbols, or nothing is refuted.
    """
    failure = _first_failure(scope, zeros, Verdict.UNDECIDED)
    if failure is not None:
        return failure
    touching = [name for name, value in apart.items() if sp.sympify(value).is_zero is not False]
    if touching or not apart:
        return Evidence(
            strength=Strength.SYMBOLIC,
            scope=scope,
            verdict=Verdict.UNDECIDED,
            witness=f"not shown to be non-zero: {'; '.join(touching) or 'nothing was compared'}",
        )
    facts = "; ".join(f"{name} = {sp.sstr(value)}, not 0" for name, value in apart.items())
    return Evidence(
        strength=Strength.SYMBOLIC,
        scope=scope,
        verdict=Verdict.REFUTED,
        covers=True,
        witness=f"{facts}. Identities behind it, each reduced to 0: {'; '.join(zeros)}",
    )


def _first_failure(scope: str, zeros: Mapping[str, sp.Expr], if_off: Verdict) -> Evidence | None:
    for name, expression in zeros.items():
        if _is_zero(expression):
            continue
        value = _value_away_from_zero(expression)
        return Evidence(
            strength=Strength.SYMBOLIC,
            scope=scope,
            verdict=Verdict.UNDECIDED if value is None else if_off,
            witness=f"not an identity: {name}, off by {value} at one rational point",
        )
    return None


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
