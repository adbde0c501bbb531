"""``python -m attacks run``: manipulate the explanation of one picture, and watch the curvature."""

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

import curvature
from attacks.attack import ATTACKS
from attacks.commands.folder import OutputFolder
from attacks.commands.loading import command_words, load_on
from attacks.config import AttackConfig, preset
from attacks.defences import load_defence
from attacks.diagnostics import CurvatureTrace
from attacks.explanations import explain
from attacks.images import Picture, load_picture
from attacks.manipulation import AttackResult
from attacks.metrics import pcc
from attacks.networks import Network
from attacks.report import write_report
from attacks.storage import plain, save_result, write_atomically
from attacks.targets import load_target


@dataclass(frozen=True, kw_only=True)
class Run:
    """Manipulate the explanation of one picture, and watch the curvature."""

    network: str = "efficientnet_lite0"
    """Name of a network, or package.module:factory of your own, with --weights for its file."""
    image: str = "chelsea"
    """Picture to manipulate: a name (chelsea, coffee, rocket, astronaut, digits/INDEX, mnist/INDEX) or a file."""
    target: str = "coffee"
    """Whose explanation map is the target: a picture's name or file, or 'same'; or text:WORDS, or drawn:FILE."""
    target_class: int | None = None
    """Class that the target's map explains; its predicted one by default."""
    method: str = "gradient"
    """Explanation method."""
    attack: str = "manipulate"
    """manipulate, on_level_set, ghorbani_top_k, ghorbani_mass_centre or ghorbani_target_region."""
    defence: str | None = None
    """beta_smoothing, smoothgrad or spherical_logistic; with settings as in smoothgrad:noise=0.2,samples=10."""
    adaptive: bool = True
    """Whether the attack differentiates through the defence."""
    table: int | None = None
    """Take the hyper-parameters of this table of the paper (1 to 5), not the network's own preset."""
    iterations: int | None = None
    """Steps; those of the preset or table by default."""
    lr: float | None = None
    """Adam's step size in the network's input space; that of the preset or table by default."""
    beta: tuple[float, ...] | None = None
    """Softplus beta of the attack: one number, or first and last."""
    seed: int = 0
    """Of random weights."""
    weights: str | None = None
    """'pretrained', 'random' or a file; by default trained weights where they are on disk."""
    patterns: Path | None = None
    """File of 'attacks fit-patterns', for the method pattern_attribution."""
    curvature_beta: float = 1.0
    """Beta of the softened network whose curvature is measured."""
    curvature_every: int = 50
    """Steps between samples of the curvature; 0 for none."""
    device: str = "cpu"
    """Torch device."""
    out: Path = Path("out/run")
    """Folder for result.safetensors, report.html, overview.png, manipulated.png, metrics.json."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def execute(self) -> int:
        """Do it; returns the exit status."""
        started = time.perf_counter()
        config = self.config()
        network, picture = self._load()
        x = network.preprocess(picture.image).to(self.device)
        defence = None if self.defence is None else load_defence(self.defence, adaptive=self.adaptive)
        trace = self._trace()
        target = load_target(self.target, network, x, config=config, target_class=self.target_class, defence=defence)
        pictures = (picture, target.picture)
        _say(f"{network.name} ({network.weights}): {picture.name} with the {config.method} map of {pictures[1].name}")
        if config.reason:
            _say(f"hyper-parameters: {config.reason}")
        with OutputFolder(self.out) as folder:
            progress = _Progress()
            attack = ATTACKS[self.attack]
            result = attack(network, x, target.map, config=config, defence=defence, trace=trace, steps=progress)
            summary = self._summary(network, result, progress.seconds)
            # Not before the attack is over: the map that the pictures are judged by is the unsoftened network's.
            summary["explanation"]["pcc_target_unsoftened"] = float(pcc(result.maps, target.own_map)[0])
            self._write(folder, network, result, summary, (target.input, pictures))
        summary["seconds"] = round(time.perf_counter() - started, 2)
        self._print(result, summary)
        return 0 if summary["output"]["class_kept"] and result.completed else 1

    def _trace(self) -> CurvatureTrace | None:
        if self.curvature_every < 0:
            raise ValueError(f"expected --curvature-every >= 1, or 0 for no samples, got {self.curvature_every}")
        trace = CurvatureTrace(every=self.curvature_every or 1, beta=self.curvature_beta)
        return trace if self.curvature_every else None

    def config(self) -> AttackConfig:
        """The hyper-parameters, with what the command line overrides."""
        if self.attack not in ATTACKS:
            raise ValueError(f"expected an attack among {', '.join(ATTACKS)}, got {self.attack!r}")
        config = preset(self.network, self.method, table=self.table, attack=self.attack)
        changes: dict[str, Any] = {
            name: value for name in ("iterations", "lr") if (value := getattr(self, name)) is not None
        }
        if self.beta is not None:
            if len(self.beta) not in (1, 2):
                raise ValueError(f"expected --beta with one number or two, got {len(self.beta)}")
            changes |= {"beta_start": self.beta[0], "beta_end": self.beta[-1]}
        return dataclasses.replace(config, network=self.network, **changes)

    def _load(self) -> tuple[Network, Picture]:
        network = load_on(self.device, self.network, weights=self.weights, seed=self.seed, patterns=self.patterns)
        return network, load_picture(self.image, channels=len(network.mean))

    def _summary(self, network: Network, result: AttackResult, seconds: list[float]) -> dict[str, Any]:
        metrics = {
            group: {name: value[0].item() for name, value in entries.items()}
            for group, entries in result.metrics.items()
        }
        # Steps at which the curvature was sampled cost more, and are not the attack's.
        plain = [s for i, s in enumerate(seconds, 1) if not self.curvature_every or i % self.curvature_every]
        times = plain or seconds
        step = statistics.median(times) if times else 0.0
        cost = min(times) / _gradient_seconds(network, result) if times else 0.0
        return {
            "attack": result.attack,
            "config": dataclasses.asdict(result.config),
            "defence": result.defence.settings() if result.defence else None,
            "seed": self.seed,
            "weights": network.weights,
            "completed": result.completed,
            "step_seconds": round(step, 4),
            "step_cost_in_gradients": round(cost, 2),
            **metrics,
            "curvature": _curvature_summary(result),
        }

    def _write(
        self,
        folder: Path,
        network: Network,
        result: AttackResult,
        summary: dict[str, Any],
        shown: tuple[Tensor, tuple[Picture, ...]],
    ) -> None:
        extra = {"seed": self.seed, "image": self.image, "target": self.target, "weights": network.weights}
        save_result(result, folder / "result.safetensors", extra=extra)
        for name in ("report.html", "overview.png", "manipulated.png", "metrics.json"):
            (folder / name).unlink(missing_ok=True)  # an earlier run's, which would stand beside this result
        command = command_words(self, "run", without=("json", "out"))
        target, pictures = shown
        write_report(folder, network, result, summary, target=target, pictures=pictures, command=command)
        summary["files"] = {
            "result": "result.safetensors",
            "report": "report.html",
            "overview": "overview.png",
            "image": "manipulated.png",
        }
        write_atomically(folder / "metrics.json", json.dumps(plain(summary), indent=1))

    def _print(self, result: AttackResult, summary: dict[str, Any]) -> None:
        if result.interrupted:
            _say(f"interrupted: this is the state after {result.completed} of {result.config.iterations} steps")
        if not result.completed or not summary["output"]["class_kept"]:
            _say(f"failed: {'the attack has changed the class' if result.completed else 'no step was completed'}")
        if self.json:
            print(json.dumps(plain(summary)))
            return
        e, i, o = summary["explanation"], summary["image"], summary["output"]
        pcc, ssim = (f"{e[f'{name}_target_before']:.3f} -> {e[f'{name}_target']:.3f}" for name in ("pcc", "ssim"))
        print(f"map:    PCC to target {pcc}, SSIM {ssim}")
        if "path" in summary:
            p = summary["path"]
            print(
                f"path:   length {p['length']:.3g} on the level set, largest deviation {p['largest_deviation']:.1e}, "
                f"normal turned {p['normal_turn']:.3g} of {p['curvature_budget_estimate']:.3g} (estimate)"
            )
        print(f"image:  PCC {i['pcc']:.4f}, SSIM {i['ssim']:.4f}, largest change {i['linf']:.4f}")
        kept = "kept" if o["class_kept"] else "CHANGED"
        print(f"output: class {kept}, probability {o['probability_before']:.3f} -> {o['probability_after']:.3f}")
        c = summary["curvature"]
        if c["trace"]:
            print(
                f"curvature (softplus beta = {c['beta']:g}, estimates): {c['original']:.4g} -> {c['adversarial']:.4g}"
            )
            print(f"normal: turned by {c['normal_change']:.3g} (a chord, at most 2)")
        print(f"page:   {self.out / summary['files']['report']}")


class _Progress:
    """A progress bar on stderr that keeps the time of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, steps: range) -> Iterable[int]:
        for step in tqdm(steps, desc="attack", unit="step", file=sys.stderr):
            start = time.perf_counter()
            yield step
            self.seconds.append(time.perf_counter() - start)


def _gradient_seconds(network: Network, result: AttackResult) -> float:
    """Shortest time of a plain input-gradient of the same softened network, of five.

    The step's cost compares shortest with shortest: whatever else the machine does only adds.
    """
    config = result.config
    module = network.module if config.beta_end is None else curvature.soften(network.module, config.beta_end)
    soft = dataclasses.replace(network, module=module)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        explain(soft, result.adversarial[:1], result.target_class[:1], method="gradient")
        times.append(time.perf_counter() - start)
    return min(times)


def _curvature_summary(result: AttackResult) -> dict[str, Any]:
    if result.trace is None:
        return {
            "beta": None,
            "original": None,
            "adversarial": None,
            "gradient_norm_original": None,
            "normal_change": None,
            "trace": [],
        }
    points = result.trace.as_dicts()[0]
    return {
        "beta": result.trace.beta,
        "original": points[0]["curvature_estimate"],
        "adversarial": points[-1]["curvature_estimate"],
        "gradient_norm_original": points[0]["gradient_norm"],
        "normal_change": points[-1]["normal_change"],
        "trace": points,
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr)
