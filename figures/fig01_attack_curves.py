"""Figure 1: MSE of images and of maps over the steps of an attack, for fixed betas and for beta growth."""

import sys
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from attacks import explain, manipulate, preset
from figures._claim import Claim, Data
from figures._draw import COLOURS, TWO_COLUMNS
from figures._inputs import IMAGENET_UNIT, drawn_images, images_in_words, network_in_words, step_for, trained_network
from figures._run import run
from figures._script import Budget

BUDGET = Budget(network="mnist_lenet", n=12, steps=1500, minutes=8)
PAPER = {"network": "vgg16", "data": "imagenet:{folder}"}
GROWTH = "growth 10 to 100"
BETAS = {
    "2": (2.0, 2.0), "10": (10.0, 10.0), "30": (30.0, 30.0), "100": (100.0, 100.0), GROWTH: (10.0, 100.0),
}  # fmt: skip


def compute(*, seed: int, quick: bool, network: str = "mnist_lenet", data: str = "mnist", pairs: int = 12) -> Data:
    """Per setting curves ``[settings, steps, pairs]``; MSE and PCC of ReLU's map at the end ``[settings, pairs]``."""
    pairs = 2 if quick else pairs
    loaded = trained_network(network)
    images, _ = drawn_images(loaded, data, 2 * pairs, seed=seed)
    x, target = images[:pairs], explain(loaded, images[pairs:])
    found: dict[str, list[object]] = {"image_mse": [], "map_mse": [], "final_mse": [], "final_pcc": []}
    row = preset(network, "gradient")
    row = replace(row, lr=step_for(loaded, row.lr, IMAGENET_UNIT))
    row = replace(row, iterations=6) if quick else row
    chunk = pairs if loaded.crop is None else 4  # VGG-16 is differentiated twice, all of a chunk in memory at once
    for start, end in BETAS.values():
        config = replace(row, beta_start=start, beta_end=end)
        result = manipulate(loaded, x, target, config=config, chunk=chunk)
        explanation = result.metrics["explanation"]
        found["image_mse"].append(result.history["image_mse"].numpy())
        found["map_mse"].append(result.history["map_mse"].numpy())
        found["final_mse"].append(explanation["mse_target"].numpy())
        found["final_pcc"].append(explanation["pcc_target"].numpy())
    words = {"network": network_in_words(loaded), "images": images_in_words(data), "reason": row.reason}
    numbers = {"lr": row.lr, "explanation_weight": row.explanation_weight, "pixels": set(loaded.std) == {1.0}}
    return {name: np.array(values) for name, values in (found | words | numbers).items()}


def caption(data: Data) -> str:
    """What was run."""
    _, steps, pairs = data["map_mse"].shape
    unit = f", {IMAGENET_UNIT} of the printed as it takes pixels" if data["pixels"] else ""
    reason = f"; {data['reason']}" if str(data["reason"]) else ""
    return f"""Mean squared error between x and x_adv (left) and between the target map and the map that the loss
        sees, that of the softplus network (right), during {steps} steps of the gradient attack on {data["network"]}
        (row of table 1 but for beta: lr {float(data["lr"]):.3g}{unit}, explanation factor
        {float(data["explanation_weight"]):.3g}{reason}), median of {pairs} pairs of {data["images"]}; targets are the
        ReLU network's maps throughout. Crosses: the ReLU network's map at the end. Fixed beta against
        growth from 10 to 100. The paper: VGG-16, ImageNet."""


def claims(data: Data) -> dict[str, Claim]:
    """Growth helps slightly; it is not essential."""
    final = dict(zip(BETAS, np.median(data["final_mse"], 1), strict=True))
    pcc = dict(zip(BETAS, np.median(data["final_pcc"], 1), strict=True))
    n = data["final_mse"].shape[1]
    images = dict(zip(BETAS, np.median(data["image_mse"][:, -1], 1), strict=True))
    first = min(final.keys() - {GROWTH}, key=final.__getitem__)
    fixed = max(value for name, value in pcc.items() if name != GROWTH)
    return {
        "beta growth gives slightly better results than a fixed beta (A.1)": Claim(
            expected=False, holds=final[GROWTH] < final[first], value=final[GROWTH] / final[first], n=n,
            note="median final MSE of the ReLU map to the target, growth over the best fixed beta; a near tie: "
            "0.976 after the same training on a processor that rounds otherwise; median MSE of the images "
            f"{images[GROWTH]:.2g}, and {images[first]:.2g} with beta = {first}",
        ),
        "beta growth is not essential (A.1)": Claim(
            expected=True, holds=fixed > pcc[GROWTH] - 0.1, value=fixed - pcc[GROWTH], n=n,
            note="median final PCC to the target, best fixed beta minus growth; not essential: lower by less than 0.1",
        ),
        "the maps come close to the target while the images hardly change": Claim(
            expected=False, holds=pcc[GROWTH] > 0.8 and float(np.median(data["image_mse"][-1, -1])) < 1e-2,
            value=pcc[GROWTH], n=n, note="median final PCC with growth, > 0.8, and MSE of images < 0.01; less far here",
        ),
    }  # fmt: skip


def draw(data: Data) -> Figure:
    """Images left, maps right."""
    figure = Figure(figsize=(TWO_COLUMNS, 2.5))
    panels = figure.subplots(1, 2)
    for i, (name, colour) in enumerate(zip(BETAS, COLOURS, strict=False)):
        label = rf"$\beta$ {name}" if name == GROWTH else rf"$\beta = {name}$"
        for axes, key in zip(panels, ("image_mse", "map_mse"), strict=True):
            curve = np.median(data[key][i], 1)
            steps = np.arange(len(curve))
            axes.plot(steps[curve > 0], curve[curve > 0], color=colour, label=label, ls="-" if name == GROWTH else "--")
        panels[1].plot(len(curve), np.median(data["final_mse"][i]), "x", color=colour, ms=5, clip_on=False)
    for axes, label in zip(panels, (r"MSE$(x, x_{adv})$", r"MSE$(h_t, h(x_{adv}))$"), strict=True):
        axes.set(xlabel="step", ylabel=label, yscale="log")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(BETAS))
    return figure


if __name__ == "__main__":
    sys.exit(run("fig01_attack_curves", compute, claims, draw, caption))
