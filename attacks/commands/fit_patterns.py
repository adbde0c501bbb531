"""``python -m attacks fit-patterns``: the patterns of pattern attribution, from a data set, resumable."""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor
from tqdm import tqdm

from attacks.commands.folder import OutputFolder
from attacks.commands.loading import load_on
from attacks.datasets import ImageSet, load_images
from attacks.explanations.patterns import PatternFit, save_patterns
from attacks.networks import Network
from attacks.studies.task import fingerprint


@dataclass(frozen=True, kw_only=True)
class FitPatterns:
    """Fit the patterns that pattern attribution needs, on images of a data set."""

    data: str
    """mnist, digits, cifar10:DIR, imagenet:DIR, or folder:DIR with pictures of any kind."""
    out: Path
    """Safetensors file to write; a killed fit goes on from OUT.unfinished, if network and data are the same."""
    network: str = "efficientnet_lite0"
    """Name of a network, or package.module:factory of your own, with --weights for its file."""
    weights: str | None = None
    """'pretrained', 'random' or a file; by default trained weights where they are on disk."""
    seed: int = 0
    """Of random weights."""
    split: Literal["train", "test"] = "train"
    """Which images of the data set."""
    limit: int | None = None
    """Number of images, drawn with seed 0 as data sets are stored class by class; all by default."""
    batch: int = 32
    """Images in one pass."""
    device: str = "cpu"
    """Torch device."""

    def execute(self) -> int:
        """Do it; returns the exit status."""
        if self.batch < 1 or (self.limit is not None and self.limit < 1):
            raise ValueError(f"expected batch and limit >= 1, got {self.batch} and {self.limit}")
        network = load_on(self.device, self.network, weights=self.weights, seed=self.seed)
        images = load_images(self.data, split=self.split)
        count = len(images) if self.limit is None else min(self.limit, len(images))
        unfinished = self.out.with_name(self.out.name + ".unfinished")
        with OutputFolder(self.out.parent):
            origin = {"network": fingerprint(network), "data": self._data(images)}
            begun = unfinished.exists()
            fit = PatternFit.load(network, unfinished, origin) if begun else PatternFit(network, origin)
            if fit.samples > count:
                raise ValueError(
                    f"expected an unfinished fit of at most {count} images, but '{unfinished}' holds {fit.samples}; "
                    "delete it"
                )
            try:
                for x in self._batches(network, images, images.drawn(count), fit.samples):
                    fit.add(x.to(self.device))
                    fit.save(unfinished)
            except KeyboardInterrupt:
                print(f"interrupted after {fit.samples} of {count} images; the same command goes on", file=sys.stderr)
                return 1
            save_patterns(fit.patterns(), self.out, samples=fit.samples)
            unfinished.unlink(missing_ok=True)
        print(f"{self.out}: patterns of {len(fit.sums)} layers from {fit.samples} images")
        return 0

    def _data(self, images: ImageSet) -> str:
        """The data set in words, with a hash of its images' names and labels in their order."""
        words = json.dumps([images.names, images.labels.tolist()])
        return f"{self.data} {self.split} {hashlib.sha256(words.encode()).hexdigest()[:12]}"

    def _batches(self, network: Network, images: ImageSet, order: list[int], done: int) -> Iterator[Tensor]:
        """Batches in order, so that a fit that goes on sees the same images as one that was never stopped."""
        with tqdm(total=len(order), initial=done, desc="patterns", unit="image", file=sys.stderr) as bar:
            for start in range(done, len(order), self.batch):
                part = order[start : start + self.batch]
                yield images.inputs(network, part)
                bar.update(len(part))
