"""Relevance sent backwards through a network's layers, by a rule for each kind of layer.

The traced network is run forwards once with every value kept; then relevance walks back
from the class's logit to the input. Convolutions and linear layers, activations, sums and
average pooling follow the method's ``Rules``; what only moves or selects numbers (flatten,
concat, padding, dropout, max-pool with its winner) hands relevance back as its derivative
does. Batch norm is folded into the convolution before it; a batch norm elsewhere is a
``scale``: one input for each output. Everything is in the graph, so that the walk can be
differentiated.
"""

import operator
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn import grad as convolution_gradients

from attacks.explanations.chosen import chosen
from attacks.explanations.folding import Keeping, folded
from attacks.explanations.snapshot import Snapshot, snapshot_of
from curvature import UnsupportedModuleError
from curvature.activations import Softplus

Layer = nn.Conv2d | nn.Linear
Limits = tuple[Tensor, Tensor]

_LINEAR = (nn.Conv2d, nn.Linear)
_AVERAGE: tuple[Any, ...] = (
    nn.AvgPool2d, nn.AdaptiveAvgPool2d, F.avg_pool2d, F.adaptive_avg_pool2d, torch.mean, "mean",
)  # fmt: skip
_SUM: tuple[Any, ...] = (operator.add, operator.iadd, torch.add, "add", "add_")
_RELU: tuple[Any, ...] = (nn.ReLU, F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_")
_RELU6: tuple[Any, ...] = (nn.ReLU6, F.relu6)
_PASSING: tuple[Any, ...] = (
    nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d, nn.ZeroPad2d, nn.MaxPool2d, nn.Unflatten, F.max_pool2d,
    F.dropout, F.pad, torch.flatten, torch.cat, torch.concat, "flatten", "view", "reshape", "contiguous",
    operator.getitem,
)  # fmt: skip
_NUMBER: tuple[Any, ...] = ("size", "dim", getattr)  # shapes on their way to a reshape carry no relevance


@dataclass(frozen=True)
class Gate:
    """A ReLU or its softened form: ``beta`` None for the ReLU, ``cap`` 6 for ReLU6."""

    beta: float | None
    cap: float | None


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How one method sends relevance through each kind of layer.

    Attributes:
        linear: ``(layer, input, output, relevance) -> relevance``.
        first: For the layers that read the input itself, with the smallest and the largest valid
            input in the output's place; ``linear`` if None.
        activation: ``(gate, input, relevance) -> relevance``.
        total: ``(summands, relevance) -> relevance of each``; None for the derivative.
        average: ``(pool, input, relevance) -> relevance``; None for the derivative.
        scale_passes: Whether a batch norm that cannot be folded hands relevance on as it is, being a linear
            layer with one input for each output, or by its derivative.
    """

    linear: Callable[["Linear", Tensor, Tensor, Tensor], Tensor]
    activation: Callable[[Gate, Tensor, Tensor], Tensor]
    first: Callable[["Linear", Tensor, Limits, Tensor], Tensor] | None = None
    total: Callable[[list[Tensor], Tensor], list[Tensor]] | None = None
    average: Callable[["Pool", Tensor, Tensor], Tensor] | None = None
    scale_passes: bool = True


@dataclass(frozen=True)
class Linear:
    """A convolution or linear layer as relevance sees it.

    Attributes:
        layer: The module; its weights are constants here.
        name: Its path in the network.
        nonnegative: Whether its input is known to have no negative numbers.
        last: Whether no activation follows it.
        weight: The weights, and their positive and negative parts.
        positive_part: ``max(weight, 0)``.
        negative_part: ``min(weight, 0)``.
    """

    layer: Layer
    name: str
    nonnegative: bool
    last: bool
    weight: Tensor
    positive_part: Tensor
    negative_part: Tensor

    def __call__(self, a: Tensor, weight: Tensor | None = None) -> Tensor:
        """Apply the layer without its bias, with other weights if given."""
        weight = self.weight if weight is None else weight
        if isinstance(self.layer, nn.Linear):
            return F.linear(a, weight)
        layer = self.layer
        return F.conv2d(a, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)

    def transposed(self, s: Tensor, like: Tensor, weight: Tensor | None = None) -> Tensor:
        """The adjoint of ``__call__`` at ``s``; ``like`` has the input's shape."""
        weight = self.weight if weight is None else weight
        if isinstance(self.layer, nn.Linear):
            return s @ weight
        layer = self.layer
        result: Tensor = convolution_gradients.conv2d_input(
            like.shape, weight, s, layer.stride, layer.padding, layer.dilation, layer.groups
        )
        return result


@dataclass(frozen=True)
class Pool:
    """Average pooling: how to apply it, and whether its input is known to have no negative numbers."""

    apply: Callable[[Tensor], Tensor]
    nonnegative: bool


class Layers:
    """The traced and folded network, ready to send relevance back."""

    def __init__(self, module: nn.Module) -> None:
        self.graph_module = folded(module)
        self.modules: dict[str, nn.Module] = dict(self.graph_module.named_modules())
        self.nodes = [n for n in self.graph_module.graph.nodes if n.op != "output"]
        (output,) = (n for n in self.graph_module.graph.nodes if n.op == "output")
        self.output = output.args[0]
        if not isinstance(self.output, fx.Node):
            raise UnsupportedModuleError(f"expected a network that returns one tensor of logits, got {self.output}")
        self.update()
        self.first = {n for n in self.nodes if self.kinds[n] == "linear" and self._path(n) is not None}
        self.nonnegative = self._nonnegative()
        self.linears = self._linears()

    def update(self) -> None:
        """Read the kind of every node again, with the softplus parameters as they are now."""
        self.kinds = {n: self._kind(n) for n in self.nodes}

    def forward(self, x: Tensor) -> Keeping:
        """One forward pass with every value kept; no layer overwrites its input."""
        run = Keeping(self.graph_module)
        run.run(x)
        return run

    def backward(self, run: Keeping, relevance: Tensor, rules: Rules, limits: Limits) -> Tensor:
        """Relevance of the input, from that of the output."""
        waiting: dict[fx.Node, Tensor] = {self.output: relevance}
        for node in reversed(self.nodes):
            if node not in waiting:
                continue
            r = waiting.pop(node)
            if node.op == "placeholder":
                return r
            inputs = run.inputs(node)
            parts = self._first(node, run, (rules, limits), r) if node in self.first else None
            for i, part in zip(inputs, parts or self._back(node, run, rules, r), strict=True):
                waiting[i] = waiting[i] + part if i in waiting else part
        raise UnsupportedModuleError("expected a network whose logits depend on its input, got one that ignores it")

    def _first(self, node: fx.Node, run: Keeping, how: tuple[Rules, Limits], r: Tensor) -> list[Tensor] | None:
        """By the rule of the layers that read the input itself; None where a method has none."""
        rules, limits = how
        if rules.first is None:
            return None
        low, high = (self._replay(node, run, limit) for limit in limits)
        return [rules.first(self.linears[node], run.kept[node.all_input_nodes[0]], (low, high), r)]

    def _back(self, node: fx.Node, run: Keeping, rules: Rules, r: Tensor) -> list[Tensor]:
        kind = self.kinds[node]
        inputs = [run.kept[i] for i in run.inputs(node)]
        if isinstance(kind, Gate):
            return [rules.activation(kind, inputs[0], r)]
        if kind == "linear":
            return [rules.linear(self.linears[node], inputs[0], run.kept[node], r)]
        if kind == "scale" and rules.scale_passes:
            return [r]
        if kind == "sum" and rules.total is not None:
            return rules.total(inputs, r)
        if kind == "average" and rules.average is not None:
            pool = Pool(lambda a: run.again(node, a), node.all_input_nodes[0] in self.nonnegative)
            return [rules.average(pool, inputs[0], r)]
        if len(inputs) == 1:
            return list(torch.autograd.grad(run.kept[node], inputs, r, create_graph=True))
        # One input of a sum or a concat may have been computed from another: apart from the graph, each gets its
        # own share only. Nothing is lost, as the derivatives of both do not depend on the values.
        leaves = [a.detach().requires_grad_(True) for a in inputs]
        return list(torch.autograd.grad(run.again(node, *leaves), leaves, r, create_graph=True))

    def _kind(self, node: fx.Node) -> str | Gate:
        if node.op == "placeholder":
            return "input"
        if node.op != "call_module":
            return self._kind_of(node.target, node)
        module = self.modules[str(node.target)]
        if isinstance(module, Softplus):
            return Gate(module.beta, module.cap)
        if isinstance(module, nn.BatchNorm2d):
            return "scale"
        if isinstance(module, _LINEAR):
            return self._checked_linear(module, node)
        return self._kind_of(type(module), node)

    def _kind_of(self, target: Any, node: fx.Node) -> str | Gate:
        if target in _RELU:
            return Gate(None, None)
        if target in _RELU6:
            return Gate(None, 6.0)
        if target in _SUM:
            return self._checked_sum(node)
        for kind, targets in (("average", _AVERAGE), ("passing", _PASSING), ("number", _NUMBER)):
            if target in targets:
                return kind
        raise UnsupportedModuleError(
            "expected layers that relevance can be sent through (convolution, linear, batch norm, pooling, ReLU, "
            f"ReLU6, softplus, sum, concat, flatten), got {getattr(target, '__name__', target)} at '{node.name}'; "
            "use the method gradient, grad_times_input or integrated_gradients"
        )

    def _checked_sum(self, node: fx.Node) -> str:
        if len(node.args) != 2 or node.kwargs or not all(isinstance(a, fx.Node) for a in node.args):
            raise UnsupportedModuleError(f"expected sums of two layers without factors, got {node.format_node()}")
        return "sum"

    def _checked_linear(self, module: nn.Module, node: fx.Node) -> str:
        if isinstance(module, nn.Conv2d) and (module.padding_mode != "zeros" or isinstance(module.padding, str)):
            raise UnsupportedModuleError(
                f"expected convolutions with zero padding given in numbers, got {module} at '{node.name}'"
            )
        return "linear"

    def _path(self, node: fx.Node) -> list[fx.Node] | None:
        path: list[fx.Node] = []
        while True:
            (node, *others) = [n for n in node.all_input_nodes if self.kinds[n] != "number"]
            if self.kinds[node] == "input":
                return path[::-1]
            if others or self.kinds[node] != "passing":
                return None
            path.append(node)

    def _replay(self, node: fx.Node, run: Keeping, value: Tensor) -> Tensor:
        """Take a constant input to the layer that ``node`` is."""
        for step in self._path(node) or []:
            value = run.again(step, value)
        return value

    def _linears(self) -> dict[fx.Node, Linear]:
        followed = self._followed()
        result = {}
        for node in self.nodes:
            layer = self.modules.get(str(node.target))
            if self.kinds[node] == "linear" and isinstance(layer, _LINEAR):
                weight = layer.weight.detach()
                known = node.all_input_nodes[0] in self.nonnegative
                parts = weight, weight.clamp(min=0), weight.clamp(max=0)
                result[node] = Linear(layer, str(node.target), known, node not in followed, *parts)
        return result

    def _followed(self) -> set[fx.Node]:
        """Nodes whose values reach an activation."""
        found: set[fx.Node] = set()
        for node in reversed(self.nodes):
            if isinstance(self.kinds[node], Gate) or node in found:
                found.update(node.all_input_nodes)
        return found

    def _nonnegative(self) -> set[fx.Node]:
        """Nodes whose values cannot be negative, whatever the input."""
        found: set[fx.Node] = set()
        for node in self.nodes:
            kind = self.kinds[node]
            inherits = kind in ("sum", "average", "passing") and node.target is not F.pad
            if isinstance(kind, Gate) or (inherits and all(i in found for i in node.all_input_nodes)):
                found.add(node)
        return found


@dataclass
class _Prepared:
    """The layers of one network, and what they were made from."""

    weights: Snapshot
    betas: tuple[float, ...]
    layers: Layers


_PREPARED: "weakref.WeakKeyDictionary[nn.Module, _Prepared]" = weakref.WeakKeyDictionary()


def layers_of(module: nn.Module) -> Layers:
    """The prepared layers of a network, kept until its weights or its softplus parameters change.

    Raises:
        UnsupportedModuleError: If the network cannot be traced, or has a layer without a rule.
    """
    weights = snapshot_of(module)
    betas = tuple(m.beta for m in module.modules() if isinstance(m, Softplus))
    known = _PREPARED.get(module)
    if known is None or known.weights is not weights:
        known = _PREPARED[module] = _Prepared(weights, betas, Layers(module))
    elif known.betas != betas:
        known.layers.update()
        known.betas = betas
    return known.layers


def walk_back(
    module: nn.Module, x: Tensor, target_class: Tensor, *, rules: Rules, limits: Limits
) -> tuple[Tensor, Tensor]:
    """Relevance of the input by ``rules``, starting at the logit's value, and the logits.

    Args:
        module: The network, in eval mode.
        x: Inputs ``[B, C, H, W]``.
        target_class: ``[B]``.
        rules: Those of the method.
        limits: The smallest and the largest valid input, shaped as ``x``.
    """
    layers = layers_of(module)
    differentiate = x.requires_grad
    with torch.enable_grad():
        point = x if differentiate else x.detach().requires_grad_(True)
        run = layers.forward(point)
        logits = run.kept[layers.output]
        start = torch.zeros_like(logits).scatter(1, target_class[:, None], chosen(logits, target_class)[:, None])
        r = layers.backward(run, start, rules, limits)
    return (r, logits) if differentiate else (r.detach(), logits.detach())
