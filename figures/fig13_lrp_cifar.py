"""Figure 13: LRP on CIFAR-10; a small VGG on MNIST stands in where CIFAR-10 and its network are not there."""

import sys
from dataclasses import replace

import numpy as np
import torch
from matplotlib.figure import Figure

from attacks import load_images, load_table, manipulate, target_map
from attacks.small_networks import accuracy
from figures._claim import Claim, Data
from figures._draw import TWO_COLUMNS, show_image, show_map
from figures._inputs import CIFAR_UNIT, drawn_images, images_in_words, network_in_words, step_for, trained_network
from figures._run import run
from figures._script import Budget

BUDGET = Budget(network="mnist_vgg", n=10, steps=1500, minutes=8)
PAPER = {"network": "vgg16_cifar10", "weights": "{folder}/vgg16_cifar10.pt", "data": "cifar10:{folder}"}
EXAMPLES, PAIRS = 2, 10


def compute(*, seed: int, quick: bool, network: str = "mnist_vgg", weights: str = "", data: str = "mnist") -> Data:
    """Images and maps of the first pairs, similarities of all, and the network's accuracy on the test images."""
    pairs = 2 if quick else PAIRS
    loaded = trained_network(network, weights)
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
    explanation = {k: result.metrics["explanation"][k] for k in ("pcc_target", "pcc_target_before")}
    numbers = explanation | {"kept": result.metrics["output"]["class_kept"]}
    words = {"network": network_in_words(loaded), "data": data.partition(":")[0], "pictures": images_in_words(data)}
    return {
        **{key: loaded.pixels(value[:EXAMPLES]).numpy() for key, value in pictures.items()},
        **{key: value[:EXAMPLES].numpy() for key, value in maps.items()},
        **{key: value.numpy() for key, value in numbers.items()},
        "accuracy": np.array(right),
        **{key: np.array(value) for key, value in words.items()},
        "steps": np.array(config.iterations),
        "lr": np.array(config.lr),
        "pixels": np.array(set(loaded.std) == {1.0}),
    }


def caption(data: Data) -> str:
    """What was run."""
    unit = f", {CIFAR_UNIT} of the printed as it takes pixels" if data["pixels"] else ""
    return f"""LRP maps manipulated by the row of table 3 ({data["steps"]} steps, lr {float(data["lr"]):.3g}{unit},
        factors 1e7 and 1e2, logits held) on {data["network"]}: two examples of {len(data["kept"])} pairs of
        {data["pictures"]}. Accuracy of the network on the test images:
        {100 * float(data["accuracy"]):.1f} %. The paper: VGG-16 on CIFAR-10 with 92 % (--paper-setting DIR)."""


def claims(data: Data) -> dict[str, Claim]:
    """The algorithm manipulates LRP maps on this data set too."""
    n = len(data["kept"])
    gain = float(np.median(data["pcc_target"] - data["pcc_target_before"]))
    pcc, right = float(np.median(data["pcc_target"])), float(data["accuracy"])
    found = {
        "LRP maps can be manipulated on another data set (C.2)": Claim(
            expected=False, holds=gain > 0 and pcc > 0.8, value=pcc, n=n,
            note="median PCC to the target, above 0.8 and above that before, "
            f"which is {np.median(data['pcc_target_before']):.2f}",
        ),
        "all images keep their class": Claim(
            expected=True, holds=bool(data["kept"].all()), value=float(data["kept"].mean()), n=n, note="share"
        ),
    }  # fmt: skip
    if str(data["data"]) == "cifar10":  # it says nothing about a small network on MNIST
        found["the network's test accuracy is about 92 % or better (C.2)"] = Claim(
            expected=True, holds=right > 0.915, value=right, n=1, note="of the network named in the caption"
        )
    return found


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
