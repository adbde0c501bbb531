"""Attacks, defences and pixel flipping on MNIST's held-out images: ``python -m benchmarks.attack_comparison``.

Prints medians over pairs of images; ``--part`` chooses level_set, ghorbani, defences or pixel_flipping.
"""

import argparse
import dataclasses
import time

import torch
from torch import Tensor

from attacks import (
    ATTACKS,
    DEFENCES,
    AttackConfig,
    AttackResult,
    Network,
    explain,
    load_images,
    load_network,
    maps_of,
    pixel_flipping,
    preset,
    random_maps,
    target_map,
)  # fmt: skip
from attacks.metrics import pcc

BETA = 10.0  # of the level-set attack and of the free attack that it is compared with


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--network", default="mnist_lenet")
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--float64", action="store_true")
    options = parser.parse_args()
    network = load_network(options.network)
    if options.float64:
        network = dataclasses.replace(network, module=network.module.double())
    for part in PARTS if options.part == "all" else [options.part]:
        print(f"\n{part}: {options.network}, {options.pairs} pairs, {options.iterations} iterations", flush=True)
        PARTS[part](network, options)


def level_set(network: Network, options: argparse.Namespace) -> None:
    """The attack on the level set against the free attack on the same softened network."""
    x, y = _pairs(network, options)
    config = dataclasses.replace(_config(options, "on_level_set"), beta_start=BETA, beta_end=BETA)
    target, soft, reached = target_map(network, y, config=config), network.soften(BETA), {}
    for name in ("manipulate", "on_level_set"):
        result = _timed(name, network, x, target, config=config)
        reached[name] = pcc(explain(soft, result.adversarial, result.target_class), target)
        print(f"  PCC on the softened network: {_three(reached[name])}")
    ratio = reached["on_level_set"] / reached["manipulate"]
    print(f"  level set / free: least {ratio.min():.3f}, {_three(ratio)}; of medians "
          f"{reached['on_level_set'].median() / reached['manipulate'].median():.3f}")  # fmt: skip
    for key, value in result.metrics["path"].items():
        print(f"  {key}: {_three(value)}, largest {value.abs().max():.3g}")


def ghorbani(network: Network, options: argparse.Namespace) -> None:
    """The three variants against the targeted manipulation, all with the same target."""
    x, y = _pairs(network, options)
    aim = target_map(network, y, config=_config(options, "manipulate"))
    for name in ("manipulate", "ghorbani_target_region", "ghorbani_top_k", "ghorbani_mass_centre"):
        _timed(name, network, x, aim, config=_config(options, name))


def defences(network: Network, options: argparse.Namespace) -> None:
    """Adaptive attacks on each defence, and one that does not know of it."""
    x, y = _pairs(network, options)
    config = _config(options, "manipulate")
    for name in (None, *DEFENCES):
        for adaptive in (True, False) if name else (True,):
            defence = DEFENCES[name](adaptive=adaptive) if name else None
            print(f" {name}{'' if adaptive else ', not adaptive'}")
            target = target_map(network, y, config=config, defence=defence)
            _timed("manipulate", network, x, target, config=config, defence=defence)


def flipping(network: Network, options: argparse.Namespace) -> None:
    """Area under the accuracy's curve over all 1,000 held-out images; smaller is better."""
    images = load_images("mnist")
    x = images.inputs(network).to(next(network.module.parameters()).dtype)
    maps = {
        "gradient": lambda: maps_of(network, x),
        "beta_smoothing, beta 1": lambda: maps_of(network, x, defence=DEFENCES["beta_smoothing"](beta=1.0)),
        "smoothgrad, noise 0.2": lambda: maps_of(network, x, defence=DEFENCES["smoothgrad"](noise=0.2)),
        "random": lambda: random_maps(x),
    }
    for name, make in maps.items():
        curve = pixel_flipping(network, x, images.labels, make(), steps=49)
        few = ", ".join(f"{int(curve.removed[i])}: {float(curve.accuracy[i]):.3f}" for i in (0, 1, 3, 6, 12))
        print(f"  {name}: area {curve.area:.4f}; accuracy after pixels removed {few}", flush=True)


PARTS = {"level_set": level_set, "ghorbani": ghorbani, "defences": defences, "pixel_flipping": flipping}


def _config(options: argparse.Namespace, attack: str) -> AttackConfig:
    config = preset(options.network, "gradient", attack=attack)
    if attack.startswith("ghorbani"):
        return config
    return dataclasses.replace(config, iterations=options.iterations, lr=options.lr)


def _pairs(network: Network, options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))[: 2 * options.pairs].view(2, -1)
    images, dtype = load_images("mnist"), next(network.module.parameters()).dtype
    x, y = (images.inputs(network, part.tolist()).to(dtype) for part in order)
    return x, y


def _timed(attack: str, network: Network, x: Tensor, target: Tensor, **options: object) -> AttackResult:
    start = time.perf_counter()
    result: AttackResult = ATTACKS[attack](network, x, target, chunk=len(x), **options)  # type: ignore[arg-type]
    seconds = time.perf_counter() - start
    e, o, i = (result.metrics[group] for group in ("explanation", "output", "image"))
    change = (o["probability_after"] - o["probability_before"]).abs()
    print(f"  {attack} ({seconds:.0f} s): PCC to target {_three(e['pcc_target_before'])} -> {_three(e['pcc_target'])}; "
          f"to original {e['pcc_original'].median():.3f}; image PCC {i['pcc'].median():.3f}, largest change "
          f"{i['linf'].median():.3f}; classes kept {int(o['class_kept'].sum())}/{len(x)}, change of probability "
          f"{change.median():.4f}", flush=True)  # fmt: skip
    return result


def _three(values: Tensor) -> str:
    low, middle, high = (float(values.double().quantile(q)) for q in (0.1, 0.5, 0.9))
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


if __name__ == "__main__":
    main()
