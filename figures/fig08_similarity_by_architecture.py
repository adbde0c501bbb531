"""Figure 8: how near the manipulated gradient maps come to their targets, four architectures."""

import itertools
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from attacks.explanations import explain
from attacks.metrics import pcc
from figures._architectures import ARCHITECTURES, PAPER, labels, study_of
from figures._claim import Claim, Data
from figures._draw import TWO_COLUMNS, boxes
from figures._run import STUDIES, run
from figures._script import Budget

__all__ = ["BUDGET", "PAPER", "caption", "claims", "compute", "draw"]
BUDGET = Budget(
    network="four small families on MNIST", n=100, steps=4000, minutes=1
)  # the attacks are those of figure 7
_METRICS = ("mse", "ssim", "pcc")
_TO = {"maps": "to the target", "images": "of images"}
# Comparable: medians of the MSE within a factor, of SSIM and PCC within 0.1. A whole attack moves the MSE of maps by a
# factor of two (figure 1), that of images by orders of magnitude.
_FACTORS, _MARGIN = {"maps": 2.0, "images": 10.0}, 0.1
_BETAS = (10.0, 30.0)  # first ones of table 2, of DenseNet and of the others


def compute(*, quick: bool, studies: Path = STUDIES, any_code: bool = False, images: str = "") -> Data:
    """Similarity of maps to targets and of images, and of softplus to ReLU maps, ``[architectures, pairs]`` each."""
    found, names = study_of(images, quick=quick, studies=studies, any_code=any_code)
    data: Data = {"networks": np.array(list(names.values())), "setting": np.array(found.setting)}
    for metric in _METRICS:
        for what, column in (("maps", f"explanation_{metric}_target"), ("images", f"image_{metric}")):
            data[f"{what}_{metric}"] = np.stack([found.column(column, network=n) for n in names.values()]).astype(float)
    for beta in _BETAS:
        similar = []
        for name in names.values():
            tensors, soft = found.tensors(network=name), found.network(name).soften(beta)
            parts = zip(*(tensors[key].split(10) for key in ("original", "target_class", "original_maps")), strict=True)
            similar.append(np.concatenate([pcc(explain(soft, x, k).detach(), h).numpy() for x, k, h in parts]))
        data[f"softplus_{beta:g}"] = np.stack(similar).astype(float)
    return data


def caption(data: Data) -> str:
    """What was run."""
    return f"""Similarity after the manipulation of {data["maps_pcc"].shape[1]} images, each towards the gradient map of
        another one, with the rows of table 2 (1500 to 4000 steps) on {", ".join(data["networks"])}.
        Above: manipulated map and target map; below: manipulated image and original. Boxes: median, quartiles, 10th and
        90th percentile. Networks named mnist_ are small members of the families that stand in for the paper's
        (--paper-setting DIR). {data["setting"]}"""


def claims(data: Data) -> dict[str, Claim]:
    """Comparable for all architectures; and why DenseNet needs larger beta."""
    found: dict[str, Claim] = {}
    for what, metric in itertools.product(_FACTORS, _METRICS):
        medians = np.median(data[f"{what}_{metric}"], 1)
        factor = metric == "mse"
        apart = float(medians.max() / medians.min() if factor else medians.max() - medians.min())
        found[f"{metric.upper()} {_TO[what]} is comparable for all architectures (C.1)"] = Claim(
            expected=what == "maps", holds=apart <= (_FACTORS[what] if factor else _MARGIN), value=apart,
            n=data["maps_pcc"].size,
            note=f"largest median over smallest, at most {_FACTORS[what]:g}" if factor
            else f"largest median less smallest, at most {_MARGIN:g}",
        )  # fmt: skip
    place = list(ARCHITECTURES).index("densenet121")
    medians = np.median(data["softplus_10"], 1)
    behind = float(np.delete(medians, place).min() - medians[place])
    found["at beta 10 DenseNet's softplus maps resemble the ReLU ones less than the others' do (C.1)"] = Claim(
        expected=False, holds=behind > 0, value=behind, n=data["softplus_10"].size,
        note="least median PCC of the others less DenseNet's; this DenseNet is a small one",
    )  # fmt: skip
    gain = float(np.median(data["softplus_30"], 1)[place] - medians[place])
    found["at beta 30 DenseNet's softplus maps resemble the ReLU ones more (C.1)"] = Claim(
        expected=True,
        holds=gain > 0,
        value=gain,
        n=data["softplus_30"].shape[1],
        note="gain of the median PCC; "
        "a weak statement: softplus maps tend to ReLU's as beta grows. That 30 is enough for DenseNet is not tested",
    )
    return found


def draw(data: Data) -> Figure:
    """Maps above, images below; a panel a metric, a box an architecture."""
    figure = Figure(figsize=(TWO_COLUMNS, 4.2))
    grid = figure.subplots(2, 3)
    for row, what, to in zip(grid, ("maps", "images"), ("the target map", "the original image"), strict=True):
        for axes, metric in zip(row, _METRICS, strict=True):
            boxes(axes, {"": list(data[f"{what}_{metric}"])}, labels(data["networks"]))
            axes.set(ylabel=f"{metric.upper()} to {to}")
        row[0].set_yscale("log")
    return figure


if __name__ == "__main__":
    sys.exit(run("fig08_similarity_by_architecture", compute, claims, draw, caption))
