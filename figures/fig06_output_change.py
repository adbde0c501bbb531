"""Figure 6: how little the network's output changes while its explanations are manipulated, six methods."""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from figures._claim import Claim, Data
from figures._draw import NAMES, draw_output_change
from figures._run import STUDIES, run
from figures._script import Budget
from figures._studies import METHODS, results

BUDGET = Budget(network="mnist_lenet", n=100, steps=1500, minutes=29)
PAPER = {"imagenet": "{folder}"}
_COLUMNS = ("logits_change", "softmax_change", "probability_before", "probability_after", "class_kept")


def compute(*, quick: bool, studies: Path = STUDIES, any_code: bool = False, imagenet: str = "") -> Data:
    """The study of table 1: norms of the change of logits and probabilities, ``[methods, pairs]``."""
    found = results("table1", quick=quick, studies=studies, any_code=any_code, imagenet=imagenet)
    return {
        name: np.stack([found.column(f"output_{name}", method=method) for method in METHODS]).astype(float)
        for name in _COLUMNS
    } | {"setting": np.array(found.setting)}


def caption(data: Data) -> str:
    """What was run."""
    return f"""Change of the output by the manipulation of {data["class_kept"].shape[1]} images, each towards the map
        of another one, six rows of table 1 (500 or 1500 steps). Left: norm of the change of
        the logits; middle: of the class probabilities; right: change of the winning class's probability. Boxes:
        median, quartiles, 10th and 90th percentile. {data["setting"]}"""


def claims(data: Data) -> dict[str, Claim]:
    """All classes kept; the confidence and the probabilities hardly change."""
    n = data["class_kept"].size
    kept = float(data["class_kept"].mean())
    confidence = np.abs(data["probability_after"] - data["probability_before"])
    median = float(np.median(data["softmax_change"]))
    return {
        "all images keep their class (B)": Claim(
            expected=True, holds=kept == 1, value=kept, n=n, note="share of attacks that keep the class"
        ),
        "the change of confidence is small (B)": Claim(
            expected=True,
            holds=np.percentile(confidence, 90) < 0.05,
            value=float(np.percentile(confidence, 90)),
            n=n,
            note="90th percentile of the change of the winning probability, below 0.05",
        ),
        "the norm of the change of all probabilities is very small (B)": Claim(
            expected=True, holds=median < 1e-2, value=median, n=n, note="median, below 0.01; the paper's is about 0.001"
        ),
    }


def draw(data: Data) -> Figure:
    """Three panels of six boxes."""
    return draw_output_change(data, [NAMES[method] for method in METHODS])


if __name__ == "__main__":
    sys.exit(run("fig06_output_change", compute, claims, draw, caption))
