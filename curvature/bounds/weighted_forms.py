"""A network's matrices as the bounds in operator norms use them: equal columns once, zeros skipped, weighted forms."""

import math
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from curvature.bounds.rounding import TINY, gamma, positive_form_bound, up

_SPARSE = 2**20  # numbers in a matrix from which zeros are worth skipping


class Merged(NamedTuple):
    """A matrix as ``C[:, groups]``: equal columns, as those of one pooling window, are kept once."""

    C: Tensor
    groups: Tensor

    def pool(self, v: Tensor) -> Tensor:
        """Sums of the rows (or numbers) of ``v`` over each set of equal columns."""
        return torch.zeros(self.C.shape[1], *v.shape[1:], dtype=v.dtype).index_add_(0, self.groups, v)


class Layers:
    """What the bounds need of the matrices alone; serves all points, radii and classes of a network."""

    def __init__(self, weights: tuple[Tensor, ...]) -> None:
        self.weights = weights
        self.merged = [_merge(W) for W in weights[1:]]
        first = weights[0]
        sparse = first.numel() >= _SPARSE and float((first != 0).double().mean()) < 0.1
        self.first = scipy.sparse.csr_array(first.numpy()) if sparse else None

    def first_form(self, weights: Tensor) -> Tensor:
        """``W_1^T diag(weights) W_1``."""
        if self.first is None:
            return weighted_form(self.weights[0], weights)
        scaled = self.first.multiply(weights.numpy()[:, None]).tocsr()
        return torch.from_numpy((self.first.T @ scaled).toarray())


def _merge(W: Tensor) -> Merged:
    columns = np.ascontiguousarray(W.T.numpy())
    keys = columns.view(np.dtype((np.void, columns.shape[1] * columns.itemsize))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return Merged(W[:, torch.from_numpy(first)].contiguous(), torch.from_numpy(inverse))


def weighted_form(A: Tensor, weights: Tensor) -> Tensor:
    """``A^T diag(weights) A``."""
    return A.T @ (weights[:, None] * A)


def small_form(A: Tensor, weights: Tensor) -> Tensor:
    r"""The smaller of :math:`A^TwA` and :math:`\sqrt w AA^T\sqrt w`, which share their largest eigenvalue."""
    B = weights.sqrt()[:, None] * A
    return B @ B.T if len(B) < B.shape[1] else B.T @ B


def form_bound(form: Tensor, terms: int) -> float:
    """The largest eigenvalue of a computed form with weights >= 0, its own rounding included."""
    trace = float(form.diagonal().sum())
    return positive_form_bound((form + form.T) / 2) + 4 * gamma(2 * (terms + len(form)) + 64) * trace + TINY


def weighted_norm(C: Tensor, left: Tensor, right: Tensor) -> float:
    r"""Bound of :math:`\|\sqrt{left}\,C\sqrt{right}\|` for weights >= 0."""
    return up(math.sqrt(form_bound(small_form(right.sqrt() * C, left), max(C.shape))))
