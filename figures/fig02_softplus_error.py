"""Figure 2: error of softplus networks' gradient maps against those of the ReLU network, over beta."""

import sys

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from attacks import Network, explain
from attacks.metrics import mse, pcc, ssim_maps
from figures._claim import Claim, Data
from figures._draw import COLOURS, TWO_COLUMNS, band
from figures._inputs import drawn_images, images_in_words, network_in_words, photographs, trained_network
from figures._run import run
from figures._script import Budget

BUDGET = Budget(network="efficientnet_lite0, mnist_*", n=100, steps=11, minutes=4)
PAPER = {"network": "vgg16", "data": "imagenet:{folder}"}
BETAS = (1, 2, 3, 10, 20, 30, 50, 100, 200, 300, 1000)
FAMILIES = ("mnist_vgg", "mnist_alexnet", "mnist_resnet", "mnist_densenet")
_PART = 10  # images in one pass: a gradient keeps all of VGG-16's activations in memory
METRICS = {"mse": mse, "ssim": ssim_maps, "pcc": pcc}


def compute(*, seed: int, quick: bool, network: str = "efficientnet_lite0", data: str = "", count: int = 100) -> Data:
    """For each metric and network the similarity to ReLU's map, ``[betas, images]``; photographs without ``data``."""
    betas = BETAS[::5] if quick else BETAS
    count = 4 if quick else count
    main = trained_network(network)
    x = drawn_images(main, data, count, seed=seed)[0] if data else photographs(main)[: 1 if quick else None]
    found = _over_beta(main, x, betas, "main")
    for name in FAMILIES[-2:] if quick else FAMILIES:
        small = trained_network(name)
        found |= _over_beta(small, drawn_images(small, "mnist", count, seed=seed)[0], betas, name)
    shown = images_in_words(data) if data else "photographs of scikit-image"
    words = {"network": network, "main": network_in_words(main), "images": shown}
    return found | {"beta": np.array(betas, float)} | {key: np.array(value) for key, value in words.items()}


def _over_beta(network: Network, x: Tensor, betas: tuple[int, ...], key: str) -> Data:
    parts = [(part, network.predict(part)) for part in x.split(_PART)]
    relu = torch.cat([explain(network, part, k) for part, k in parts])
    softened = [network.soften(float(beta)) for beta in betas]
    soft = [torch.cat([explain(one, part, k) for part, k in parts]) for one in softened]
    return {f"{name}_{key}": np.array([f(h, relu).numpy() for h in soft]) for name, f in METRICS.items()}


def caption(data: Data) -> str:
    """What was run."""
    families = ", ".join(key.removeprefix("pcc_mnist_") for key in data if key.startswith("pcc_mnist"))
    return f"""Similarity of the softplus network's gradient map to the ReLU network's, over beta. Top:
        {data["main"]} on {data["mse_main"].shape[1]} {data["images"]}. Bottom: the same for small members of the
        paper's families trained on 4,000 images of MNIST ({families}), on {data["pcc_mnist_densenet"].shape[1]} MNIST
        test images. Lines: median; bands: 10th to 90th percentile. The paper:
        VGG-16, ImageNet."""


def claims(data: Data) -> dict[str, Claim]:
    """Large betas approximate ReLU well; DenseNet needs larger ones than the others."""
    last = float(np.median(data["pcc_main"][-1]))
    ten = int(np.searchsorted(data["beta"], 10))
    dense = data["pcc_mnist_densenet"][ten]
    others = [data[f"pcc_{name}"][ten] for name in _families(data) if name != "mnist_densenet"]
    share = float((dense < np.min(others, axis=0)).mean())
    return {
        "for large beta the softplus network approximates the ReLU network well (A.1)": Claim(
            expected=True, holds=last > 0.9, value=last, n=data["pcc_main"].shape[1],
            note="median PCC of the maps at the largest beta, above 0.9",
        ),
        "at beta = 10 DenseNet's softplus map does not resemble ReLU's (C.1)": Claim(
            expected=False, holds=float(np.median(dense)) < 0.8, value=float(np.median(dense)), n=len(dense),
            note="median PCC, below 0.8; the small DenseNet is far shallower than DenseNet-121, so errors add up less",
        ),
        "at beta = 10 DenseNet's softplus map is mostly less similar to ReLU's than the other families' (C.1)": Claim(
            expected=False, holds=share > 0.5, value=share, n=len(dense),
            note="share of images where its PCC is below that of each of the others",
        ),
    }  # fmt: skip


def draw(data: Data) -> Figure:
    """Three metrics, main network above, families below."""
    figure = Figure(figsize=(TWO_COLUMNS, 3.8))
    for row, keys in zip(figure.subplots(2, 3, sharex=True), (["main"], _families(data)), strict=True):
        for axes, metric in zip(row, METRICS, strict=True):
            for key, colour in zip(keys, COLOURS, strict=False):
                band(axes, data["beta"], data[f"{metric}_{key}"], key.replace("main", str(data["network"])), colour)
            axes.set(
                xscale="log", ylabel=f"{metric.upper()} to ReLU's map", yscale="log" if metric == "mse" else "linear"
            )
        row[0].legend()
        for axes in row:
            if keys != ["main"]:
                axes.set_xlabel(r"$\beta$")
    return figure


def _families(data: Data) -> list[str]:
    return [key.removeprefix("pcc_") for key in data if key.startswith("pcc_mnist_")]


if __name__ == "__main__":
    sys.exit(run("fig02_softplus_error", compute, claims, draw, caption))
