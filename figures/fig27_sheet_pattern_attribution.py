"""Figure 27: example sheet, PA maps of photographs manipulated towards those of others."""

import sys

from matplotlib.figure import Figure

from figures import _sheets
from figures._claim import Claim, Data
from figures._run import run
from figures._script import Budget
from figures._sheets import Sheet

__all__ = ["BUDGET", "PAPER", "caption", "claims", "compute", "draw"]
PAPER = _sheets.PAPER | {"patterns": "{folder}/patterns.safetensors"}  # of python -m attacks fit-patterns
BUDGET = Budget(network="efficientnet_lite0", n=2, steps=300, minutes=17)
METHOD, STEPS, LR = "pattern_attribution", 300, 2e-3
REASON = "a step costs seven gradients: 300 of the printed 1500 steps"


def compute(
    *,
    seed: int,
    quick: bool,
    network: str = "efficientnet_lite0",
    images: str = "chelsea>coffee,rocket>astronaut",
    patterns: str = "",
) -> Data:
    """Every pair of pictures attacked; the printed row on VGG-16."""
    config = _sheets.row_for(network, METHOD, STEPS, LR, REASON)
    return _sheets.attacked(config, Sheet(network=network, images=images, patterns=patterns), seed=seed, quick=quick)


def caption(data: Data) -> str:
    """What was run."""
    return _sheets.caption(data, METHOD)


def claims(data: Data) -> dict[str, Claim]:
    """Maps of another image, no visible change, the same class."""
    return _sheets.claims(data, expected=(True, False, True))  # a texture shows in the dark sky


def draw(data: Data) -> Figure:
    """Images above their maps."""
    return _sheets.draw(data)


if __name__ == "__main__":
    sys.exit(run("fig27_sheet_pattern_attribution", compute, claims, draw, caption))
