"""``python -m attacks correlate``: attacks against curvature and certificates, and their rank correlation."""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attacks.storage import plain, write_atomically

if TYPE_CHECKING:
    from attacks.correlation.plan import Settings
    from attacks.correlation.store import Store

_QUICK_PERMUTATIONS, _PERMUTATIONS = 9_999, 99_999
_TARGETED = {False: (150, 300), True: (40, 60)}  # pairs and iterations, by quick
_TRAINED = {False: 397, True: 60}  # images, by quick
_IGNORED = {
    "balls": (),
    "targeted": ("network", "betas", "radii", "restarts", "seed"),
    "training": ("network", "betas", "radii", "restarts"),
}


@dataclass(frozen=True, kw_only=True)
class Correlate:
    """Measure whether curvature predicts how far an explanation can be moved; goes on where it was interrupted."""

    experiment: Literal["balls", "targeted", "training"] = "balls"
    """Attacks within radii; the paper's targeted attack by six methods; networks trained for low curvature."""
    network: str = "digits"
    """Which network with its images, for the attacks within radii."""
    betas: tuple[float, ...] | None = None
    """Softplus parameters; those of the network's experiment by default."""
    radii: tuple[float, ...] | None = None
    """Radii of the balls in the network's input space, ascending."""
    images: int | None = None
    """How many images, held-out ones first; pairs of the targeted attack."""
    steps: int | None = None
    """Steps of each ascent; iterations of the targeted attack."""
    restarts: int | None = None
    """Restarts of each ascent."""
    seed: int = 0
    """Of the random starts."""
    quick: bool = False
    """Fewer betas, radii, images and steps: about two minutes."""
    workers: int | None = None
    """Processes with one thread each; one a core by default."""
    out: Path | None = None
    """Folder; out/correlation-NETWORK or out/correlation-EXPERIMENT by default."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def execute(self) -> int:
        """Do it; 1 if it was interrupted or a claim of the report does not hold."""
        from attacks.correlation.store import Store

        self._refuse_what_is_ignored()
        started = time.perf_counter()
        name = self.network if self.experiment == "balls" else self.experiment
        folder = self.out or Path("out") / f"correlation-{name}"
        experiment = {"balls": self._balls, "targeted": self._targeted, "training": self._training}[self.experiment]
        try:
            report, files = experiment(Store(folder / "parts"))
        except KeyboardInterrupt:
            print(f"interrupted; parts that are done are in '{folder}', the same command goes on", file=sys.stderr)
            return 1
        report |= {"command": self._command(), "seconds": round(time.perf_counter() - started, 1)}
        for file, content in files(report).items():
            write_atomically(folder / file, content)
        written = {path for path in folder.iterdir() if path.is_file()} | {folder / "report.json"}
        report["files"] = [str(path) for path in sorted(written)]
        write_atomically(folder / "report.json", json.dumps(plain(report), indent=1))
        return self._print(report)

    def _refuse_what_is_ignored(self) -> None:
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        given = [f"--{name}" for name in _IGNORED[self.experiment] if getattr(self, name) != defaults[name]]
        if given:
            raise ValueError(
                f"expected no {' and no '.join(given)} with --experiment {self.experiment}, which has its own; "
                "leave it out"
            )

    def _measured(self, parts: Sequence[Any], store: "Store", measure: Callable[..., Any]) -> "_Measured":
        from attacks.correlation.run import default_workers, run_parts

        store.prepare()
        workers = default_workers() if self.workers is None else self.workers
        before = run_parts(parts, store, workers=workers, measure=measure)
        loaded = [(part, tensors) for part in parts if (tensors := store.load(part)) is not None]
        return loaded, {"parts": len(parts), "parts_before": before}

    def _balls(self, store: "Store") -> "_Outcome":
        from attacks.correlation import analysis
        from attacks.correlation.certificates import VACUOUS
        from attacks.correlation.measurements import measure
        from attacks.correlation.plan import plan
        from attacks.correlation.subjects import load_subject
        from attacks.correlation.table import as_table
        from attacks.report.correlation import correlation_page, overview_png

        subject = load_subject(self.network)
        settings = self._settings()
        held_out = min(settings.images, int((~subject.trained_on).sum()))
        if held_out < analysis.FEWEST:
            raise ValueError(f"expected at least {analysis.FEWEST} --images for correlations, got {held_out}")
        loaded, counts = self._measured(plan(settings, subject), store, measure)
        table = as_table(loaded, subject)
        permutations = _QUICK_PERMUTATIONS if self.quick else _PERMUTATIONS
        found = analysis.correlations(table, permutations=permutations, independent=subject.independent)
        middle = analysis.medians(table)
        report = {
            **asdict(settings),
            **counts,
            "images": int(table["image"].nunique()),
            "held_out": int(table.loc[~table["trained_on"], "image"].nunique()),
            "accuracy": subject.accuracy,
            "dense": subject.dense,
            "independent": subject.independent,
            "of": subject.words,
            "triples": len(table),
            "certified_triples": int((table["certificate"] < VACUOUS).sum()),
            "certified_radius": analysis.certified_radii(middle),
            "permutations": permutations,
            "family": int(found["p"].notna().sum()),
            "local": {
                "level": analysis.LOCAL,
                **{attack: analysis.end_of_local_picture(found, attack) for attack in analysis.ATTACKS},
            },
            "claims": analysis.claims(table, found),
        }
        return report, lambda report: {
            "triples.csv": table.to_csv(index=False),
            "correlations.csv": found.to_csv(index=False),
            "medians.csv": middle.to_csv(index=False),
            "report.html": correlation_page(report, table, found, middle),
            "overview.png": overview_png(found, middle),
        }

    def _settings(self) -> "Settings":
        from attacks.correlation.ascent import Ascent
        from attacks.correlation.plan import experiment

        settings = experiment(self.network, quick=self.quick)
        ascent = Ascent(
            steps=settings.ascent.steps if self.steps is None else self.steps,
            restarts=settings.ascent.restarts if self.restarts is None else self.restarts,
            seed=self.seed,
        )
        return dataclasses.replace(
            settings,
            betas=self.betas or settings.betas,
            radii=self.radii or settings.radii,
            images=settings.images if self.images is None else self.images,
            ascent=ascent,
        )

    def _targeted(self, store: "Store") -> "_Outcome":
        from attacks.correlation.targeted import measure_targeted, targeted_correlations, targeted_parts
        from attacks.report.experiment import targeted_page

        pairs, iterations = _TARGETED[self.quick]
        pairs = pairs if self.images is None else self.images
        iterations = iterations if self.steps is None else self.steps
        parts = targeted_parts(pairs=pairs, iterations=iterations)
        loaded, counts = self._measured(parts, store, measure_targeted)
        found = targeted_correlations(loaded)
        report = {
            **counts,
            "pairs": pairs,
            "iterations": iterations,
            "family": int(found["p"].notna().sum()),
            "claims": {},
        }
        return report, lambda report: {
            "correlations.csv": found.to_csv(index=False),
            "report.html": targeted_page(report, found),
        }

    def _training(self, store: "Store") -> "_Outcome":
        import pandas as pd

        from attacks.correlation.analysis import certificate_claims
        from attacks.correlation.ascent import Ascent
        from attacks.correlation.measurements import measure
        from attacks.correlation.subjects import SEEDS, load_subject
        from attacks.correlation.table import as_table
        from attacks.correlation.training import accuracies, accuracy_differences, training_effects, training_parts
        from attacks.report.experiment import training_page

        seeds = SEEDS[:1] if self.quick else SEEDS
        images = _TRAINED[self.quick] if self.images is None else self.images
        ascent = Ascent(steps=30 if self.steps is None else self.steps, seed=self.seed)
        parts = training_parts(images=images, seeds=seeds, ascent=ascent)
        by_network: dict[str, list[Any]] = {}
        measured, counts = self._measured(parts, store, measure)
        for part, tensors in measured:
            by_network.setdefault(part.settings.network, []).append((part, tensors))
        tables = {name: as_table(loaded, load_subject(name)) for name, loaded in by_network.items()}
        effects = training_effects(tables)
        report = {
            **counts,
            "images": images,
            "seeds": len(seeds),
            "accuracy": accuracies(list(tables)),
            "accuracy_difference": accuracy_differences(list(tables)),
            "claims": certificate_claims(pd.concat(tables.values(), ignore_index=True)),
        }
        return report, lambda report: {
            "effects.csv": effects.to_csv(index=False),
            "report.html": training_page(report, effects),
        }

    def _command(self) -> str:
        words = ["python -m attacks correlate"]
        words += [] if self.experiment == "balls" else [f"--experiment {self.experiment}"]
        words += [] if self.network == "digits" else [f"--network {self.network}"]
        words += ["--quick"] if self.quick else []
        for name in ("betas", "radii", "images", "steps", "restarts"):
            value = getattr(self, name)
            if value is not None:
                words.append(f"--{name} {' '.join(map(str, value)) if isinstance(value, tuple) else value}")
        words += [f"--seed {self.seed}"] if self.seed else []
        return " ".join(words)

    def _print(self, report: dict[str, Any]) -> int:
        failed = [name for name, claim in report["claims"].items() if not claim["holds"]]
        if self.json:
            print(json.dumps(plain(report)))
            return 1 if failed else 0
        for name, claim in report["claims"].items():
            print(f"{'holds' if claim['holds'] else 'FAILS'}: {name}: {claim['value']:.6g} (n = {claim['n']})")
        if "local" in report:
            from attacks.correlation.analysis import in_words

            print("\n".join(in_words(report["certified_radius"], report["local"])))
        print("\n".join(report["files"]))
        return 1 if failed else 0


_Measured = tuple[list[tuple[Any, Any]], dict[str, int]]
_Outcome = tuple[dict[str, Any], Callable[[dict[str, Any]], dict[str, str | bytes]]]
