"""Curvature of the level sets of softplus networks, and certified bounds on it."""

from curvature.derivatives import fastest_order, gradient, hessian, hvp, hvp_order
from curvature.errors import DegenerateLevelSetError, NoCertificateError, NotConvergedError, UnsupportedModuleError
from curvature.feedforward import FeedForward, feed_forward
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
from curvature.spectrum import ExtremeCurvatures, extreme_curvatures

__all__ = [
    "DegenerateLevelSetError",
    "ExtremeCurvatures",
    "FeedForward",
    "NoCertificateError",
    "NotConvergedError",
    "UnsupportedModuleError",
    "extreme_curvatures",
    "fastest_order",
    "feed_forward",
    "gaussian_curvature",
    "gradient",
    "hessian",
    "hvp",
    "hvp_order",
    "hypotheses",
    "logit",
    "mean_curvature",
    "principal_curvatures",
    "principal_directions",
    "second_fundamental_form",
    "set_beta",
    "shape_operator",
    "soften",
    "tangent_frame",
    "unit_normal",
]
