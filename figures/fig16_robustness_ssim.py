"""Figure 16: SSIM after attacks on smoothed maps against attacks on original maps, maps left, images right."""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from figures._claim import Claim, Data
from figures._robustness import claims_of_scatter, draw_scatter, scatter_caption, three_attacks
from figures._run import STUDIES, run
from figures._script import Budget

BUDGET = Budget(network="mnist_lenet", n=100, steps=1500, minutes=0.1)
PAPER = {"imagenet": "{folder}"}


def compute(*, quick: bool, studies: Path = STUDIES, any_code: bool = False, imagenet: str = "") -> Data:
    """The studies of tables 1, 4 and 5."""
    return three_attacks("ssim", quick=quick, studies=studies, any_code=any_code, imagenet=imagenet)


def caption(data: Data) -> str:
    """What was run."""
    return scatter_caption(data, "ssim")


def claims(data: Data) -> dict[str, Claim]:
    """Markers mostly on the side of the diagonal where smoothing resists, images on it or beyond."""
    return claims_of_scatter(data, "ssim")


def draw(data: Data) -> Figure:
    """Two scatters against the diagonal."""
    return draw_scatter(data, "ssim")


if __name__ == "__main__":
    sys.exit(run("fig16_robustness_ssim", compute, claims, draw, caption))
