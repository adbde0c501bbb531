"""Figure 19: manipulated and original images, attacks on original against beta-smoothed explanations, six methods."""

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
# Table 5's steps are smaller than table 1's, and on MNIST the images change less for it.
_FAILING = frozenset(
    f"{metric} of images is of comparable magnitude when {method} is smoothed"
    for metric, methods in {
        "MSE": ("Gradient", "Grad x Input", "PA"),
        "SSIM": ("Gradient", "Grad x Input", "IntGrad", "PA"),
        "PCC": ("IntGrad",),
    }.items()
    for method in methods
)
# Of comparable magnitude: MSE within a factor of ten, SSIM and PCC within 0.1. Set before any result was seen.
_FACTOR, _MARGIN = 10.0, 0.1


def compute(*, quick: bool, studies: Path = STUDIES, any_code: bool = False, imagenet: str = "") -> Data:
    """The studies of tables 1 and 5."""
    return two_attacks("images", quick=quick, studies=studies, any_code=any_code, imagenet=imagenet)


def caption(data: Data) -> str:
    """What was run."""
    return boxes_caption(data, "images")


def claims(data: Data) -> dict[str, Claim]:
    """Perturbations are of comparable magnitude, or slightly more visible, when the explanations are smoothed."""
    found = {}
    for m, method in enumerate(METHODS):
        for metric in METRICS:
            original, smoothed = np.median(data[metric][:, m], axis=1)
            value = smoothed / original if metric == "mse" else smoothed - original
            near = 1 / _FACTOR <= value <= _FACTOR if metric == "mse" else abs(value) <= _MARGIN
            name = f"{metric.upper()} of images is of comparable magnitude when {NAMES[method]} is smoothed"
            note = f"medians: smoothed over original, within a factor {_FACTOR:g}"
            if metric != "mse":
                note = f"medians: smoothed minus original, within {_MARGIN:g}"
            n = data[metric].shape[2]
            found[name] = Claim(expected=name not in _FAILING, holds=near, value=value, n=n, note=note)
    return found


def draw(data: Data) -> Figure:
    """Three panels of pairs of boxes."""
    return draw_boxes(data, {metric: f"{metric.upper()} of images" for metric in METRICS})


if __name__ == "__main__":
    sys.exit(run("fig19_images_all_methods", compute, claims, draw, caption))
