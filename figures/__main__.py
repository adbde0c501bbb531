"""``python -m figures [NAME ... | all]``: all figures, resumable, each from cached data where there are some."""

import argparse
import json
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from attacks.storage import write_atomically
from figures._run import Options, Outcome, add_options, options_of, report, run_script
from figures._script import Script, load_script, named
from figures.pages import PAGES, make_page

_TIMES = "seconds.json"  # of past runs, beside the outputs; for the estimates alone


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0, 1 for a figure that failed or deviates, 2 for bad input, 130 for Ctrl-C."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given and given[0] in PAGES:
        return make_page(given[0], given[1:])
    parser = argparse.ArgumentParser(
        prog="python -m figures",
        description="Figures of the supplement, and more.",
        epilog=f"Pages for a browser, each a command of its own: {', '.join(PAGES)}.",
    )
    parser.add_argument("names", nargs="*", default=["all"], metavar="NAME", help="figures, or all (the default)")
    parser.add_argument("--list", action="store_true", help="print the table of what would run, and stop")
    add_options(parser)
    parsed = parser.parse_args(given)
    try:
        options = options_of(parsed)
        scripts = [load_script(name) for name in named(parsed.names)]
        for script in scripts:
            options.arguments(script)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(scripts, options), file=sys.stderr)
    return 0 if parsed.list else run_all(scripts, options)


def table(scripts: Sequence[Script], options: Options) -> str:
    """Figure, network, n, steps and minutes of full runs; minutes are those of the last run here, if there was one."""
    lines = [f"{'figure':34} {'network':34} {'n':>6} {'steps':>6} {'minutes':>8}"]
    times = past(options.folder)
    for script in scripts:
        if script.budget is not None:
            b = script.budget
            minutes = minutes_of(script, times)
            lines.append(f"{script.name:34} {b.network:34} {b.n:6} {b.steps:6} {minutes:8.1f}")
    total = sum(minutes_of(script, times) for script in scripts)
    lines.append(f"{len(scripts)} figures, about {total / 60:.1f} hours if nothing is there yet")
    if options.quick:
        lines.append("quick: a few images and steps of each, seconds; no claim is judged")
    return "\n".join(lines)


def run_all(scripts: Sequence[Script], options: Options) -> int:
    """Run figures one after another; one that fails does not keep the others from running."""
    outcomes: list[Outcome] = []
    failed: list[str] = []
    times = past(options.folder)
    total = sum(minutes_of(script, times) for script in scripts)
    form = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
    with tqdm(total=total, desc="figures", file=sys.stderr, bar_format=form) as bar:
        for script in scripts:
            bar.set_description(script.name)
            try:
                outcome = run_script(script, options)
            except KeyboardInterrupt:
                print("interrupted; the same command goes on from here", file=sys.stderr)
                return 128 + signal.SIGINT
            except Exception as error:  # whatever a script raises: the others run on
                failed.append(script.name)
                tqdm.write(f"failed: {script.name}: {error}", file=sys.stderr)
                if not isinstance(error, ValueError):
                    tqdm.write(traceback.format_exc(), file=sys.stderr)
            else:
                outcomes.append(outcome)
                remember(options.folder, outcome)
            bar.update(minutes_of(script, times))
    for outcome in outcomes:
        print("\n".join(report(outcome)))
    deviating = [outcome.name for outcome in outcomes if outcome.deviating]
    print(f"{len(outcomes)} figures in {options.folder}; {len(failed)} failed, {len(deviating)} with other verdicts")
    return 1 if failed or deviating else 0


def minutes_of(script: Script, times: dict[str, float]) -> float:
    """Of the last run here, else as estimated."""
    estimate = script.budget.minutes if script.budget else 1.0
    return times.get(script.name, 60 * estimate) / 60


def past(folder: Path) -> dict[str, float]:
    """Seconds that figures took here; empty if there are none."""
    try:
        found: dict[str, float] = json.loads((folder / _TIMES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def remember(folder: Path, outcome: Outcome) -> None:
    """Take note of what a figure took."""
    if outcome.seconds is not None:
        times = past(folder) | {outcome.name: round(outcome.seconds, 2)}
        write_atomically(folder / _TIMES, json.dumps(times, indent=1, sort_keys=True))


if __name__ == "__main__":
    sys.exit(main())
