"""Maps of a picture by the ReLU network and by softplus networks of falling beta: what figures 3 and 4 share."""

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from attacks import Network, explain
from attacks.metrics import pcc
from figures._claim import Claim, Data
from figures._draw import TWO_COLUMNS, show_image, show_map
from figures._inputs import drawn_images, images_in_words, network_in_words, photographs, trained_network

BETAS = (np.inf, 10.0, 3.0, 2.0, 1.0)  # infinity: ReLU
LARGE, SMALL = "efficientnet_lite0", "mnist_lenet"
_PHOTOGRAPHS = """photographs (Chelsea the cat by Stefan van der Walt, a cup of coffee by Rachel Michetti, both CC0,
    from scikit-image)"""


def maps_over_beta(network: Network, x: Tensor, method: str) -> NDArray[np.float32]:
    """``[images, betas, H, W]``, of the class that the ReLU network predicts."""
    classes = network.predict(x)
    soft = [network if beta == np.inf else network.soften(float(beta)) for beta in BETAS]
    return np.stack([explain(n, x, classes, method=method).detach().numpy() for n in soft], 1).astype(np.float32)


def pictures_and_digits(method: str, network: str, data: str, *, quick: bool, seed: int) -> Data:
    """Images and maps of two photographs, or test images of ``data``, on a large network; two digits on a small one.

    Quickly, a digit on a small network stands in for the photographs on the large one that are shown by default.
    """
    stands_in = quick and (network, data) == (LARGE, "")
    large, small = trained_network("mnist_vgg" if stands_in else network), trained_network(SMALL)
    source, count = ("mnist", 1) if stands_in else (data, 1 if quick else 2)
    shown = ("chelsea", "coffee")
    x = drawn_images(large, source, count, seed=seed)[0] if source else photographs(large, shown)
    words = {"network": large.name, "large": network_in_words(large), "small": network_in_words(small)}
    words["pictures"] = "MNIST test image" if stands_in else images_in_words(data) if data else _PHOTOGRAPHS
    digits = drawn_images(small, "mnist", 2, seed=seed)[0]
    return {
        "images": large.pixels(x).numpy(),
        "maps": maps_over_beta(large, x, method),
        "digits": small.pixels(digits).numpy(),
        "digit_maps": maps_over_beta(small, digits, method),
    } | {key: np.array(value) for key, value in words.items()}


def approximation(data: Data, name: str, *, expected: bool) -> dict[str, Claim]:
    """Of A.1 about both figures: maps of a large beta approximate ReLU's well; the largest shown is 10."""
    pairs = [torch.from_numpy(data[key][:, :2]).unbind(1) for key in ("maps", "digit_maps")]  # ReLU and beta = 10
    similar = torch.cat([pcc(*pair) for pair in pairs])
    least = float(similar.min())
    return {
        f"for large beta {name} maps of the softplus network approximate those of the ReLU network well (A.1)": Claim(
            expected=expected, holds=least > 0.9, value=least, n=len(similar),
            note=f"smallest PCC at beta = 10, above 0.9; each: {', '.join(f'{value:.3f}' for value in similar)}",
        )
    }  # fmt: skip


def draw_maps(data: Data) -> Figure:
    """A row a picture: image, ReLU's map, softplus maps."""
    rows = [*zip(data["images"], data["maps"], strict=True), *zip(data["digits"], data["digit_maps"], strict=True)]
    figure = Figure(figsize=(TWO_COLUMNS, 1.2 * len(rows) + 0.2))
    titles = ["ReLU" if beta == np.inf else rf"$\beta = {beta:g}$" for beta in BETAS]
    for i, (line, (image, maps)) in enumerate(zip(figure.subplots(len(rows), len(BETAS) + 1), rows, strict=True)):
        show_image(line[0], image, "Image" if i == 0 else "")
        for axes, map_, title in zip(line[1:], maps, titles, strict=True):
            show_map(axes, map_, title if i == 0 else "")
    return figure


def words(data: Data, method: str) -> str:
    """What the pictures are."""
    return f"""{method} explanation maps of {len(data["images"])} {data["pictures"]} on {data["large"]} and of
        {len(data["digits"])} MNIST test images on {data["small"]}, by the ReLU network and with softplus of beta 10, 3,
        2, 1; each map brightest at its 99.5 % quantile. The paper: VGG-16 and images of ImageNet."""
