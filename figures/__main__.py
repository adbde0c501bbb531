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
    """Figure, network, n, steps and minutes of full runs; minutes are those of the last run here, if there was one.

    The paper's own setting has other networks and images, and what it costs is not known.
    """
    lines = [_line("figure", "network", "n", "steps", "minutes")]
    minutes = estimates(scripts, options)
    known = [script for script in scripts if options.paper is None or not script.paper]
    for script in scripts:
        if script.budget is not None and script in known:
            b = script.budget
            lines.append(_line(script.name, b.network, b.n, b.steps, f"{minutes[script.name]:.1f}"))
        elif script.budget is not None:
            lines.append(_line(script.name, "the paper's", *["unknown"] * 3))
    total = sum(minutes[script.name] for script in known)
    hours = f"about {total / 60:.1f} hours if nothing is there yet"
    if len(known) < len(scripts):
        hours = (
            f"{hours} for {len(known)} of them, unknown for the others" if known else "how long they take is unknown"
        )
    lines.append(f"{len(scripts)} figures, {hours}")
    if options.quick:
        lines.append("quick: a few images and steps of each, seconds; no claim is judged")
    return "\n".join(lines)


def _line(name: str, network: str, *numbers: object) -> str:
    return f"{name:34} {network:34} {numbers[0]:>7} {numbers[1]:>7} {numbers[2]:>8}"


def run_all(scripts: Sequence[Script], options: Options) -> int:
    """Run figures one after another; one that fails does not keep the others from running."""
    outcomes: list[Outcome] = []
    failed: list[str] = []
    minutes = estimates(scripts, options)
    form = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
    with tqdm(total=sum(minutes.values()), desc="figures", file=sys.stderr, bar_format=form) as bar:
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
            bar.update(minutes[script.name])
    for outcome in outcomes:
        print("\n".join(report(outcome)))
    deviating = [outcome.name for outcome in outcomes if outcome.deviating]
    print(f"{len(outcomes)} figures in {options.folder}; {len(failed)} failed, {len(deviating)} with other verdicts")
    return 1 if failed or deviating else 0


def estimates(scripts: Sequence[Script], options: Options) -> dict[str, float]:
    """Minutes of each figure: those that the same data took here, else the script's own estimate.

    As estimated too where figures share attacks: a run that found them there would pass for one that ran them.
    """
    times = past(options.folder)
    found = {}
    for script in scripts:
        found[script.name] = script.budget.minutes if script.budget else 1.0
        if script.name in times and "studies" not in script.options():
            seconds = times[script.name].get(options.content(script))
            found[script.name] = found[script.name] if seconds is None else seconds / 60
    return found


def past(folder: Path) -> dict[str, dict[str, float]]:
    """Seconds that figures took here, by name and hash of what determines the data; empty if there are none."""
    try:
        found = json.loads((folder / _TIMES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: times for name, times in found.items() if isinstance(times, dict)}


def remember(folder: Path, outcome: Outcome) -> None:
    """Take note of what a figure took."""
    if outcome.seconds is not None:
        times = past(folder) | {outcome.name: {outcome.content: round(outcome.seconds, 2)}}
        write_atomically(folder / _TIMES, json.dumps(times, indent=1, sort_keys=True))


if __name__ == "__main__":
    sys.exit(main())
