"""Explanations of networks, attacks on them, and what curvature says about both."""

from attacks.attack import ATTACKS, Attack
from attacks.config import AttackConfig, load_table, preset
from attacks.datasets import ImageSet, load_images
from attacks.defences import DEFENCES, Defence
from attacks.diagnostics import CurvatureTrace, TracePoint
from attacks.explanations import EXPLANATIONS, explain, relevance
from attacks.images import load_picture, picture_names
from attacks.manipulation import AttackResult, manipulate, target_map
from attacks.networks import NETWORKS, Network, load_network
from attacks.plots import plot_map, plot_overview, plot_trace
from attacks.storage import load_result, save_result

__all__ = [
    "ATTACKS",
    "DEFENCES",
    "EXPLANATIONS",
    "NETWORKS",
    "Attack",
    "AttackConfig",
    "AttackResult",
    "CurvatureTrace",
    "Defence",
    "ImageSet",
    "Network",
    "TracePoint",
    "explain",
    "load_images",
    "load_network",
    "load_picture",
    "load_result",
    "load_table",
    "manipulate",
    "picture_names",
    "plot_map",
    "plot_overview",
    "plot_trace",
    "preset",
    "relevance",
    "save_result",
    "target_map",
]
