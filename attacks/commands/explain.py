"""``python -m attacks explain``: all explanation maps of one picture, side by side over beta."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from safetensors.torch import save
from torch import Tensor

from attacks.commands.folder import OutputFolder
from attacks.commands.loading import load_on
from attacks.explanations import EXPLANATIONS, explain
from attacks.images import load_picture
from attacks.networks import Network
from attacks.plots import plot_maps, png_of
from attacks.storage import write_atomically


@dataclass(frozen=True, kw_only=True)
class Explain:
    """Draw all explanation maps of one picture, side by side over beta."""

    network: str = "efficientnet_lite0"
    """Name of a network, or package.module:factory of your own, with --weights for its file."""
    image: str = "chelsea"
    """Picture to explain: a name (chelsea, coffee, rocket, astronaut, digits/INDEX, mnist/INDEX) or a file."""
    methods: tuple[str, ...] | None = None
    """Explanation methods; by default all that the network has (pattern_attribution needs patterns)."""
    beta: tuple[float, ...] = (math.inf, 10.0, 3.0, 2.0, 1.0)
    """Softplus betas, one column each; inf is the ReLU network itself."""
    target_class: int | None = None
    """Class to explain; the predicted one by default."""
    patterns: Path | None = None
    """File of 'attacks fit-patterns'; by default the patterns that the network brings, if any."""
    weights: str | None = None
    """'pretrained', 'random' or a file; by default trained weights where they are on disk."""
    seed: int = 0
    """Of random weights."""
    device: str = "cpu"
    """Torch device."""
    out: Path = Path("out/explain")
    """Folder for maps.png and maps.safetensors."""

    def execute(self) -> int:
        """Do it; returns the exit status."""
        self._check()
        network = load_on(self.device, self.network, weights=self.weights, seed=self.seed, patterns=self.patterns)
        methods = self.methods or self._known(network)
        x = network.preprocess(load_picture(self.image, channels=len(network.mean)).image).to(self.device)
        target = int(network.predict(x)[0]) if self.target_class is None else self.target_class
        networks = [network if math.isinf(beta) else network.soften(beta) for beta in self.beta]
        with OutputFolder(self.out) as folder:
            maps = {method: self._row(networks, x, target, method) for method in methods}
            write_atomically(folder / "maps.png", png_of(self._figure(network, x, maps)))
            write_atomically(folder / "maps.safetensors", save({name: torch.stack(row) for name, row in maps.items()}))
        print(f"{self.out / 'maps.png'}: class {target} of {network.name} ({network.weights})")
        return 0

    def _check(self) -> None:
        unknown = sorted(set(self.methods or ()) - set(EXPLANATIONS))
        if unknown:
            raise ValueError(f"expected methods among {', '.join(EXPLANATIONS)}, got {', '.join(unknown)}")
        if not self.beta:
            raise ValueError("expected at least one beta, got none")

    def _known(self, network: Network) -> tuple[str, ...]:
        """All methods that the network has."""
        if network.patterns:
            return tuple(EXPLANATIONS)
        print("pattern_attribution is left out: it needs --patterns, see 'attacks fit-patterns'", file=sys.stderr)
        return tuple(method for method in EXPLANATIONS if method != "pattern_attribution")

    def _row(self, networks: list[Network], x: Tensor, target: int, method: str) -> list[Tensor]:
        print(f"{method} ...", file=sys.stderr)
        return [explain(network, x, target, method=method)[0].cpu() for network in networks]

    def _figure(self, network: Network, x: Tensor, maps: dict[str, list[Tensor]]) -> Figure:
        columns = ["ReLU" if math.isinf(beta) else f"beta = {beta:g}" for beta in self.beta]
        return plot_maps(network.pixels(x)[0], maps, columns=columns)
