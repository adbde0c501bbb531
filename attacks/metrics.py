"""Similarity of maps and images, and change of the output, as the paper measures them.

Maps sum to 1, images are pixels in [0, 1]; every function takes a batch and returns one
number a sample.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def mse(a: Float[Tensor, "b ..."], b: Float[Tensor, "b ..."]) -> Float[Tensor, " b"]:
    """Mean squared difference over all numbers of a sample."""
    return (a - b).double().square().flatten(1).mean(1)


def pcc(a: Float[Tensor, "b ..."], b: Float[Tensor, "b ..."]) -> Float[Tensor, " b"]:
    """Pearson's correlation of the flattened arrays; NaN for a constant array."""
    u, v = (t.double().flatten(1) - t.double().flatten(1).mean(1, keepdim=True) for t in (a, b))
    return (u * v).sum(1) / (u.norm(dim=1) * v.norm(dim=1))


def ssim_maps(a: Float[Tensor, "b h w"], b: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Structural similarity of maps; the data range is the joint maximum minus minimum.

    With ``data_range=1`` two unrelated maps that sum to 1 would score 0.99999.
    """
    return _ssim(a[:, None], b[:, None], joint_range=True)


def ssim_images(a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Structural similarity of images in [0, 1], data range 1, averaged over channels."""
    return _ssim(a, b, joint_range=False)


def linf(a: Float[Tensor, "b ..."], b: Float[Tensor, "b ..."]) -> Float[Tensor, " b"]:
    """Largest absolute difference."""
    return (a - b).double().abs().flatten(1).amax(1)


def topk_intersection(a: Float[Tensor, "b h w"], b: Float[Tensor, "b h w"], *, k: int) -> Float[Tensor, " b"]:
    """Share of the ``k`` largest pixels that both maps have in common.

    Raises:
        ValueError: If ``k`` is not between 1 and the number of pixels.
    """
    if not 1 <= k <= a[0].numel():
        raise ValueError(f"expected k in 1..{a[0].numel()}, got {k}")
    masks = [torch.zeros_like(t.flatten(1)).scatter_(1, t.flatten(1).topk(k).indices, 1.0) for t in (a, b)]
    return (masks[0] * masks[1]).sum(1).double() / k


def spearman(a: Float[Tensor, "b ..."], b: Float[Tensor, "b ..."]) -> Float[Tensor, " b"]:
    """Spearman's rank correlation of the flattened arrays."""
    from scipy.stats import spearmanr

    pairs = zip(a.flatten(1).cpu().numpy(), b.flatten(1).cpu().numpy(), strict=True)
    return torch.tensor([float(spearmanr(u, v).statistic) for u, v in pairs], dtype=torch.float64)


def mass_centre_shift(a: Float[Tensor, "b h w"], b: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Distance in pixels between the centres of mass of two maps."""
    return (mass_centre(a) - mass_centre(b)).norm(dim=1)


def mass_centre(a: Float[Tensor, "b h w"]) -> Float[Tensor, "b 2"]:
    """Row and column of the centre of mass, in pixels; float64, in the graph of the maps."""
    a = a.double()
    rows, columns = (torch.arange(side, dtype=torch.float64, device=a.device) for side in a.shape[1:])
    total = a.sum((1, 2))
    return torch.stack([(a.sum(2) * rows).sum(1) / total, (a.sum(1) * columns).sum(1) / total], 1)


def _ssim(a: Tensor, b: Tensor, *, joint_range: bool) -> Tensor:
    from skimage.metrics import structural_similarity

    scores = []
    for u, v in zip(a.double().cpu().numpy(), b.double().cpu().numpy(), strict=True):
        span = float(max(u.max(), v.max()) - min(u.min(), v.min())) if joint_range else 1.0
        scores.append(structural_similarity(u, v, data_range=span, channel_axis=0) if span > 0 else 1.0)
    return torch.from_numpy(np.array(scores, dtype=np.float64))


def explanation_metrics(maps: Tensor, target: Tensor, original: Tensor) -> dict[str, Tensor]:
    """Similarity of the manipulated maps to the target and to the original, before and after."""
    pairs = {"target": (maps, target), "original": (maps, original), "target_before": (original, target)}
    functions = {"pcc": pcc, "ssim": ssim_maps, "mse": mse}
    found = {}
    for suffix, (a, b) in pairs.items():
        name, _, before = suffix.partition("_")
        for metric, function in functions.items():
            found[f"{metric}_{name}" + ("_before" if before else "")] = function(a, b)
    return found


def image_metrics(pixels: Tensor, original: Tensor) -> dict[str, Tensor]:
    """Similarity of two batches of images, pixels in [0, 1]."""
    return {
        "mse": mse(pixels, original),
        "ssim": ssim_images(pixels, original),
        "pcc": pcc(pixels, original),
        "linf": linf(pixels, original),
    }


def output_metrics(logits: Tensor, original: Tensor) -> dict[str, Tensor]:
    """Change of the network's output, ``logits`` after against ``original`` before.

    The winning class is that of the original output.
    """
    winner = original.argmax(1, keepdim=True)
    before, after = original.double().softmax(1), logits.double().softmax(1)
    return {
        "class_kept": logits.argmax(1) == winner[:, 0],
        "probability_before": before.gather(1, winner)[:, 0],
        "probability_after": after.gather(1, winner)[:, 0],
        "logits_change": (logits - original).double().norm(dim=1),
        "softmax_change": (after - before).norm(dim=1),
    }
