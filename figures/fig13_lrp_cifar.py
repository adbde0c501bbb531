"""Figure 13: LRP on CIFAR-10; a small VGG on MNIST stands in where CIFAR-10 and its network are not there."""

import sys
from dataclasses import replace

import numpy as np
import torch
from matplotlib.figure import Figure

from attacks import load_images, load_network, load_table, manipulate, target_map
from attacks.small_networks import accuracy
from figures._claim import Claim, Data
from figures._draw import TWO_COLUMNS, show_image, show_map
from figures._inputs import CIFAR_UNIT, drawn_images, step_for
from figures._run import run
from figures._script import Budget

BUDGET = Budget(network="mnist_vgg", n=10, steps=1500, minutes=8)
PAPER = {"network": "vgg16_cifar10", "weights": "{folder}/vgg16_cifar10.pt", "data": "cifar10:{folder}"}
EXAMPLES, PAIRS = 2, 10


def compute(*, seed: int, quick: bool, network: str = "mnist_vgg", weights: str = "", data: str = "mnist") -> Data:
    """Images and maps of the first pairs, similarities of all, and the network's accuracy on the test images."""
    pairs = 2 if quick else PAIRS
    loaded = load_network(network, weights=weights or None)
    x, _ = drawn_images(loaded, data, 2 * pairs, seed=seed)
    row = load_table(3)["lrp"]
    step = step_for(loaded, row.lr, CIFAR_UNIT)
    config = replace(row, network=network, lr=step, iterations=4 if quick else row.iterations)
    targets = target_map(loaded, x[pairs:], config=config)
    result = manipulate(loaded, x[:pairs], targets, config=config, chunk=pairs)
    test = load_images(data)
    some = range(0, len(test), 20) if quick else range(len(test))
    right = accuracy(loaded.module, test.inputs(loaded, some), test.labels[torch.tensor(some)])
    pictures = {"images": x[:pairs], "manipulated": result.adversarial, "targets": x[pairs:]}
    maps = {"map": result.original_maps, "manipulated_map": result.maps, "target_map": targets}
    explanation = {k: result.metrics["explanation"][k] for k in ("pcc_target", "pcc_target_before", "mse_target")}
    numbers = {
        **explanation,
        "kept": result.metrics["output"]["class_kept"],
        "image_mse": result.metrics["image"]["mse"],
    }
    return {
        **{key: loaded.pixels(value[:EXAMPLES]).numpy() for key, value in pictures.items()},
        **{key: value[:EXAMPLES].numpy() for key, value in maps.items()},
        **{key: value.numpy() for key, value in numbers.items()},
        "accuracy": np.array(right),
        "network": np.array(network),
        "data": np.array(data.partition(":")[0]),
        "steps": np.array(config.iterations),
        "lr": np.array(config.lr),
    }


def caption(data: Data) -> str:
    """What was run."""
    return f"""LRP maps manipulated by the row of table 3 ({data["steps"]} steps, lr {float(data["lr"]):.3g}, factors
        1e7 and 1e2, logits held) on {data["network"]} with {data["data"]} test images: two examples of
        {len(data["kept"])} pairs drawn with seed 0. Accuracy of the network on the test images:
        {100 * float(data["accuracy"]):.1f} %. The paper: VGG-16 on CIFAR-10 with 92 %; mnist_vgg and MNIST stand in
        for them, with the printed lr in pixels (0.247 of it), unless a CIFAR-10 folder and weights are named."""


def claims(data: Data) -> dict[str, Claim]:
    """The algorithm manipulates LRP maps on this data set too."""
    n = len(data["kept"])
    gain = float(np.median(data["pcc_target"] - data["pcc_target_before"]))
    pcc, right = float(np.median(data["pcc_target"])), float(data["accuracy"])
    return {
        "LRP maps can be manipulated on another data set (C.2)": Claim(
            expected=False, holds=gain > 0 and pcc > 0.8, value=pcc, n=n,
            note="median PCC to the target, above 0.8 and above that before; MNIST's maps are the digit's strokes",
        ),
        "all images keep their class": Claim(
            expected=True, holds=bool(data["kept"].all()), value=float(data["kept"].mean()), n=n, note="share"
        ),
        "the network's test accuracy is about 92 % or better (C.2)": Claim(
            expected=True, holds=right > 0.915, value=right, n=1, note="of the network named in the caption"
        ),
    }  # fmt: skip


def draw(data: Data) -> Figure:
    """Two examples: target, original, manipulated; images above, maps below."""
    columns = [("targets", "target_map", "target"), ("images", "map", "original")]
    columns += [("manipulated", "manipulated_map", "manipulated")]
    figure = Figure(figsize=(TWO_COLUMNS, 2.5))
    for panel, i in zip(figure.subfigures(1, EXAMPLES, squeeze=False)[0], range(EXAMPLES), strict=True):
        for (above, below), (image, map_, title) in zip(panel.subplots(2, 3).T, columns, strict=True):
            show_image(above, data[image][i], title)
            show_map(below, data[map_][i])
    return figure


if __name__ == "__main__":
    sys.exit(run("fig13_lrp_cifar", compute, claims, draw, caption))
