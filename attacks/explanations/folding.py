"""The traced network that relevance walks through: batch norm folded, every value kept, nothing overwritten."""

import operator
from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from curvature import UnsupportedModuleError
from curvature.networks import trace_graph


def folded(module: nn.Module) -> fx.GraphModule:
    """The traced network with each batch norm that follows a convolution folded into it.

    Raises:
        UnsupportedModuleError: If torch.fx cannot trace the network.
    """
    try:
        graph = trace_graph(module)
    except Exception as error:
        raise UnsupportedModuleError(
            f"expected a network that torch.fx can trace, got {type(module).__name__}: {str(error).splitlines()[0]}"
        ) from error
    traced = fx.GraphModule(module, graph)
    modules: Mapping[str, nn.Module] = dict(traced.named_modules())
    for node in list(graph.nodes):
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        before = node.args[0]
        conv = modules.get(str(before.target)) if before.op == "call_module" else None
        if isinstance(conv, nn.Conv2d) and len(before.users) == 1 and _called_once(graph, before):
            _put(traced, str(before.target), fuse_conv_bn_eval(conv, norm))
            node.replace_all_uses_with(before)
            graph.erase_node(node)
    traced.recompile()
    return traced


class Keeping(fx.Interpreter):
    """Runs a graph with every value kept, and nothing done in place."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.kept: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node, and keep its value."""
        self.kept[n] = value = super().run_node(n)
        return value

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a module; activations make a new tensor."""
        module = self.fetch_attr(str(target))
        if isinstance(module, nn.ReLU):
            return F.relu(args[0])
        if isinstance(module, nn.ReLU6):
            return F.relu6(args[0])
        return super().call_module(target, args, kwargs)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function by its form that makes a new tensor."""
        if target is operator.iadd:
            return args[0] + args[1]
        if getattr(target, "__name__", "") in ("relu", "relu_", "relu6"):
            activation = F.relu6 if target.__name__ == "relu6" else F.relu
            return activation(args[0] if args else kwargs["input"])
        return super().call_function(target, args, kwargs)

    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method by its form that makes a new tensor."""
        return super().call_method(target.removesuffix("_"), args, kwargs)

    def inputs(self, node: fx.Node) -> list[fx.Node]:
        """The nodes whose tensors a node reads; sizes and other numbers are left out."""
        return [n for n in node.all_input_nodes if isinstance(self.kept[n], Tensor)]

    def again(self, node: fx.Node, *values: Tensor) -> Tensor:
        """One node at other tensors in the place of its inputs, with the numbers of the kept run."""
        self.env = {**self.kept, **dict(zip(self.inputs(node), values, strict=True))}
        result: Tensor = super().run_node(node)
        return result


def _called_once(graph: fx.Graph, node: fx.Node) -> bool:
    """Whether the module of ``node`` is called nowhere else; a shared one cannot be folded in one place."""
    return sum(n.op == "call_module" and n.target == node.target for n in graph.nodes) == 1


def _put(traced: fx.GraphModule, path: str, module: nn.Module) -> None:
    """Put a module at a path of the traced copy; the caller's modules stay."""
    parent, _, name = path.rpartition(".")
    setattr(traced.get_submodule(parent), name, module)
