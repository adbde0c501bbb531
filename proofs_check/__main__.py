"""``python -m proofs_check``: the claims of Theorems 1 and 2, checked and tabulated.

Exit status: 0 exactly when each verdict is the recorded one and nothing is undecided, 1
when one is not, 2 on bad usage.
"""

import argparse
import json
import sys
import textwrap
import time

from proofs_check.claim import Outcome, Strength, Verdict, run
from proofs_check.registry import CLAIMS


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status (argparse exits with 2 on bad usage)."""
    options = _parse(arguments)
    strength = Strength(options.strength) if options.strength else None
    deadline = time.monotonic() + options.budget
    outcomes = []
    for name in options.claims or CLAIMS:
        outcome = run(CLAIMS[name], seed=options.seed, strength=strength, deadline=deadline)
        if not outcome.evidence:
            print(f"{name}: no {options.strength} evidence, left out", file=sys.stderr)
            continue
        outcomes.append(outcome)
        if not options.json:
            print(_lines(outcome, argument=bool(options.claims)), flush=True)
    if options.json:
        print(json.dumps({"claims": [outcome.as_json() for outcome in outcomes]}, indent=1, allow_nan=False))
    else:
        print(_summary(outcomes))
    good = all(outcome.agrees(partial=strength is not None) for outcome in outcomes)
    return 0 if good and outcomes else 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m proofs_check",
        description="Check every step of Theorems 1 and 2.",
        epilog="Claims: " + ", ".join(CLAIMS),
    )
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help="ids, or prefixes such as thm1.step2; default: all")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--seed", type=int, default=0, help="of the numeric checks")
    parser.add_argument("--strength", choices=[s.value for s in Strength], help="run only evidence of this strength")
    parser.add_argument("--budget", type=float, default=600.0, metavar="SECONDS", help="checks after it are undecided")
    options = parser.parse_args(arguments)
    if not options.budget > 0:
        parser.error(f"expected a budget of more than 0 seconds, got {options.budget}")
    if options.seed < 0:
        parser.error(f"expected a seed >= 0, got {options.seed}")
    chosen = []
    for name in options.claims:
        matches = [key for key in CLAIMS if key == name or key.startswith(name + ".")]
        if not matches:
            parser.error(f"unknown claim {name!r}; the ids are: {', '.join(CLAIMS)}")
        chosen += [key for key in matches if key not in chosen]
    options.claims = chosen
    return options


def _lines(outcome: Outcome, *, argument: bool) -> str:
    claim, verdict = outcome.claim, outcome.verdict
    mark = "" if verdict is claim.expected else f"   (on record: {claim.expected.value})"
    lines = [f"{verdict.value.upper():10}{claim.id}   [{claim.source}]{mark}", *_wrapped(claim.statement, "          ")]
    if argument:
        lines += _wrapped("Why: " + claim.argument, "          ")
    for item in outcome.evidence:
        margin = "" if item.margin is None else f", margin {item.margin:.3g}"
        head = f"- {item.strength.value} {item.verdict.value} ({item.seconds:.1f} s{margin}): {item.scope}."
        lines += _wrapped(f"{head} {item.witness}", "            ", hang="          ")
    return "\n".join([*lines, ""])


def _wrapped(text: str, indent: str, hang: str | None = None) -> list[str]:
    return textwrap.wrap(text, 118, initial_indent=indent if hang is None else hang, subsequent_indent=indent)


def _summary(outcomes: list[Outcome]) -> str:
    verdicts = [outcome.verdict for outcome in outcomes]
    counts = ", ".join(f"{verdicts.count(v)} {v.value}" for v in Verdict)
    kinds = ", ".join(
        f"{sum(any(e.strength is s for e in o.evidence) for o in outcomes)} with {s.value} evidence" for s in Strength
    )
    deviating = [o.claim.id for o in outcomes if o.verdict is not o.claim.expected]
    seconds = sum(item.seconds for outcome in outcomes for item in outcome.evidence)
    tail = f"not as on record: {', '.join(deviating)}" if deviating else "every verdict is the recorded one"
    return f"{len(outcomes)} claims: {counts}; {kinds}; {seconds:.0f} s; {tail}"


if __name__ == "__main__":
    sys.exit(main())
