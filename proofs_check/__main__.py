"""``python -m proofs_check``: the claims of Theorems 1 and 2, checked and tabulated.

Exit status: 0 exactly when each verdict is the recorded one and nothing is undecided, 1
when one is not, 2 on bad usage.
"""

import argparse
import difflib
import json
import sys
import textwrap
import time

import torch

from proofs_check.claim import Claim, Outcome, Strength, Verdict, run
from proofs_check.registry import CLAIMS

LEGEND = """Theorems 1 and 2 of the supplement of arXiv 1906.07983, step by step.

PROVED    The written argument (Why) covers the whole statement, and at least one check whose scope, with that argument,
          is the statement's holds. The argument itself is read by people; the checks are done by machine.
VERIFIED  Held wherever it was tried, which is less than the statement.
REFUTED   False as stated: a witness is given. Often a repaired statement stands beside it, proved.
symbolic  Computer algebra reduces every identity that the argument uses to zero.
rigorous  Ball arithmetic: enclosures of real numbers, for the scope that is named and no more.
numeric   Floating point: sampling, differences, quadrature, with an error bar or a tolerance.

f is one output of a network, G = grad f, H its Hessian, n = G/||G|| (the h of Theorem 1, by the paper's main text),
P = I - n n^T, S the level set through p; s = sp is softplus of sharpness beta, sigma its slope; [a, b] encloses a
number.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status (argparse exits with 2 on bad usage)."""
    options = _parse(arguments)
    strength = Strength(options.strength) if options.strength else None
    deadline = time.monotonic() + options.budget
    outcomes = []
    if not (options.json or options.markdown):
        print(LEGEND)
    for name in options.claims:
        outcome = run(CLAIMS[name], seed=options.seed, strength=strength, deadline=deadline)
        if not outcome.evidence:
            print(f"{name}: no {options.strength} evidence, left out", file=sys.stderr)
            continue
        outcomes.append(outcome)
        if not (options.json or options.markdown):
            print(_lines(outcome), flush=True)
    deviating = [outcome.claim.id for outcome in outcomes if not outcome.agrees(partial=strength is not None)]
    if options.json:
        print(json.dumps({"claims": [outcome.as_json() for outcome in outcomes]}, indent=1, allow_nan=False))
    elif options.markdown:
        print(markdown([(outcome.claim, outcome.verdict) for outcome in outcomes]))
    else:
        print(_summary(outcomes, deviating))
    return 1 if deviating else 0


def markdown(rows: list[tuple[Claim, Verdict]]) -> str:
    """The table of docs/proofs.md; of each argument only the first sentence, which is the reason in short."""
    head = ["| claim | of the supplement | verdict | why |", "|---|---|---|---|"]
    return "\n".join(
        [
            *head,
            *(f"| `{c.id}` | {cell(c.source)} | {v.value} | {cell(_first_sentence(c.argument))} |" for c, v in rows),
        ]
    )


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".")


def cell(text: str) -> str:
    """Text for a cell of a table in Markdown."""
    for mark in "|_*":
        text = text.replace(mark, "\\" + mark)
    return text.replace("<", "&lt;")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m proofs_check",
        description="Check every step of Theorems 1 and 2.",
        epilog="Claims: " + ", ".join(CLAIMS),
    )
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help="ids, or prefixes such as thm1.step2; default: all")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="one JSON object on stdout")
    shape.add_argument("--markdown", action="store_true", help="the verdicts as a short table")
    parser.add_argument("--seed", type=int, default=0, help="of the numeric checks")
    parser.add_argument("--strength", choices=[s.value for s in Strength], help="run only evidence of this strength")
    parser.add_argument(
        "--budget", type=float, default=600.0, metavar="SECONDS", help="no check starts after it: the rest is undecided"
    )
    options = parser.parse_args(arguments)
    if not options.budget > 0:
        parser.error(f"expected a budget of more than 0 seconds, got {options.budget}")
    if not 0 <= options.seed < 2**63:
        parser.error(f"expected a seed from 0 to 2^63 - 1, got {options.seed}")
    chosen = [] if options.claims else list(CLAIMS)
    for name in options.claims:
        matches = [key for key in CLAIMS if key == name or key.startswith(name + ".")]
        if not matches:
            near = ", ".join(difflib.get_close_matches(name, CLAIMS, n=3, cutoff=0.3)) or "none"
            parser.error(f"unknown claim {name!r}; ids that are close: {near}; --help lists them all")
        chosen += [key for key in matches if key not in chosen]
    if options.strength and not any(kind.value == options.strength for key in chosen for kind, _ in CLAIMS[key].checks):
        parser.error(
            f"{', '.join(chosen)}: no {options.strength} evidence exists; leave out --strength to run what does"
        )
    options.claims = chosen
    return options


def _lines(outcome: Outcome) -> str:
    claim, verdict = outcome.claim, outcome.verdict
    mark = "" if verdict is claim.expected else f"   (on record: {claim.expected.value})"
    lines = [f"{verdict.value.upper():10}{claim.id}   [{claim.source}]{mark}", *_wrapped(claim.statement, "          ")]
    lines += _wrapped("Why: " + claim.argument, "          ")
    for item in outcome.evidence:
        margin = "" if item.margin is None else f", margin {item.margin:.3g}"
        head = f"- {item.strength.value} {item.verdict.value} ({item.seconds:.1f} s{margin}): {item.scope}."
        lines += _wrapped(f"{head} {item.witness}", "            ", hang="          ")
    return "\n".join([*lines, ""])


def _wrapped(text: str, indent: str, hang: str | None = None) -> list[str]:
    return textwrap.wrap(text, 118, initial_indent=indent if hang is None else hang, subsequent_indent=indent)


def _summary(outcomes: list[Outcome], deviating: list[str]) -> str:
    verdicts = [outcome.verdict for outcome in outcomes]
    counts = ", ".join(f"{verdicts.count(v)} {v.value}" for v in Verdict)
    kinds = ", ".join(
        f"{sum(any(e.strength is s for e in o.evidence) for o in outcomes)} with {s.value} evidence" for s in Strength
    )
    seconds = sum(item.seconds for outcome in outcomes for item in outcome.evidence)
    partial = any(outcome.verdict is not outcome.claim.expected for outcome in outcomes)
    good = (
        "nothing contradicts the record (some strengths were left out)"
        if partial
        else "every verdict is the recorded one"
    )
    tail = f"not as on record: {', '.join(deviating)}" if deviating else good
    return f"{len(outcomes)} claims: {counts}; {kinds}; {seconds:.0f} s; {tail}"


if __name__ == "__main__":
    torch.set_num_threads(1)  # the matrices are tiny: threads would only wait for each other
    sys.exit(main())
