"""The call that every attack answers, and the table of attacks."""

from functools import partial
from typing import Any, Protocol

from jaxtyping import Int
from torch import Tensor, nn

from attacks.config import AttackConfig, has_own_row
from attacks.defences import Defence
from attacks.diagnostics import CurvatureTrace
from attacks.ghorbani import check_options, ghorbani
from attacks.manipulation import AttackResult, Steps, manipulate
from attacks.networks import Network
from attacks.on_level_set import fixed_beta, on_level_set


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


ATTACKS: dict[str, Attack] = {
    "manipulate": manipulate,
    "on_level_set": on_level_set,
    "ghorbani_top_k": partial(ghorbani, variant="top_k"),
    "ghorbani_mass_centre": partial(ghorbani, variant="mass_centre"),
    "ghorbani_target_region": partial(ghorbani, variant="target_region"),
}


def check_attack(attack: str, config: AttackConfig | None = None, *, pixels: int | None = None, **options: Any) -> None:
    """Refuse hyper-parameters and options that an attack cannot run with, before anything runs.

    Args:
        attack: Key of ``ATTACKS``.
        config: Its hyper-parameters, if they are known.
        pixels: Of a map, if they are known.
        **options: What the attack takes beside the common arguments.

    Raises:
        ValueError: With what was expected.
    """
    if attack == "on_level_set" and config is not None:
        fixed_beta(config)
    if has_own_row(attack):
        check_options(pixels=pixels, **options)
        if config is not None:
            config.require_plain(attack)
