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
from curvature.errors import NoCertificateError, NotConvergedError
from curvature.feedforward import feed_forward
from curvature.geodesics import geodesic
from curvature.networks import soften
from proofs_check.claim import Evidence, Strength, Verdict

RUNGS = ("sign_aware", "anchored", "entrywise_local", "first_order_local")  # the sharp ones that cost milliseconds
BETAS = (0.5, 1.0, 3.0, 10.0, 30.0)
DEPTHS = (1, 2, 3, 4, 0)  # hidden layers; 0 marks the digits network
RADII = (0.02, 0.05, 0.15)  # over sqrt(beta), in turn
PER_CELL = 6
STEPS, RTOL = 8, 1e-7  # of a geodesic
FLAT = 1e-10  # a smaller change of the normal is rounding


@dataclass(frozen=True)
class Arc:
    """One geodesic from p: what Theorem 1 says about it, each as a number."""

    depth: int  # hidden layers; 0 marks the digits network
    beta: float
    decided: bool  # hypotheses certified, and the geodesic found
    change: float  # ||n - n0||
    length: float
    integral: float  # of max |kappa| along the curve
    error: float  # of its quadrature, an estimate from above
    supremum: float  # certified, over the ball; inf if none
    solved: bool = True  # False where the geodesic's solver gave up

    @property
    def angle(self) -> float:
        """Between n and n0."""
        return 2 * float(np.arcsin(min(1.0, self.change / 2)))


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
def arcs(seed: int, per_cell: int, depths: tuple[int, ...]) -> tuple[Arc, ...]:
    """Geodesics for each depth (0 is the digits network) at five betas, every other one where S bends most."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for depth in depths:
        for beta in BETAS:
            for k in range(per_cell):
                model = _network(generator, depth) if depth else digits_network().double()
                x = torch.randn(4, generator=generator, dtype=torch.float64)
                if not depth:
                    x = torch.rand(1, 8, 8, generator=generator, dtype=torch.float64)
                radius = RADII[k % len(RADII)] / beta**0.5
                found.append(_arc(soften(model, beta), x, depth, beta, radius, k % 2 == 1, generator))
    return tuple(found)


def _arc(  # noqa: PLR0913
    module: nn.Module, x: Tensor, depth: int, beta: float, radius: float, steered: bool, generator: torch.Generator
) -> Arc:
    target = int(module(x[None]).argmax())
    f = _plain_field(module, target, beta)
    bounds = _certificates(module, x, target, radius)
    G, H = _jet(f, x.flatten(), x.shape)
    size = float(G.norm())
    delta = min((b.gradient_change for b in bounds if b.gradient_change is not None), default=float("inf"))
    supremum = min((b.curvature for b in bounds if b.curvature is not None), default=float("inf"))
    sine = delta / size if size > 0 else float("inf")
    if not sine < 0.7:
        return Arc(depth, beta, False, 0.0, 0.0, 0.0, 0.0, supremum)
    tangent = _principal(G, H) if steered else torch.randn(len(G), generator=generator, dtype=torch.float64)
    tangent -= (tangent @ G) / size**2 * G
    length = 0.9 * radius  # shorter than the radius, so the whole curve stays within U
    try:
        curve = geodesic(f, x, (length * tangent / tangent.norm()).reshape(x.shape), steps=STEPS, rtol=RTOL)
    except NotConvergedError:  # the level is not reached to rounding; counted and shown
        return Arc(depth, beta, False, 0.0, 0.0, 0.0, 0.0, supremum, solved=False)
    change, integral, error = _along(f, curve.points.reshape(-1, x.numel()), curve.arc_length, x.shape)
    return Arc(depth, beta, True, change, float(curve.arc_length[-1]), integral, error, supremum)


def _principal(G: Tensor, H: Tensor) -> Tensor:
    """The principal direction of the largest curvature in magnitude."""
    n = G / G.norm()
    P = torch.eye(len(n), dtype=n.dtype) - torch.outer(n, n)
    values, vectors = torch.linalg.eigh(P @ (H + H.T) @ P / 2)
    return vectors[:, values.abs().argmax()].clone()


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
    """Change of the normal, integral of max |kappa|, and the quadrature's error bar."""
    normals, curvatures = [], []
    for point in points:
        G, H = _jet(f, point, shape)
        n = G / G.norm()
        P = torch.eye(len(n), dtype=n.dtype) - torch.outer(n, n)
        normals.append(n)
        curvatures.append(float(torch.linalg.eigvalsh(P @ (H + H.T) @ P / 2).abs().max() / G.norm()))
    kappa, s = np.array(curvatures), arc_length.numpy()
    integral, coarse = float(simpson(kappa, x=s)), float(simpson(kappa[::2], x=s[::2]))
    # The coarse rule's error is 4 (at a kink of max |kappa|) to 16 times the fine one's: their difference covers it.
    # The curve itself is known to the solver's relative tolerance on each of 8 pieces.
    error = abs(integral - coarse) + STEPS * RTOL * integral
    return float((normals[-1] - normals[0]).norm()), integral, error


def sharp(seed: int, *, factor: float = 1.0, per_cell: int = PER_CELL, depths: tuple[int, ...] = DEPTHS) -> Evidence:
    """Change against the integral of max |kappa| along the geodesic, up to its quadrature's error bar."""
    found = arcs(seed, per_cell, depths)
    telling = [arc for arc in found if arc.decided and arc.change > FLAT]
    used = {id(arc): arc.change / (factor * arc.integral) for arc in telling}
    holds = all(arc.change <= factor * arc.integral + arc.error for arc in telling)
    bar = max((arc.error / arc.integral for arc in telling), default=0.0)
    vacuous = sum(arc.integral >= 2 for arc in telling)
    text = (
        f"{vacuous} vacuous (2 or more). Bound: the integral of max |kappa| along the curve; its error bar is at most "
        f"{bar:.1e} of it"
    )
    return _evidence(found, len(telling) - vacuous, holds, used, text)


def certified(
    seed: int, *, factor: float = 1.0, angle: bool = False, per_cell: int = PER_CELL, depths: tuple[int, ...] = DEPTHS
) -> Evidence:
    """Change against certified sup x length."""
    found = arcs(seed, per_cell, depths)
    telling = [arc for arc in found if arc.decided and np.isfinite(arc.supremum) and arc.change > FLAT]
    limit = np.pi if angle else 2.0
    used = {id(arc): (arc.angle if angle else arc.change) / (factor * arc.supremum * arc.length) for arc in telling}
    holds = all(share <= 1 + 1e-9 for share in used.values())
    vacuous = sum(arc.supremum * arc.length >= limit for arc in telling)
    text = f"{vacuous} vacuous ({limit:.3g} or more). Bound: certified sup |kappa| over the ball x length"
    return _evidence(found, len(telling) - vacuous, holds, used, text)


def _evidence(found: tuple[Arc, ...], useful: int, holds: bool, used: dict[int, float], text: str) -> Evidence:
    undecided = sum(arc.solved and not arc.decided for arc in found)
    unsolved = sum(not arc.solved for arc in found)
    flat = sum(arc.decided and not arc.change > FLAT for arc in found)
    verdict = Verdict.VERIFIED if holds else Verdict.REFUTED
    if holds and useful < len(found) / 2:
        verdict, text = Verdict.UNDECIDED, f"mostly vacuous run; {text}"
    by_beta = "; ".join(f"beta {b:g}: {_spread(used, [a for a in found if a.beta == b])}" for b in BETAS)
    by_depth = "; ".join(
        f"{f'{d} hidden' if d else 'digits'}: {_spread(used, [a for a in found if a.depth == d])}" for d in DEPTHS
    )
    return Evidence(
        strength=Strength.NUMERIC,
        scope=f"{len(found)} geodesics of length 0.018 to 0.135 over sqrt(beta) on level sets: random "
        "4-8-..-1 networks of 1-4 hidden layers and the digits network, beta 0.5 to 30, half of them in a random "
        "direction and half in that of the largest curvature",
        verdict=verdict,
        margin=1 - max(used.values(), default=1.0),
        witness=f"{useful} tell something; {undecided} without certified hypotheses, {unsolved} unsolved, {flat} with "
        f"a change below {FLAT:g}, {text}. Used of it (least/quartiles/largest): {by_beta}; {by_depth}",
    )


def _spread(used: dict[int, float], chosen: list[Arc]) -> str:
    shares = [used[id(arc)] for arc in chosen if id(arc) in used]
    return "/".join(f"{q:.2f}" for q in np.quantile(shares, [0, 0.25, 0.5, 0.75, 1])) if shares else "none"
