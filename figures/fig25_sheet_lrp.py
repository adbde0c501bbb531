"""Figure 25: example sheet, LRP maps of photographs manipulated towards those of others."""

import sys

from matplotlib.figure import Figure

from figures import _sheets
from figures._claim import Claim, Data
from figures._run import run
from figures._script import Budget
from figures._sheets import PAPER, Sheet

__all__ = ["BUDGET", "PAPER", "caption", "claims", "compute", "draw"]
BUDGET = Budget(network="efficientnet_lite0", n=2, steps=200, minutes=12)
METHOD, STEPS, LR = "lrp", 200, 1e-3
REASON = "200 of the printed 1500 steps, of five times the size"


def compute(
    *,
    seed: int,
    quick: bool,
    network: str = "efficientnet_lite0",
    images: str = "chelsea>coffee,rocket>astronaut",
) -> Data:
    """Every pair of pictures attacked; the printed row on VGG-16."""
    config = _sheets.row_for(network, METHOD, STEPS, LR, REASON)
    return _sheets.attacked(config, Sheet(network=network, images=images), seed=seed, quick=quick)


def caption(data: Data) -> str:
    """What was run."""
    return _sheets.caption(data, METHOD)


def claims(data: Data) -> dict[str, Claim]:
    """Maps of another image, no visible change, the same class."""
    return _sheets.claims(data)


def draw(data: Data) -> Figure:
    """Images above their maps."""
    return _sheets.draw(data)


if __name__ == "__main__":
    sys.exit(run("fig25_sheet_lrp", compute, claims, draw, caption))
