"""Small members of the five families of networks, in float64, with fitted patterns."""

import dataclasses
import functools

import torch
from torch import nn
from torchvision import models
from torchvision.models.resnet import BasicBlock

from attacks import Network
from attacks.efficientnet_lite import efficientnet_lite0
from attacks.explanations.patterns import fit_patterns
from tests.strategies import normal

SIDE = 32
FAMILIES = ("plain", "vgg", "alexnet", "resnet", "densenet", "efficientnet")


def vgg() -> nn.Module:
    """Pairs of 3x3 convolutions, max-pooling of disjoint windows, two linear layers."""
    features = models.vgg.make_layers([6, 6, "M", 12, "M"])
    return nn.Sequential(
        features, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(108, 16), nn.ReLU(True), nn.Dropout(),
        nn.Linear(16, 4),
    )  # fmt: skip


def alexnet() -> nn.Module:
    """A large stride, and max-pooling of windows that overlap."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU(True), nn.MaxPool2d(3, 2), nn.Conv2d(8, 12, 3, padding=1),
        nn.ReLU(True), nn.MaxPool2d(3, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(48, 16),
        nn.ReLU(True), nn.Linear(16, 4),
    )  # fmt: skip


def resnet() -> nn.Module:
    """Two residual blocks of torchvision, the second with a strided shortcut."""
    shortcut = nn.Sequential(nn.Conv2d(6, 10, 1, 2, bias=False), nn.BatchNorm2d(10))
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU(True), nn.MaxPool2d(3, 2, 1),
        BasicBlock(6, 6), BasicBlock(6, 10, 2, shortcut), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 4),
    )  # fmt: skip


def densenet() -> nn.Module:
    """torchvision's DenseNet with two dense blocks: concats, and batch norm before convolutions."""
    return models.DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, bn_size=2, num_classes=4)


def plain() -> nn.Module:
    """A feed-forward network with a strided convolution and average pooling."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 4, stride=4), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU6(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(96, 12), nn.ReLU(), nn.Linear(12, 4),
    )  # fmt: skip


@functools.cache
def family(name: str) -> Network:
    """A seeded network of a family, batch norms used, patterns fitted on noise."""
    build = {"vgg": vgg, "alexnet": alexnet, "resnet": resnet, "densenet": densenet, "plain": plain}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = efficientnet_lite0(width=0.25, classes=4, stages=3) if name == "efficientnet" else build[name]()
    module = module.double().train()
    images = inputs(8)
    with torch.no_grad():
        for i, parameter in enumerate(p for p in module.parameters() if p.ndim == 1):
            parameter.add_(normal(i, *parameter.shape) / 10)
        for _ in range(60):
            module(images)  # batch norm's running statistics become those of the images
    network = Network(module=module.eval(), mean=(0.5,) * 3, std=(0.25,) * 3, name=name)
    return dataclasses.replace(network, patterns=fit_patterns(network, [images]))


def inputs(count: int) -> torch.Tensor:
    """Valid inputs ``[count, 3, 32, 32]`` of these networks, in [-2, 2]."""
    return 4 * torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5), dtype=torch.float64) - 2
