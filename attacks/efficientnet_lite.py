"""EfficientNet-Lite0 from plain convolutions, with batch norm folded into them.

Written against torch's own layers, as the code package of 2020 is not maintained; a test
compares the outputs with it. Every activation is a ``nn.ReLU6`` module, so the network can
be traced and softened. Source: https://github.com/tensorflow/tpu, EfficientNet-Lite.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_EPS = 1e-3  # batch norm's epsilon in the published weights
_CLASSES, _STEM, _HEAD = 1000, 32, 1280


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


_LITE0 = (
    _Stage(1, 3, 1, 1, 16), _Stage(2, 3, 2, 6, 24), _Stage(2, 5, 2, 6, 40), _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112), _Stage(4, 5, 2, 6, 192), _Stage(1, 3, 1, 6, 320),
)  # fmt: skip


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, linear projection, and a sum where the shapes agree."""

    def __init__(self, channels: int, stage: _Stage, *, stride: int) -> None:
        super().__init__()
        wide = channels * stage.expand
        layers: list[nn.Module] = []
        if stage.expand > 1:
            layers += [nn.Conv2d(channels, wide, 1), nn.ReLU6()]
        layers += [
            *_same_conv(wide, wide, (stage.kernel, stride), groups=wide),
            nn.ReLU6(),
            nn.Conv2d(wide, stage.channels, 1),
        ]
        self.body = nn.Sequential(*layers)
        self.skip = stride == 1 and channels == stage.channels

    def forward(self, x: Any) -> Any:  # torch.fx traces with proxies, which are no tensors
        """Map ``[B, C, H, W]`` to the block's output."""
        y = self.body(x)
        return x + y if self.skip else y


def efficientnet_lite0(*, width: float = 1.0, classes: int = _CLASSES, stages: int = len(_LITE0)) -> nn.Sequential:
    """The untrained network for inputs ``[B, 3, H, W]``, made for 224x224.

    Args:
        width: Factor on the channels, for small copies in tests.
        classes: Number of outputs.
        stages: How many of the seven stages to build, for shallow copies in tests.
    """

    def scaled(channels: int) -> int:
        return max(4, round(channels * width))

    channels = scaled(_STEM)
    layers: list[nn.Module] = [*_same_conv(3, channels, (3, 2), groups=1), nn.ReLU6()]
    for stage in _LITE0[:stages]:
        for repeat in range(stage.repeats):
            block = stage._replace(channels=scaled(stage.channels))
            layers.append(InvertedResidual(channels, block, stride=stage.stride if repeat == 0 else 1))
            channels = block.channels
    head = scaled(_HEAD)
    layers += [
        nn.Conv2d(channels, head, 1),
        nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(head, classes),
    ]
    return nn.Sequential(*layers)


def _same_conv(inputs: int, outputs: int, size: tuple[int, int], *, groups: int) -> list[nn.Module]:
    """TensorFlow's SAME padding for even inputs: one pixel less on the first side at stride 2."""
    kernel, stride = size
    if stride == 1:
        return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups)]
    total = kernel - stride
    before, after = total // 2, total - total // 2
    padding = nn.ZeroPad2d((before, after, before, after))
    return [padding, nn.Conv2d(inputs, outputs, kernel, stride=stride, groups=groups)]


def load_published_weights(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy the published weights in, each batch norm folded into the convolution before it.

    Raises:
        ValueError: If the file's layers do not fit the network's.
    """
    folded = list(_folded(state))
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    if [w.shape for w, _ in folded] != [layer.weight.shape for layer in layers]:
        raise ValueError(
            f"expected weights for {len(layers)} layers of EfficientNet-Lite0, got {len(folded)} or other shapes"
        )
    with torch.no_grad():
        for layer, (weight, bias) in zip(layers, folded, strict=True):
            assert layer.bias is not None
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)


def _folded(state: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    keys = [key for key in state if key.endswith("weight") and ("conv" in key or key == "_fc.weight")]
    norms = iter([key.removesuffix("running_mean") for key in state if key.endswith("running_mean")])
    for key in keys:
        weight = state[key].double()
        if key == "_fc.weight":
            yield weight, state["_fc.bias"].double()
            continue
        norm = next(norms)
        mean, var = state[norm + "running_mean"].double(), state[norm + "running_var"].double()
        scale = state[norm + "weight"].double() / torch.sqrt(var + _EPS)
        yield weight * scale[:, None, None, None], state[norm + "bias"].double() - mean * scale
