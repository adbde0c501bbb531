"""Does curvature also predict the paper's targeted attack? One part a method, all pairs in a batch."""

import copy
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import curvature
from attacks.config import AttackConfig, load_table, preset
from attacks.correlation.certificates import change_bounds, hessian_constants
from attacks.correlation.geometry import dense_geometry
from attacks.correlation.measurements import margin_and_confidence
from attacks.correlation.plan import fingerprint
from attacks.correlation.ranks import bootstrap, holm, partial_spearman, spearman
from attacks.correlation.subjects import load_subject
from attacks.explanations import EXPLANATIONS
from attacks.explanations.patterns import fit_patterns
from attacks.manipulation import manipulate, target_map
from attacks.networks import Network
from attacks.studies.task import environment
from curvature.feedforward import FeedForward, feed_forward

BETAS = (1.0, 10.0)  # at which curvature is measured; 10 is where the attack's own softplus begins
RADIUS = 0.1  # of the ball of the certificate among the predictors
PREDICTORS = (
    "lambda_max", "ph_over_g", "h", "h_over_g", "g", "margin", "confidence", "anchored_over_g", "sign_aware_over_g",
    "certificate",
)  # fmt: skip
OUTCOMES = ("pcc_target", "pcc_gain", "mse_target")
CONTROLS = ("g", "margin", "confidence", "pcc_before")


@dataclass(frozen=True, kw_only=True)
class TargetedPart:
    """One method on all pairs.

    Attributes:
        name: Hash of all that determines the numbers.
        config: Of the attack.
        positions: Of the attacked images in the subject.
        targets: Of the images whose maps are aimed at.
    """

    name: str
    config: AttackConfig
    positions: tuple[int, ...]
    targets: tuple[int, ...]

    def describe(self) -> dict[str, Any]:
        """What the part's file says of itself."""
        return asdict(self)


def targeted_parts(*, pairs: int, iterations: int) -> list[TargetedPart]:
    """Held-out digits in order, each aimed at the map of the next held-out digit of another predicted class.

    Raises:
        ValueError: If there are not so many held-out digits, or fewer than 20 pairs or 1 iteration are asked for.
    """
    subject = load_subject("digits")
    held_out = (~subject.trained_on).nonzero().flatten().tolist()
    if not 20 <= pairs <= len(held_out) or iterations < 1:
        raise ValueError(f"expected 20 to {len(held_out)} pairs and iterations >= 1, got {pairs} and {iterations}")
    targets = []
    for i in range(pairs):
        others = held_out[i + 1 :] + held_out[:i]
        targets.append(next(j for j in others if subject.classes[j] != subject.classes[held_out[i]]))
    parts = []
    for method in EXPLANATIONS:
        config = digits_config(method, iterations)
        words = json.dumps([asdict(config), held_out[:pairs], targets, fingerprint(subject), environment()])
        name = hashlib.sha256(words.encode()).hexdigest()[:20]
        parts.append(TargetedPart(name=name, config=config, positions=tuple(held_out[:pairs]), targets=tuple(targets)))
    return parts


def digits_config(method: str, iterations: int) -> AttackConfig:
    """The digits preset of the gradient, with the betas of the method's row in table 1."""
    row = load_table(1)[method]
    return replace(
        preset("digits", "gradient"), method=method, iterations=iterations, beta_start=row.beta_start,
        beta_end=row.beta_end, reason="the digits preset of the gradient, with the method's betas of table 1",
    )  # fmt: skip


def measure_targeted(part: TargetedPart) -> dict[str, Tensor]:
    """The attack's outcome and the geometry at every image, ``[B]`` each; geometry as ``NAME@BETA``."""
    subject = load_subject("digits")
    positions, targets = torch.tensor(part.positions), torch.tensor(part.targets)
    images = subject.images.float()
    network = Network(module=copy.deepcopy(subject.module).float(), name="digits", shape=(1, 8, 8))
    if part.config.method == "pattern_attribution":
        network = replace(network, patterns=fit_patterns(network, images[subject.trained_on].split(100)))
    wanted = target_map(network, images[targets], config=part.config)
    result = manipulate(
        network, images[positions], wanted, config=part.config, target_class=subject.classes[positions],
        chunk=len(positions),
    )  # fmt: skip
    e = result.metrics["explanation"]
    found = {
        "position": positions,
        "pcc_target": e["pcc_target"],
        "pcc_before": e["pcc_target_before"],
        "pcc_gain": e["pcc_target"] - e["pcc_target_before"],
        "mse_target": e["mse_target"],
        "image_mse": result.metrics["image"]["mse"],
    }
    for beta in BETAS:
        soft = curvature.soften(subject.module, beta)
        columns = margin_and_confidence(subject, positions, beta)
        for k in subject.classes[positions].unique().tolist():
            rows = (subject.classes[positions] == k).nonzero().flatten()
            net = feed_forward(soft, subject.images[0], k)
            x = subject.images[positions[rows]].flatten(1)
            with torch.no_grad():
                geometry = dense_geometry(net, x)
            for name, values in (geometry.columns | _bounds(net, x, geometry.columns["g"])).items():
                columns.setdefault(name, torch.zeros(len(positions), dtype=torch.float64))[rows] = values
        found |= {f"{name}@{beta:g}": values for name, values in columns.items()}
    return {name: tensor.contiguous() for name, tensor in found.items()}


def _bounds(net: FeedForward, x: Tensor, g: Tensor) -> dict[str, Tensor]:
    """Rungs 5 and 6 over the gradient norm, and the certificate of a ball."""
    certified = [change_bounds(net, point, [RADIUS]) for point in x]
    return {
        "sign_aware_over_g": hessian_constants(net, x[0])["sign_aware"] / g,
        "anchored_over_g": torch.tensor([constant for _, constant in certified], dtype=torch.float64) / g,
        "certificate": torch.tensor([bounds[0] for bounds, _ in certified], dtype=torch.float64),
    }


def targeted_correlations(parts: list[tuple[TargetedPart, dict[str, Tensor]]]) -> pd.DataFrame:
    """Rank correlations of every method's outcome with every number.

    Partial correlations are given gradient norm, margin, confidence and the correlation with the target before, by
    Student's t; Holm over all rows, for each kind of test.
    """
    rows: list[dict[str, Any]] = []
    for part, tensors in parts:
        values = {name: tensor.numpy().astype(np.float64) for name, tensor in tensors.items()}
        for beta in BETAS:
            rows += _method(part.config.method, beta, values)
    found = pd.DataFrame(rows)
    for name in ("p", "partial_p"):
        known = found[name].notna()
        found.loc[known, f"{name}_holm"] = holm(found.loc[known, name].to_numpy())
    return found


def _method(method: str, beta: float, values: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    def column(name: str) -> np.ndarray:
        return values[name] if name in values else values[f"{name}@{beta:g}"]

    names = list(dict.fromkeys([*OUTCOMES, *PREDICTORS, *CONTROLS]))
    drawn = bootstrap(np.stack([column(name) for name in names]))
    rows = []
    for outcome in OUTCOMES:
        for predictor in PREDICTORS:
            x, y = column(predictor), column(outcome)
            index = [names.index(name) for name in (predictor, outcome)]
            row = {"method": method, "beta": beta, "outcome": outcome, "predictor": predictor}
            row |= spearman(x, y, replicates=drawn[:, index][:, :, index])._asdict()
            if predictor not in CONTROLS:
                index += [names.index(name) for name in CONTROLS]
                controls = np.stack([column(name) for name in CONTROLS])
                partial = partial_spearman(x, y, controls, replicates=drawn[:, index][:, :, index])
                row |= {f"partial_{key}": value for key, value in partial._asdict().items()}
            rows.append(row)
    return rows
