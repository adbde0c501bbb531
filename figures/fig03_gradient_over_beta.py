"""Figure 3: gradient maps of the ReLU network and of softplus networks; and which maps they come to resemble."""

import sys
from dataclasses import replace

import numpy as np
import torch
from matplotlib.figure import Figure

from attacks import explain, load_images, load_network
from attacks.explanations.patterns import fit_patterns
from attacks.metrics import pcc
from figures._claim import Claim, Data
from figures._draw import NAMES
from figures._inputs import drawn_images
from figures._run import run
from figures._script import Budget
from figures._softplus_maps import BETAS, SMALL, draw_maps, maps_over_beta, pictures_and_digits, words

BUDGET = Budget(network="efficientnet_lite0, mnist_lenet", n=100, steps=5, minutes=1)
PAPER = {"network": "vgg16"}
OTHERS = ("lrp", "guided_backprop", "pattern_attribution")


def compute(*, seed: int, quick: bool, network: str = "efficientnet_lite0", count: int = 100) -> Data:
    """Pictures; and PCC of the small network's gradient maps with ReLU's maps of other methods, ``[3, betas, n]``."""
    small, count = load_network(SMALL), 4 if quick else count
    x = drawn_images(small, "mnist", count, seed=seed)[0]
    fitted = load_images("mnist", split="train").inputs(small, range(100 if quick else 1000))
    small = replace(small, patterns=fit_patterns(small, fitted.split(250)))
    maps = torch.from_numpy(maps_over_beta(small, x, "gradient"))
    others = [explain(small, x, method=method).detach() for method in OTHERS]
    similarity = [[pcc(maps[:, b], other).numpy() for b in range(len(BETAS))] for other in others]
    return pictures_and_digits("gradient", network, quick=quick, seed=seed) | {"similarity": np.array(similarity)}


def caption(data: Data) -> str:
    """What was run."""
    medians = ", ".join(
        f"{NAMES[method]} {a:.2f} to {b:.2f}"
        for method, (a, b) in zip(OTHERS, np.median(data["similarity"], 2)[:, [0, -1]], strict=True)
    )
    return f"""{words(data, "Gradient")} Median PCC of the gradient map with ReLU's map of other methods, from ReLU to
        beta = 1, on {data["similarity"].shape[2]} MNIST test images, {SMALL}, patterns of up to 1000 training images:
        {medians}."""


def claims(data: Data) -> dict[str, Claim]:
    """Gradient maps of small beta are more similar to LRP, GBP and PA maps."""
    found = {}
    for method, similarity in zip(OTHERS, data["similarity"], strict=True):
        gain = float(np.median(similarity[-1] - similarity[0]))
        found[f"for small beta gradient maps become more similar to {NAMES[method]} maps (A.1)"] = Claim(
            expected=True,
            holds=gain > 0,
            value=gain,
            n=similarity.shape[1],
            note="median change of the PCC from ReLU to beta = 1",
        )
    return found


def draw(data: Data) -> Figure:
    """A row a picture."""
    return draw_maps(data)


if __name__ == "__main__":
    sys.exit(run("fig03_gradient_over_beta", compute, claims, draw, caption))
