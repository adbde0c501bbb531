r"""Theorem 1 on real level sets: true geodesics of random networks and of the digits network.

Hypotheses come first. c is a certified lower bound of :math:`\|\nabla f\|` on the ball:
:math:`\|G(p)\|` minus a certified bound of the gradient's change; connectedness and the curve
lying within U follow from the cone condition of ``thm1.connectedness``. Then two separate
checks: the change of the normal against the integral of :math:`\max|\kappa|` along the geodesic
(sharp), and against the smallest *certified* supremum times its length. A sampled
supremum would give false violations and is not used.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from scipy.integrate import simpson
from torch import Tensor, nn
from torch.nn import functional

from curvature.bounds import BOUNDS
from curvature.bounds.bound import Bound
from curvature.demo_networks import digits_network
from curvature.errors import NoCertificateError
from curvature.feedforward import feed_forward
from curvature.geodesics import geodesic
from curvature.networks import soften
from proofs_check.claim import Evidence, Strength, Verdict

RUNGS = ("sign_aware", "anchored", "entrywise_local", "first_order_local")  # the sharp ones that cost milliseconds
BETAS = (0.5, 1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True)
class Arc:
    """One geodesic from p: what Theorem 1 says about it, each as a number."""

    depth: int  # hidden layers; 0 marks the digits network
    beta: float
    decided: bool  # hypotheses certified
    change: float  # ||n - n0||
    angle: float
    length: float
    integral: float  # of max |kappa| along the curve
    supremum: float  # certified, over the ball; inf if none


def _network(generator: torch.Generator, depth: int) -> nn.Sequential:
    widths = [4, *[8] * depth, 1]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layer = nn.Linear(before, after, dtype=torch.float64)
        layer.weight.data = torch.randn(after, before, generator=generator, dtype=torch.float64) * (2 / before) ** 0.5
        layer.bias.data = torch.randn(after, generator=generator, dtype=torch.float64) / 2
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


@lru_cache(maxsize=2)
def arcs(seed: int, per_cell: int = 2) -> tuple[Arc, ...]:
    """Geodesics for depths 1-4 and the digits network (depth 0), each at five betas."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for depth in (1, 2, 3, 4, 0):
        for beta in BETAS:
            for _ in range(per_cell):
                model = _network(generator, depth) if depth else digits_network().double()
                x = torch.randn(4, generator=generator, dtype=torch.float64)
                if not depth:
                    x = torch.rand(1, 8, 8, generator=generator, dtype=torch.float64)
                found.append(_arc(soften(model, beta), x, depth, beta, generator))
    return tuple(found)


def _arc(module: nn.Module, x: Tensor, depth: int, beta: float, generator: torch.Generator) -> Arc:
    target = int(module(x[None]).argmax())
    f = _plain_field(module, target, beta)
    radius = 0.05 / beta**0.5
    bounds = _certificates(module, x, target, radius)
    G, _ = _jet(f, x.flatten(), x.shape)
    size = float(G.norm())
    delta = min((b.gradient_change for b in bounds if b.gradient_change is not None), default=float("inf"))
    supremum = min((b.curvature for b in bounds if b.curvature is not None), default=float("inf"))
    sine = delta / size if size > 0 else float("inf")
    if not sine < 0.7:
        return Arc(depth, beta, False, 0, 0, 0, 0, supremum)
    tangent = torch.randn(x.numel(), generator=generator, dtype=torch.float64)
    tangent -= (tangent @ G) / size**2 * G
    length = 0.9 * radius  # shorter than the radius, so the whole curve stays within U
    curve = geodesic(f, x, (length * tangent / tangent.norm()).reshape(x.shape), steps=4, rtol=1e-7)
    change, angle, integral = _along(f, curve.points.reshape(-1, x.numel()), curve.arc_length, x.shape)
    return Arc(depth, beta, True, change, angle, float(curve.arc_length[-1]), integral, supremum)


def _plain_field(module: nn.Module, target: int, beta: float) -> Callable[[Tensor], Tensor]:
    """The same function written again with torch's own softplus, apart from the activation of the core."""
    linears = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]

    def field(x: Tensor) -> Tensor:
        a = x.flatten()
        for layer in linears[:-1]:
            a = functional.softplus(layer.weight @ a + layer.bias, beta=beta, threshold=40)
        return linears[-1].weight[target] @ a + linears[-1].bias[target]

    return field


def _certificates(module: nn.Module, x: Tensor, target: int, radius: float) -> list[Bound]:
    net, found = feed_forward(module, x, target), []
    for name in RUNGS:
        with contextlib.suppress(NoCertificateError):
            found.append(BOUNDS[name](net, x.flatten(), radius))
    return found


def _jet(f: Callable[[Tensor], Tensor], x: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian of the field, by plain autograd."""

    def flat(p: Tensor) -> Tensor:
        return f(p.reshape(shape))

    return torch.autograd.functional.jacobian(flat, x), torch.autograd.functional.hessian(flat, x)


def _along(
    f: Callable[[Tensor], Tensor], points: Tensor, arc_length: Tensor, shape: torch.Size
) -> tuple[float, float, float]:
    normals, curvatures = [], []
    for point in points:
        G, H = _jet(f, point, shape)
        n = G / G.norm()
        P = torch.eye(len(n), dtype=n.dtype) - torch.outer(n, n)
        normals.append(n)
        curvatures.append(float(torch.linalg.eigvalsh(P @ (H + H.T) @ P / 2).abs().max() / G.norm()))
    change = float((normals[-1] - normals[0]).norm())
    integral = float(simpson(np.array(curvatures), x=arc_length.numpy()))
    return change, 2 * float(np.arcsin(min(1.0, change / 2))), integral


def sharp(seed: int, *, factor: float = 1.0, angle: bool = False) -> Evidence:
    """Change against the integral of max |kappa| along the geodesic."""
    decided = [arc for arc in arcs(seed) if arc.decided and arc.change > 1e-11]
    # Simpson's error on 4 pieces is of fourth order in (piece x rate of kappa), of second at a kink of max |kappa|.
    ratios = np.array([(arc.angle if angle else arc.change) / (factor * arc.integral) for arc in decided])
    worst = float(ratios.max())
    return _evidence(
        seed,
        len(decided),
        worst <= 1 + 2e-3,
        worst,
        f"used of the integral: median {np.median(ratios):.3f}, largest {worst:.4f}",
    )


def certified(seed: int, *, factor: float = 1.0, angle: bool = False) -> Evidence:
    """Change against certified sup x length, its use by beta and by depth."""
    finite = [arc for arc in arcs(seed) if arc.decided and np.isfinite(arc.supremum) and arc.supremum > 0]
    used = {id(arc): (arc.angle if angle else arc.change) / (factor * arc.supremum * arc.length) for arc in finite}
    worst = max(used.values())
    vacuous = sum(arc.supremum * arc.length >= (np.pi if angle else 2) for arc in finite)
    by_beta = ", ".join(f"{b:g}: {_median(used, [a for a in finite if a.beta == b])}" for b in BETAS)
    by_depth = ", ".join(
        f"{d or 'digits'}: {_median(used, [a for a in finite if a.depth == d])}" for d in (1, 2, 3, 4, 0)
    )
    text = (
        f"{vacuous} vacuous; used of certified sup x length: largest {worst:.3f}; median by beta {by_beta}; "
        f"by hidden layers {by_depth}"
    )
    return _evidence(seed, len(finite) - vacuous, worst <= 1 + 1e-9, worst, text)


def _median(used: dict[int, float], chosen: list[Arc]) -> str:
    return f"{np.median([used[id(arc)] for arc in chosen]):.2g}" if chosen else "none"


def _evidence(seed: int, useful: int, holds: bool, worst: float, text: str) -> Evidence:
    total = len(arcs(seed))
    undecided = sum(not arc.decided for arc in arcs(seed))
    verdict = Verdict.VERIFIED if holds else Verdict.REFUTED
    if holds and useful < total / 2:
        verdict, text = Verdict.UNDECIDED, f"mostly vacuous run; {text}"
    return Evidence(
        strength=Strength.NUMERIC,
        scope=f"{total} geodesics: random 4-8-..-1 networks of 1-4 hidden layers and the digits network, beta 0.5 "
        "to 30",
        verdict=verdict,
        margin=1 - worst,
        witness=f"{useful} tell something, {undecided} without certified hypotheses; {text}",
    )
