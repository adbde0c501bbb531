"""From a study to its tasks: networks and pictures are loaded here, on the client."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.attack import check_attack
from attacks.networks import Network
from attacks.studies.aims import CLASS, Aim, drawn_map, is_picture
from attacks.studies.pairs import Pair
from attacks.studies.sources import PATTERNS_METHOD, with_patterns
from attacks.studies.study import Combination, Study
from attacks.studies.task import Task, fingerprint, make_task

_Inputs = tuple[Tensor, list[Aim]]
_Batch = tuple[tuple[Pair, ...], tuple[int, Tensor, list[Aim]]]  # names; index of the first pair, images, aims


@dataclass(frozen=True)
class Plan:
    """The tasks of a study in their order, and the networks that they need.

    Attributes:
        study: The study.
        tasks: In the order of the summary's rows.
        networks: By fingerprint.
    """

    study: Study
    tasks: tuple[Task, ...]
    networks: dict[str, Network]


def plan(study: Study) -> Plan:
    """Load networks and pictures, and cut the product into batches.

    Raises:
        ValueError: If a network or a picture cannot be loaded, or does not fit the other.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(study.threads)  # what is trained or fitted here must not depend on the client's own setting
    try:
        return _plan(study)
    finally:
        torch.set_num_threads(threads)


def _plan(study: Study) -> Plan:
    networks: dict[str, Network] = {}
    keys: dict[tuple[str, int], str] = {}
    inputs: dict[str, _Inputs] = {}
    tasks: list[Task] = []
    sources = {source.name: source for source in study.sources}
    for combination in study.combinations():
        key = (combination.network, combination.seed)
        if key not in keys:
            network = sources[combination.network].load(combination.seed)
            if PATTERNS_METHOD in study.methods:
                network = with_patterns(network, study.patterns, study.name)
            keys[key] = fingerprint(network)
            networks[keys[key]] = network
            if keys[key] not in inputs:
                inputs[keys[key]] = _inputs(study, network)
        _check_size(study, combination, inputs[keys[key]][0])
        tasks += [
            make_task(
                combination,
                pairs,
                batch,
                network=keys[key],
                threads=study.threads,
                chunk=min(study.chunk, len(pairs)),
                curvature=study.curvature,
            )
            for pairs, batch in _batches(study, inputs[keys[key]])
        ]
    return Plan(study, tuple(tasks), networks)


def _check_size(study: Study, combination: Combination, x: Tensor) -> None:
    attack = combination.attack
    try:
        check_attack(attack.kind, pixels=x[0, 0].numel(), **attack.options)
    except ValueError as error:
        raise ValueError(f"{study.name}: key 'attack.{attack.name}': for {combination.network}: {error}") from error


def _inputs(study: Study, network: Network) -> _Inputs:
    """All images as the network takes them, and all aims."""
    found: dict[str, Tensor] = {}
    for pair in study.pairs.names:
        for name in pair if is_picture(pair.target) else pair[:1]:
            if name not in found:
                try:
                    found[name] = network.preprocess(study.pairs.picture(name, len(network.mean)))
                except ValueError as error:
                    raise ValueError(f"{study.name}: key 'pairs': {name!r}: {error}") from error
    shapes = {tuple(x.shape[1:]) for x in found.values()}
    if len(shapes) > 1:
        raise ValueError(
            f"{study.name}: key 'pairs': expected pictures of one size for {network.name}, got {sorted(shapes)}"
        )
    images = torch.cat([found[pair.image] for pair in study.pairs.names])
    return images, [_aim(study, network, pair, found) for pair in study.pairs.names]


def _aim(study: Study, network: Network, pair: Pair, found: dict[str, Tensor]) -> Aim:
    """What is sent to the workers for a target: a picture, or a map that is drawn here."""
    image = found[pair.image]
    if is_picture(pair.target):
        aim = found[pair.target][0]
    elif pair.target.startswith(CLASS):
        classes = int(network.module(image).shape[1])
        if int(pair.target.removeprefix(CLASS)) >= classes:
            raise ValueError(
                f"{study.name}: key 'pairs.targets': expected a class below {classes} of {network.name}, "
                f"got {pair.target!r}"
            )
        aim = image[0]
    else:
        try:
            aim = drawn_map(pair.target, (image.shape[2], image.shape[3]), study.pairs.folder).to(image)
        except ValueError as error:
            raise ValueError(f"{study.name}: key 'pairs.targets': {error}") from error
    return aim.detach().cpu().numpy()


def _batches(study: Study, inputs: _Inputs) -> Iterator[_Batch]:
    for first in range(0, len(study.pairs), study.batch):
        part = slice(first, first + study.batch)
        yield study.pairs.names[part], (first, inputs[0][part], inputs[1][part])
