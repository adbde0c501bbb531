"""The gate of Theorem 2 under the product noise of eq. 26."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def product_gate(w: Array, t: Array) -> Array:
    r"""P(w.eps < t ||w||) for independent logistic components, at many t.

    Gil-Pelaez: 1/2 + (1/pi) integral of prod phi(w_i s) sin(t s)/s, by the trapezoidal rule; phi(s) = pi s/sinh(pi s),
    in logarithms as the product may underflow. Equal components are taken once, zero ones left out.
    """
    s = np.linspace(0, 14, 2801)[1:]
    values, counts = np.unique(np.abs(w) / np.linalg.norm(w), return_counts=True)
    log_phi = np.zeros_like(s)
    for value, count in zip(values[values > 1e-12], counts[values > 1e-12], strict=True):
        x = np.pi * value * s
        log_phi += count * (np.log(2 * x) - x - np.log(-np.expm1(-2 * x)))
    integrand = np.exp(log_phi) * np.sin(np.outer(t, s)) / s
    total = (integrand.sum(1) + t / 2 - integrand[:, -1] / 2) * (s[1] - s[0])  # t: the limit of the integrand at 0
    return np.asarray(0.5 + total / np.pi)
