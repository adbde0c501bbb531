"""What denormal slopes cost: the package's float32 softplus against torch's, in a Hessian-vector product.

A unit with beta t = -45 has the slope e^-45; after another one like it the product is below 1.2e-38, the
smallest normal float32, and processors multiply such denormal numbers more slowly, some many times. The
package holds exponents at 30, so that no slope falls below 9e-14.

``python -m benchmarks.activations [--repeats N]``
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks._timing import fastest
from curvature.activations import softplus

Activation = Callable[[Tensor, float], Tensor]
BETA, COUNT, EXPONENTS = 50.0, 200_000, (0.0, -20.0, -45.0)


def plain(t: Tensor, beta: float) -> Tensor:
    """The softplus of torch, at its default threshold."""
    return F.softplus(t, beta=beta)


def product(activation: Activation, t: Tensor, v: Tensor, exponent: float) -> Tensor:
    """A Hessian-vector product through two units in a row, the second at the exponent too, by double backward."""
    point = t.clone().requires_grad_(True)
    value = activation(activation(point, BETA) + exponent / BETA, BETA).sum()
    (G,) = torch.autograd.grad(value, point, create_graph=True)
    return torch.autograd.grad((G * v).sum(), point)[0]


def denormal(values: Tensor) -> float:
    """Share of numbers that are not zero and below the smallest normal one."""
    return float(((values != 0) & (values.abs() < torch.finfo(values.dtype).tiny)).double().mean())


def main() -> None:
    """Print the times for units at their kink, below it, and so far below that products of slopes are denormal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    spread, v = torch.rand(COUNT, generator=generator), torch.rand(COUNT, generator=generator)
    print(f"{torch.get_num_threads()} threads, float32, {COUNT} units, beta {BETA:g}: one Hessian-vector product")
    cases = [(kind, f, e) for kind, f in (("torch", plain), ("held", softplus)) for e in EXPONENTS]
    runs = [partial(product, f, (e - 3 + 6 * spread) / BETA, v, e) for _, f, e in cases]
    times = fastest(runs, options.repeats)
    for (kind, _, exponent), run, seconds in zip(cases, runs, times, strict=True):
        share = denormal(run())
        print(f"  {kind:6} exponents {exponent:4g} {1e3 * seconds:7.2f} ms, {share:4.0%} of the results denormal")
    for first, kind in ((0, "torch"), (len(EXPONENTS), "held")):
        slowed = times[first + len(EXPONENTS) - 1] / times[first + 1]
        print(f"  {kind:6} slowed down from exponents {EXPONENTS[1]:g} to {EXPONENTS[-1]:g}: {slowed:.2f}")


if __name__ == "__main__":
    main()
