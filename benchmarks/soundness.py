"""Is any certificate ever below the truth? ``python -m benchmarks.soundness``.

Random tiny networks are judged by the certified lower ends of a ball-arithmetic oracle and
by gradient ascent, larger ones by ascent alone; the code of both is apart from the code
under check. Every promised field of every rung and of ``certify_explanation`` is compared.
Exit status 1 on a violation or when a run failed; a refusal with a reason is counted, not an error.
"""

import argparse
import math
import sys
import time
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np
import torch

import curvature
from benchmarks.ascent import Ascent
from benchmarks.random_networks import Case, large_case, plain, tiny_case
from curvature.activations import Softplus
from proofs_check.interval_oracle import Supremum, enclose_suprema

REFUSALS = (curvature.DegenerateLevelSetError, curvature.NoCertificateError, curvature.UnsupportedModuleError)
# Ascent evaluates in float64, whose error can exceed the truth; the oracle is rigorous and gets no slack.
ROUNDING = 1e-8


@dataclass
class Tally:
    """Counts of one run."""

    checked: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    ratios: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    violations: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    gaps: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    undecided: Counter[str] = field(default_factory=Counter)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soundness", description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", type=int, default=300, help="networks for the oracle")
    parser.add_argument("--large", type=int, default=300, help="networks for gradient ascent alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--boxes", type=int, default=40, help="oracle's budget of boxes a quantity, for its upper ends")
    parser.add_argument("--quick", action="store_true", help="20 networks of each kind, a look and no verdict")
    options = parser.parse_args(arguments)
    tiny, large = (min(20, options.tiny), min(20, options.large)) if options.quick else (options.tiny, options.large)
    torch.set_num_threads(1)
    tally, start = Tally(), time.perf_counter()
    for i in range(tiny):
        judge(tiny_case(options.seed + i), tally, boxes=options.boxes)
        _progress("tiny", i + 1, tiny, tally, start)
    for i in range(large):
        judge(large_case(options.seed + i), tally, boxes=None)
        _progress("large", i + 1, large, tally, start)
    _report(tally, tiny, large, time.perf_counter() - start)
    return 1 if tally.violations or tally.failures else 0


def judge(case: Case, tally: Tally, *, boxes: int | None) -> None:
    """Compare every promised field of one case; ``boxes`` None means no oracle."""
    target = 0
    promised = _promises(case, target, tally)
    low_ends: dict[str, float] = Ascent(case.module, case.x, case.radius, target_class=target, steps=14).attained()
    slack = {name: ROUNDING * abs(value) for name, value in low_ends.items()}
    if boxes is not None:
        beta = next(layer.beta for layer in case.module.modules() if isinstance(layer, Softplus))
        for name, end in enclose_suprema(plain(case, beta), case.x.numpy(), case.radius, max_boxes=boxes).items():
            _note_gap(name, end, tally)
            if name in low_ends and end.lower > low_ends[name] - slack[name]:
                low_ends[name], slack[name] = end.lower, 0.0
    for (rung, name), value in promised.items():
        _compare(f"{rung}.{name}", name, value, low_ends, slack[name], case, tally)


def _compare(  # noqa: PLR0913
    label: str, name: str, value: float, low_ends: dict[str, float], slack: float, case: Case, tally: Tally
) -> None:
    tally.checked[label] += 1
    attained = low_ends[name]
    if name == "gradient_norm":  # promised from below, attained from above
        bad, ratio = value > attained + slack, attained / value if value > 0 else math.inf
    else:
        bad, ratio = value < attained - slack, value / attained if attained > 0 else math.inf
    if math.isnan(value) or bad:
        tally.violations.append(f"{label}: promised {value!r}, attained {attained!r} in {case.name}")
    if math.isfinite(ratio):
        tally.ratios[label].append(ratio)


def _promises(case: Case, target: int, tally: Tally) -> dict[tuple[str, str], float]:
    promised: dict[tuple[str, str], float] = {}
    bounds = _attempt("curvature_bounds", case, target, tally) or {}
    for rung, bound in bounds.items():
        if bound.reason:
            tally.reasons[f"{rung}: {' '.join(bound.reason.split()[:8])}"] += 1
        for name in ("hessian", "gradient_change", "curvature"):
            value = getattr(bound, name)
            if value is None:
                tally.refused[f"{rung}.{name}"] += 1
            else:
                promised[rung, name] = float(value)
    certificate = _attempt("certify_explanation", case, target, tally, search=False)
    if certificate is not None:
        promised |= _certificate_promises(certificate, tally)
    return promised


def _certificate_promises(certificate: object, tally: Tally) -> dict[tuple[str, str], float]:
    fields = {
        "change_bound": "normal_change", "map_change_bound": "map_change",
        "gradient_norm_bound": "gradient_norm", "curvature_bound": "curvature",
    }  # fmt: skip
    promised = {}
    for name, quantity in fields.items():
        value = getattr(certificate, name)
        if value is None:
            tally.refused[f"certificate.{quantity}"] += 1
        else:
            promised["certificate", quantity] = float(value)
    cosine = getattr(certificate, "cosine_bound", None)
    if cosine is not None and math.isfinite(float(cosine)):  # cos from below is a chord from above
        promised["certificate (cosine)", "normal_change"] = (
            math.sqrt(max(0.0, 2 - 2 * float(cosine))) * (1 + 1e-12) + 1e-8
        )
    return promised


def _attempt(function: str, case: Case, target: int, tally: Tally, **options: bool):  # type: ignore[no-untyped-def]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return getattr(curvature, function)(case.module, case.x, target_class=target, radius=case.radius, **options)
    except REFUSALS as error:
        tally.refused[function] += 1
        tally.reasons[f"{function}: {' '.join(str(error).split()[:8])}"] += 1
    except Exception as error:  # the run goes on, and fails at the end
        tally.failures.append(f"{function}: {type(error).__name__}: {error} in {case.name}")
    return None


def _note_gap(name: str, end: Supremum, tally: Tally) -> None:
    if end.undecided or not math.isfinite(end.lower):
        tally.undecided[name] += 1
    else:
        tally.gaps[name].append(end.gap)


def _progress(kind: str, i: int, total: int, tally: Tally, start: float) -> None:
    if i % 10 == 0 or i == total:
        seconds = time.perf_counter() - start
        print(f"{kind} {i}/{total}, {len(tally.violations)} violations, {seconds:.0f} s", file=sys.stderr)


def _report(tally: Tally, tiny: int, large: int, seconds: float) -> None:
    print(f"{tiny} tiny networks (oracle and ascent), {large} larger ones (ascent), {seconds:.0f} s")
    print(f"{'field':44}{'checked':>8}{'refused':>8}{'worst':>12}{'median':>12}   (promised / attained)")
    for label in sorted(set(tally.checked) | set(tally.refused)):
        ratios = tally.ratios[label] or [math.nan]
        print(f"{label:44}{tally.checked[label]:8}{tally.refused[label]:8}{min(ratios):12.6f}{np.median(ratios):12.4g}")
    for name, gaps in tally.gaps.items():
        print(
            f"oracle {name:16} gap median {np.median(gaps):.3f}, largest {max(gaps):.3f}, undecided "
            f"{tally.undecided[name]}"
        )
    for reason, count in tally.reasons.most_common(12):
        print(f"refused {count:4}: {reason}")
    for line in tally.violations + tally.failures:
        print(f"VIOLATION {line}" if line in tally.violations else f"FAILED {line}")
    print(
        f"checked {sum(tally.checked.values())}, refused {sum(tally.refused.values())}, violations "
        f"{len(tally.violations)}, failures {len(tally.failures)}"
    )


if __name__ == "__main__":
    sys.exit(main())
