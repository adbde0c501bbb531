"""Gradient maps of four architectures under attack: the study that figures 7 to 12 share (table 2)."""

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from attacks.explanations import explain
from attacks.storage import write_atomically
from figures._claim import Claim, Data
from figures._draw import TWO_COLUMNS, show_image, show_map
from figures._studies import Results, results, setting_of

ARCHITECTURES = {"vgg16": "VGG-16", "alexnet": "AlexNet", "densenet121": "DenseNet-121", "resnet18": "ResNet-18"}
PAPER = {"images": "imagenet:{folder}"}
_SMALL = {"vgg16": "mnist_vgg", "alexnet": "mnist_alexnet", "densenet121": "mnist_densenet", "resnet18": "mnist_resnet"}
_STEPS = {"vgg16": 1500, "alexnet": 4000, "densenet121": 2000, "resnet18": 2000}  # of table 2
_NUMBERS = ("pcc_target", "ssim_target", "mse_target", "pcc_original", "pcc_target_before")


def study_of(images: str, *, quick: bool, studies: Path, any_code: bool) -> tuple[Results, dict[str, str]]:
    """The attacks, and what the study calls each architecture.

    Args:
        images: Empty for the small members of the families on MNIST; ``imagenet:DIR`` for torchvision's networks
            with their trained weights on 100 pairs of that folder's validation images.
        quick: As for ``results``.
        studies: As for ``results``.
        any_code: As for ``results``.
    """
    if not images:
        return results("table2", quick=quick, studies=studies, any_code=any_code), _SMALL
    path = studies / "table2_paper.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, paper_study(images))
    return results(str(path), quick=quick, studies=studies, any_code=any_code), {key: key for key in ARCHITECTURES}


def paper_study(images: str) -> str:
    """The study file of the paper's own setting."""
    details = "".join(f'[network.{key}]\nweights = "pretrained"\n' for key in ARCHITECTURES)
    return f"""title = "Table 2: gradient maps of four architectures are manipulated"
networks = {json.dumps(list(ARCHITECTURES))}
methods = ["gradient"]
batch = 5
[pairs]
data = {json.dumps(images)}
count = 100
seed = 0
[hyperparameters]
table = 2
{details}"""


def labels(networks: NDArray[np.str_]) -> list[str]:
    """Below the boxes: the paper's name where that network ran, else that of the small one that stands in."""
    return [ARCHITECTURES.get(str(name), str(name).replace("mnist_", "small ")) for name in networks]


def example(key: str, images: str, *, quick: bool, studies: Path, any_code: bool) -> Data:
    """The pair whose manipulated map has the median correlation with its target: pixels, maps and metrics."""
    found, names = study_of(images, quick=quick, studies=studies, any_code=any_code)
    name = names[key]
    correlations = found.column("explanation_pcc_target", network=name).astype(float)
    i = int(np.argsort(correlations)[(len(correlations) - 1) // 2])
    tensors, network = found.tensors(network=name), found.network(name)
    goal = network.preprocess(found.plan.study.pairs.picture(found.pairs[i][1], len(network.mean)))
    own = explain(network, goal, network.predict(goal), method="gradient")
    pictures = {"original": tensors["original"][i], "manipulated": tensors["adversarial"][i], "target": goal[0]}
    data = {word: network.pixels(x[None])[0].numpy() for word, x in pictures.items()}
    maps = {"original": tensors["original_maps"][i], "manipulated": tensors["maps"][i], "target": own[0]}
    data |= {f"{word}_map": h.detach().numpy() for word, h in maps.items()}
    columns = [f"explanation_{number}" for number in _NUMBERS] + ["image_ssim", "image_mse", "output_class_kept"]
    data |= {column: np.array(found.column(column, network=name)[i], float) for column in columns}
    labels = np.array([found.pairs[i][0], found.pairs[i][1], network.name])
    numbers = {"pairs": np.array(len(correlations)), "setting": np.array(setting_of(found, only=name))}
    return data | {"names": labels} | numbers


def claims_of_example(data: Data, *, expected: tuple[bool, bool, bool] = (True, True, True)) -> dict[str, Claim]:
    """What the example is shown for: another image's map, no visible change, the same class."""
    nearer = float(data["explanation_pcc_target"] - data["explanation_pcc_original"])
    alike, kept = float(data["image_ssim"]), float(data["output_class_kept"])
    return {
        "the manipulated map is nearer to the target's than to its own former one": Claim(
            expected=expected[0],
            holds=nearer > 0,
            value=nearer,
            n=1,
            note="PCC to the target map less PCC to the image's own former map, of the median pair",
        ),
        "the manipulated image looks like the original": Claim(
            expected=expected[1], holds=alike > 0.9, value=alike, n=1, note="SSIM of the images, above 0.9"
        ),
        "the class is kept": Claim(expected=expected[2], holds=kept == 1, value=kept, n=1),
    }


def caption_of_example(data: Data, key: str) -> str:
    """What was run, and the numbers of the pair."""
    image, target, network = (str(name) for name in data["names"])
    small = "" if network == key else f", a small network of the family of {ARCHITECTURES[key]} that stands in,"
    return f"""Gradient maps of {network}{small} before and after the manipulation of {image} towards the map of
        {target}, the pair of median correlation among {data["pairs"]}: {_STEPS[key]} steps of the row of table 2. PCC
        {data["explanation_pcc_target"]:.2f} (before {data["explanation_pcc_target_before"]:.2f}), SSIM
        {data["explanation_ssim_target"]:.2f}, MSE {data["explanation_mse_target"]:.2g} to the target map; images SSIM
        {data["image_ssim"]:.3f}, MSE {data["image_mse"]:.2g}. {data["setting"]} The paper's own setting:
        --paper-setting DIR."""


def draw_example(data: Data) -> Figure:
    """Images above their maps: original, manipulated, target."""
    figure = Figure(figsize=(0.6 * TWO_COLUMNS, 2.9))
    grid = figure.subplots(2, 3)
    for (above, below), key in zip(grid.T, ("original", "manipulated", "target"), strict=True):
        show_image(above, data[key], key)
        show_map(below, data[f"{key}_map"])
    grid[1][0].set_ylabel("gradient map")
    grid[0][0].set_ylabel("image")
    return figure
