r"""Rung 4: composition of Lipschitz constants, for feed-forward networks and for graphs.

For every node z of a computation, as a map from the input, four numbers: L bounds the norm of its Jacobian J,
K the Lipschitz constant of J in the spectral norm, R the Lipschitz constants :math:`\rho_i` of its
components, Q bounds :math:`\|\mathrm{diag}(\rho)J\|`. With :math:`h = \beta/4`:

- linear map W: ``L' = |W| L``, ``K' = |W| K``, :math:`\rho_i' = \|w_i\|L`, :math:`Q' = \|\mathrm{diag}(\|w_i\|)W\|L^2`;
  a diagonal one also :math:`R' = \max|d|R`, :math:`Q' = \max d^2 Q`;
- activation with slopes in [0, 1]: ``K' = K + h Q``, the others stay, because
  :math:`J'(x)-J'(y) = D(x)(J(x)-J(y)) + (D(x)-D(y))J(y)` and :math:`|D_i(x)-D_i(y)| \le h\rho_i\|x-y\|`;
- sum: L, K, R add; ``Q = Q1 + Q2 + R1 L2 + R2 L1``; a term that broadcasting repeats m times has L, K and Q
  multiplied by the root of m first. Concatenation: roots of sums of squares, R the maximum;
- reshaping, padding by constants and dropout in eval mode: nothing changes. A product of two tensors is refused.

For a feed-forward stack this is Entesari et al.'s
:math:`K_l = h\|\mathrm{diag}(\|w_i\|)W_l\| Lip_{l-1}^2 + \|W_l\|K_{l-1}`. The output's K bounds the Hessian.

Source: Entesari, Sharifi and Fazlyab 2024, "Compositional curvature bounds for deep neural
networks"; the rules for graphs are ours.
"""

import copy
import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.nn import functional as F

from curvature.activations import Softplus
from curvature.bounds.anchor import bound_from_hessian
from curvature.bounds.bound import Bound
from curvature.bounds.frobenius import QUARTER
from curvature.bounds.layer_norms import (
    LinearNorms,
    adaptive_pool_norms,
    average_pool_norms,
    convolution_norms,
    diagonal_norms,
    matrix_norms,
)  # fmt: skip
from curvature.bounds.norms import UNIT, frobenius_norm_bound, round_up, sqrt_up
from curvature.errors import UnsupportedModuleError
from curvature.feedforward import FeedForward
from curvature.networks import probe_point, require_fixed, require_same_output, trace_graph

_NEUTRAL = (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Unflatten,
            nn.ConstantPad1d, nn.ConstantPad2d)  # fmt: skip
_NEUTRAL_CALLS = {torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze, torch.permute, torch.transpose,
                  "flatten", "view", "reshape", "contiguous", "squeeze", "permute", "transpose"}  # fmt: skip
_SUMS = {operator.add, operator.iadd, operator.sub, operator.isub, torch.add, torch.sub, "add", "add_", "sub"}
_IN_PLACE = {operator.iadd, operator.isub, "add_"}
_SCALES = {operator.mul, operator.imul, operator.truediv, operator.itruediv, torch.mul, torch.div, "mul", "div"}
_SHAPES = {"size", "dim", getattr, operator.getitem}


class Smoothness(NamedTuple):
    """The four constants of one node: L, K, R and Q above."""

    lipschitz: Fraction
    curvature: Fraction
    row: Fraction
    weighted: Fraction


IDENTITY = Smoothness(Fraction(1), Fraction(0), Fraction(1), Fraction(1))


def entesari_2024(net: FeedForward, x: Float[Tensor, " n"], radius: float) -> Bound:
    """The compositional bound on the Hessian of a feed-forward network, and what follows on the ball.

    Raises:
        ValueError: If the point or the radius is malformed.
        NoCertificateError: If a number overflows.

    Exactness: upper bound on the Hessian everywhere. Cost: two eigenvalue problems a layer.
    """
    state = IDENTITY
    for W in net.weights:
        state = activated(linear(state, matrix_norms(W)), net.beta)
    head = Fraction(frobenius_norm_bound(net.head).item())
    return bound_from_hessian(net, x, radius, head * state.curvature)


def entesari_2024_graph(module: nn.Module, x: Float[Tensor, "*shape"], *, target_class: int, radius: float) -> Bound:
    """The compositional bound for any network that torch.fx traces, without unrolling a layer.

    Fills ``hessian`` and ``gradient_change``; no curvature, since the gradient at ``x`` is not enclosed.

    Args:
        module: Softened network in eval mode, left untouched.
        x: One point without the batch dimension; only its shape counts.
        target_class: Which output; its row of a final linear layer is used.
        radius: Of the ball.

    Raises:
        UnsupportedModuleError: If an operation has no rule, a tensor is overwritten before its last
            reader, or a layer carries a forward hook; names it.
        NoCertificateError: If a number overflows.

    Exactness: upper bound on the Hessian everywhere. Cost: one eigenvalue problem a frequency and layer at worst.
    """
    if not 0 <= radius < math.inf:
        raise ValueError(f"expected a finite radius >= 0, got {radius}")
    require_fixed(module)
    try:
        graph = trace_graph(module)
    except Exception as error:
        raise UnsupportedModuleError(f"torch.fx cannot trace {type(module).__name__}: {error}") from error
    own, probe = copy.deepcopy(module).double(), probe_point(x.shape)
    walk = _Walk(own, graph, target_class)
    with torch.no_grad():
        require_same_output(walk.run(probe), own, probe)
    change = walk.result.curvature * Fraction(radius)
    reason = "no curvature: a graph's gradient at the centre is not enclosed"
    return Bound(hessian=round_up(walk.result.curvature), gradient_change=round_up(change), reason=reason)


def linear(state: Smoothness, norms: LinearNorms) -> Smoothness:
    """The constants after a linear map."""
    L, K = norms.norm * state.lipschitz, norms.norm * state.curvature
    row = norms.row * state.lipschitz
    return Smoothness(L, K, row, min(norms.weighted * state.lipschitz**2, row * L))


def diagonal(state: Smoothness, scale: Tensor) -> Smoothness:
    """The constants after a multiplication of every component by its own number, scales rounded once or twice."""
    norms = diagonal_norms(scale)
    norms = LinearNorms(*(value * (1 + Fraction(16 * UNIT)) for value in norms))
    L, K, row, weighted = linear(state, norms)
    return Smoothness(L, K, min(row, norms.norm * state.row), min(weighted, norms.weighted * state.weighted))


def activated(state: Smoothness, beta: float) -> Smoothness:
    """The constants after a softplus, capped or not."""
    return state._replace(curvature=state.curvature + QUARTER * Fraction(beta) * state.weighted)


def added(a: Smoothness, b: Smoothness) -> Smoothness:
    """The constants of a sum or a difference."""
    weighted = a.weighted + b.weighted + a.row * b.lipschitz + b.row * a.lipschitz
    L, row = a.lipschitz + b.lipschitz, a.row + b.row
    return Smoothness(L, a.curvature + b.curvature, row, min(weighted, row * L))


def repeated(state: Smoothness, copies: int) -> Smoothness:
    """The constants when every component stands ``copies`` times in the result, as in broadcasting."""
    root = sqrt_up(Fraction(copies)) if copies > 1 else Fraction(1)
    return Smoothness(root * state.lipschitz, root * state.curvature, state.row, root * state.weighted)


def concatenated(states: list[Smoothness]) -> Smoothness:
    """The constants of a concatenation."""
    L, K, Q = (sqrt_up(sum((s[i] ** 2 for s in states), Fraction(0))) for i in (0, 1, 3))
    return Smoothness(L, K, max(s.row for s in states), Q)


class _Walk(fx.Interpreter):
    """Runs the network once for its shapes, carrying the constants beside the numbers."""

    def __init__(self, module: nn.Module, graph: fx.Graph, target_class: int) -> None:
        super().__init__(module, graph=graph)
        self.owner, self.target_class = module, target_class
        self.extra_traceback = False  # the errors below are messages to the caller as they are
        self.states: dict[fx.Node, Smoothness] = {}
        self.scales: dict[fx.Node, Tensor] = {}  # batch norms that the layer before has taken in
        self.versions: dict[fx.Node, int] = {}  # of each value when its node had run

    @property
    def result(self) -> Smoothness:
        return self.states[next(node for node in self.graph.nodes if node.op == "output")]

    def run_node(self, n: fx.Node) -> Any:
        for operand in n.all_input_nodes:
            # Views share the counter of what they view, so that no alias is missed.
            if operand in self.versions and self.env[operand]._version != self.versions[operand]:
                raise UnsupportedModuleError(
                    f"'{operand.name}' is overwritten in place before '{n.name}' reads it; "
                    "its constants are no longer known. Write the operation out of place"
                )
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.versions[n] = value._version
        if n.op == "placeholder":
            self.states[n] = IDENTITY
        elif n.op == "output":
            self._finish(n, value)
        elif n.op == "call_module":
            self.states[n] = self._module(n)
        elif n.op in ("call_function", "call_method") and any(operand in self.states for operand in n.all_input_nodes):
            state = self._call(n, value)
            if state is not None:
                self.states[n] = state
        return value

    def _finish(self, node: fx.Node, value: Tensor) -> None:
        classes = value.shape[1] if isinstance(value, Tensor) and value.ndim == 2 else 0
        if not 0 <= self.target_class < classes:
            raise ValueError(f"expected target_class in 0..{classes - 1}, got {self.target_class}")
        self.states[node] = self.states[node.all_input_nodes[0]]

    def _module(self, node: fx.Node) -> Smoothness:
        layer, operand = self.owner.get_submodule(str(node.target)), node.all_input_nodes[0]
        state = self.states[operand]
        if isinstance(layer, Softplus):
            return activated(state, layer.beta)
        if isinstance(layer, _NEUTRAL):
            return state
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            return state if operand in self.scales else diagonal(state, _batch_norm_scale(layer))
        if isinstance(layer, nn.Linear):
            return linear(state, matrix_norms(self._rows(node, layer)))
        size = self.env[operand].shape[2:]
        if isinstance(layer, nn.Conv1d | nn.Conv2d):
            return linear(state, convolution_norms(layer, size, self._following_scale(node)))
        if isinstance(layer, nn.AvgPool1d | nn.AvgPool2d):
            return linear(state, average_pool_norms(layer, size))
        if isinstance(layer, nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d):
            return linear(state, adaptive_pool_norms(_outputs(layer.output_size, len(size)), size))
        raise UnsupportedModuleError(f"layer '{node.target}' ({type(layer).__name__}) has no rule for its curvature")

    def _rows(self, node: fx.Node, layer: nn.Linear) -> Tensor:
        """The weights that count: one row when the layer ends the network."""
        W = layer.weight.detach()
        last = all(user.op == "output" for user in node.users)
        return W[self.target_class : self.target_class + 1] if last and 0 <= self.target_class < len(W) else W

    def _following_scale(self, node: fx.Node) -> Tensor | None:
        """The scale of a batch norm that is the only reader of a convolution."""
        users = list(node.users)
        if len(users) != 1 or users[0].op != "call_module":
            return None
        layer = self.owner.get_submodule(str(users[0].target))
        if not isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            return None
        self.scales[node] = _batch_norm_scale(layer)
        return self.scales[node]

    def _call(self, node: fx.Node, value: Any) -> Smoothness | None:
        operands = [self.states[operand] for operand in node.all_input_nodes if operand in self.states]
        first, target = node.all_input_nodes[0], node.target
        size = self.env[first].shape[2:] if isinstance(self.env[first], Tensor) else torch.Size()
        if target in _NEUTRAL_CALLS or (target is F.dropout and not node.kwargs.get("training", True)):
            return operands[0]
        if target in _SUMS:
            return self._sum(node, value)
        if target in (torch.cat, torch.concat) and _dimension(node) != 0:
            return concatenated([self.states[operand] for operand in node.args[0]])  # type: ignore[union-attr,index]
        if target in _SCALES and isinstance(node.args[1], int | float) and not node.kwargs:  # rounding_mode is one
            number = torch.tensor([float(node.args[1])], dtype=torch.float64)
            return diagonal(operands[0], 1 / number if _divides(target) else number)
        if target is F.adaptive_avg_pool2d:
            return linear(operands[0], adaptive_pool_norms(_outputs(node.args[1], 2), size))
        if target in (F.avg_pool2d, F.avg_pool1d):
            kind: Callable[..., Any] = nn.AvgPool2d if target is F.avg_pool2d else nn.AvgPool1d
            return linear(operands[0], average_pool_norms(kind(*node.args[1:], **node.kwargs), size))
        if (
            target in (torch.mean, "mean")
            and sorted(d % 4 for d in _mean_dimensions(node)) == [2, 3]
            and len(size) == 2
        ):
            return linear(operands[0], adaptive_pool_norms((1, 1), size))
        if target in _SHAPES and not isinstance(value, Tensor):
            return None
        raise UnsupportedModuleError(
            f"operation '{getattr(target, '__name__', target)}' at {node.name} has no rule for its curvature"
        )

    def _sum(self, node: fx.Node, value: Tensor) -> Smoothness:
        """A sum of two operands; constants (numbers and buffers) add nothing but their shape. ``alpha`` is refused."""
        if node.kwargs or len(node.args) != 2:
            raise UnsupportedModuleError(f"operation '{node.name}' scales its operand; write the product out")
        if node.target in _IN_PLACE and node.args[0] not in self.states:
            raise UnsupportedModuleError(f"operation '{node.name}' overwrites a constant; write it out of place")
        states = [
            repeated(self.states[a], value.numel() // self.env[a].numel())
            for a in node.args
            if isinstance(a, fx.Node) and a in self.states
        ]
        return states[0] if len(states) == 1 else added(*states)


def _batch_norm_scale(layer: nn.BatchNorm1d | nn.BatchNorm2d) -> Tensor:
    if layer.running_var is None:
        raise UnsupportedModuleError(f"{layer} keeps no running statistics, so it is not a fixed linear layer")
    scale = 1 / (layer.running_var.double() + layer.eps).sqrt()
    return scale if layer.weight is None else scale * layer.weight.detach().double()


def _outputs(size: Any, axes: int) -> tuple[int | None, ...]:
    return tuple(size) if isinstance(size, tuple | list) else (size,) * axes


def _dimension(node: fx.Node) -> Any:
    return node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)


def _divides(target: Any) -> bool:
    return target in (operator.truediv, operator.itruediv, torch.div, "div")


def _mean_dimensions(node: fx.Node) -> list[int]:
    dims: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", ())
    return [dims] if isinstance(dims, int) else list(dims)
