"""What a network's weights were when something was prepared from them, so that it can be kept until they change."""

import itertools
import weakref
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Snapshot:
    """Tensors as they are now: which ones, and what they hold.

    The tensors themselves are kept, so that no new one can take the address of one that is gone; and a copy of what
    they hold, as a write through ``.data`` moves neither the address nor the version. Comparing is exact.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._tensors = tuple(tensors)
        self._addresses = tuple(t.data_ptr() for t in self._tensors)
        self._held = tuple(t.detach().clone() for t in self._tensors)

    def is_of(self, tensors: Iterable[Tensor]) -> bool:
        """Whether these are the same tensors, and hold what they held. Cost: reads all of them once."""
        known = zip(self._tensors, self._addresses, self._held, strict=True)
        return all(
            now is not None and then is not None and _same(now, *then)
            for now, then in itertools.zip_longest(tensors, known)
        )


_SNAPSHOTS: "weakref.WeakKeyDictionary[nn.Module, Snapshot]" = weakref.WeakKeyDictionary()


def snapshot_of(module: nn.Module) -> Snapshot:
    """The snapshot of a network's parameters and buffers: the same object as long as none of them changes."""
    tensors = [*module.parameters(), *module.buffers()]
    known = _SNAPSHOTS.get(module)
    if known is None or not known.is_of(tensors):
        known = _SNAPSHOTS[module] = Snapshot(tensors)
    return known


def _same(now: Tensor, then: Tensor, address: int, held: Tensor) -> bool:
    if now is not then or now.data_ptr() != address or (now.dtype, now.device) != (held.dtype, held.device):
        return False
    return torch.equal(now.detach(), held)
