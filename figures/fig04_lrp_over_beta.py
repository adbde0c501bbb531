"""Figure 4: LRP maps of the ReLU network and of softplus networks."""

import sys

import torch
from matplotlib.figure import Figure

from attacks.metrics import pcc
from figures._claim import Claim, Data
from figures._run import run
from figures._script import Budget
from figures._softplus_maps import draw_maps, pictures_and_digits, words

BUDGET = Budget(network="efficientnet_lite0, mnist_lenet", n=4, steps=5, minutes=0.5)
PAPER = {"network": "vgg16"}


def compute(*, seed: int, quick: bool, network: str = "efficientnet_lite0") -> Data:
    """Two photographs and two digits."""
    return pictures_and_digits("lrp", network, quick=quick, seed=seed)


def caption(data: Data) -> str:
    """What was run."""
    return words(data, "LRP")


def claims(data: Data) -> dict[str, Claim]:
    """Large betas approximate the ReLU network's map well."""
    similar = torch.cat(
        [pcc(*torch.from_numpy(data[key][:, :2]).unbind(1)) for key in ("maps", "digit_maps")]
    )  # ReLU and beta = 10
    return {
        "for large beta LRP maps of the softplus network approximate those of the ReLU network well (A.1)": Claim(
            expected=True,
            holds=float(similar.min()) > 0.9,
            value=float(similar.min()),
            n=len(similar),
            note="smallest PCC at beta = 10, above 0.9",
        )
    }


def draw(data: Data) -> Figure:
    """A row a picture."""
    return draw_maps(data)


if __name__ == "__main__":
    sys.exit(run("fig04_lrp_over_beta", compute, claims, draw, caption))
