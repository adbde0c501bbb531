"""A study as its TOML file describes it, checked before anything is run."""

import dataclasses
import functools
import inspect
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from attacks.attack import ATTACKS, check_attack
from attacks.config import AttackConfig, has_own_row, preset
from attacks.defences import DEFENCES
from attacks.explanations import EXPLANATIONS
from attacks.networks import NETWORKS
from attacks.studies.curvature_columns import CurvatureColumns, read_curvature
from attacks.studies.overrides import Override, read_override
from attacks.studies.pairs import Pairs, read_pairs
from attacks.studies.sources import Patterns, Source, read_patterns, read_sources
from attacks.studies.table import Table

NO_DEFENCE = "none"
# What every attack takes; the rest of its arguments are options of the study.
_CONTRACT = ("network", "x", "target", "config", "target_class", "defence", "trace", "steps", "chunk")
_OURS = ("seed", "step")  # of the noise: the study's own seeds


@dataclass(frozen=True)
class Variant:
    """An attack or a defence with its options.

    Attributes:
        name: What the study calls it.
        kind: Key of ``ATTACKS`` or ``DEFENCES``; ``none`` for no defence.
        options: Keyword arguments.
    """

    name: str
    kind: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Combination:
    """One network, method, attack, defence and seed of a study, with the hyper-parameters that they get."""

    network: str
    method: str
    attack: Variant
    defence: Variant
    seed: int
    config: AttackConfig


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a study file says.

    Attributes:
        name: The file's name without its ending.
        title: One line.
        about: A few sentences.
        pairs: Images and targets, the same for every combination.
        sources: Networks, and where they come from.
        patterns: For pattern attribution, where a network has none of its own.
        methods: Keys of ``EXPLANATIONS``.
        attacks: Attacks with their options.
        defences: Defences with theirs.
        seeds: Of random weights and of noise.
        table: Table of the paper whose rows are taken; None for each network's own preset.
        rows: The network whose printed row a network takes, where it has none itself.
        overrides: Changes of the rows, with reasons.
        batch: Pairs in a task.
        chunk: Samples in one pass of the network.
        threads: Threads of a task.
        curvature: Which curvature columns to measure; None for none, as they cost time.
        text: The file.
    """

    name: str
    title: str
    about: str
    pairs: Pairs
    sources: tuple[Source, ...]
    patterns: Patterns | None
    methods: tuple[str, ...]
    attacks: tuple[Variant, ...]
    defences: tuple[Variant, ...]
    seeds: tuple[int, ...]
    table: int | None
    rows: dict[str, str]
    overrides: tuple[Override, ...]
    batch: int
    chunk: int
    threads: int
    curvature: CurvatureColumns | None
    text: str

    def combinations(self) -> Iterator[Combination]:
        """The product, in the order of the file: networks outermost, seeds innermost."""
        for network in (source.name for source in self.sources):
            for method in self.methods:
                for attack in self.attacks:
                    for defence in self.defences:
                        config = self._config(network, method, attack, defence)
                        for seed in self.seeds:
                            yield Combination(network, method, attack, defence, seed, config)

    def _config(self, network: str, method: str, attack: Variant, defence: Variant) -> AttackConfig:
        table = None if has_own_row(attack.kind) else self.table
        config = preset(self.rows.get(network, network), method, table=table, attack=attack.kind)
        config = dataclasses.replace(config, network=network)
        combination = {"network": network, "method": method, "attack": attack.name, "defence": defence.name}
        for override in self.overrides:
            config = override.apply(config, combination)
        check_attack(attack.kind, config)
        return config


def study_names() -> list[str]:
    """Studies that come with the package."""
    folder = files("attacks.studies")
    return sorted(path.name.removesuffix(".toml") for path in folder.iterdir() if path.name.endswith(".toml"))


def load_study(source: str) -> Study:
    """Read and check a study.

    Args:
        source: A file, or a name of ``study_names()``.

    Raises:
        ValueError: If the file is missing, its syntax is wrong (names the line), or a key is
            unknown, missing or not as expected (names the key).
    """
    path = Path(source)
    if source in study_names() and not path.is_file():
        path = Path(str(files("attacks.studies") / f"{source}.toml"))
    if not path.is_file():
        raise ValueError(
            f"expected a study file or one of {', '.join(study_names())}, got '{source}', which is neither"
        )
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ValueError(f"{path.name}: expected UTF-8 text, got other bytes at line {line}") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        lines = len(text.splitlines())
        where = str(error).replace("at end of document", f"at line {lines}, the end of the file")
        raise ValueError(f"{path.name}: expected TOML, got a mistake in its syntax: {where}") from error
    return _read(Table(values, source=path.name), path, text)


def _read(top: Table, path: Path, text: str) -> Study:
    attacks = _variants(top, "attacks", ATTACKS, ("manipulate",))
    defences = _variants(top, "defences", DEFENCES, (NO_DEFENCE,))
    sources = read_sources(top, path.parent)
    networks = tuple(source.name for source in sources)
    methods = top.many("methods", str, known=EXPLANATIONS)
    seeds = top.many("seeds", int, (0,))
    if min(seeds) < 0:
        raise top.error("seeds", "seeds >= 0", min(seeds))
    known = {
        "network": networks,
        "method": methods,
        "attack": tuple(v.name for v in attacks),
        "defence": tuple(v.name for v in defences),
    }
    table, rows = _hyperparameters(top.table("hyperparameters"), networks)
    batch = top.take("batch", int, 10, low=1)
    study = Study(
        name=path.stem,
        title=top.take("title", str),
        about=top.take("about", str, ""),
        pairs=read_pairs(top.table("pairs", required=True), path.parent),
        sources=sources,
        patterns=read_patterns(top, path.parent),
        methods=methods,
        attacks=attacks,
        defences=defences,
        seeds=seeds,
        table=table,
        rows=rows,
        overrides=tuple(read_override(entry, known) for entry in top.tables("overrides")),
        batch=batch,
        chunk=top.take("chunk", int, batch, low=1),
        threads=top.take("threads", int, 1, low=1),
        curvature=read_curvature(top),
        text=text,
    )
    top.finish()
    try:
        list(study.combinations())
    except ValueError as error:
        key = "overrides" if study.overrides else "hyperparameters"
        raise top.error(key, "hyper-parameters for every network and method", f"none that fit: {error}") from error
    return study


def _hyperparameters(table: Table, networks: tuple[str, ...]) -> tuple[int | None, dict[str, str]]:
    number = table.take("table", int, None)
    if number is not None and number not in range(1, 6):
        raise table.error("table", "a table of the paper, 1 to 5", number)
    entries = table.table("rows")
    rows = {network: entries.choice(network, NETWORKS) for network in networks if network in entries}
    for network in networks:
        entries.knows(network)
    entries.finish()
    table.finish()
    return number, rows


def _variants(
    top: Table, key: str, known: dict[str, Callable[..., Any]], default: tuple[str, ...]
) -> tuple[Variant, ...]:
    """The list ``key``, each name either a known one or one that a table ``[key-without-s.NAME]`` describes."""
    names = top.many(key, str, default)
    details = top.table(key.removesuffix("s"))
    variants = tuple(_variant(top, key, name, details, known) for name in names)
    details.finish()
    return variants


def _variant(top: Table, key: str, name: str, details: Table, known: dict[str, Callable[..., Any]]) -> Variant:
    names = [NO_DEFENCE, *known] if key == "defences" else list(known)
    if name not in details:
        details.knows(name)
        if name not in names:
            raise top.error(key, f"entries among {', '.join(names)}, or described in a table", repr(name))
        return Variant(name, name, {})
    entry = details.table(name)
    kind = entry.choice("kind", known, name) if name in known else entry.choice("kind", known)
    options = _options(entry, known[kind])
    check = known[kind] if key == "defences" else functools.partial(check_attack, kind)
    for option, value in options.items():
        try:
            check(**{option: value})
        except ValueError as error:
            raise entry.error(option, f"a value that {kind} accepts", f"{value!r} ({error})") from error
    return Variant(name, kind, options)


def _options(table: Table, function: Callable[..., Any]) -> dict[str, Any]:
    """Keyword arguments beyond the contract, of the types that the function's annotations say."""
    options: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in (*_CONTRACT, *_OURS) or name in getattr(function, "keywords", {}):
            continue
        table.knows(name)
        if name in table:
            options[name] = table.annotated(name, parameter.annotation)
    table.finish()
    return options
