"""Run one figure: compute or take the cached data, judge the claims on it, draw, write."""

import argparse
import dataclasses
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from figures._claim import Claim, Data
from figures._content import code, content, determining, versions
from figures._script import FOLDER, Script
from figures._store import Store, style

OUTPUT = FOLDER / "output"
STUDIES = Path("out") / "studies"
_QUICK = "A quick run: images and steps are fewer than a full run's, whose numbers this may give; nothing is judged."


@dataclass(frozen=True, kw_only=True)
class Options:
    """How figures are run.

    Attributes:
        seed: Of whatever is drawn; figures of the studies draw nothing themselves.
        quick: A few images and steps; judges nothing.
        redraw: Take the saved data as they are, whatever computed them.
        out: Folder of the outputs; ``figures/output`` by default, its folder ``paper`` for those of the paper's own
            setting, and the folder ``quick`` of either for quick ones.
        studies: Folder of the studies that figures share.
        any_code: Take data and attacks that another version of the code computed; the record says so.
        given: Options of single figures.
        paper: The user's data folder for the paper's own setting; None for the settings that need no network.
    """

    seed: int = 0
    quick: bool = False
    redraw: bool = False
    out: Path | None = None
    studies: Path = STUDIES
    any_code: bool = False
    given: Mapping[str, str] = dataclasses.field(default_factory=dict)
    paper: str | None = None

    @property
    def folder(self) -> Path:
        """Where outputs go."""
        setting = OUTPUT if self.paper is None else OUTPUT / "paper"
        return self.out or (setting / "quick" if self.quick else setting)

    def arguments(self, script: Script) -> dict[str, Any]:
        """The options of ``compute``."""
        paper = {} if self.paper is None else {k: v.format(folder=self.paper) for k, v in script.paper.items()}
        found = script.arguments({**paper, **self.given})
        shared = {"studies": self.studies, "any_code": self.any_code}
        return found | {key: value for key, value in shared.items() if key in found}

    def seeds(self, script: Script) -> dict[str, int]:
        """The seed, for a script that draws something."""
        return {"seed": self.seed} if script.seeded else {}

    def content(self, script: Script) -> str:
        """Hash of all that determines the data but code and versions."""
        seed = self.seeds(script).get("seed")
        return content(script, seed=seed, quick=self.quick, arguments=self.arguments(script))

    def command(self, name: str) -> str:
        """The command that computes the same; ``DIR`` stands for the user's data folder."""
        words = ["--quick"] if self.quick else []
        words += ["--seed", str(self.seed)] if self.seed else []
        words += [word for key, value in self.given.items() for word in ("--set", f"{key}={value}")]
        words += [] if self.paper is None else ["--paper-setting", "DIR"]
        words += ["--any-code"] if self.any_code else []
        return shlex.join(["python", "-m", "figures", name, *words])


@dataclass(frozen=True)
class Outcome:
    """What became of a figure.

    Attributes:
        name: Of the script.
        claims: With their verdicts.
        content: Hash of what determines the data but code and versions.
        seconds: That ``compute`` took; None if the data were there.
        judged: False for quick runs.
        compared: Whether the verdicts are compared with those on record: those of full runs with default options.
    """

    name: str
    claims: dict[str, Claim]
    content: str
    seconds: float | None
    judged: bool
    compared: bool

    @property
    def deviating(self) -> list[str]:
        """Claims whose verdict is not the one on record."""
        return [words for words, claim in self.claims.items() if self.compared and claim.deviates]


def run_script(script: Script, options: Options) -> Outcome:
    """Compute what is not cached, judge, draw and write.

    Raises:
        ValueError: If an option or the data is not as expected; whatever the script raises passes through.
    """
    store = Store(options.folder, script.name)
    store.prepare()
    arguments = options.arguments(script)
    seed = options.seeds(script)
    key: dict[str, Any] = {"content": options.content(script)}
    key |= {"code": code(), "versions": versions()}
    record = _usable(store.record(), key, options)
    seconds = None
    if options.redraw and record is None:
        raise ValueError(f"expected data of {script.name} in '{store.folder}' to redraw; leave --redraw out")
    if record is None:
        started = time.perf_counter()
        data = script.compute(**seed, quick=options.quick, **arguments)
        seconds = time.perf_counter() - started
        record = key | {"seed": seed.get("seed"), "quick": options.quick, "arguments": determining(arguments)}
        record |= {"any_code": options.any_code, "command": options.command(script.name)}
        record["data"] = store.save_data(data)
        store.save_record(record)  # hours of computing outlive an error in what judges or draws
    data = store.load()  # what is drawn is what was saved
    claims = script.claims(data)
    _draw(store, script.draw, data)
    judged, compared = not record["quick"], _on_record(script, record)
    outcome = Outcome(script.name, claims, record["content"], seconds, judged=judged, compared=compared)
    store.save_record(record | _words(script, data, outcome, record))
    return outcome


def _on_record(script: Script, record: dict[str, Any]) -> bool:
    """Whether the data are those of the setting whose verdicts the claims record."""
    default = record["seed"] in (0, None) and record["arguments"] == determining(script.options())
    return default and not record["quick"]


def _usable(record: dict[str, Any] | None, key: dict[str, Any], options: Options) -> dict[str, Any] | None:
    """The record of the saved data, if these are the data asked for."""
    if record is None or options.redraw:
        return record
    if options.any_code:
        return record if record["content"] == key["content"] else None
    return record if not record["any_code"] and all(record[name] == key[name] for name in key) else None


def _draw(store: Store, draw: Callable[[Data], Figure], data: Data) -> None:
    with style():
        figure = draw(data)
        if not isinstance(figure, Figure) or not figure.axes:
            raise ValueError(f"expected a figure with axes from {store.name}, got {figure!r}")
        store.save_pictures(figure)


def _words(script: Script, data: Data, outcome: Outcome, record: dict[str, Any]) -> dict[str, Any]:
    caption = script.words(data) + ("" if record["seed"] is None else f" Seed {record['seed']}.")
    return {
        "name": script.name,
        "caption": f"{caption} {_QUICK}" if record["quick"] else caption,
        "judged": outcome.judged,
        "compared": outcome.compared,
        "claims": {
            words: dataclasses.asdict(claim) | {"verdict": claim.verdict, "deviates": words in outcome.deviating}
            for words, claim in outcome.claims.items()
        },
        "shapes": {key: list(np.shape(array)) for key, array in data.items()},
    }


def run(
    name: str,
    compute: Callable[..., Data],
    claims: Callable[[Data], dict[str, Claim]],
    draw: Callable[[Data], Figure],
    caption: str | Callable[[Data], str],
) -> int:
    """The command line of one script; returns the exit status (1: failed or a deviating verdict, 2: bad input)."""
    module = sys.modules[compute.__module__]
    script = Script(name, compute, claims, draw, caption, paper=getattr(module, "PAPER", {}))
    parser = argparse.ArgumentParser(prog=f"python -m figures.{name}", description=(module.__doc__ or "").strip())
    add_options(parser)
    try:
        outcome = run_script(script, options_of(parser.parse_args()))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in report(outcome):
        print(line)
    return 1 if outcome.deviating else 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """What ``Options`` holds, as a command line."""
    parser.add_argument("--seed", type=int, default=0, help="of whatever is drawn")
    parser.add_argument("--quick", action="store_true", help="a few images and steps; judges nothing")
    parser.add_argument("--redraw", action="store_true", help="draw the saved data again, whatever computed them")
    parser.add_argument("--out", type=Path, help="folder of the outputs; figures/output by default")
    parser.add_argument("--studies", type=Path, default=STUDIES, help="folder of the studies that figures share")
    parser.add_argument("--any-code", action="store_true", help="take data and attacks of another version of the code")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the figure")
    parser.add_argument("--paper-setting", metavar="DIR", help="the paper's network and images, the latter in DIR")


def options_of(namespace: argparse.Namespace) -> Options:
    """Options from a parsed command line.

    Raises:
        ValueError: If a ``--set`` has no value, the seed is negative or the folder of the paper's setting is not there.
    """
    pairs = [text.partition("=") for text in namespace.set]
    wrong = [key for key, equals, _ in pairs if not equals]
    if wrong or namespace.seed < 0:
        raise ValueError(f"expected --set KEY=VALUE and a seed >= 0, got {wrong} and {namespace.seed}")
    paper = namespace.paper_setting
    if paper is not None and not Path(paper).is_dir():
        raise ValueError(f"expected a folder with the paper's images for --paper-setting, got '{paper}'")
    known = {f.name for f in dataclasses.fields(Options)} & vars(namespace).keys()
    given = {key: value for key, _, value in pairs}
    return Options(**{k: getattr(namespace, k) for k in known}, given=given, paper=paper)


def report(outcome: Outcome) -> list[str]:
    """A line a claim: verdict here, verdict on record, value and n."""
    lines = []
    for words, claim in outcome.claims.items():
        mark = "not judged (quick)" if not outcome.judged else claim.verdict
        mark += ", compared with no record in this setting" if outcome.judged and not outcome.compared else ""
        mark += ", DEVIATES from the verdict on record" if words in outcome.deviating else ""
        lines.append(f"{outcome.name}: {words}: {mark}; value {claim.value:.4g}, n {claim.n}")
    return lines
