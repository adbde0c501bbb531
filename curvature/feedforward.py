r"""Feed-forward softplus networks as plain matrices: the object that the bounds speak of.

:math:`z_l = W_l a_{l-1} + b_l,\; a_l = s_\beta(z_l)` for :math:`l = 1..L-1` and
:math:`f = w^T a_{L-1} + b`. Convolutions, batch norm (eval mode), average pooling and
flattening are unrolled into the matrices. A certificate is about the real-number function
that these float64 matrices define; for stacks of ``nn.Linear`` that is the module itself,
where layers are folded together it is the module up to the rounding of the fold.
"""

import copy
import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.nn import functional as F

from curvature.activations import Softplus, sigmoid, softplus
from curvature.errors import UnsupportedModuleError
from curvature.networks import probe_point, require_fixed, require_same_output, trace_graph

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.BatchNorm1d,
           nn.BatchNorm2d, nn.ZeroPad1d, nn.ZeroPad2d, nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d)  # fmt: skip
_LINEAR_FUNCTIONS = (torch.flatten, F.avg_pool2d, F.adaptive_avg_pool2d)
_SHAPE_METHODS = ("flatten", "view", "reshape", "contiguous")


@dataclass(frozen=True, kw_only=True)
class FeedForward:
    r"""A scalar softplus network in matrices.

    Attributes:
        weights: ``W_1 .. W_{L-1}``, each ``[n_l, n_{l-1}]``, float64.
        biases: ``b_1 .. b_{L-1}``, each ``[n_l]``.
        head: ``w`` of shape ``[n_{L-1}]``.
        head_bias: ``b``, a 0-d tensor.
        beta: The softplus parameter that all layers share.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    head: Tensor
    head_bias: Tensor
    beta: float

    @functools.cached_property
    def in_row_space(self) -> "tuple[FeedForward, Float[Tensor, 'm n']]":
        r"""The same function on the row space of ``W_1``, and an orthonormal basis ``Q`` of a space that holds it.

        :math:`f(x) = f_Q(Q x)`, so that :math:`\nabla f = Q^T \nabla f_Q` and :math:`H = Q^T H_Q Q`; orthogonal to the
        rows of Q f does not change. Worth its one QR where the first layer has fewer neurons m than inputs n.

        Exactness: exact up to the rounding of a QR.
        """
        Q, R = torch.linalg.qr(self.weights[0].T)
        return replace(self, weights=(R.T.contiguous(), *self.weights[1:])), Q.T.contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        """The scalar output at points ``[..., *shape]`` flattened to ``[..., n]``."""
        a = x
        for W, b in zip(self.weights, self.biases, strict=True):
            a = softplus(a @ W.T + b, self.beta)
        return a @ self.head + self.head_bias

    def preactivations(self, x: Float[Tensor, "*batch n"]) -> list[Tensor]:
        """``z_1 .. z_{L-1}`` at the points ``[..., n]``."""
        a, z = x, []
        for W, b in zip(self.weights, self.biases, strict=True):
            z.append(a @ W.T + b)
            a = softplus(z[-1], self.beta)
        return z

    def curves(self, x: Float[Tensor, "*batch n"]) -> "Curves":
        """Slopes and second derivatives at the points, cached for Hessian products."""
        z = self.preactivations(x)
        slopes = [sigmoid(t, self.beta) for t in z]
        bends = [self.beta * s * sigmoid(-t, self.beta) for s, t in zip(slopes, z, strict=True)]
        F_l = self.head.expand(*x.shape[:-1], -1)
        sensitivities = [F_l]
        for W, s in zip(reversed(self.weights[1:]), reversed(slopes[1:]), strict=True):
            F_l = (F_l * s) @ W
            sensitivities.append(F_l)
        return Curves(self, slopes, bends, sensitivities[::-1])


@dataclass(frozen=True)
class Curves:
    r"""First and second derivatives of every neuron at one batch of points.

    Attributes:
        network: The network they belong to.
        slopes: :math:`s'(z_l)`, each ``[..., n_l]``.
        bends: :math:`s''(z_l)`, each ``[..., n_l]``.
        sensitivities: :math:`F_l = \partial f/\partial a_l`, each ``[..., n_l]``.
    """

    network: FeedForward
    slopes: list[Tensor]
    bends: list[Tensor]
    sensitivities: list[Tensor]

    @functools.cached_property
    def _weights(self) -> list[Tensor]:
        """``F_l s''_l``, each ``[..., n_l]``."""
        return [F_l * c for c, F_l in zip(self.bends, self.sensitivities, strict=True)]

    def gradient(self) -> Float[Tensor, "*batch n"]:
        """The gradient at every point, ``[..., n]``."""
        return (self.sensitivities[0] * self.slopes[0]) @ self.network.weights[0]

    def hvp(self, v: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        r"""Hessian-vector products :math:`\sum_l B_l^T \mathrm{diag}(F_l s''_l) B_l v`.

        One forward sweep of tangents, one backward sweep; no graph is built.

        Exactness: exact up to rounding. Cost: four products with the weights a layer.
        """
        tangent, curved = v, []
        for W, s, weight in zip(self.network.weights, self.slopes, self._weights, strict=True):
            t = tangent @ W.T
            curved.append(weight * t)
            tangent = s * t
        back = curved[-1] @ self.network.weights[-1]
        for W, s, u in zip(
            reversed(self.network.weights[:-1]), reversed(self.slopes[:-1]), reversed(curved[:-1]), strict=True
        ):
            back = (s * back + u) @ W
        return back

    def hessian(self) -> Float[Tensor, "*batch n n"]:
        """The dense Hessian, exactly symmetric, ``[..., n, n]``."""
        B: Tensor | None = None
        H: Tensor | float = 0.0
        for W, s, c, F_l in zip(self.network.weights, self.slopes, self.bends, self.sensitivities, strict=True):
            A = W.expand(*s.shape[:-1], *W.shape) if B is None else W @ B
            H = H + A.mT @ ((F_l * c)[..., None] * A)
            B = s[..., None] * A
        assert isinstance(H, Tensor)
        return (H + H.mT) / 2


@dataclass(frozen=True, kw_only=True)
class Unrolled:
    """A network with all its outputs as matrices; ``scalar`` picks one, and shares them.

    Attributes:
        weights: As in ``FeedForward``.
        biases: As there.
        heads: ``[classes, n_{L-1}]``.
        head_biases: ``[classes]``.
        beta: As there.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    heads: Tensor
    head_biases: Tensor
    beta: float

    def scalar(self, target_class: int) -> FeedForward:
        """The network of one output.

        Raises:
            ValueError: If ``target_class`` is out of range.
        """
        classes = len(self.heads)
        if not 0 <= target_class < classes:
            raise ValueError(f"expected target_class in 0..{classes - 1}, got {target_class}")
        return FeedForward(
            weights=self.weights, biases=self.biases, head=self.heads[target_class].clone(),
            head_bias=self.head_biases[target_class].clone(), beta=self.beta,
        )  # fmt: skip


def feed_forward(module: nn.Module, x: Float[Tensor, "*shape"], target_class: int) -> FeedForward:
    """Unroll a softened feed-forward module into matrices, for one output.

    Args:
        module: As in ``unroll``.
        x: As there.
        target_class: Which output is the scalar field.

    Raises:
        UnsupportedModuleError: As ``unroll``.
        ValueError: If ``target_class`` is out of range or the softplus betas differ.
    """
    return unroll(module, x).scalar(target_class)


def unroll(module: nn.Module, x: Float[Tensor, "*shape"]) -> Unrolled:
    """Unroll a softened feed-forward module into matrices, for all outputs.

    Args:
        module: A stack of linear, convolution, batch norm, average pool, flatten and
            softplus layers (one beta), that ends in a linear layer. Not changed.
        x: One point without the batch dimension; only its shape is used.

    Raises:
        UnsupportedModuleError: If a layer is of another kind, or carries a forward hook; names its path.
        ValueError: If the softplus betas differ.
    """
    own, probe = copy.deepcopy(module).double(), probe_point(x.shape)
    stages = chain(own)
    with torch.no_grad():
        require_same_output(functools.reduce(lambda a, stage: stage(a), stages, probe), own, probe)
    shape, n = x.shape, x.numel()
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    W, b = torch.eye(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    betas = set()
    fresh = True
    for stage in stages:
        if isinstance(stage, Softplus):
            weights.append(W)
            biases.append(b)
            betas.add(stage.beta)
            n = len(b)
            W, b, fresh = torch.eye(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64), True
            continue
        A, c, shape = _unroll(stage, shape)
        W, b = (A, c) if fresh else (A @ W, A @ b + c)
        fresh = False
    if not weights or len(betas) > 1:
        raise ValueError(f"expected softplus layers that share one beta, got betas {sorted(betas)}; call soften first")
    return Unrolled(weights=tuple(weights), biases=tuple(biases), heads=W, head_biases=b, beta=betas.pop())


def chain(module: nn.Module) -> list[Callable[[Tensor], Tensor]]:
    """The layers of a softened feed-forward module in order, before any is written as a matrix.

    Args:
        module: As in ``unroll``.

    Raises:
        UnsupportedModuleError: As ``unroll``; names the first layer that does not fit.
    """
    require_fixed(module)
    try:
        graph = trace_graph(module)
    except Exception as error:
        raise UnsupportedModuleError(f"torch.fx cannot trace {type(module).__name__}: {error}") from error
    modules = dict(module.named_modules(remove_duplicate=False))
    stages: list[Callable[[Tensor], Tensor]] = []
    previous: fx.Node | None = None
    for node in graph.nodes:
        if node.op == "placeholder":
            previous = node
            continue
        if node.op == "output" and node.args[0] is previous:
            continue
        if node.op == "get_attr" or _reads_shape(node):
            continue
        if not node.args or node.args[0] is not previous:
            raise UnsupportedModuleError(
                f"'{node.target}' is not part of a plain chain of layers; only feed-forward stacks unroll"
            )
        stages.append(_stage(node, modules))
        previous = node
    return stages


def _reads_shape(node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target == "size"
    if node.target is getattr:
        return str(node.args[1]) == "shape"
    return node.target is operator.getitem and isinstance(node.args[0], fx.Node) and _reads_shape(node.args[0])


def _stage(node: fx.Node, modules: dict[str, nn.Module]) -> Callable[[Tensor], Tensor]:
    if node.op == "call_module":
        layer = modules[str(node.target)]
        if isinstance(layer, (Softplus, *_LINEAR)) and getattr(layer, "cap", None) is None:
            return layer
        raise UnsupportedModuleError(f"layer '{node.target}' ({layer}) is neither linear nor a softplus without a cap")
    arguments: Any = (node.args[1:], dict(node.kwargs))
    if node.op == "call_function" and node.target in _LINEAR_FUNCTIONS:
        function: Callable[..., Any] = node.target
        return lambda t: function(t, *arguments[0], **arguments[1])
    if node.op == "call_method" and node.target in _SHAPE_METHODS:
        return _reshaping(node)
    raise UnsupportedModuleError(f"operation '{node.target}' is neither linear nor a softplus of soften()")


def _reshaping(node: fx.Node) -> Callable[[Tensor], Tensor]:
    """A view, reshape or flatten whose first dimension is the batch's, whatever size was traced."""
    method, arguments = str(node.target), list(node.args[1:])
    if method in ("view", "reshape"):
        sizes = list(arguments[0]) if arguments and isinstance(arguments[0], tuple | list) else arguments
        if not sizes or not all(isinstance(size, int) for size in sizes[1:]):
            raise UnsupportedModuleError(f"'{node}' reshapes to {sizes}; only sizes known in advance unroll")
        known = [int(str(size)) for size in sizes[1:]]
        return lambda t: t.reshape(len(t), *known)
    keywords = dict(node.kwargs)
    return lambda t: getattr(t, method)(*arguments, **keywords)


def _unroll(stage: Callable[[Tensor], Tensor], shape: torch.Size) -> tuple[Tensor, Tensor, torch.Size]:
    """Matrix and offset of one affine stage; a column is exact, as adding zeros does not round."""
    linear = _linear_part(stage)
    eye = torch.eye(shape.numel(), dtype=torch.float64)
    with torch.no_grad():
        offset = stage(torch.zeros(1, *shape, dtype=torch.float64))
        columns = [linear(rows.reshape(-1, *shape)).flatten(1) for rows in eye.split(256)]
    return torch.cat(columns).T.contiguous(), offset.flatten(), offset.shape[1:]


def _linear_part(stage: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    if isinstance(stage, nn.Linear):
        return lambda t: F.linear(t, stage.weight)
    if isinstance(stage, nn.Conv1d | nn.Conv2d):
        return lambda t: stage._conv_forward(t, stage.weight, None)
    if isinstance(stage, nn.BatchNorm1d | nn.BatchNorm2d):
        mean = stage.running_mean
        if mean is None or stage.running_var is None:
            raise UnsupportedModuleError(f"{stage} keeps no running statistics, so it is not a fixed linear layer")
        variance = stage.running_var
        return lambda t: F.batch_norm(t, torch.zeros_like(mean), variance, stage.weight, None, eps=stage.eps)
    return stage
