r"""Noise whose average of a ReLU's gate is the softplus gate, for every weight vector at once.

:math:`\varepsilon = (2K/\beta) Z`, :math:`Z \sim N(0, I)`, K Kolmogorov-distributed,
:math:`P(K < k) = 1 + 2\sum_{j\ge1} (-1)^j e^{-2j^2k^2}`, one K for all coordinates of a sample.

By parts, :math:`E\,e^{-2s^2K^2} = \int_0^\infty 4s^2k\,e^{-2s^2k^2} P(K<k)\,dk
= 1 + 2\sum_j (-1)^j \frac{s^2}{s^2+j^2} = \frac{\pi s}{\sinh \pi s}` (Mittag-Leffler). Given K,
:math:`w^T\varepsilon \sim N(0, 4K^2\|w\|^2/\beta^2)`, so its characteristic function is that of a logistic
variable of scale :math:`\|w\|/\beta` and :math:`P(w^T\varepsilon < w^T x) = \sigma(\beta w^T x/\|w\|)`: the
gate :math:`s'_{\beta/\|w\|}(w^T x)`. The product of logistic densities has this only for w on an axis.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kstwobign
from torch import Tensor

_BITS = 53


def spherical_logistic(
    shape: Sequence[int], beta: float, *, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> Tensor:
    r"""Spherical logistic noise: every projection :math:`w^T\varepsilon` is logistic of scale :math:`\|w\|/\beta`.

    Exact for a whole one-hidden-layer ReLU network with linear head: neuron i is averaged to a
    softplus of sharpness :math:`\beta/\|w_i\|`.

    Args:
        shape: ``[samples, *point]``; each sample has its own K, which its coordinates share.
        beta: Sharpness of the softplus for a weight vector of norm one, > 0.
        generator: Source of randomness; the same state gives the same noise.
        dtype: Of the result; draws are made in float64.

    Returns:
        A tensor of ``shape`` on the generator's device, in units of the input.

    Raises:
        ValueError: If ``shape`` is empty or beta is not finite and positive.

    Exactness: K by inversion at uniform numbers that are fine in both tails, down to
    probabilities of 2^-107; a fixed seed gives the same numbers.
    Source: Andrews & Mallows 1974, Scale mixtures of normal distributions, section 3.
    """
    if not shape:
        raise ValueError("expected a shape [samples, *point], got an empty one")
    if not 0 < beta < math.inf:
        raise ValueError(f"expected a finite beta > 0, got {beta}")
    K = kolmogorov(shape[0], generator=generator)
    Z = torch.randn(*shape, generator=generator, dtype=torch.float64, device=generator.device)
    return (2 / beta * K.reshape(-1, *[1] * (len(shape) - 1)) * Z).to(dtype)


def kolmogorov(samples: int, *, generator: torch.Generator) -> Tensor:
    """Draws of the Kolmogorov distribution, ``[samples]``, float64, by inversion from the nearer tail."""
    tail = _half_uniform(samples, generator)
    right = torch.randint(2, (samples,), generator=generator, device=generator.device).bool()
    lower, upper = (torch.from_numpy(inverse(tail)).to(generator.device) for inverse in (kstwobign.ppf, kstwobign.isf))
    return torch.where(right, upper, lower)


def _half_uniform(samples: int, generator: torch.Generator) -> NDArray[np.float64]:
    """Uniform on (0, 1/2) with a full mantissa however small: a number in [1/2, 1) times ``2^-zeros``.

    ``torch.rand`` has steps of 2^-53, which would cut the tails off at 1e-16.
    """
    words = torch.randint(2**_BITS, (3, samples), generator=generator, device=generator.device).double()
    # A word below 2^(BITS - k) starts with k zeros, which has probability 2^-k.
    zeros = _BITS - torch.frexp(words[:2]).exponent
    zeros = torch.where(words[0] == 0, _BITS + zeros[1], zeros[0])
    mantissa = 0.5 + (words[2] + 0.5) * 2.0 ** -(_BITS + 1)
    return np.ldexp(mantissa.cpu().numpy(), -(zeros + 1).cpu().numpy())
