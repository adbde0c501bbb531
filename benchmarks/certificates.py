"""Certificates of explanations at many radii: how far they reach, how near the truth, how fast.

Run: python -m benchmarks.certificates [--network mnist_lenet|digits] [--images 20] [--beta 1] [--attack 5]
"""

import argparse
import statistics
import time

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from attacks.datasets import mnist, stratified_split
from attacks.networks import load_network
from curvature import Certifier, attained_change, digits_network, soften
from curvature.demo_networks import digits_split
from curvature.search import Ascent

RADII = {
    "digits": (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3),
    "mnist_lenet": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4),
}


def network_and_images(name: str, count: int) -> tuple[nn.Module, Tensor]:
    """A trained network and held-out images of all classes in turn, float64 ``[count, 1, H, W]``."""
    if name == "digits":
        pixels = torch.tensor(load_digits().images / 16, dtype=torch.float64)[digits_split()[1][:count]]
        return digits_network().double(), pixels[:, None]
    images, labels = mnist()
    held_out = stratified_split(labels)[1]
    chosen = held_out[torch.arange(count) * len(held_out) // count]
    pixels = torch.tensor(images[chosen.numpy()] / 255.0, dtype=torch.float64)
    return load_network(name).module.double().eval(), pixels[:, None]


def main() -> None:
    """Print one row a radius."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=RADII, default="mnist_lenet")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--beta", type=float, default=1.0)
    parser.add_argument("--attack", type=int, default=5, help="images that gradient ascent attacks too")
    arguments = parser.parse_args()
    model, images = network_and_images(arguments.network, arguments.images)
    soft, radii = soften(model, arguments.beta), RADII[arguments.network]
    classes = soft(images).argmax(1).tolist()
    start = time.process_time()
    certifier = Certifier(soft, images[0])
    set_up, start = time.process_time() - start, time.process_time()
    rows = [certifier.certify(x, target_class=k, radii=radii) for x, k in zip(images, classes, strict=True)]
    each = (time.process_time() - start) / (len(images) * len(radii))
    print(f"{arguments.network}, beta = {arguments.beta:g}, {len(images)} images: set-up {set_up:.2f} s, then")
    print(f"{1e3 * each:.1f} ms of processor time for an image and radius, with {len(radii)} radii together")
    print(f"{'radius':>8s} {'certified':>10s} {'bound, median':>14s} {'bound/attained, median':>23s}")
    search = Ascent() if arguments.network == "digits" else Ascent(steps=30, restarts=4)
    for i, radius in enumerate(radii):
        bounds = [row[i].change_bound for row in rows]
        ratios = []
        for x, k, bound in list(zip(images, classes, bounds, strict=True))[: arguments.attack]:
            attained = attained_change(certifier.unrolled.scalar(k), x.flatten(), radius, search=search).value
            if attained > bound:
                raise SystemExit(f"violation: certified {bound}, attained {attained} at radius {radius}")
            ratios.append(bound / attained)
        share = sum(not row[i].vacuous for row in rows)
        ratio = f"{statistics.median(ratios):23.2f}" if ratios else f"{'-':>23s}"
        print(f"{radius:8g} {share:4d} of {len(rows):<3d} {statistics.median(bounds):14.4f} {ratio}")


if __name__ == "__main__":
    main()
