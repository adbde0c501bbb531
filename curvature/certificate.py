r"""How far the explanation of one input can move inside a ball, certified.

The explanation is the unit normal :math:`n = G/\|G\|` of the level set (the gradient map up to
its length) and the abs-sum map :math:`h = a/\sum a`, a = |G|. With
:math:`G(y) = G + Hu + G_2`, :math:`\|PG_2\| \le \gamma_t`, :math:`n\cdot G_2 \ge -\gamma_n`, the angle
:math:`\theta` between n(x) and n(y) obeys

- tangent form: :math:`\tan\theta \le (r\|PH\| + \gamma_t)/(\|G\| - r\|Hn\| - \gamma_n)`;
- arcsine form: :math:`\sin\theta \le \delta/\|G\|`, :math:`\delta \ge \|G(y) - G(x)\|`;
- displacement form: :math:`\theta \le r \sup\|H\|/(\|G\| - \delta)`, as :math:`\|Dn\| = \|PH\|/\|G\|`,

each when its denominator is positive. They hold for every y in the ball, on the level set or
not. The least gives the chord :math:`\|n(y) - n(x)\| \le 2\sin(\theta/2)`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from curvature.bounds.bound import Bound
from curvature.bounds.entrywise_local import entrywise_local
from curvature.bounds.first_order_local import GradientRemainder, LocalExpansion, expand
from curvature.bounds.operator_local import OperatorExpansion, Remainder, expand_in_norms
from curvature.bounds.rounding import gradient_with_error, up
from curvature.bounds.weighted_forms import Layers
from curvature.derivatives import require_finite
from curvature.errors import NoCertificateError, UnsupportedModuleError
from curvature.feedforward import FeedForward, unroll
from curvature.networks import hypotheses
from curvature.search import Ascent, attained_change, attained_curvature

_SHELLS = 4  # of the gradient's remainder; on the digits network more gain less than 2 %
_WIDE = 2**20  # numbers in a Jacobian above which only its norms are bounded, not its entries
_LARGE = 256  # numbers in a point above which the search is short


@dataclass(frozen=True, kw_only=True)
class Certificate:
    r"""What is proven, and what a search attained, about the ball :math:`B(x, r)`.

    Attributes:
        radius: r, in the units of x.
        change_bound: :math:`\|n(y) - n(x)\| \le` this, for every y in the ball; 2 if nothing is proven.
        cosine_bound: :math:`\cos\angle(n(x), n(y)) \ge` this; -1 if nothing is proven.
        map_change_bound: :math:`\|h(y) - h(x)\|_2 \le` this, for the abs-sum map; capped at sqrt(2).
        gradient_norm_bound: :math:`\|G(y)\| \ge` this; 0 if nothing is proven.
        curvature_bound: :math:`\max_i|\kappa_i(y)| \le` this, 1/length; None if not proven, or not asked for.
        vacuous: Whether ``change_bound`` says nothing.
        reason: Why the certificate, or its curvature, is vacuous; empty otherwise.
        change_attained: A change that a search found, from below; None without one.
        curvature_attained: A curvature that a search found, from below; None without one.
    """

    radius: float
    change_bound: float
    cosine_bound: float
    map_change_bound: float
    gradient_norm_bound: float
    curvature_bound: float | None
    vacuous: bool
    reason: str = ""
    change_attained: float | None = None
    curvature_attained: float | None = None


def certify_explanation(
    module: nn.Module, x: Float[Tensor, "*shape"], *, target_class: int, radius: float, search: bool = True
) -> Certificate:
    r"""Certify how far the explanation of ``x`` can move within ``radius``.

    Args:
        module: A softened feed-forward network (see ``soften``), in eval mode; not changed.
        x: One point without the batch dimension, with at least two numbers.
        target_class: The logit that is explained, held fixed.
        radius: Radius of the ball in the units of x, finite and >= 0.
        search: Also run the search for attained values; without it they are None.

    Returns:
        A certificate; ``vacuous`` with a reason where nothing is proven, never NaN.

    Raises:
        ValueError: If the radius is negative or not finite, or x is not finite or too small.
        UnsupportedModuleError: If a layer is not twice differentiable (ReLU, max-pool), named
            by its path, or the network is not a plain stack.

    Exactness: upper bounds (lower for cosine and gradient norm); attained values are estimates from
    the other side. Cost: the set-up of rung 8 and one radius; the search, a batched gradient a step.
    """
    require_radii([radius])
    certifier = Certifier(module, x)
    (certificate,) = certifier.certify(x, target_class=target_class, radii=[radius], curvature=True)
    if not search:
        return certificate
    return _with_attained(certificate, certifier.unrolled.scalar(target_class), x.detach().double().flatten())


def explanation_bounds(
    module: nn.Module,
    x: Float[Tensor, "*shape"],
    *,
    target_class: int,
    radii: Sequence[float],
    curvature: bool = False,
) -> list[Certificate]:
    """The certificates of one point at many radii, without a search; they share all that they can.

    Args:
        module: As in ``certify_explanation``.
        x: As there.
        target_class: As there.
        radii: Radii in any order, each finite and >= 0.
        curvature: Also bound the curvature, which takes most of the time; else it is None.

    Returns:
        One certificate a radius, in the order given; attained values are None.

    Raises:
        ValueError, UnsupportedModuleError: As ``certify_explanation``.

    Exactness: as there. Cost: one set-up; a radius then takes one remainder for each shell, of
    which a ball uses those of the smaller balls inside it.
    """
    require_radii(radii)
    return Certifier(module, x).certify(x, target_class=target_class, radii=radii, curvature=curvature)


class Certifier:
    """The certificates of one network, unrolled once for all points, classes and radii.

    Args:
        module: As in ``certify_explanation``; later changes of it are not seen.
        x: One point without the batch dimension; all points have its shape.

    Raises:
        ValueError: If x is not finite or too small.
        UnsupportedModuleError: As ``certify_explanation``.
    """

    def __init__(self, module: nn.Module, x: Float[Tensor, "*shape"]) -> None:
        _require_point(x)
        rough = hypotheses(module)
        if rough:
            named = "; ".join(f"'{r.path}' ({r.kind}) {r.reason}" for r in rough)
            raise UnsupportedModuleError(
                f"no certificate for a network that is not smooth: {named}; soften it, use average pooling"
            )
        self.shape = x.shape
        self.unrolled = unroll(module, x.detach().double())
        self._layers: Layers | None = None

    def certify(
        self, x: Float[Tensor, "*shape"], *, target_class: int, radii: Sequence[float], curvature: bool = False
    ) -> list[Certificate]:
        """The certificates of one point; see ``explanation_bounds``.

        Raises:
            ValueError: If x is not finite or of another shape, or a radius or the class is out of range.
        """
        _require_point(x)
        require_radii(radii)
        if x.shape != self.shape:
            raise ValueError(
                f"expected a point of shape {tuple(self.shape)}, got {tuple(x.shape)}; make a new Certifier"
            )
        channels = x.shape[0] if x.ndim == 3 else 1
        net = self.unrolled.scalar(target_class)
        point = x.detach().double().flatten()
        return certify_radii(net, point, radii, channels=channels, curvature=curvature, layers=self.layers)

    def layers(self) -> Layers:
        """What the bounds of wide networks share; prepared when first asked for."""
        if self._layers is None:
            self._layers = Layers(self.unrolled.weights)
        return self._layers


def require_radii(radii: Sequence[float]) -> None:
    """Reject an empty list, and radii that are negative or not finite."""
    if len(radii) == 0:
        raise ValueError("expected at least one radius, got none")
    for radius in radii:
        if not 0 <= radius < math.inf:
            raise ValueError(f"expected a finite radius >= 0, got {radius}")


def _require_point(x: Tensor) -> None:
    require_finite(x)
    if x.numel() < 2:
        raise ValueError(
            f"expected a point with at least two numbers, got shape {tuple(x.shape)}; in R^1 a normal cannot turn"
        )


def certify_network(
    net: FeedForward, x: Float[Tensor, " n"], radius: float, *, channels: int = 1, search: bool = True
) -> Certificate:
    """The certificate of a network that is given as matrices; see ``certify_explanation``.

    ``channels`` leading blocks of x are summed by the abs-sum map; nothing else depends on it.
    """
    (certificate,) = certify_radii(net, x, [radius], channels=channels, curvature=True)
    return _with_attained(certificate, net, x) if search else certificate


def _with_attained(certificate: Certificate, net: FeedForward, x: Tensor) -> Certificate:
    search = Ascent() if len(x) <= _LARGE else Ascent(steps=30, restarts=4)
    change = attained_change(net, x, certificate.radius, search=search).value
    bent = attained_curvature(net, x, certificate.radius, search=search).value
    return replace(certificate, change_attained=change, curvature_attained=bent)


def certify_radii(  # noqa: PLR0913
    net: FeedForward,
    x: Float[Tensor, " n"],
    radii: Sequence[float],
    *,
    channels: int = 1,
    curvature: bool = False,
    layers: Callable[[], Layers] | None = None,
) -> list[Certificate]:
    """The certificates of a network that is given as matrices; see ``explanation_bounds``.

    Balls are taken in ascending order up to the first of which nothing is proven: those that contain it are not tried.
    ``layers`` gives what the bounds of wide networks share; by default it is made anew.
    """
    certificates: dict[float, Certificate] = {}
    ascending = sorted(set(radii))
    try:
        G, off = gradient_with_error(net, x)
        norm = float(torch.linalg.vector_norm(G))
        off = up(2 * off / norm)  # ||a/||a|| - b/||b|| || <= 2 ||a - b||/||a||
        for radius, ball in zip(ascending, _balls(net, x, ascending, curvature, layers), strict=True):
            found = certificates[radius] = _certificate(ball, norm, radius)
            if found.vacuous:
                reason = f"it contains the ball of radius {radius:g}, of which nothing is proven: {found.reason}"
                break
            change = map_change_bound(G / norm, found.change_bound, channels=channels, error=off)
            found = replace(found, map_change_bound=change)
            certificates[radius] = found if curvature else replace(found, curvature_bound=None, reason="")
    except NoCertificateError as error:
        reason = str(error)
    return [certificates.get(radius) or _vacuous(radius, reason) for radius in radii]


class _Ball(NamedTuple):
    """What the rungs say of one ball: the angle between normals, the gradient's norm from below, curvature."""

    angle: float
    gradient_norm: float
    bound: Bound


def _balls(
    net: FeedForward, x: Tensor, radii: list[float], curvature: bool, layers: Callable[[], Layers] | None
) -> Iterator[_Ball]:
    """Rung 8, or rung 7 in its two forms where the third derivative is too large to be stored."""
    try:
        expansion = expand(net, x)
    except NoCertificateError:
        wide = max(map(len, net.weights)) * len(x) > _WIDE
        for radius, ball in zip(radii, _operator_balls(net, x, radii, curvature, layers), strict=True):
            yield ball if wide else _better(ball, _entrywise_ball(net, x, radius))
        return
    remainders = expansion.gradient_remainders(radii, shells=_SHELLS)
    for radius, G2 in zip(radii, remainders, strict=True):
        yield _ball(expansion, radius, G2, curvature)


def _operator_balls(
    net: FeedForward, x: Tensor, radii: list[float], curvature: bool, layers: Callable[[], Layers] | None
) -> Iterator[_Ball]:
    expansion = expand_in_norms(net, x, layers() if layers else None)
    for radius, G2 in zip(radii, expansion.gradient_remainders(radii, shells=_SHELLS), strict=True):
        bound = Bound(exactness="none", reason=f"the deviation of the Hessian overflows at radius {radius}")
        if G2 is not None:
            bound = Bound(hessian=G2.hessian, gradient_change=up(radius * expansion.H_norm + G2.whole))
            if curvature:
                try:
                    bound = replace(bound, curvature=expansion.curvature(radius, G2))
                except NoCertificateError as error:
                    bound = replace(bound, reason=str(error))
        angle = angle_bound(expansion, G2, bound, radius)
        yield _Ball(angle, _gradient_norm(expansion, G2, bound, radius), bound)


def _better(first: _Ball, second: _Ball) -> _Ball:
    bent = [b.bound.curvature for b in (first, second) if b.bound.curvature is not None]
    bound = first.bound if first.bound.curvature is not None else second.bound
    bound = replace(bound, curvature=min(bent, default=None))
    return _Ball(min(first.angle, second.angle), max(first.gradient_norm, second.gradient_norm), bound)


def _entrywise_ball(net: FeedForward, x: Tensor, radius: float) -> _Ball:
    G, error = gradient_with_error(net, x)  # raises again where the gradient was the reason
    bound, norm = entrywise_local(net, x, radius), float(torch.linalg.vector_norm(G))
    margin = 1e-12 * norm + error
    lower = -math.inf if bound.gradient_change is None else norm - bound.gradient_change - margin
    return _Ball(turn_bound(norm, margin, bound, radius), lower, bound)


def _ball(expansion: LocalExpansion, radius: float, G2: GradientRemainder | None, curvature: bool) -> _Ball:
    if curvature or G2 is None:
        bound = expansion.bound(radius, G2)
    else:
        bound = Bound(hessian=G2.hessian, gradient_change=up(radius * expansion.H_norm + G2.whole))
        if not angle_bound(expansion, G2, bound, radius) < math.pi:
            bound = entrywise_local(expansion.net, expansion.x, radius)  # on large balls it may prove more
    angle = angle_bound(expansion, G2, bound, radius)
    return _Ball(angle, _gradient_norm(expansion, G2, bound, radius), bound)


def angle_bound(
    expansion: LocalExpansion | OperatorExpansion, G2: GradientRemainder | Remainder | None, bound: Bound, radius: float
) -> float:
    """The least of the three bounds of the angle between n(x) and n(y), radians; inf if none holds."""
    norm = float(torch.linalg.vector_norm(expansion.G))
    margin = 1e-12 * norm + expansion.gradient_error
    angles = [math.inf]
    if G2 is not None:
        top = radius * expansion.PH_norm + G2.tangent + margin
        bottom = norm - radius * expansion.Hn_norm - G2.normal - margin
        if bottom > 0:
            angles.append(math.atan(up(top / bottom)))
    return up(min(*angles, turn_bound(norm, margin, bound, radius)))


def turn_bound(norm: float, margin: float, bound: Bound, radius: float) -> float:
    """The arcsine and the displacement form, for a gradient whose norm is known up to the margin."""
    if bound.gradient_change is None or not bound.gradient_change + margin < norm:
        return math.inf
    change = bound.gradient_change + margin
    angle = math.asin(min(1.0, up(change / norm)))
    return up(angle if bound.hessian is None else min(angle, radius * bound.hessian / (norm - change)))


def map_change_bound(n: Float[Tensor, " n"], chord: float, *, channels: int = 1, error: float = 0.0) -> float:
    r"""Bound of :math:`\|h(y) - h(x)\|_2` for the abs-sum map, from the chord of the normals.

    :math:`\sqrt d \|h\|_2\,\delta/\max(1, \|n\|_1 - \sqrt d\,\delta)`, d all numbers, capped at
    sqrt(2), the diameter of the simplex. With a the channel sum of |n|,
    :math:`h' - h = (I - h1^T)(a' - a)/\sum a'`; the oblique projection has norm
    :math:`\sqrt{d/C}\|h\|`, the channel sum :math:`\sqrt C`, and :math:`\sum a' = \|n'\|_1 \ge 1`.

    Args:
        n: The unit normal at x.
        chord: delta, an upper bound of :math:`\|n(y) - n(x)\|_2`.
        channels: C, how many leading blocks the map sums.
        error: Bound on the 2-norm of the error of n itself; what it may move h and the sum is added.
    """
    root = math.sqrt(len(n)) * (1 + 1e-12)
    one_norm = float(n.abs().sum()) * (1 - 1e-12) - root * error
    size = float(torch.linalg.vector_norm(n.abs().reshape(channels, -1).sum(0))) + math.sqrt(channels) * error
    h_norm = size / max(1.0 - 1e-12, one_norm)
    value = root * h_norm * chord / max(1.0 - 1e-12, one_norm - root * chord)
    return min(math.sqrt(2), up(value))


def _certificate(ball: _Ball, norm: float, radius: float) -> Certificate:
    angle, bound = ball.angle, ball.bound
    if not angle < math.pi:
        reason = (
            bound.reason or f"the gradient, of norm {norm:.3e} at x, may vanish or turn around within radius {radius}"
        )
        return _vacuous(radius, reason)
    chord = up(2 * math.sin(angle / 2))
    return Certificate(
        radius=radius,
        change_bound=chord,
        cosine_bound=math.cos(angle) - 1e-15,
        map_change_bound=math.sqrt(2),  # needs the coordinates of x; the caller fills it in
        gradient_norm_bound=max(0.0, ball.gradient_norm),
        curvature_bound=bound.curvature,
        vacuous=False,
        reason=bound.reason,
    )


def _gradient_norm(
    expansion: LocalExpansion | OperatorExpansion, G2: GradientRemainder | Remainder | None, bound: Bound, radius: float
) -> float:
    """The better of ``||G|| - delta`` and the normal part ``||G|| - r ||Hn|| - gamma_n``."""
    norm = float(torch.linalg.vector_norm(expansion.G))
    lower = -math.inf if bound.gradient_change is None else norm - bound.gradient_change
    if G2 is not None:
        lower = max(lower, norm - radius * expansion.Hn_norm * (1 + 1e-10) - G2.normal)
    return lower - 1e-12 * norm - expansion.gradient_error


def _vacuous(radius: float, reason: str) -> Certificate:
    return Certificate(
        radius=radius, change_bound=2.0, cosine_bound=-1.0, map_change_bound=math.sqrt(2),
        gradient_norm_bound=0.0, curvature_bound=None, vacuous=True, reason=reason,
    )  # fmt: skip
