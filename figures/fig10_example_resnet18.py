"""Figure 10: one example of a manipulated gradient map, ResNet-18."""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from figures._architectures import PAPER, caption_of_example, claims_of_example, draw_example, example
from figures._claim import Claim, Data
from figures._run import STUDIES, run
from figures._script import Budget

__all__ = ["BUDGET", "PAPER", "caption", "claims", "compute", "draw"]
BUDGET = Budget(network="mnist_resnet", n=1, steps=2000, minutes=0.2)  # the attacks are those of figure 7


def compute(*, quick: bool, studies: Path = STUDIES, any_code: bool = False, images: str = "") -> Data:
    """The median pair of the study of table 2."""
    return example("resnet18", images, quick=quick, studies=studies, any_code=any_code)


def caption(data: Data) -> str:
    """What was run."""
    return caption_of_example(data, "resnet18")


def claims(data: Data) -> dict[str, Claim]:
    """Another image's map, no visible change, the same class."""
    return claims_of_example(data, expected=(True, False, True))  # a change of 28x28 pixels shows


def draw(data: Data) -> Figure:
    """Images above their maps."""
    return draw_example(data)


if __name__ == "__main__":
    sys.exit(run("fig10_example_resnet18", compute, claims, draw, caption))
