"""Figure 7: how little the output changes while gradient maps are manipulated, four architectures."""

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from figures._architectures import PAPER, labels, study_of
from figures._claim import Claim, Data
from figures._draw import draw_output_change
from figures._run import STUDIES, run
from figures._script import Budget
from figures._studies import Results

__all__ = ["BUDGET", "PAPER", "caption", "claims", "compute", "draw"]
BUDGET = Budget(network="four small families on MNIST", n=100, steps=4000, minutes=40)
_COLUMNS = ("logits_change", "softmax_change", "probability_before", "probability_after", "class_kept")
_PART = 10  # images in one pass


def compute(*, quick: bool, studies: Path = STUDIES, any_code: bool = False, images: str = "") -> Data:
    """The study of table 2: norms of the change of logits and probabilities, ``[architectures, pairs]``."""
    found, names = study_of(images, quick=quick, studies=studies, any_code=any_code)
    data = {
        column: np.stack([found.column(f"output_{column}", network=name) for name in names.values()]).astype(float)
        for column in _COLUMNS
    }
    data["logits_norm"] = np.stack([_norms(found, name) for name in names.values()])
    return data | {"networks": np.array(list(names.values())), "setting": np.array(found.setting)}


def _norms(found: Results, name: str) -> NDArray[np.float64]:
    """Norms of the logits of the original images."""
    network, x = found.network(name), found.tensors(network=name)["original"]
    with torch.no_grad():
        return np.concatenate([network.module(part).double().norm(dim=1).numpy() for part in x.split(_PART)])


def caption(data: Data) -> str:
    """What was run."""
    return f"""Change of the output by the manipulation of {data["class_kept"].shape[1]} images, each towards the
        gradient map of another one, with the rows of table 2 (1500 to 4000 steps) on {", ".join(data["networks"])}.
        Left: norm of the change of the logits; middle: of the class probabilities; right: change of
        the winning class's probability. Boxes: median, quartiles, 10th and 90th percentile. Networks named mnist_ are
        small members of the families that stand in for the paper's (--paper-setting DIR). {data["setting"]}"""


def claims(data: Data) -> dict[str, Claim]:
    """The logits are kept about constant, which keeps the probabilities about constant; classes stay."""
    n = data["class_kept"].size
    kept, median = float(data["class_kept"].mean()), float(np.median(data["softmax_change"], 1).max())
    confidence = float(np.percentile(np.abs(data["probability_after"] - data["probability_before"]), 90, 1).max())
    logits = float(np.median(data["logits_change"] / data["logits_norm"], 1).max())
    return {
        "the pre-activation stays about constant for every architecture (C)": Claim(
            expected=True, holds=logits < 0.1, value=logits, n=n,
            note="largest median of the norm of its change over its norm, below 0.1",
        ),
        "the probabilities stay about constant for every architecture (C)": Claim(
            expected=True, holds=median < 1e-2, value=median, n=n, note="largest median of the norm, below 0.01"
        ),
        "the change of confidence is small for every architecture (B)": Claim(
            expected=True, holds=confidence < 0.05, value=confidence, n=n, note="largest 90th percentile, below 0.05"
        ),
        "all images keep their class (B)": Claim(
            expected=True, holds=kept == 1, value=kept, n=n, note="share of attacks that keep the class"
        ),
    }  # fmt: skip


def draw(data: Data) -> Figure:
    """Three panels of four boxes."""
    return draw_output_change(data, labels(data["networks"]))


if __name__ == "__main__":
    sys.exit(run("fig07_output_by_architecture", compute, claims, draw, caption))
