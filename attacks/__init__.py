"""Explanations of networks, attacks on them, and what curvature says about both."""

from attacks.attack import ATTACKS, Attack
from attacks.config import AttackConfig, load_table, preset
from attacks.datasets import ImageSet, load_images
from attacks.defences import DEFENCES, Defence, load_defence
from attacks.diagnostics import CurvatureTrace, TracePoint
from attacks.explanations import EXPLANATIONS, explain, relevance
from attacks.images import load_picture, picture_names
from attacks.manipulation import AttackResult, manipulate, target_map
from attacks.networks import NETWORKS, Network, load_network
from attacks.pixel_flipping import PixelFlipping, maps_of, pixel_flipping, random_maps
from attacks.plots import plot_map, plot_maps, plot_overview, plot_trace
from attacks.storage import load_result, save_result
from attacks.targets import Target, load_target, map_of_drawing, map_of_text

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
    "PixelFlipping",
    "Target",
    "TracePoint",
    "explain",
    "load_defence",
    "load_images",
    "load_network",
    "load_picture",
    "load_result",
    "load_table",
    "load_target",
    "manipulate",
    "map_of_drawing",
    "map_of_text",
    "maps_of",
    "picture_names",
    "pixel_flipping",
    "plot_map",
    "plot_maps",
    "plot_overview",
    "plot_trace",
    "preset",
    "random_maps",
    "relevance",
    "save_result",
    "target_map",
]
