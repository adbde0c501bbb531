r"""True upper bounds on the norms of linear layers without unrolling them.

**Convolution, zero padding.** On one axis let the input have n numbers, taps at offsets
:math:`da - p`, stride s. Writing an offset as :math:`sj + \rho`, the layer is a stride-1 correlation
of the s phases :math:`x_\rho[m] = x[sm+\rho]`, each of at most ``ceil(n/s)`` numbers, with taps j in a
range of J. It is a part of the circular correlation of any size ``N >= ceil(n/s) + J - 1``; its norm is
therefore at most the largest norm, over the N frequencies, of the matrix from (channels x phases) to
channels. Size n is wrong: there the wrapped-around taps may cancel (kernel [1, -1], n = 3).
**Circular padding**: N = n (N = n/s when s divides n, else the stride is dropped, which only adds rows); rows that
repeat cost a root of their multiplicity. **Reflect and replicate**: the padding map has norm
root of the largest number of times that a pixel is copied, on each axis.
Each group is a convolution of its own; the norm is the largest.

The transform is summed directly, entry by entry: its error is at most
:math:`64u + \gamma` times the absolute sum of the taps. Frequencies come in complex conjugate
pairs, so half of the last axis suffices.

**Average pooling** is a tensor product of two one-dimensional poolings, in every padding mode, so
norms multiply. ``count_include_pad=False`` can exceed 1.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from curvature.bounds.norms import TINY, UNIT, batch_norm_bound, frobenius_norm_bound, gamma, spectral_norm_bound
from curvature.errors import UnsupportedModuleError

_CHUNK = 2**22  # complex numbers held at once


class LinearNorms(NamedTuple):
    r"""Norms of a matrix W with rows w_i: :math:`\|W\|`, :math:`\max\|w_i\|`, :math:`\|\mathrm{diag}(\|w_i\|)W\|`."""

    norm: Fraction
    row: Fraction
    weighted: Fraction


class Axis(NamedTuple):
    """One axis of a convolution: tap positions by phase, circular size, multiplicity under the root."""

    phases: list[tuple[list[int], list[int]]]  # (indices of the taps, their positions j), one a phase
    size: int
    copies: int
    folds: int


def matrix_norms(W: Tensor) -> LinearNorms:
    """Norms of a dense matrix."""
    rows = frobenius_norm_bound(W, rows=True)
    scaled = rows[:, None] * W
    weighted = spectral_norm_bound(scaled, error=2 * UNIT * frobenius_norm_bound(scaled).item())
    return LinearNorms(Fraction(spectral_norm_bound(W)), Fraction(rows.max().item()), Fraction(weighted))


def diagonal_norms(scale: Tensor) -> LinearNorms:
    """Norms of a diagonal matrix."""
    largest = Fraction(scale.abs().max().item())
    return LinearNorms(largest, largest, largest**2)


def convolution_norms(layer: nn.Conv1d | nn.Conv2d, size: torch.Size, scale: Tensor | None = None) -> LinearNorms:
    """Norms of a convolution on inputs of spatial ``size``, its output channels multiplied by ``scale``.

    Raises:
        UnsupportedModuleError: If the padding mode is unknown.
    """
    kernel = layer.weight.detach().double()
    kernel = kernel[:, :, None] if kernel.ndim == 3 else kernel
    error = 0.0
    if scale is not None:
        kernel = kernel * scale[:, None, None, None]
        error = 8 * UNIT * kernel.abs().sum().item()  # the scale itself is a root and a quotient
    axes = _axes(layer, size)
    factor = math.sqrt(math.prod(axis.copies for axis in axes)) * (1 + 8 * UNIT)
    folds = math.sqrt(math.prod(axis.folds for axis in axes)) * (1 + 8 * UNIT)
    norm = kernel_norm_bound(kernel, axes, layer.groups, error) * factor
    rows = (frobenius_norm_bound(kernel.flatten(1), rows=True) * (1 + 16 * UNIT) + TINY) * folds
    scaled = kernel * rows[:, None, None, None]
    error = 16 * UNIT * scaled.abs().sum().item()
    weighted = kernel_norm_bound(scaled, axes, layer.groups, error) * factor
    return LinearNorms(*(Fraction(value * (1 + 8 * UNIT)) for value in (norm, rows.max().item(), weighted)))


def kernel_norm_bound(kernel: Tensor, axes: list[Axis], groups: int, error: float = 0.0) -> float:
    """Largest norm over frequencies and groups of a kernel ``[out, in/groups, h, w]`` that is off by ``error``."""
    vertical, horizontal = axes
    taps = kernel.abs().sum((2, 3))
    roundings = 64 * UNIT + gamma(4 * (kernel.shape[2] * kernel.shape[3] + 4))
    slack = (roundings * frobenius_norm_bound(taps).item() + error) * (1 + 8 * UNIT)
    columns = _size(horizontal) // 2 + 1
    blocks = len(vertical.phases) * len(horizontal.phases)
    step = max(1, _CHUNK // max(1, columns * kernel.shape[0] * kernel.shape[1] * blocks))
    largest = 0.0
    for first in range(0, _size(vertical), step):
        rows = torch.arange(first, min(first + step, _size(vertical)))
        parts = [
            torch.einsum("ocab,pa,qb->pqoc", kernel[:, :, a][:, :, :, b].to(torch.complex128), E, W)
            for a, E in _waves(vertical, rows)
            for b, W in _waves(horizontal, torch.arange(columns))
        ]
        symbol = torch.cat(parts, dim=-1).unflatten(2, (groups, -1))
        largest = max(largest, batch_norm_bound(symbol.flatten(0, 2), error=slack))
    return largest


def pooling_norms(pool: Callable[[Tensor], Tensor], size: int) -> LinearNorms:
    """Norms of a one-dimensional average pooling, given as a map of ``[batch, 1, n]``."""
    matrix = pool(torch.eye(size, dtype=torch.float64)[:, None])[:, 0].T.contiguous()
    return LinearNorms(*(value * (1 + Fraction(1, 2**50)) for value in matrix_norms(matrix)))


def average_pool_norms(layer: nn.AvgPool1d | nn.AvgPool2d, size: torch.Size) -> LinearNorms:
    """Norms of an average pooling on inputs of spatial ``size``.

    Raises:
        UnsupportedModuleError: If it overrides the divisor.
    """
    if getattr(layer, "divisor_override", None) is not None:
        raise UnsupportedModuleError(f"expected average pooling that divides by its window, got {layer}")
    options = zip(*(_pair(value, len(size)) for value in (layer.kernel_size, layer.stride, layer.padding)), strict=True)

    def pool(k: int, s: int, p: int) -> Callable[[Tensor], Tensor]:
        return lambda t: F.avg_pool1d(t, k, s, p, layer.ceil_mode, layer.count_include_pad)

    return tensor_product([pooling_norms(pool(*option), n) for option, n in zip(options, size, strict=True)])


def adaptive_pool_norms(output: tuple[int | None, ...], size: torch.Size) -> LinearNorms:
    """Norms of an adaptive average pooling on inputs of spatial ``size``."""

    def pool(m: int) -> Callable[[Tensor], Tensor]:
        return lambda t: F.adaptive_avg_pool1d(t, m)

    return tensor_product([pooling_norms(pool(m or n), n) for m, n in zip(output, size, strict=True)])


def tensor_product(factors: list[LinearNorms]) -> LinearNorms:
    """Norms of a tensor product of matrices: each is the product."""
    return LinearNorms(*(math.prod(values, start=Fraction(1)) for values in zip(*factors, strict=True)))


def _axes(layer: nn.Conv1d | nn.Conv2d, size: torch.Size) -> list[Axis]:
    padding = (0,) * len(size) if isinstance(layer.padding, str) else layer.padding
    if isinstance(layer.padding, str) and layer.padding_mode != "zeros":
        raise UnsupportedModuleError(
            f"expected padding in numbers for padding mode {layer.padding_mode!r}, got {layer.padding!r}"
        )
    options = zip(size, layer.kernel_size, layer.stride, padding, layer.dilation, strict=True)
    axes = [_axis(layer.padding_mode, *option) for option in options]
    return axes if len(axes) == 2 else [Axis([([0], [0])], 1, 1, 1), *axes]


def _axis(mode: str, n: int, k: int, s: int, p: int, d: int) -> Axis:  # noqa: PLR0913
    outputs, extent = n + 2 * p - d * (k - 1), d * (k - 1) + 1
    if mode == "circular":
        s = s if n % s == 0 else 1
        copies, folds = math.ceil(math.ceil(outputs / s) / (n // s)), math.ceil(extent / n)
        return Axis(_phases(k, s, p, d), n // s, max(copies, 1), folds)
    copies = 1
    if mode in ("reflect", "replicate") and p:
        index = F.pad(torch.arange(n, dtype=torch.float64)[None, None], (p, p), mode=mode).long().flatten()
        copies, n, p = int(torch.bincount(index).max()), n + 2 * p, 0
    elif mode not in ("zeros", "reflect", "replicate"):
        raise UnsupportedModuleError(f"expected padding mode zeros, circular, reflect or replicate, got {mode!r}")
    phases = _phases(k, s, p, d)
    positions = [j for _, js in phases for j in js]
    return Axis(phases, math.ceil(n / s) + max(positions) - min(positions), copies, copies)


def _phases(k: int, s: int, p: int, d: int) -> list[tuple[list[int], list[int]]]:
    offsets = [d * a - p for a in range(k)]
    kept = sorted({offset % s for offset in offsets})
    members = [[a for a, offset in enumerate(offsets) if offset % s == phase] for phase in kept]
    return [(taps, [offsets[a] // s for a in taps]) for taps in members]


def _size(axis: Axis) -> int:
    """Frequencies to look at: one is enough when every phase has one tap, all in the same place."""
    return axis.size if len({j for _, js in axis.phases for j in js}) > 1 else 1


def _waves(axis: Axis, frequencies: Tensor) -> list[tuple[list[int], Tensor]]:
    """For each phase its taps and ``exp(2 pi i j q / N)``, ``[frequencies, taps]``."""
    waves = []
    for taps, positions in axis.phases:
        turns = (frequencies[:, None] * torch.tensor(positions)) % axis.size  # exact, in integers
        angle = turns.double() * (2 * math.pi / axis.size)
        waves.append((taps, torch.complex(angle.cos(), angle.sin())))
    return waves


def _pair(value: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value) * (axes // len(value) if len(value) == 1 else 1)
