"""The output of each sample's class."""

from jaxtyping import Float, Int
from torch import Tensor


def chosen(outputs: Float[Tensor, "b k"], target_class: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Each sample's entry of its class.

    Raises:
        ValueError: If a class is out of range.
    """
    if int(target_class.max()) >= outputs.shape[1]:
        raise ValueError(f"expected classes in 0..{outputs.shape[1] - 1}, got {int(target_class.max())}")
    return outputs.gather(1, target_class[:, None])[:, 0]
