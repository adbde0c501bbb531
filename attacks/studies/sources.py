"""Where a study's networks come from, and the patterns that pattern attribution needs."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from attacks.datasets import ImageSet
from attacks.explanations.patterns import fit_patterns, load_patterns
from attacks.networks import NETWORKS, Network, load_network
from attacks.studies.pairs import read_images
from attacks.studies.table import Table

_BATCH = 250  # images at a time in a fit
PATTERNS_METHOD = "pattern_attribution"


@dataclass(frozen=True)
class Source:
    """One network of a study.

    Attributes:
        name: What the study calls it.
        network: Key of ``NETWORKS``, or ``package.module:factory``.
        weights: As for ``load_network``.
    """

    name: str
    network: str
    weights: str | None = None

    def load(self, seed: int) -> Network:
        """The network, under the study's name for it."""
        return dataclasses.replace(load_network(self.network, weights=self.weights, seed=seed), name=self.name)


def read_sources(top: Table, folder: Path) -> tuple[Source, ...]:
    """The list ``networks``: known names, factories, or names that a table ``[network.NAME]`` describes.

    Raises:
        ValueError: If a key is not as expected.
    """
    names = top.many("networks", str)
    details = top.table("network")
    sources = []
    for name in names:
        details.knows(name)
        if name in details:
            entry = details.table(name)
            network = entry.take("kind", str, name)
            weights = entry.take("weights", str, None)
            entry.finish()
            if weights is not None and (folder / weights).is_file():
                weights = str(folder / weights)
            _require_known(entry, "kind", network)
            sources.append(Source(name, network, weights))
        else:
            _require_known(top, "networks", name)
            sources.append(Source(name, name))
    details.finish()
    return tuple(sources)


@dataclass(frozen=True)
class Patterns:
    """What pattern attribution's patterns are fitted on, or the file that holds them.

    Attributes:
        images: Data to fit on, or None.
        count: Images of it to use, drawn with seed 0; all of them if there are fewer.
        path: A file that ``save_patterns`` wrote, or None.
    """

    images: ImageSet | None
    count: int
    path: Path | None

    def add(self, network: Network) -> Network:
        """The network with its patterns."""
        if self.path is not None:
            return dataclasses.replace(network, patterns=load_patterns(self.path))
        assert self.images is not None  # one of the two is there
        x = self.images.inputs(network, self.images.drawn(min(self.count, len(self.images))))
        return dataclasses.replace(network, patterns=fit_patterns(network, x.split(_BATCH)))


def read_patterns(top: Table, folder: Path) -> Patterns | None:
    """The table ``[patterns]``: either ``file``, or ``data`` with perhaps ``split`` and ``count``.

    Raises:
        ValueError: If a key is not as expected.
    """
    if "patterns" not in top:
        top.knows("patterns")
        return None
    table = top.table("patterns")
    if "file" in table:
        path = folder / table.take("file", str)
        if not path.is_file():
            raise table.error("file", "a file of patterns", f"'{path}', which does not exist")
        patterns = Patterns(None, 0, path)
    else:
        images = read_images(table, "train")
        patterns = Patterns(images, table.take("count", int, len(images), low=1), None)
    table.finish()
    return patterns


def with_patterns(network: Network, patterns: Patterns | None, study: str) -> Network:
    """The network with patterns: its own, or those of the study.

    Raises:
        ValueError: If there are none.
    """
    if network.patterns:
        return network
    if patterns is None:
        raise ValueError(
            f"{study}: key 'patterns': expected a table with the data that patterns of {network.name} are fitted on "
            f'(data = "mnist") or their file, got nothing; {PATTERNS_METHOD} needs them'
        )
    return patterns.add(network)


def _require_known(table: Table, key: str, network: str) -> None:
    if network not in NETWORKS and ":" not in network:
        raise table.error(key, f"networks among {', '.join(NETWORKS)}, or package.module:factory", repr(network))
