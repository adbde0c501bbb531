"""Cost of one attack step in units of a plain input-gradient of the same softened network.

``python -m benchmarks.attack_step [--networks NAME ...] [--repeats N] [--batch N]``
"""

import argparse

import torch

from attacks import explain, load_network, load_picture, preset
from attacks.explanations import normalised_map, relevance_and_logits
from attacks.manipulation import Problem, batch_gradient
from attacks.networks import Network
from benchmarks._timing import fastest

TARGETS = {"vgg16": 3.0, "resnet18": 3.2, "efficientnet_lite0": 4.8, "alexnet": None, "densenet121": None}


def step(network: Network, x: torch.Tensor, classes: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """One loss gradient of the attack."""
    point = x.clone().requires_grad_(True)
    r, logits = relevance_and_logits(network, point, classes)
    loss = 1e11 * (normalised_map(r) - target).square().mean() + 1e6 * logits.softmax(1).square().mean()
    return torch.autograd.grad(loss, point)[0]


def measure(name: str, repeats: int, batch: int) -> None:
    """Print one row of the table."""
    network = load_network(name)
    x = network.preprocess(load_picture("chelsea").image)
    classes, soft = network.predict(x), network.soften(30.0)
    target = explain(network, network.preprocess(load_picture("coffee").image))
    xs, ks = x.expand(batch, -1, -1, -1), classes.expand(batch)
    plain, alone = fastest([lambda: explain(soft, x, classes), lambda: step(soft, x, classes, target)], repeats)
    problem = Problem(soft, target.expand(batch, -1, -1), ks, soft.logits(xs).softmax(1), preset(name, "gradient"), 1)
    split, joint = fastest(
        [lambda: batch_gradient(problem, xs, first=False), lambda: step(soft, xs, ks, target)], max(2, repeats // 4)
    )
    goal = TARGETS[name]
    verdict = "" if goal is None else f"target {goal}: {'met' if alone / plain <= goal else 'MISSED'}"
    print(
        f"{name:20} gradient {plain:7.3f} s   step/gradient {alone / plain:5.2f}   "
        f"batch of {batch}, time an image/alone {split / batch / alone:5.2f} as the attack splits it, "
        f"{joint / batch / alone:5.2f} in one pass   {verdict}",
        flush=True,
    )


def main() -> None:
    """Measure the networks that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="*", default=list(TARGETS))
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, 224x224, float32, softplus beta 30")
    for name in options.networks:
        measure(name, options.repeats, options.batch)


if __name__ == "__main__":
    main()
