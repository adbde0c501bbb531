"""``python -m attacks correlate``: attacks in balls against curvature and certificates, and their rank correlation."""

import dataclasses
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attacks.storage import plain, write_atomically

if TYPE_CHECKING:
    import pandas as pd

    from attacks.correlation.plan import Settings
    from attacks.correlation.subjects import Subject


@dataclass(frozen=True, kw_only=True)
class Correlate:
    """Measure whether curvature predicts how far an explanation can be moved; goes on where it was interrupted."""

    network: str = "digits"
    """Which network with its images."""
    betas: tuple[float, ...] | None = None
    """Softplus parameters; those of the network's experiment by default."""
    radii: tuple[float, ...] | None = None
    """Radii of the balls in the network's input space, ascending."""
    images: int | None = None
    """How many images, held-out ones first."""
    steps: int | None = None
    """Steps of each ascent."""
    restarts: int | None = None
    """Restarts of each ascent."""
    seed: int = 0
    """Of the random starts."""
    quick: bool = False
    """Fewer betas, radii and images: about two minutes."""
    workers: int | None = None
    """Processes with one thread each; one a core by default."""
    out: Path | None = None
    """Folder; out/correlation-NETWORK by default."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def execute(self) -> int:
        """Do it; 1 if a claim of the report does not hold."""
        from attacks.correlation.plan import plan
        from attacks.correlation.run import default_workers, run_parts
        from attacks.correlation.store import Store
        from attacks.correlation.subjects import load_subject
        from attacks.correlation.table import as_table

        started = time.perf_counter()
        subject = load_subject(self.network)
        settings = self._settings()
        parts = plan(settings, subject)
        folder = self.out or Path("out") / f"correlation-{self.network}"
        store = Store(folder / "parts")
        store.prepare()
        workers = default_workers() if self.workers is None else self.workers
        try:
            before = run_parts(parts, store, workers=workers)
        except KeyboardInterrupt:
            done = sum(store.load(part) is not None for part in parts)
            print(f"interrupted with {done} of {len(parts)} parts done; the same command goes on", file=sys.stderr)
            return 1
        loaded = [(part, tensors) for part in parts if (tensors := store.load(part)) is not None]
        report = self._write(folder, as_table(loaded, subject), settings, subject)
        report |= {"parts": len(parts), "parts_before": before, "seconds": round(time.perf_counter() - started, 1)}
        write_atomically(folder / "report.json", json.dumps(plain(report), indent=1))
        return self._print(report)

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

    def _write(self, folder: Path, table: "pd.DataFrame", settings: "Settings", subject: "Subject") -> dict[str, Any]:
        from attacks.correlation import analysis
        from attacks.report.correlation import correlation_page, overview_png

        permutations = 9_999 if self.quick else 99_999
        found = analysis.correlations(table, permutations=permutations)
        middle = analysis.medians(table)
        report: dict[str, Any] = {
            **asdict(settings),
            "command": self._command(),
            "images": int(table["image"].nunique()),
            "held_out": int(table.loc[~table["trained_on"], "image"].nunique()),
            "accuracy": subject.accuracy,
            "triples": len(table),
            "permutations": permutations,
            "family": int(found["p"].notna().sum()),
            "local": {
                "level": analysis.LOCAL,
                **{attack: analysis.end_of_local_picture(found, attack) for attack in analysis.ATTACKS},
            },
            "claims": analysis.claims(table, found),
        }
        files = {
            "triples.csv": table.to_csv(index=False),
            "correlations.csv": found.to_csv(index=False),
            "medians.csv": middle.to_csv(index=False),
            "report.html": correlation_page(report, table, found, middle),
            "overview.png": overview_png(found, middle),
        }
        for name, content in files.items():
            write_atomically(folder / name, content)
        return report | {"files": {name: str(folder / name) for name in (*files, "report.json")}}

    def _command(self) -> str:
        words = ["python -m attacks correlate"]
        words += [] if self.network == "digits" else [f"--network {self.network}"]
        words += ["--quick"] if self.quick else []
        return " ".join(words)

    def _print(self, report: dict[str, Any]) -> int:
        failed = [name for name, claim in report["claims"].items() if not claim["holds"]]
        if self.json:
            print(json.dumps(plain(report)))
        else:
            for name, claim in report["claims"].items():
                print(f"{'holds' if claim['holds'] else 'FAILS'}: {name}: {claim['value']:.6g} (n = {claim['n']})")
            for attack in ("surface", "free"):
                end = report["local"][attack]
                print(
                    f"{attack}: Spearman >= {report['local']['level']} up to beta r = {end['holds_to']:g}, "
                    f"nowhere from {end['lost_from']:g} on"
                )
            for name, path in report["files"].items():
                print(f"{name + ':':18} {path}")
        return 1 if failed else 0
