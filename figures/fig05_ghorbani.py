"""Figure 5: the targeted manipulation beside the attacks of Ghorbani et al."""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from figures._claim import Claim, Data
from figures._draw import TWO_COLUMNS, boxes, show_image, show_map
from figures._run import STUDIES, run
from figures._script import Budget
from figures._studies import results

BUDGET = Budget(network="mnist_lenet", n=100, steps=1500, minutes=12)
PAPER = {"imagenet": "{folder}"}
ATTACKS = {
    "manipulate": "ours",
    "ghorbani_target_region": "region",
    "ghorbani_top_k": "top-k",
    "ghorbani_mass_centre": "centre",
}
COLUMNS = (
    "explanation_pcc_original",
    "explanation_pcc_target",
    "output_probability_before",
    "output_probability_after",
)
EXAMPLES = 3


def compute(*, seed: int, quick: bool, studies: Path = STUDIES, any_code: bool = False, imagenet: str = "") -> Data:
    """The study ghorbani: statistics ``[attacks, pairs]``; images and maps of the first pairs."""
    found = results("ghorbani", quick=quick, studies=studies, any_code=any_code, imagenet=imagenet)
    data: Data = {name: np.stack([found.column(name, attack=attack) for attack in ATTACKS]) for name in COLUMNS}
    network = found.network(found.plan.study.sources[0].name)
    for attack in tuple(ATTACKS)[:2]:
        tensors = found.tensors(attack=attack)
        data[f"maps_{attack}"] = tensors["maps"][:EXAMPLES].numpy()
        data[f"images_{attack}"] = network.pixels(tensors["adversarial"][:EXAMPLES]).numpy()
    data["original_maps"], data["target_maps"] = (
        tensors[f"{n}"][:EXAMPLES].numpy() for n in ("original_maps", "target_map")
    )
    data["setting"] = np.array(found.setting)
    return data | {"images": network.pixels(tensors["original"][:EXAMPLES]).numpy()}


def caption(data: Data) -> str:
    """What was run."""
    return f"""(a-c) Gradient maps: original, target map, and what the targeted manipulation (table 1, 1500 steps) and
        the target-region attack of Ghorbani et al. (300 sign steps of 0.5/255 in a ball of 8/255, softplus beta 1,
        best iterate of unchanged class) reach. (d) {data[COLUMNS[0]].shape[1]} pairs: similarity of
        the map after to the map before and to the target, and change of the winning class's probability; the attacks
        top-k and mass centre beside. Boxes: median, quartiles, 10th and 90th percentile. The paper shows one
        photograph of Ghorbani et al.; here (a-c) are the first pairs. {data["setting"]}"""


def claims(data: Data) -> dict[str, Claim]:
    """Ours reproduces the target and keeps the output; theirs do neither."""
    n = data[COLUMNS[0]].shape[1]
    to_original, to_target = (np.median(data[name], 1) for name in COLUMNS[:2])
    change = np.abs(data["output_probability_after"] - data["output_probability_before"])
    gap = float(to_target[0] - to_target[1:].max())
    less = float(np.median(change[0]) - np.median(change[1]))
    significant = float((change[1] > 0.05).mean())
    return {
        "maps are more similar to the target by our method than by theirs (A.2)": Claim(
            expected=True, holds=gap > 0, value=gap, n=n, note="median PCC to the target, ours minus the best of theirs"
        ),
        "maps after are less similar to maps before by our method than by the target region (A.2)": Claim(
            expected=True, holds=to_original[0] < to_original[1], value=to_original[0] - to_original[1], n=n,
            note="median PCC to the map before, ours minus theirs",
        ),
        "our method changes the confidence less than the target region (A.2)": Claim(
            expected=False, holds=less < 0, value=less, n=n,
            note="median change of probability, ours minus theirs; they are "
            f"{np.median(change[0]):.2g} and {np.median(change[1]):.2g}",
        ),
        "the target region often leads to a significant change in confidence (A.2)": Claim(
            expected=False, holds=significant > 0.25, value=significant, n=n,
            note="share of images whose probability moves by over 0.05 (often: a quarter); "
            f"the median before is {np.median(data['output_probability_before'][1]):.3f}",
        ),
    }  # fmt: skip


def draw(data: Data) -> Figure:
    """Pictures above, statistics below."""
    figure = Figure(figsize=(TWO_COLUMNS, 5.6))
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.5, 1), squeeze=False)[:, 0]
    grid = top.subplots(len(data["images"]), 7, squeeze=False)
    ours, theirs = tuple(ATTACKS)[:2]
    for i, row in enumerate(grid):
        keys = (
            "images",
            f"images_{ours}",
            f"images_{theirs}",
            "original_maps",
            "target_maps",
            f"maps_{ours}",
            f"maps_{theirs}",
        )
        titles = ("image", "ours", "region", "its map", "target map", "map, ours", "map, region")
        for axes, key, title in zip(row, keys, titles, strict=True):
            (show_image if key.startswith("images") else show_map)(axes, data[key][i], title if i == 0 else "")
        row[0].set_ylabel(f"({'abc'[i]})")
    change = data["output_probability_after"] - data["output_probability_before"]
    labels = ("PCC to the map before", "PCC to the target map", "change of winning probability")
    values = (data[COLUMNS[0]], data[COLUMNS[1]], change)
    for axes, value, label in zip(bottom.subplots(1, 3), values, labels, strict=True):
        boxes(axes, {"": list(value)}, list(ATTACKS.values()))
        axes.set_ylabel(label)
    bottom.suptitle("(d)", x=0.01, ha="left", fontsize=8)
    return figure


if __name__ == "__main__":
    sys.exit(run("fig05_ghorbani", compute, claims, draw, caption))
