"""The result that every rung of the ladder fills, each only in the fields that it promises."""

from dataclasses import dataclass
from typing import Literal

Exactness = Literal["upper bound", "enclosure", "none"]


@dataclass(frozen=True, kw_only=True)
class Bound:
    r"""One rung's certified numbers for one point and radius.

    Attributes:
        hessian: Upper bound on :math:`\|H(y)\|_2` for all y in the ball, or None.
        gradient_change: Upper bound on :math:`\|G(y) - G(x)\|_2` in the ball, or None.
        curvature: Upper bound on :math:`\max_i |\kappa_i(y)|` in the ball, 1/length, or None.
        exactness: What the numbers are; "none" when the rung does not apply.
        seconds: Time that the rung took.
        reason: Why a rung gave nothing, or less than it promises; empty otherwise.
    """

    hessian: float | None = None
    gradient_change: float | None = None
    curvature: float | None = None
    exactness: Exactness = "upper bound"
    seconds: float = 0.0
    reason: str = ""
