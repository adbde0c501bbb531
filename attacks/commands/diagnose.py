"""``python -m attacks diagnose``: how far the explanation of one picture can be moved, at most and at least."""

import dataclasses
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from attacks.change_search import Effort
from attacks.commands.folder import OutputFolder
from attacks.commands.loading import command_words, load_on
from attacks.diagnosis import Diagnosis, default_effort, default_radii, diagnose, pieces
from attacks.images import load_picture
from attacks.report.diagnosis import write_diagnosis
from attacks.report.diagnosis_words import as_json, sentences
from attacks.storage import plain, write_atomically

_FILES = {"page": "diagnosis.html", "picture": "diagnosis.png", "json": "diagnosis.json"}


@dataclass(frozen=True, kw_only=True)
class Diagnose:
    """Say how far the gradient explanation of one picture can be moved: certified at most, found at least."""

    network: str = "efficientnet_lite0"
    """Name of a network, or package.module:factory of your own, with --weights for its file."""
    image: str = "chelsea"
    """Picture: a name (chelsea, coffee, rocket, astronaut, digits/INDEX, mnist/INDEX) or a file."""
    radius: tuple[float, ...] | None = None
    """Radii, Euclidean in the network's input space; by default pixel changes of 0.1 and 1 % (root mean square)."""
    beta: float = 1.0
    """Softplus beta of the network whose geometry is measured."""
    target_class: int | None = None
    """Class whose explanation it is; the predicted one by default."""
    weights: str | None = None
    """'pretrained', 'random' or a file; by default trained weights where they are on disk."""
    steps: int | None = None
    """Steps of each search; 40 by default, 8 for large pictures."""
    restarts: int | None = None
    """Random starts of each search, beside those along the leading directions; 6 by default, 0 for large pictures."""
    seed: int = 0
    """Of random weights and of the searches' random starts."""
    device: str = "cpu"
    """Torch device."""
    out: Path = Path("out/diagnose")
    """Folder for diagnosis.html, diagnosis.png, diagnosis.json."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def execute(self) -> int:
        """Do it; returns the exit status: 1 if a search attained what a certificate excludes."""
        started = time.perf_counter()
        network = load_on(self.device, self.network, weights=self.weights, seed=self.seed)
        picture = load_picture(self.image, channels=len(network.mean))
        x = network.preprocess(picture.image).to(self.device)[0]
        radii = default_radii(network, x) if self.radius is None else self.radius
        with OutputFolder(self.out) as folder:
            for name in _FILES.values():
                (folder / name).unlink(missing_ok=True)  # an earlier run's, which would stand beside this result
            with tqdm(total=pieces(radii), desc="diagnose", file=sys.stderr) as bar:

                def say(words: str) -> None:
                    bar.set_postfix_str(words, refresh=False)
                    bar.update()

                effort = self._effort(x.numel())
                found = diagnose(
                    network, x, radii=radii, beta=self.beta, target_class=self.target_class, effort=effort, say=say
                )
            summary: dict[str, Any] = {
                "network": network.name,
                "weights": network.weights,
                "image": self.image,
                "seed": self.seed,
                **as_json(found),
                "files": _FILES,
            }
            command = command_words(self, "diagnose", without=("json", "out"))
            write_diagnosis(folder, network, found, picture=picture, command=command)
            write_atomically(folder / _FILES["json"], json.dumps(plain(summary), indent=1))
        self._print(found, summary | {"seconds": round(time.perf_counter() - started, 2)})
        violations = [words for at in found.radii for words in at.violations()]
        for words in violations:
            print(f"failed: a certificate is violated, which is a bug: {words}", file=sys.stderr)
        return 1 if violations else 0

    def _effort(self, numbers: int) -> Effort:
        changes = {name: value for name in ("steps", "restarts") if (value := getattr(self, name)) is not None}
        return dataclasses.replace(default_effort(numbers), seed=self.seed, **changes)

    def _print(self, found: Diagnosis, summary: dict[str, Any]) -> None:
        if self.json:
            print(json.dumps(plain(summary)))
            return
        geometry, field = found.geometry, found.field
        what = "" if geometry.complete and not field.rough else " (estimates)"
        print(
            f"{summary['network']} ({summary['weights']}), {self.image}, class {field.target_class}, softplus beta = "
            f"{field.beta:g}, {summary['dtype']}"
        )
        print(
            f"curvature{what}: largest {geometry.largest:.4g}, rate of turn {geometry.turn_rate:.4g} [1/length], "
            f"gradient norm {geometry.gradient_norm:.4g}"
        )
        for at in found.radii:
            print(f"radius {at.radius:g} ({100 * at.pixel_change:.2g} % of black to white in a pixel, rms):")
            for sentence in sentences(found, at):
                print(f"  [{sentence.about}, {sentence.strength}] {sentence.text}")
        print(f"page: {self.out / _FILES['page']}")
