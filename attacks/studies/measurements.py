"""What a study measures of every attacked image, beside the metrics that each attack brings.

A measurement is a function of the network and the attack's result; it returns columns, one
number an image. Adding one to the table adds its columns to every study that is run from
then on.
"""

from collections.abc import Callable

from torch import Tensor

from attacks.ghorbani import largest_pixels
from attacks.manipulation import AttackResult
from attacks.metrics import mass_centre_shift, spearman, topk_intersection
from attacks.networks import Network

Measurement = Callable[[Network, AttackResult], dict[str, Tensor]]


def ranking(network: Network, result: AttackResult) -> dict[str, Tensor]:
    """How far the order of the pixels changed: manipulated against original map."""
    maps, original = result.maps, result.original_maps
    return {
        "topk_intersection": topk_intersection(maps, original, k=largest_pixels(maps[0].numel())),
        "spearman": spearman(maps, original),
        "mass_centre_shift": mass_centre_shift(maps, original),
    }


MEASUREMENTS: dict[str, Measurement] = {"ranking": ranking}


def measure(network: Network, result: AttackResult) -> dict[str, dict[str, Tensor]]:
    """All measurements, by group and column."""
    return {name: function(network, result) for name, function in MEASUREMENTS.items()}
