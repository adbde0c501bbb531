"""The call that every attack answers, and the table of attacks."""

from typing import Protocol

from jaxtyping import Int
from torch import Tensor, nn

from attacks.config import AttackConfig
from attacks.defences import Defence
from attacks.diagnostics import CurvatureTrace
from attacks.manipulation import AttackResult, Steps, manipulate
from attacks.networks import Network


class Attack(Protocol):
    """``manipulate`` describes the arguments and the result; an attack names what it does differently."""

    def __call__(  # noqa: PLR0913
        self,
        network: Network | nn.Module,
        x: Tensor,
        target: Tensor,
        *,
        config: AttackConfig,
        target_class: Int[Tensor, " b"] | None = None,
        defence: Defence | None = None,
        trace: CurvatureTrace | None = None,
        steps: Steps = iter,
        chunk: int = 1,
    ) -> AttackResult:
        """Change ``x`` so that its explanation map changes."""


ATTACKS: dict[str, Attack] = {"manipulate": manipulate}
