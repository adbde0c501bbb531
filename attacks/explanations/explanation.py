"""The calls that every explanation method shares: relevance, and its normalised map."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attacks.explanations.grad_times_input import grad_times_input
from attacks.explanations.gradient import gradient
from attacks.explanations.guided_backprop import guided_backprop
from attacks.explanations.integrated_gradients import integrated_gradients
from attacks.explanations.lrp import lrp
from attacks.explanations.pattern_attribution import pattern_attribution
from attacks.networks import Network

Explanation = Callable[[Network, Tensor, Tensor], tuple[Tensor, Tensor]]
Wrapper = Callable[[Explanation], Explanation]  # a defence

EXPLANATIONS: dict[str, Explanation] = {
    "gradient": gradient,
    "grad_times_input": grad_times_input,
    "integrated_gradients": integrated_gradients,
    "lrp": lrp,
    "guided_backprop": guided_backprop,
    "pattern_attribution": pattern_attribution,
}


def relevance(
    network: Network | nn.Module,
    x: Tensor,
    target_class: int | Tensor | None = None,
    *,
    method: str = "gradient",
    defence: Wrapper | None = None,
) -> Float[Tensor, "b c h w"]:
    """Signed relevance of every input number, in the graph exactly when ``x`` requires grad.

    Args:
        network: A ``Network``, or a bare module (mean 0, std 1, inputs in [0, 1]).
        x: A batch ``[B, C, H, W]`` in the module's input space.
        target_class: One class for all, one a sample as ``[B]``, or None for the predicted ones.
        method: Key of ``EXPLANATIONS``.
        defence: Of ``DEFENCES``; explains what the defence makes of the method.

    Raises:
        ValueError: If a shape, a class or the method is not as expected, or x is not finite.
    """
    return relevance_and_logits(network, x, target_class, method=method, defence=defence)[0]


def explain(
    network: Network | nn.Module,
    x: Tensor,
    target_class: int | Tensor | None = None,
    *,
    method: str = "gradient",
    defence: Wrapper | None = None,
) -> Float[Tensor, "b h w"]:
    """The explanation map: absolute relevance summed over channels, scaled to sum 1.

    Arguments and errors are those of ``relevance``.

    Raises:
        ValueError: If the relevance of a sample is zero everywhere, so that it has no map.

    Source: arXiv 1906.07983, reference implementation.
    """
    return normalised_map(relevance(network, x, target_class, method=method, defence=defence))


def relevance_and_logits(
    network: Network | nn.Module,
    x: Tensor,
    target_class: int | Tensor | None = None,
    *,
    method: str = "gradient",
    defence: Wrapper | None = None,
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b k"]]:
    """``relevance`` together with the logits of the same pass."""
    network = Network.of(network)
    if method not in EXPLANATIONS:
        raise ValueError(f"expected a method among {', '.join(EXPLANATIONS)}, got {method!r}")
    network.check_input(x)
    classes = _classes(network, x, target_class)
    if network.module.training:
        raise ValueError("expected a network in eval mode, got one in training mode; call .eval() first")
    explanation = EXPLANATIONS[method] if defence is None else defence(EXPLANATIONS[method])
    r, logits = explanation(network, x, classes)
    return r, logits


def normalised_map(r: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """Absolute values summed over channels, divided by their sum, sample by sample.

    Raises:
        ValueError: If a sample's relevance is zero everywhere or not finite.
    """
    a = r.abs().sum(1)
    total = a.sum((1, 2), keepdim=True)
    _require_map(total)
    return a / total


def map_parts(r: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """What each channel adds to ``normalised_map``; nonnegative, of sum 1, with the same errors."""
    a = r.abs()
    total = a.sum((1, 2, 3), keepdim=True)
    _require_map(total)
    return a / total


def _require_map(total: Tensor) -> None:
    if not bool(((total > 0) & torch.isfinite(total)).all()):
        bad = [i for i, t in enumerate(total.flatten().tolist()) if not 0 < t < float("inf")]
        raise ValueError(
            f"expected relevance that is finite and not zero everywhere, got none in sample(s) {bad}; "
            "a zero gradient has no map"
        )


def _classes(network: Network, x: Tensor, target_class: int | Tensor | None) -> Tensor:
    if target_class is None:
        return network.predict(x)
    classes = torch.as_tensor(target_class, device=x.device)
    if classes.ndim == 0:
        classes = classes.expand(len(x))
    if classes.shape != (len(x),) or classes.is_floating_point() or int(classes.min()) < 0:
        raise ValueError(f"expected one class >= 0, or one for each of {len(x)} samples, got {target_class}")
    return classes
