"""All rungs of the ladder against what is attained, on four networks: ``python -m benchmarks.ladder``."""

import argparse
import contextlib
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.ascent import Ascent
from curvature.bounds import curvature_bounds
from curvature.bounds.bound import Bound
from curvature.demo_networks import digits_network
from curvature.errors import UnsupportedModuleError
from curvature.feedforward import feed_forward
from curvature.networks import soften
from curvature.search import attained_curvature


class Residual(nn.Module):
    """Two linear blocks with skips, so that only rung 4 applies."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
        self.relu, self.head = nn.ReLU(), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        a = x.flatten(1)
        a = a + self.relu(self.first(a))
        return self.head(a + self.relu(self.second(a)))


def deeper() -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(4):
        layers += [nn.Linear(64, 64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "digits 64-64-64-10 (trained)": digits_network,
    "deeper 64-64-64-64-64-10": deeper,
    "convolutional": convolutional,
    "residual": Residual,
}


def attained(module: nn.Module, x: Tensor, radius: float) -> Bound:
    """What gradient ascent reaches; for the curvature of a plain stack the better of two searches."""
    found = Ascent(module, x, radius, target_class=3, steps=40).attained()
    kappa = found["curvature"]
    with contextlib.suppress(UnsupportedModuleError):
        net = feed_forward(module, x, 3)
        kappa = max(kappa, attained_curvature(net, x.flatten().double(), radius).value)
    return Bound(hessian=found["hessian"], gradient_change=found["gradient_change"], curvature=kappa)


def show(value: float | None, reached: float | None) -> str:
    if value is None:
        return "-".rjust(24)
    return f"{value:12.5g}" + (f" ({value / reached:8.3g}x)" if reached else "").rjust(12)


def table(name: str, beta: float, radius: float) -> None:
    torch.manual_seed(0)
    module = soften(NETWORKS[name]().double().eval(), beta)
    x = torch.rand(1, 8, 8, dtype=torch.float64)
    truth = attained(module, x, radius)
    print(f"\n{name}, beta = {beta:g}, radius = {radius:g}: bound (bound / attained)")
    print(f"{'':18}{'||H||':>24}{'||G(y)-G(x)||':>24}{'max |kappa|':>24}{'seconds':>9}  reason")
    bounds = {"attained": truth, **curvature_bounds(module, x, target_class=3, radius=radius)}
    for rung, bound in bounds.items():
        columns = [show(getattr(bound, k), getattr(truth, k)) for k in ("hessian", "gradient_change", "curvature")]
        print(f"{rung:18}{''.join(columns)}{bound.seconds:9.3f}  {bound.reason[:60]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beta", type=float, default=1.0)
    parser.add_argument("--radius", type=float, default=0.01)
    arguments = parser.parse_args()
    for name in NETWORKS:
        table(name, arguments.beta, arguments.radius)


if __name__ == "__main__":
    main()
