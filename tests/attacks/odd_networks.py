"""Networks of a user that something is wrong with, as factories for the command line."""

import torch
from torch import nn


def leaky() -> nn.Module:
    """An activation without a softened form, at the path '2'."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.LeakyReLU(), nn.Linear(8, 10))


def any_size() -> nn.Module:
    """No declared shape, but the first linear layer takes 64 numbers."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))


def double() -> nn.Module:
    """Weights of another dtype than pictures have."""
    return any_size().double()


def no_logits() -> nn.Module:
    """A picture comes out."""
    return nn.Conv2d(1, 4, 3)


def not_finite() -> nn.Module:
    """Weights that a training run has ruined."""
    network = any_size()
    nn.init.constant_(network[1].weight, torch.nan)
    return network


def broken() -> nn.Module:
    """A factory that fails."""
    raise RuntimeError("no such layer")
