"""Figure 4: LRP maps of the ReLU network and of softplus networks."""

import sys

from matplotlib.figure import Figure

from figures._claim import Claim, Data
from figures._run import run
from figures._script import Budget
from figures._softplus_maps import approximation, draw_maps, pictures_and_digits, words

BUDGET = Budget(network="efficientnet_lite0, mnist_lenet", n=4, steps=5, minutes=0.5)
PAPER = {"network": "vgg16", "data": "imagenet:{folder}"}


def compute(*, seed: int, quick: bool, network: str = "efficientnet_lite0", data: str = "") -> Data:
    """Two photographs, or test images of ``data``, and two digits."""
    return pictures_and_digits("lrp", network, data, quick=quick, seed=seed)


def caption(data: Data) -> str:
    """What was run."""
    return words(data, "LRP")


def claims(data: Data) -> dict[str, Claim]:
    """Large betas approximate the ReLU network's map well."""
    return approximation(data, "LRP", expected=True)


def draw(data: Data) -> Figure:
    """A row a picture."""
    return draw_maps(data)


if __name__ == "__main__":
    sys.exit(run("fig04_lrp_over_beta", compute, claims, draw, caption))
