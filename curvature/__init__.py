"""Curvature of the level sets of softplus networks, and certified bounds on it."""

from curvature.bounds import BOUNDS, curvature_bounds, tightest
from curvature.bounds.bound import Bound
from curvature.certificate import Certificate, Certifier, certify_explanation, explanation_bounds
from curvature.demo_networks import contour_network, digits_network
from curvature.derivatives import fastest_order, gradient, hessian, hvp, hvp_order
from curvature.distance_bound import geodesic_distance_bound, level_set_is_connected
from curvature.errors import DegenerateLevelSetError, NoCertificateError, NotConvergedError, UnsupportedModuleError
from curvature.feedforward import FeedForward, feed_forward
from curvature.geodesics import geodesic, geodesic_distance
from curvature.level_set import (
    gaussian_curvature,
    mean_curvature,
    principal_curvatures,
    principal_directions,
    second_fundamental_form,
    shape_operator,
    tangent_frame,
    unit_normal,
)
from curvature.networks import hypotheses, logit, set_beta, soften
from curvature.noise import spherical_logistic
from curvature.penalty import curvature_penalty
from curvature.projection import project_to_level_set
from curvature.search import attained_change, attained_curvature
from curvature.spectrum import ExtremeCurvatures, extreme_curvatures

__all__ = [
    "BOUNDS",
    "Bound",
    "Certificate",
    "Certifier",
    "DegenerateLevelSetError",
    "ExtremeCurvatures",
    "FeedForward",
    "NoCertificateError",
    "NotConvergedError",
    "UnsupportedModuleError",
    "attained_change",
    "attained_curvature",
    "certify_explanation",
    "contour_network",
    "curvature_bounds",
    "curvature_penalty",
    "digits_network",
    "explanation_bounds",
    "extreme_curvatures",
    "fastest_order",
    "feed_forward",
    "gaussian_curvature",
    "geodesic",
    "geodesic_distance",
    "geodesic_distance_bound",
    "gradient",
    "hessian",
    "hvp",
    "hvp_order",
    "hypotheses",
    "level_set_is_connected",
    "logit",
    "mean_curvature",
    "principal_curvatures",
    "principal_directions",
    "project_to_level_set",
    "second_fundamental_form",
    "set_beta",
    "shape_operator",
    "soften",
    "spherical_logistic",
    "tangent_frame",
    "tightest",
    "unit_normal",
]
