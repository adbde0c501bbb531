"""Cost of one attack step through each explanation method, in plain input-gradients of the same softened network.

``python -m benchmarks.explanation_step [--networks NAME ...] [--methods NAME ...] [--repeats N]``

Batch 1, 224x224, float32. Beside LRP on VGG-16 stands zennit with the same rules. Integrated
gradients are timed with one step recomputed at a time and with all thirty held.
"""

import argparse
import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn
from zennit.attribution import Gradient
from zennit.composites import SpecialFirstLayerMapComposite
from zennit.rules import Pass, ZBox, ZPlus
from zennit.types import Convolution
from zennit.types import Linear as AnyLinear

from attacks import EXPLANATIONS, Network, explain, load_network, load_picture
from attacks.explanations import normalised_map
from attacks.explanations.integrated_gradients import integrated_gradients
from attacks.explanations.lrp import STABILISER
from attacks.explanations.patterns import fit_patterns
from benchmarks._timing import fastest, verdict
from curvature.activations import Softplus

NETWORKS = ("vgg16", "alexnet", "resnet18", "densenet121", "efficientnet_lite0")
TARGETS = {
    "gradient": 3.0,
    "grad_times_input": 3.0,
    "guided_backprop": 3.5,
    "pattern_attribution": 4.0,
    "lrp": 5.5,
    "integrated_gradients, in chunks": 105.0,
    "integrated_gradients, held": 80.0,
}  # for VGG-16
SLOW = "integrated_gradients"

Explanation = Callable[[Network, Tensor, Tensor], tuple[Tensor, Tensor]]


def step(explanation: Explanation, network: Network, x: Tensor, classes: Tensor) -> Tensor:
    """One gradient of a loss on the map and the output."""
    point = x.clone().requires_grad_(True)
    r, logits = explanation(network, point, classes)
    h = normalised_map(r)
    loss = 1e11 * (h - h.detach().roll(7, 1)).square().mean() + 1e6 * logits.softmax(1).square().mean()
    return torch.autograd.grad(loss, point)[0]


def zennit_lrp(network: Network, x: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """LRP by zennit: z^B and z^+ with biases zeroed."""
    low, high = (limit.reshape(1, -1, 1, 1) for limit in network.valid_range(x))
    positive = ZPlus(stabilizer=STABILISER, zero_params="bias")
    composite = SpecialFirstLayerMapComposite(
        layer_map=[((Softplus, nn.ReLU), Pass()), (Convolution, positive), (AnyLinear, positive)],
        first_map=[(AnyLinear, ZBox(low, high, stabilizer=STABILISER, zero_params="bias"))],
    )
    with Gradient(model=network.module, composite=composite, create_graph=True) as attributor:
        chosen = nn.functional.one_hot(classes, len(network.labels)).to(x)
        logits, r = attributor(x, lambda outputs: outputs * chosen)
    return r, logits


def held(network: Network, x: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Integrated gradients with the graphs of all steps held."""
    return integrated_gradients(network, x, classes, chunk=None)


def measure(name: str, methods: list[str], repeats: int) -> None:
    """Print the rows of one network."""
    network = load_network(name)
    x, other = (network.preprocess(load_picture(picture).image) for picture in ("chelsea", "coffee"))
    if "pattern_attribution" in methods:
        network = dataclasses.replace(network, patterns=fit_patterns(network, [x, other]))
    classes, soft = network.predict(x), network.soften(30.0)
    sharp = {"lrp": network}  # as attacked, LRP has no softplus
    runs: dict[str, Explanation] = {method: EXPLANATIONS[method] for method in methods if method != SLOW}
    if name == "vgg16" and "lrp" in methods:
        runs["lrp by zennit"], sharp["lrp by zennit"] = zennit_lrp, network

    def timed(method: str, explanation: Explanation) -> Callable[[], object]:
        return lambda: step(explanation, sharp.get(method, soft), x, classes)

    plain = lambda: explain(soft, x, classes)  # noqa: E731
    times = dict(zip(["plain", *runs], fastest([plain, *(timed(*run) for run in runs.items())], repeats), strict=True))
    if SLOW in methods:
        slow: dict[str, Explanation] = {f"{SLOW}, in chunks": EXPLANATIONS[SLOW], f"{SLOW}, held": held}
        times |= dict(zip(slow, fastest([timed(*run) for run in slow.items()], 1), strict=True))
    unit = times.pop("plain")
    print(f"{name}: a plain gradient takes {unit:.3f} s", flush=True)
    for method, seconds in times.items():
        target = TARGETS.get(method) if name == "vgg16" else None
        print(f"  {method:34} {seconds / unit:6.2f}   {verdict(seconds / unit, at_most=target)}", flush=True)


def main() -> None:
    """Measure the networks and methods that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--methods", nargs="*", default=list(EXPLANATIONS))
    parser.add_argument("--repeats", type=int, default=6)
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, batch 1, 224x224, float32, softplus beta 30 (lrp: ReLU)")
    for name in options.networks:
        measure(name, options.methods, options.repeats)


if __name__ == "__main__":
    main()
