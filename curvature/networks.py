"""Softened copies of networks, scalar outputs, and what breaks smoothness."""

import copy
import itertools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.nn import functional as F

from curvature.activations import Softplus
from curvature.errors import UnsupportedModuleError

ScalarField = Callable[[Tensor], Tensor]  # from a point of any shape to a 0-d tensor

_SOFTENABLE = (nn.ReLU, nn.ReLU6, Softplus)
# That act differently in training mode.
_MODAL = (nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
# Not twice differentiable, and without a softplus form here.
_ROUGH = (nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.Hardtanh, nn.Hardswish,
          nn.Hardsigmoid, nn.Hardshrink, nn.Softshrink, nn.Threshold, nn.Softsign)  # fmt: skip
_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d,
              nn.AdaptiveMaxPool3d, nn.FractionalMaxPool2d, nn.LPPool2d)  # fmt: skip
_RELU_CALLS = {F.relu, torch.relu, torch.relu_, F.relu_, "relu", "relu_"}
_RELU6_CALLS = {F.relu6}
_ROUGH_CALLS = {
    *(
        F.leaky_relu,
        F.leaky_relu_,
        F.elu,
        F.elu_,
        F.prelu,
        F.rrelu,
        F.celu,
        F.selu,
        F.hardtanh,
        F.hardtanh_,
        F.hardswish,
    ),
    *(
        F.hardsigmoid,
        F.threshold,
        F.hardshrink,
        F.softshrink,
        F.softsign,
        torch.prelu,
        torch.selu,
        torch.celu,
        torch.rrelu,
    ),
    *(torch.abs, torch.sign, operator.abs, torch.clamp, torch.clip, torch.clamp_min, torch.clamp_max, torch.where),
    *("abs", "abs_", "sign", "clamp", "clamp_", "clip", "clamp_min", "clamp_min_", "clamp_max", "clamp_max_", "where"),
    "prelu",
}
_MAX_CALLS = {
    *(F.max_pool1d, F.max_pool2d, F.max_pool3d, F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d),
    *(F.fractional_max_pool2d, F.lp_pool1d, F.lp_pool2d, torch.max_pool1d, torch.max_pool2d, torch.topk, torch.sort),
    *(torch.max, torch.maximum, torch.fmax, torch.amax, torch.min, torch.minimum, torch.fmin, torch.amin, torch.median),
    *("max", "maximum", "fmax", "amax", "min", "minimum", "fmin", "amin", "median", "topk", "sort"),
}


class Roughness(NamedTuple):
    """One layer at which the network is not twice differentiable."""

    path: str
    kind: str
    reason: str


def soften(model: nn.Module, beta: float, *, trace: bool = True) -> nn.Module:
    r"""A copy of the network in which every ReLU is :math:`\mathrm{softplus}_\beta`.

    Handles modules (ReLU, ReLU6, and the softplus of an earlier call, which gets the new
    beta) and, by torch.fx, functional and in-place calls. A softened ReLU6 is
    :math:`s_\beta(t) - s_\beta(t - 6)`. Max-pooling stays as it is; ``hypotheses`` names it.

    Args:
        model: Any module; left untouched.
        beta: Sharpness, finite and > 0.
        trace: Look for functional activations too. With False only modules are replaced,
            and the caller vouches that ``forward`` calls no activation function.

    Returns:
        A new module in eval mode whose parameters require no gradients.

    Raises:
        ValueError: If beta is not a finite positive number.
        UnsupportedModuleError: If an activation has no softened form, or the network cannot
            be traced; names the path.
    """
    Softplus(beta)  # rejects a bad beta with the error of its owner
    model = getattr(model, "_orig_mod", model)  # the module inside of torch.compile's wrapper
    rough = [f"'{name}' ({type(m).__name__})" for name, m in model.named_modules() if _is_rough(m)]
    if rough:
        raise UnsupportedModuleError(
            f"expected ReLU or ReLU6 activations, got {', '.join(rough)}, which have no softplus form; "
            "replace them before soften()"
        )
    soft = copy.deepcopy(model).eval().requires_grad_(False)
    if isinstance(soft, _SOFTENABLE):  # before tracing, which would look inside of the root
        return _softened(soft, beta).eval()
    if trace:
        soft = _soften_calls(soft, beta)
    replaced: dict[nn.Module, nn.Module] = {}  # a module that is used in several places stays one module
    for parent in list(soft.modules()):
        for name, child in list(parent._modules.items()):  # named_children would skip the second place
            if isinstance(child, _SOFTENABLE):
                parent._modules[name] = replaced.setdefault(child, _softened(child, beta))
    return soft.eval()


class _Proxy(fx.Proxy):
    """Records ``a += b`` as what it is; a plain proxy would make a new tensor of it, which no view of ``a`` sees."""

    def __iadd__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    def __isub__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.isub, (self, other), {})

    def __imul__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.imul, (self, other), {})

    def __itruediv__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.itruediv, (self, other), {})


class _Tracer(fx.Tracer):
    """Keeps ``Softplus`` whole: inside it are autograd functions that a proxy cannot enter."""

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Softplus) or super().is_leaf_module(m, module_qualified_name)


def trace_graph(model: nn.Module) -> fx.Graph:
    """The torch.fx graph of a network, with every ``Softplus`` as one node."""
    return _Tracer().trace(model)


def require_fixed(model: nn.Module) -> None:
    """Reject a network whose layers may compute something else than their type and weights say.

    Bounds read weights; a layer in training mode, a hook, or a ``forward`` that was put on a
    single layer can change what is computed without changing them.

    Raises:
        ValueError: If a batch norm or dropout is in training mode.
        UnsupportedModuleError: If a layer carries forward hooks or a forward of its own; names it.
    """
    if model.training or any(m.training for m in model.modules() if isinstance(m, _MODAL)):
        raise ValueError("expected a network in eval mode, got a layer in training mode; call .eval() first")
    for path, m in model.named_modules():
        if m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m):
            raise UnsupportedModuleError(
                f"expected layers that compute what their weights say, got a forward hook at '{path or '(itself)'}' "
                f"({type(m).__name__}), which may change its output; remove it"
            )


def probe_point(shape: torch.Size) -> Tensor:
    """A seeded batch of one float64 point of this shape, at which two forms of a network are compared."""
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def require_same_output(found: Tensor, model: nn.Module, point: Tensor) -> None:
    """Reject a reading of a network whose output at one point is not the network's own.

    A last line of defence: whatever tracing misses (a wrapped forward, code that looks at values) shows here.

    Raises:
        UnsupportedModuleError: If the outputs differ by more than rounding.
    """
    with torch.no_grad():
        expected = model(point)
    if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-6, atol=1e-6, equal_nan=True):
        raise UnsupportedModuleError(
            f"the traced graph of {type(model).__name__} does not compute what the network computes; "
            "does its forward look at values or change its own state?"
        )


def set_beta(soft: nn.Module, beta: float) -> None:
    """Change beta of a softened network in place; for schedules on a copy that you own."""
    Softplus(beta)
    for module in soft.modules():
        if isinstance(module, Softplus):
            module.beta = float(beta)


def logit(model: nn.Module, target_class: int) -> ScalarField:
    """The pre-softmax output of one class as a scalar field on points.

    The returned callable adds the batch dimension for the network: a point ``[*shape]``
    gives a 0-d tensor.

    Raises:
        ValueError: When called, if ``target_class`` is out of range.
    """

    def field(x: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        outputs = model(x[None])
        if outputs.ndim != 2 or not 0 <= target_class < outputs.shape[1]:
            raise ValueError(
                f"expected outputs [1, classes] with class {target_class} among them, got {tuple(outputs.shape)}"
            )
        scalar: Tensor = outputs[0, target_class]
        return scalar

    return field


def hypotheses(model: nn.Module) -> list[Roughness]:
    """The layers at which Theorem 1's hypothesis of smoothness fails; empty if it holds.

    Modules are found by type and functional calls by torch.fx; a network that cannot be
    traced gets an entry that says so, as nothing is known of its calls.
    """
    model = getattr(model, "_orig_mod", model)
    found = [
        Roughness(name or "(itself)", type(m).__name__, "is not twice differentiable")
        for name, m in model.named_modules()
        if isinstance(m, (nn.ReLU, nn.ReLU6, *_MAX_POOLS)) or _is_rough(m)
    ]
    try:
        graph = trace_graph(model)
    except Exception as error:
        return [
            *found,
            Roughness("(itself)", type(model).__name__, f"cannot be traced, so its calls are unknown: {error}"),
        ]
    rough = _RELU_CALLS | _RELU6_CALLS | _ROUGH_CALLS | _MAX_CALLS
    return found + [
        Roughness(_where(node), _name(node.target), "is not twice differentiable")
        for node in graph.nodes
        if node.op in ("call_function", "call_method") and node.target in rough
    ]


def _is_rough(module: nn.Module) -> bool:
    return isinstance(module, _ROUGH) and not isinstance(module, nn.ReLU6)


def _softened(module: nn.Module, beta: float) -> Softplus:
    if isinstance(module, Softplus):
        return Softplus(beta, cap=module.cap)
    return Softplus(beta, cap=6.0 if isinstance(module, nn.ReLU6) else None)


def _name(target: Any) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def _where(node: fx.Node) -> str:
    owner = next(reversed(node.meta.get("nn_module_stack", {"": None})), "")
    return f"{owner}.forward" if owner else f"forward ({node.name})"


def _soften_calls(model: nn.Module, beta: float) -> nn.Module:
    """Replace functional activations; the module is returned as it is when it has none."""
    try:
        graph = trace_graph(model)
    except Exception as error:
        raise UnsupportedModuleError(
            f"torch.fx cannot trace {type(model).__name__} ({error}); its functional activations cannot be found. "
            "Write the network with nn.ReLU modules and call soften(..., trace=False)"
        ) from error
    modules = dict(model.named_modules(remove_duplicate=False))
    for node in graph.nodes:
        if node.target in _ROUGH_CALLS and node.op != "placeholder":
            raise UnsupportedModuleError(
                f"'{_name(node.target)}' in {_where(node)} has no softplus form; use relu or relu6"
            )
    calls = [node for node in graph.nodes if node.op != "placeholder" and node.target in _RELU_CALLS | _RELU6_CALLS]
    overwritten = [node for node in graph.nodes if _overwrites_for_others(node, modules)]
    if not calls and not overwritten:
        return model
    _forward_overwritten(graph, overwritten)
    free = (name for name in map("softplus_{}".format, itertools.count()) if not hasattr(model, name))
    for name, node in zip(free, calls, strict=False):
        model.add_module(name, Softplus(beta, cap=6.0 if node.target in _RELU6_CALLS else None))
        with graph.inserting_after(node):
            node.replace_all_uses_with(graph.call_module(name, (_operand(node),)))
        graph.erase_node(node)
    graph.lint()
    return fx.GraphModule(model, graph)


def _operand(node: fx.Node) -> fx.Node:
    operand = node.args[0] if node.args else node.kwargs["input"]
    assert isinstance(operand, fx.Node)
    return operand


def _overwrites_for_others(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether an in-place activation is seen by later readers of its input."""
    if node.op == "call_module":
        inplace = bool(getattr(modules[str(node.target)], "inplace", False)) and isinstance(
            modules[str(node.target)], _SOFTENABLE
        )
    else:
        relu = node.op != "placeholder" and node.target in _RELU_CALLS | _RELU6_CALLS
        positional = len(node.args) > 1 and bool(node.args[1])
        inplace = relu and (_name(node.target).endswith("_") or bool(node.kwargs.get("inplace")) or positional)
    return inplace and any(node < user for user in _operand(node).users if user is not node)


def _forward_overwritten(graph: fx.Graph, nodes: list[fx.Node]) -> None:
    """Let every later reader of an overwritten tensor read the activation's result."""
    for node in nodes:
        operand = _operand(node)
        for user in [user for user in operand.users if user is not node and node < user]:
            user.replace_input_with(operand, node)
    graph.lint()
