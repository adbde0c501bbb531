"""Figure 5: the targeted manipulation beside the attacks of Ghorbani et al."""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from figures._claim import Claim, Data
from figures._draw import TWO_COLUMNS, boxes, show_image, show_map
from figures._run import STUDIES, run
from figures._script import Budget
from figures._studies import results

BUDGET = Budget(network="mnist_lenet", n=100, steps=1500, minutes=4)
PAPER = {"imagenet": "{folder}"}
ATTACKS = {
    "manipulate": "ours", "ghorbani_target_region": "region",
    "ghorbani_top_k": "top-k", "ghorbani_mass_centre": "centre",
}  # fmt: skip
COLUMNS = (
    "explanation_pcc_original", "explanation_pcc_target", "output_probability_before", "output_probability_after",
    "image_mse",
)  # fmt: skip
EXAMPLES = 3


def compute(*, quick: bool, studies: Path = STUDIES, any_code: bool = False, imagenet: str = "") -> Data:
    """The study ghorbani: statistics ``[attacks, pairs]``; images and maps of the first pairs that are changed."""
    found = results("ghorbani", quick=quick, studies=studies, any_code=any_code, imagenet=imagenet)
    data: Data = {name: np.stack([found.column(name, attack=attack) for attack in ATTACKS]) for name in COLUMNS}
    network = found.network(found.plan.study.sources[0].name)
    shown = np.argsort(~_changed(data), kind="stable")[:EXAMPLES]
    for attack in tuple(ATTACKS)[:2]:
        tensors = found.tensors(attack=attack)
        data[f"maps_{attack}"] = tensors["maps"][shown].numpy()
        data[f"images_{attack}"] = network.pixels(tensors["adversarial"][shown]).numpy()
    data["original_maps"], data["target_maps"] = (tensors[n][shown].numpy() for n in ("original_maps", "target_map"))
    return data | {"images": network.pixels(tensors["original"][shown]).numpy(), "setting": np.array(found.setting)}


def _changed(data: Data) -> NDArray[np.bool_]:
    """Pairs whose image both ours and the target region's attack change, ``[pairs]``; all, if there are none."""
    both = (data["image_mse"][:2] > 0).all(0)
    return np.asarray(both | ~both.any())


def caption(data: Data) -> str:
    """What was run."""
    idle = (data["image_mse"] == 0).sum(1)
    return f"""(a-c) Gradient maps: original, target map, and what the targeted manipulation (table 1, 1500 steps) and
        the target-region attack of Ghorbani et al. (300 sign steps of 0.5/255 in a ball of 8/255, softplus beta 1,
        best iterate of unchanged class; region: where the target map is above its mean) reach.
        (d) {data[COLUMNS[0]].shape[1]} pairs: similarity of the map after to the map before and to the target, and
        change of the winning class's probability; the attacks top-k (k: 2 % of the pixels) and mass centre beside.
        Boxes: median, quartiles, 10th and 90th percentile. The region's attack finds nothing better than the image
        itself for {idle[1]} pairs (top-k {idle[2]}, mass centre {idle[3]}). The paper shows one photograph of Ghorbani
        et al.; here (a-c) are the first pairs that both attacks change. {data["setting"]}"""


def claims(data: Data) -> dict[str, Claim]:
    """Ours reproduces the target and keeps the output; theirs do neither.

    Output: on the images that both attacks change, as one that stays as it is keeps its output.
    """
    n, both = data[COLUMNS[0]].shape[1], _changed(data)
    to_original, to_target = (np.median(data[name], 1) for name in COLUMNS[:2])
    change = np.abs(data["output_probability_after"] - data["output_probability_before"])[:, both]
    gap, less = to_target[0] - to_target[1:].max(), np.median(change[0]) - np.median(change[1])
    often = float((change[1] > 0.05).mean())
    return {
        "our method reproduces a target map (A.2)": Claim(
            expected=False, holds=to_target[0] > 0.8, value=to_target[0], n=n, note="median PCC to the target, over 0.8"
        ),
        "maps are more similar to the target by our method than by theirs (A.2)": Claim(
            expected=True, holds=gap > 0, value=gap, n=n, note="median PCC to the target, ours minus the best of theirs"
        ),
        "maps after are less similar to maps before by our method than by the target region (A.2)": Claim(
            expected=True, holds=to_original[0] < to_original[1], value=to_original[0] - to_original[1], n=n,
            note="median PCC to the map before, ours minus theirs",
        ),
        "our method changes the confidence less than the target region (A.2)": Claim(
            expected=False, holds=less < 0, value=less, n=int(both.sum()),
            note="median change of probability, ours minus theirs, of images that both change; they are "
            f"{np.median(change[0]):.2g} and {np.median(change[1]):.2g}",
        ),
        "the target region often leads to a significant change in confidence (A.2)": Claim(
            expected=False, holds=often > 0.25, value=often, n=int(both.sum()),
            note="share of images that both change whose probability moves by over 0.05 (often: a quarter); "
            f"the median before is {np.median(data['output_probability_before'][1, both]):.3f}",
        ),
    }  # fmt: skip


def draw(data: Data) -> Figure:
    """Pictures above, statistics below."""
    figure = Figure(figsize=(TWO_COLUMNS, 5.6))
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.5, 1), squeeze=False)[:, 0]
    grid = top.subplots(len(data["images"]), 7, squeeze=False)
    ours, theirs = tuple(ATTACKS)[:2]
    keys = {"images": "image", f"images_{ours}": "ours", f"images_{theirs}": "region", "original_maps": "its map"}
    keys |= {"target_maps": "target map", f"maps_{ours}": "map, ours", f"maps_{theirs}": "map, region"}
    for i, row in enumerate(grid):
        for axes, (key, title) in zip(row, keys.items(), strict=True):
            (show_image if key.startswith("images") else show_map)(axes, data[key][i], title if i == 0 else "")
        row[0].set_ylabel(f"({'abc'[i]})")
    change = data["output_probability_after"] - data["output_probability_before"]
    labels = ("PCC to the map before", "PCC to the target map", "change of winning probability")
    values = (*(data[name] for name in COLUMNS[:2]), change)
    for axes, value, label in zip(bottom.subplots(1, 3), values, labels, strict=True):
        boxes(axes, {"": list(value)}, list(ATTACKS.values()))
        axes.set_ylabel(label)
    bottom.suptitle("(d)", x=0.01, ha="left", fontsize=8)
    return figure


if __name__ == "__main__":
    sys.exit(run("fig05_ghorbani", compute, claims, draw, caption))
