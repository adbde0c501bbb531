"""Example sheets: photographs, each with the map of another one, by one explanation method (figures 22 to 27)."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from attacks import AttackConfig, AttackResult, Network, load_images, load_picture, manipulate, preset
from attacks.explanations import explain
from attacks.explanations.patterns import fit_patterns, load_patterns
from attacks.manipulation import target_map
from figures._claim import Claim, Data
from figures._draw import NAMES, TWO_COLUMNS, show_image, show_map
from figures._inputs import images_in_words, network_in_words, trained_network

PAPER = {"network": "vgg16", "images": "imagenet:{folder}"}
_PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "retina", "immunohistochemistry")
_NUMBERS = ("pcc_target", "ssim_target", "mse_target", "pcc_original", "pcc_target_before")
_QUICK_STEPS, _QUICK_CROPS, _QUICK_SIDE = 3, 2, 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sheet:
    """What one sheet runs.

    Attributes:
        network: Key of ``NETWORKS``.
        images: ``IMAGE>TARGET`` pictures, comma-separated, or ``imagenet:DIR`` for two seeded pairs of its images.
        patterns: A file of ``attacks fit-patterns``; empty for a fit on crops of photographs, where needed.
        crops: Number of those crops.
    """

    network: str
    images: str
    patterns: str = ""
    crops: int = 24


def attacked(config: AttackConfig, sheet: Sheet, *, seed: int, quick: bool) -> Data:
    """Attack every pair of the sheet: pixels ``[n, 3, H, W]``, maps ``[n, H, W]``, metrics ``[n]``."""
    network = trained_network(sheet.network)
    if quick:
        config = dataclasses.replace(config, iterations=_QUICK_STEPS)
        network = dataclasses.replace(network, resize=_QUICK_SIDE * 8 // 7, crop=_QUICK_SIDE)
    crops = 0
    if config.method == "pattern_attribution" and sheet.patterns:
        network = dataclasses.replace(network, patterns=load_patterns(Path(sheet.patterns)))
    elif config.method == "pattern_attribution":
        crops = _QUICK_CROPS if quick else sheet.crops
        network = dataclasses.replace(network, patterns=_fitted(network, crops, seed))
    rows = [_row(network, config, *pair) for pair in pairs_of(sheet.images, seed=seed)[: 1 if quick else None]]
    data = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    words = {"network": network_in_words(network), "pictures": _credits(sheet.images), "reason": config.reason}
    numbers = {"lr": config.lr, "iterations": config.iterations, "crops": crops}
    return data | {key: np.array(value) for key, value in (words | numbers).items()}


def row_for(network: str, method: str, iterations: int, lr: float, reason: str) -> AttackConfig:
    """The printed row of table 1 with another budget, for the reason given; on VGG-16 the printed row itself."""
    row = preset("vgg16", method, table=1)
    if network == "vgg16":
        return row
    return dataclasses.replace(row, network=network, iterations=iterations, lr=lr, reason=reason)


def _fitted(network: Network, crops: int, seed: int) -> dict[str, Tensor]:
    """Patterns from random crops of photographs."""
    return fit_patterns(network, (network.preprocess(crop) for crop in _crops(crops, np.random.default_rng(seed))))


def _crops(count: int, random: np.random.Generator) -> Iterator[Image.Image]:
    """Squares of half to full height, each mirrored with a chance of one half, the photographs in turn."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    arrays = [getattr(data, name)() for name in _PHOTOGRAPHS] + load_sample_images().images
    for i in range(count):
        image = Image.fromarray(arrays[i % len(arrays)])
        side = int(min(image.size) * random.uniform(0.5, 1))
        left, top = (int(random.integers(0, length - side + 1)) for length in image.size)
        crop = image.crop((left, top, left + side, top + side))
        yield crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else crop


def pairs_of(images: str, *, seed: int) -> list[tuple[Image.Image, Image.Image, str]]:
    """Image, target and the words for both.

    Raises:
        ValueError: If a picture is missing, a pair has no target, or a folder holds fewer than four pictures.
    """
    if images.startswith(("imagenet:", "folder:")):
        known = load_images(images)
        if len(known) < 4:
            raise ValueError(f"expected at least four pictures in '{images}', got {len(known)}")
        i, k, j, m = np.random.default_rng(seed).permutation(len(known))[:4].tolist()
        places = ((i, k), (j, m))
        return [(known.picture(a), known.picture(b), f"{known.names[a]}>{known.names[b]}") for a, b in places]
    names = [pair.split(">") for pair in images.split(",")]
    if any(len(pair) != 2 for pair in names):
        raise ValueError(f"expected IMAGE>TARGET pictures with commas between them, or imagenet:DIR, got '{images}'")
    return [(load_picture(a).image, load_picture(b).image, f"{a}>{b}") for a, b in names]


def _credits(images: str) -> str:
    """Whose pictures they are."""
    if images.startswith(("imagenet:", "folder:")):
        return images_in_words(images)
    return "; ".join(dict.fromkeys(load_picture(name).credit for pair in images.split(",") for name in pair.split(">")))


def _row(network: Network, config: AttackConfig, image: Image.Image, target: Image.Image, name: str) -> Data:
    x, goal = network.preprocess(image), network.preprocess(target)
    result = manipulate(network, x, target_map(network, goal, config=config), config=config)
    own = explain(network, goal, network.predict(goal), method=config.method)
    pictures = {"original": x, "manipulated": result.adversarial, "target": goal}
    maps = {"original": result.original_maps, "manipulated": result.maps, "target": own}
    row = {key: network.pixels(value)[0].detach().numpy() for key, value in pictures.items()}
    row |= {f"{key}_map": value[0].detach().numpy() for key, value in maps.items()}
    return row | _metrics(result) | {"pair": np.array(name)}


def _metrics(result: AttackResult) -> Data:
    found = {key: result.metrics["explanation"][key] for key in _NUMBERS}
    found |= {"image_ssim": result.metrics["image"]["ssim"]}
    found |= {key: result.metrics["output"][key] for key in ("class_kept", "probability_before", "probability_after")}
    return {key: np.array(value[0].item()) for key, value in found.items()}


def claims(data: Data, *, expected: tuple[bool, bool, bool] = (True, True, True)) -> dict[str, Claim]:
    """What all six sheets are shown for: maps of another image, no visible change, the same class."""
    n = len(data["pair"])
    nearer = float((data["pcc_target"] - data["pcc_original"]).min())
    alike, kept = float(data["image_ssim"].min()), float(data["class_kept"].mean())
    return {
        "the manipulated map is nearer to the target's than to its own former one": Claim(
            expected=expected[0], holds=nearer > 0, value=nearer, n=n,
            note="least PCC to the target's map less PCC to the image's own former map",
        ),
        "the manipulated image looks like the original": Claim(
            expected=expected[1], holds=alike > 0.9, value=alike, n=n, note="least SSIM of the images, above 0.9"
        ),
        "the class is kept": Claim(expected=expected[2], holds=kept == 1, value=kept, n=n, note="share of pairs"),
    }  # fmt: skip


def caption(data: Data, method: str) -> str:
    """What was run, and the numbers of every pair."""
    numbers = "; ".join(
        f"{str(pair).replace('>', ' with the map of ')}: PCC {pcc:.2f} (before {before:.2f}), SSIM {ssim:.2f}, "
        f"MSE {mse:.2g} to the target map, image SSIM {alike:.3f}, probability {p:.2f} to {q:.2f}"
        for pair, pcc, before, ssim, mse, alike, p, q in zip(
            data["pair"], data["pcc_target"], data["pcc_target_before"], data["ssim_target"], data["mse_target"],
            data["image_ssim"], data["probability_before"], data["probability_after"], strict=True,
        )
    )  # fmt: skip
    differs = f"instead of the row of table 1: {data['reason']}" if str(data["reason"]) else "as in table 1"
    fitted = (
        f"""Patterns fitted on {data["crops"]} random crops of nine photographs of scikit-image and scikit-learn
        (astronaut, chelsea, coffee and rocket among them); the paper's on a part of ImageNet's training images."""
        if data["crops"]
        else ""
    )
    return f"""{NAMES[method]} maps before and after the manipulation, with the image and the map aimed at, on
        {data["network"]}, {data["original"].shape[-1]} pixels a side; n = {len(data["pair"])}, {data["iterations"]}
        steps, lr {data["lr"]:g} ({differs}). {numbers}. {fitted} Pictures: {data["pictures"]}. The paper: VGG-16,
        images of ImageNet, steps and rates of table 1 (--paper-setting DIR)."""


def draw(data: Data) -> Figure:
    """Two rows a pair, images above their maps: original, manipulated, target."""
    n = len(data["pair"])
    figure = Figure(figsize=(0.62 * TWO_COLUMNS, 2.9 * n))
    grid = figure.subplots(2 * n, 3, squeeze=False)
    for column, key in enumerate(("original", "manipulated", "target")):
        for i in range(n):
            show_image(grid[2 * i][column], data[key][i], key if i == 0 else "")
            show_map(grid[2 * i + 1][column], data[f"{key}_map"][i])
    return figure
