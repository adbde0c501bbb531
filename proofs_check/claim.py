"""What a claim is, what counts as evidence for it, and how evidence adds up to a verdict."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum


class Verdict(Enum):
    """What the evidence says of a statement."""

    PROVED = "proved"  # for everything that the scope names
    VERIFIED = "verified"  # held wherever it was tried
    REFUTED = "refuted"  # a witness violates it
    UNDECIDED = "undecided"  # says nothing


class Strength(Enum):
    """On what grounds, the strongest first."""

    SYMBOLIC = "symbolic"  # computer algebra, joined by the claim's written argument
    RIGOROUS = "rigorous"  # ball arithmetic: enclosures of the real numbers
    NUMERIC = "numeric"  # floating point, sampling


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The outcome of one check.

    Attributes:
        strength: On what grounds.
        scope: For what exactly it holds.
        verdict: Of this evidence within its scope.
        covers: Whether the scope is that of the whole statement; only then can it prove the claim.
        margin: How far from equality, in the unit that ``witness`` names; None for identities.
        witness: What was found, or where.
        seconds: Time of the check.
    """

    strength: Strength
    scope: str
    verdict: Verdict
    covers: bool = False
    margin: float | None = None
    witness: str = ""
    seconds: float = 0.0

    def as_json(self) -> dict[str, object]:
        """The published keys."""
        return {
            "strength": self.strength.value,
            "scope": self.scope,
            "verdict": self.verdict.value,
            "margin": self.margin,
            "witness": self.witness,
            "seconds": round(self.seconds, 3),
        }


Check = Callable[[int], Evidence]  # from a seed


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement of a proof, its checks, and the verdict on record.

    Attributes:
        id: ``theorem.step.name``.
        statement: In full, with its quantifiers.
        source: Equation numbers in the supplement of arXiv 1906.07983.
        expected: The verdict on record.
        argument: How the checked pieces join to the statement, or why it fails.
        checks: Each with its strength, so that some can be chosen without running others.
    """

    id: str
    statement: str
    source: str
    expected: Verdict
    argument: str
    checks: tuple[tuple[Strength, Check], ...]


@dataclass(frozen=True)
class Outcome:
    """A claim with the evidence of one run."""

    claim: Claim
    evidence: tuple[Evidence, ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict that the evidence supports."""
        return combine(self.evidence)

    def agrees(self, *, partial: bool) -> bool:
        """Whether the verdict is the recorded one.

        With ``partial`` (some strengths were left out) a claim on record as proved may come out
        as verified, as the evidence that covers it may not have run.
        """
        allowed = {self.claim.expected}
        if partial and self.claim.expected is Verdict.PROVED:
            allowed.add(Verdict.VERIFIED)
        return self.verdict in allowed

    def as_json(self) -> dict[str, object]:
        """The published keys."""
        return {
            "id": self.claim.id,
            "statement": self.claim.statement,
            "source": self.claim.source,
            "expected": self.claim.expected.value,
            "verdict": self.verdict.value,
            "evidence": [evidence.as_json() for evidence in self.evidence],
        }


def combine(evidence: tuple[Evidence, ...]) -> Verdict:
    """The verdict on a claim: contradiction and doubt win over everything.

    A refutation stands alone; a proof needs evidence whose scope is the statement's own;
    anything else that held is only verified.
    """
    verdicts = {item.verdict for item in evidence}
    if not verdicts or Verdict.UNDECIDED in verdicts:
        return Verdict.UNDECIDED
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED if verdicts == {Verdict.REFUTED} else Verdict.UNDECIDED
    proved = any(item.covers and item.verdict is Verdict.PROVED for item in evidence)
    return Verdict.PROVED if proved else Verdict.VERIFIED


def run(claim: Claim, *, seed: int, strength: Strength | None = None, deadline: float = float("inf")) -> Outcome:
    """Run a claim's checks; after the deadline (``time.monotonic``) a check is undecided.

    A check that raises is undecided too, with the error as its witness.
    """
    found = []
    for kind, check in claim.checks:
        if strength is not None and kind is not strength:
            continue
        if time.monotonic() > deadline:
            found.append(
                Evidence(strength=kind, scope="not run", verdict=Verdict.UNDECIDED, witness="the budget is spent")
            )
            continue
        found.append(_timed(kind, check, seed))
    return Outcome(claim, tuple(found))


def _timed(kind: Strength, check: Check, seed: int) -> Evidence:
    start = time.perf_counter()
    try:
        evidence = check(seed)
    except Exception as error:  # a verdict, not a crash: the table names the claim
        evidence = Evidence(
            strength=kind, scope="failed", verdict=Verdict.UNDECIDED, witness=f"{type(error).__name__}: {error}"
        )
    if evidence.strength is not kind:
        raise AssertionError(f"check announced as {kind.value} returned {evidence.strength.value} evidence")
    return replace(evidence, seconds=time.perf_counter() - start)
