"""Figure 21: pixel flipping; accuracy as the pixels that a map calls relevant are removed."""

import sys

import numpy as np
import torch
from matplotlib.figure import Figure

from attacks import maps_of, pixel_flipping, random_maps
from attacks.defences import BetaSmoothing, SmoothGrad
from figures._claim import Claim, Data
from figures._draw import ONE_COLUMN
from figures._inputs import drawn_images, images_in_words, network_in_words, trained_network
from figures._run import run
from figures._script import Budget

BUDGET = Budget(network="mnist_lenet", n=1000, steps=49, minutes=2)
PAPER = {"network": "vgg16", "data": "imagenet:{folder}"}
CURVES = ("random", "gradient", "smoothgrad", "beta_smoothing")
LABELS = ("random", "Gradient", "SmoothGrad", r"$\beta$-smoothing")


def compute(*, seed: int, quick: bool, network: str = "mnist_lenet", data: str = "mnist", count: int = 1000) -> Data:
    """Accuracy after each step, ``[curves, steps]``, of ``count`` test images."""
    loaded = trained_network(network)
    x, labels = drawn_images(loaded, data, 50 if quick else count, seed=seed)
    defences = (None, SmoothGrad(samples=10, noise=0.2, seed=seed), BetaSmoothing(beta=1.0))
    maps = [random_maps(x, seed=seed), *(maps_of(loaded, x, defence=defence) for defence in defences)]
    found = [pixel_flipping(loaded, x, labels, h, steps=14 if quick else 49) for h in maps]
    return {
        "share": (found[0].removed / found[0].removed[-1]).numpy(),
        "accuracy": np.array([curve.accuracy.numpy() for curve in found]),
        "area": np.array([curve.area for curve in found]),
        "zero": loaded.pixels(torch.zeros(1, x.shape[1], 1, 1)).flatten().numpy(),
        "network": np.array(network_in_words(loaded)),
        "images": np.array(images_in_words(data)),
        "n": np.array(len(x)),
    }


def caption(data: Data) -> str:
    """What was run."""
    areas = ", ".join(f"{name} {area:.3f}" for name, area in zip(CURVES, data["area"], strict=True))
    colour = "black" if not data["zero"].any() else "the mean colour of the training images"
    return f"""Accuracy of {data["network"]} on {data["n"]} {data["images"]} as pixels are set to zero in the network's
        input space ({colour}), the most relevant first, in {len(data["share"]) - 1} steps: gradient maps, beta-smoothed
        ones (beta 1), SmoothGrad (10 copies, noise level 0.2), and a random order. Areas under the
        curves: {areas}. The paper: VGG-16, all of ImageNet's validation images (--set count=50000)."""


def claims(data: Data) -> dict[str, Claim]:
    """Both smoothed explanations below gradient, all below random.

    The three curves nearly coincide: after training on a processor with AVX2 alone, which rounds otherwise, both
    smoothed ones lie below gradient (by 0.010 and 0.015).
    """
    area = dict(zip(CURVES, (float(a) for a in data["area"]), strict=True))
    n = int(data["n"])
    return {
        "beta-smoothing lies below Gradient (D.1)": Claim(
            expected=False, holds=area["beta_smoothing"] < area["gradient"],
            value=area["beta_smoothing"] - area["gradient"], n=n, note="difference of the areas under the curves",
        ),
        "SmoothGrad lies below Gradient (D.1)": Claim(
            expected=False, holds=area["smoothgrad"] < area["gradient"],
            value=area["smoothgrad"] - area["gradient"], n=n, note="difference of the areas under the curves",
        ),
        "all explanations lie below a random order (D.1)": Claim(
            expected=True, holds=max(data["area"][1:]) < area["random"],
            value=float(max(data["area"][1:])) - area["random"], n=n, note="largest area of a map minus random's",
        ),
    }  # fmt: skip


def draw(data: Data) -> Figure:
    """Four curves."""
    figure = Figure(figsize=(ONE_COLUMN, 2.4))
    axes = figure.subplots()
    for curve, label, style in zip(data["accuracy"], LABELS, (":", "-", "--", "-."), strict=True):
        axes.plot(100 * data["share"], 100 * curve, style, label=label)
    axes.set(xlabel="pixels removed [%]", ylabel="accuracy [%]", ylim=(0, 102), xlim=(0, 100))
    axes.legend()
    return figure


if __name__ == "__main__":
    sys.exit(run("fig21_pixel_flipping", compute, claims, draw, caption))
