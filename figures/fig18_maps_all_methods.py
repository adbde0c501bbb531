"""Figure 18: manipulated maps and their targets, original against beta-smoothed explanations, six methods."""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from figures._claim import Claim, Data
from figures._draw import NAMES
from figures._robustness import METRICS, boxes_caption, draw_boxes, two_attacks
from figures._run import STUDIES, run
from figures._script import Budget
from figures._studies import METHODS

BUDGET = Budget(network="mnist_lenet", n=100, steps=1500, minutes=0.1)
PAPER = {"imagenet": "{folder}"}
# On MNIST smoothed maps of these methods resemble each other, and so the target, before any attack (docs/results.md).
_FAILING = frozenset(
    f"{metric} of {method} maps to the target is {'higher' if metric == 'MSE' else 'lower'} when smoothed (D)"
    for metric in ("MSE", "SSIM", "PCC")
    for method in ("LRP", "GBP", "PA")
)


def compute(*, quick: bool, studies: Path = STUDIES, any_code: bool = False, imagenet: str = "") -> Data:
    """The studies of tables 1 and 5."""
    return two_attacks("maps", quick=quick, studies=studies, any_code=any_code, imagenet=imagenet)


def caption(data: Data) -> str:
    """What was run."""
    return boxes_caption(data, "maps")


def claims(data: Data) -> dict[str, Claim]:
    """Every method is more robust when smoothed: MSE higher, SSIM and PCC lower."""
    found = {}
    for m, method in enumerate(METHODS):
        for metric in METRICS:
            sign, words = (1, "higher") if metric == "mse" else (-1, "lower")
            original, smoothed = np.median(data[metric][:, m], axis=1)
            name = f"{metric.upper()} of {NAMES[method]} maps to the target is {words} when smoothed (D)"
            found[name] = Claim(
                expected=name not in _FAILING,
                holds=sign * (smoothed - original) > 0,
                value=smoothed / original if metric == "mse" else smoothed - original,
                n=data[metric].shape[2],
                note="medians: smoothed over original" if metric == "mse" else "medians: smoothed minus original",
            )
    return found


def draw(data: Data) -> Figure:
    """Three panels of pairs of boxes."""
    return draw_boxes(data, {metric: f"{metric.upper()}, map to target" for metric in METRICS})


if __name__ == "__main__":
    sys.exit(run("fig18_maps_all_methods", compute, claims, draw, caption))
