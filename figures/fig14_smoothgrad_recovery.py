"""Figure 14: SmoothGrad recovers the original explanation of a manipulated image, over the noise level."""

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from attacks import explain
from attacks.defences import SmoothGrad
from attacks.metrics import pcc
from figures._claim import Claim, Data
from figures._draw import COLOURS, NAMES, TWO_COLUMNS, band, show_image, show_map
from figures._run import STUDIES, run
from figures._script import Budget
from figures._studies import results

BUDGET = Budget(network="mnist_lenet", n=100, steps=1500, minutes=1)
PAPER = {"imagenet": "{folder}"}
METHODS = ("gradient", "lrp")
LEVELS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
LEAST_GAIN = 0.01  # the best of all levels is taken, which is never below the first
FAILING = ("lrp",)  # the attack hardly moves the LRP maps of this network, so that nothing is left to recover
_PART = 10  # images in one pass: a gradient keeps all of VGG-16's activations in memory
SHOWN = (0, 2, 3, 5)  # of the levels, in the panel of pictures


def compute(*, seed: int, quick: bool, studies: Path = STUDIES, any_code: bool = False, imagenet: str = "") -> Data:
    """PCC of the manipulated image's SmoothGrad map to target and original, ``[methods, levels, pairs]``; pictures."""
    found = results("table1", quick=quick, studies=studies, any_code=any_code, imagenet=imagenet)
    network = found.network(found.plan.study.sources[0].name)
    data: dict[str, list[object]] = {"to_target": [], "to_original": [], "maps": [], "inputs": []}
    for method in METHODS:
        t = found.tensors(method=method)
        x, classes = t["adversarial"], t["target_class"]
        smooth = [SmoothGrad(samples=10, noise=level, seed=seed) for level in LEVELS]
        parts = list(zip(x.split(_PART), classes.split(_PART), strict=True))
        maps = [
            torch.cat([explain(network, part, k, method=method, defence=one).detach() for part, k in parts])
            for one in smooth
        ]
        for name, other in (("to_target", t["target_map"]), ("to_original", t["original_maps"])):
            data[name].append(np.stack([pcc(h, other).numpy() for h in maps]))
        data["maps"].append(torch.stack([maps[i][0] for i in SHOWN]).numpy())
        noisy = [x[:1] + smooth[i].displacements(network, x[:1])[:1] for i in SHOWN]
        data["inputs"].append(torch.cat([network.pixels(network.clamp(image)) for image in noisy]).numpy())
    return {name: np.array(value) for name, value in data.items()} | {
        "noise": np.array(LEVELS),
        "setting": np.array(found.setting),
    }


def caption(data: Data) -> str:
    """What was run."""
    return f"""SmoothGrad (10 noisy copies drawn with the seed named last, sigma = noise level times the input range) on
        manipulated images. Left: correlation of its map with the target and with the original (ReLU, undefended)
        explanation over the noise level; median, 10th and 90th percentile of {data["to_target"].shape[2]} images
        attacked by the rows gradient and LRP of table 1 (1500 steps). Centre and right: one noisy network input
        (clipped to be shown) and the map as the noise grows. {data["setting"]}"""


def claims(data: Data) -> dict[str, Claim]:
    """With noise the map comes back to the original and leaves the target."""
    found = {}
    target, original = np.median(data["to_target"], 2), np.median(data["to_original"], 2)
    n = data["to_target"].shape[2]
    for m, method in enumerate(METHODS):
        best = int(original[m].argmax())
        gain, margin = original[m, best] - original[m, 0], original[m] - target[m]
        growth = margin[best] - margin[0]
        found[f"SmoothGrad brings the manipulated {NAMES[method]} map nearer to the original"] = Claim(
            expected=method not in FAILING, holds=gain > LEAST_GAIN, value=gain, n=n,
            note=f"median PCC to the original at noise {data['noise'][best]:g} minus that without noise, above "
            f"{LEAST_GAIN}; without noise it is {original[m, 0]:.3f}",
        )  # fmt: skip
        found[f"SmoothGrad moves the manipulated {NAMES[method]} map from the target towards the original"] = Claim(
            expected=method not in FAILING, holds=growth > LEAST_GAIN, value=growth, n=n,
            note=f"growth of median PCC to the original minus that to the target, to noise {data['noise'][best]:g}, "
            f"above {LEAST_GAIN}",
        )  # fmt: skip
        found[f"with SmoothGrad the {NAMES[method]} map is more like the original than like the target"] = Claim(
            expected=True, holds=margin[best] > 0, value=margin[best], n=n,
            note=f"median PCC to the original minus that to the target at noise {data['noise'][best]:g}; "
            f"without noise {margin[0]:.3f}",
        )  # fmt: skip
    return found


def draw(data: Data) -> Figure:
    """Curves left, pictures centre and right."""
    figure = Figure(figsize=(TWO_COLUMNS, 3.2))
    left, *pictures = figure.subfigures(1, 3, width_ratios=(1.5, 1, 1), squeeze=False)[0]
    for axes, m in zip(left.subplots(2, 1, sharex=True), range(len(METHODS)), strict=True):
        band(axes, data["noise"], data["to_target"][m], "to target", COLOURS[1])
        band(axes, data["noise"], data["to_original"][m], "to original", COLOURS[0])
        axes.set(ylabel=f"PCC, {NAMES[METHODS[m]]}", xlabel="noise level $n$" if m else "", ylim=(None, 1))
        axes.legend()
    for panel, method, images, maps in zip(pictures, METHODS, data["inputs"], data["maps"], strict=True):
        panel.suptitle(NAMES[method], fontsize=8)
        for row, i, image, map_ in zip(panel.subplots(len(SHOWN), 2), SHOWN, images, maps, strict=True):
            show_image(row[0], image)
            show_map(row[1], map_)
            row[0].set_ylabel(f"n = {LEVELS[i]:g}")
    return figure


if __name__ == "__main__":
    sys.exit(run("fig14_smoothgrad_recovery", compute, claims, draw, caption))
