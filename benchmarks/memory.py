"""Memory over the steps of an attack: none is kept from one step to the next.

``python -m benchmarks.memory`` prints the resident memory after a tenth and after all steps of a long attack on
the digits network and of a short one on EfficientNet-Lite0; the history keeps about five
numbers a step, each a tensor of half a KiB; what a step grows by beyond that is a leak.
"""

import dataclasses
from collections.abc import Iterable

from attacks import CurvatureTrace, load_network, load_picture, manipulate, preset, target_map
from benchmarks._timing import verdict


def main() -> None:
    """Both networks; the digits network for as many steps as the paper takes."""
    measure("digits", ("digits/5", "digits/3"), steps=1500, most=5.0)  # 1,350 steps of 3 KiB, and an allocator's slack
    measure("efficientnet_lite0", ("chelsea", "coffee"), steps=30, most=60.0)  # a tenth of one backward pass


def measure(name: str, pictures: tuple[str, str], *, steps: int, most: float) -> None:
    """Print one row: MiB after a tenth of the steps, at the end, and the growth; no parameter may have a gradient."""
    network = load_network(name)
    config = dataclasses.replace(preset(name, "gradient"), iterations=steps)
    x, shown = (network.preprocess(load_picture(p, channels=len(network.mean)).image) for p in pictures)
    aim, trace = target_map(network, shown, config=config), CurvatureTrace(every=max(1, steps // 30))
    seen: list[float] = []

    def watched(range_: range) -> Iterable[int]:
        for step in range_:
            yield step
            seen.append(resident())

    gradients = [p.requires_grad for p in network.module.parameters()]
    manipulate(network, x, aim, config=config, trace=trace, steps=watched)
    assert all(p.grad is None for p in network.module.parameters())
    assert gradients == [p.requires_grad for p in network.module.parameters()]
    tenth = seen[max(5, steps // 10)]
    last = seen[-1]  # before the metrics, which load scikit-image
    print(
        f"{name:20} {steps:5} steps: {tenth:7.1f} MiB after a tenth, {last:7.1f} at the end, largest {max(seen):7.1f}; "
        f"growth {last - tenth:+.1f} MiB, {verdict(last - tenth, at_most=most)}",
        flush=True,
    )


def resident() -> float:
    """Resident memory of this process in MiB."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


if __name__ == "__main__":
    main()
