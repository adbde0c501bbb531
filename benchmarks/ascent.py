r"""What a plain gradient ascent attains inside a ball: code apart from ``curvature``.

A point y and, where a second derivative is asked for, a direction v climb together on
:math:`|v^T H(y) v|`, :math:`\pm v^T H v/\|G\|` with v tangent, :math:`\|G(y) - G(x)\|` or
:math:`\|n(y) - n(x)\|`. Every visited value is attained, so the largest is a lower end.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Objective = Callable[[Tensor, Tensor], Tensor]  # (y [B, n], v [B, n]) -> [B], differentiable


class Ascent:
    """One network and ball; ``attained()`` gives the largest value found of every quantity."""

    def __init__(self, module: nn.Module, x: Tensor, radius: float, *, target_class: int, steps: int) -> None:
        """Keep the problem and evaluate the gradient at the centre."""
        self.module, self.shape, self.x, self.radius = module, x.shape, x.flatten(), radius
        self.target_class, self.steps = target_class, steps
        self.generator = torch.Generator().manual_seed(1)
        self.centre = self._gradient(self.x[None].clone().requires_grad_(True)).detach()

    def attained(self) -> dict[str, float]:
        """Largest visited values, by the name of the promised field that must not be below them."""
        high = self._climb(lambda y, v: -self._curvature(y, v))
        low = self._climb(self._curvature)
        return {
            "hessian": max(self._climb(self._quadratic), self._climb(lambda y, v: -self._quadratic(y, v))),
            "gradient_change": self._climb(lambda y, v: (self._gradient(y) - self.centre).norm(dim=1)),
            "curvature": max(high, low),
            "normal_change": self._climb(self._normal_change),
            "map_change": self._climb(self._map_change),
            "gradient_norm": -self._climb(lambda y, v: -self._gradient(y).norm(dim=1)),
        }

    def _gradient(self, y: Tensor) -> Tensor:
        value = self.module(y.reshape(-1, *self.shape))[:, self.target_class].sum()
        (G,) = torch.autograd.grad(value, y, create_graph=True)
        return G

    def _product(self, G: Tensor, y: Tensor, v: Tensor) -> Tensor:
        (Hv,) = torch.autograd.grad((G * v).sum(), y, create_graph=True)
        return Hv

    def _quadratic(self, y: Tensor, v: Tensor) -> Tensor:
        G = self._gradient(y)
        v = v / v.norm(dim=1, keepdim=True)
        return (v * self._product(G, y, v)).sum(1)

    def _curvature(self, y: Tensor, v: Tensor) -> Tensor:
        G = self._gradient(y)
        # Detached: G.v is 0 for every y when v follows n(y), and so would be its derivative, which must be Hv.
        n = (G / G.norm(dim=1, keepdim=True)).detach()
        v = v - (v * n).sum(1, keepdim=True) * n
        v = v / v.norm(dim=1, keepdim=True)
        return (v * self._product(G, y, v)).sum(1) / G.norm(dim=1)

    def _normal_change(self, y: Tensor, v: Tensor) -> Tensor:
        G = self._gradient(y)
        return (G / G.norm(dim=1, keepdim=True) - self.centre / self.centre.norm()).norm(dim=1)

    def _map_change(self, y: Tensor, v: Tensor) -> Tensor:
        return (self._map(self._gradient(y)) - self._map(self.centre)).norm(dim=1)

    def _map(self, G: Tensor) -> Tensor:
        images = G.reshape(len(G), *self.shape).abs()
        summed = images.sum(1).flatten(1) if images.ndim == 4 else images.flatten(1)
        return summed / summed.sum(1, keepdim=True)

    def _climb(self, objective: Objective) -> float:
        starts, best = 3, float("-inf")
        offset = torch.randn(starts, len(self.x), generator=self.generator, dtype=torch.float64)
        offset = self.radius * offset / offset.norm(dim=1, keepdim=True)
        offset[0] = 0
        v = torch.randn(starts, len(self.x), generator=self.generator, dtype=torch.float64)
        for step in range(self.steps):
            y = (self.x + offset).requires_grad_(True)
            v = (v / v.norm(dim=1, keepdim=True)).requires_grad_(True)
            value = objective(y, v)
            best = max(best, *(t for t in value.tolist() if t == t))
            to_y, to_v = torch.autograd.grad(value.sum(), (y, v), allow_unused=True, materialize_grads=True)
            with torch.no_grad():
                size = self.radius * 0.8 * 0.75**step
                offset = offset + size * torch.nan_to_num(_unit(to_y))
                offset *= (self.radius * (1 - 1e-13) / offset.norm(dim=1, keepdim=True).clamp_min(1e-300)).clamp_max(
                    1.0
                )
                v = v + torch.nan_to_num(_unit(to_v)) * 2 * 0.85**step
        return best


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-300)
