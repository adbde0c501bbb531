r"""Certified connectedness of a level set in a ball, and a bound on its inner distance.

Let :math:`\|G(y) - G(p)\| \le \delta` on the closed ball :math:`B(p, r)` and
:math:`\sin\theta = \delta/\|G(p)\| < 1`; split :math:`y = p + u + t n` with n the normal at p.

1. G(y) lies in the ball of radius delta around G(p), so its angle to n is at most theta and
   f grows along n: S in the ball is a graph :math:`t = \varphi(u)` of slope at most :math:`\tan\theta`.
2. For q in it, :math:`0 = f(q) - f(p) = \bar G \cdot (q - p)`, where the mean :math:`\bar G` of G on
   the segment is also within delta of G(p): :math:`|t| \le \tan\theta\,|u|` (a cone).
3. Walk from q inwards over the ray towards p, in the plane of n and u, by the implicit
   function theorem. The squared distance to p is :math:`\rho^2 + \varphi^2`, of derivative
   :math:`2(\rho + \varphi\varphi') \ge 2\rho(1 - \tan^2\theta)`; below 45 degrees it falls on the
   way in, so the walk never leaves the ball and ends at p (f is monotone along n). Hence S in
   the ball is connected and the walk's length is at most :math:`|u|/\cos\theta \le \|q-p\|/\cos\theta`.
4. From 45 to 90 degrees the cone alone keeps the walk within :math:`\rho/\cos\theta`, which is
   inside the ball when :math:`\|q - p\| \le r\cos\theta`.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from curvature.derivatives import require_finite
from curvature.errors import NoCertificateError

_EPS = 2.0**-52


def level_set_is_connected(*, gradient_norm: float, gradient_change_bound: float) -> bool:
    r"""Whether S in the ball is proven connected and star-shaped over its tangent plane.

    True if :math:`\sin\theta = \delta/\|G(p)\| < 1/\sqrt2`, rounded upwards; False says
    nothing. 45 degrees is sharp.

    Args:
        gradient_norm: :math:`\|G(p)\|`, or a lower bound of it.
        gradient_change_bound: Certified :math:`\delta \ge \|G(y) - G(p)\|` over the ball.

    Raises:
        NoCertificateError: If an argument is negative, NaN or infinite.
    """
    return _sine_bound(gradient_norm, gradient_change_bound) ** 2 * (1 + 4 * _EPS) < 0.5


def geodesic_distance_bound(
    p: Float[Tensor, "*shape"],
    q: Float[Tensor, "*shape"],
    *,
    radius: float,
    gradient_norm: float,
    gradient_change_bound: float,
) -> float:
    r"""Certified upper bound on the distance from ``p`` to ``q`` inside S and the ball.

    :math:`d_g(p, q) \le \|q - p\|/\cos\theta`, :math:`\sin\theta = \delta/\|G(p)\|`, if
    :math:`\theta < 45^\circ`; up to 90 degrees only if :math:`\|q - p\| \le r\cos\theta`.

    Args:
        p: Centre of the ball.
        q: A point of S, the level set through ``p``, in the ball. Nothing is known of
            points off S: project first.
        radius: Radius r of the ball on which the change of the gradient is bounded.
        gradient_norm: :math:`\|G(p)\|`, or a lower bound of it.
        gradient_change_bound: Certified :math:`\delta \ge \|G(y) - G(p)\|` over the ball.

    Returns:
        The bound, in units of length, at least ``||q - p||``.

    Raises:
        ValueError: If the shapes differ or a coordinate is not finite.
        NoCertificateError: With the reason, if nothing is proven.

    Exactness: upper bound, rounded outwards. Cost: O(n).
    Source: the derivation above, in this module's documentation.
    """
    if p.shape != q.shape:
        raise ValueError(f"expected two points of one shape, got {tuple(p.shape)} and {tuple(q.shape)}")
    require_finite(p)
    require_finite(q)
    # A sum of n squares is off by at most about n eps / 2 relative in double; n + 8 covers the rest.
    chord = float(torch.linalg.vector_norm(q.double() - p.double())) * (1 + (p.numel() + 8) * _EPS)
    if not chord <= radius:
        raise NoCertificateError(f"q is {chord:.3e} away from p, outside the ball of radius {radius:.3e}")
    sine = _sine_bound(gradient_norm, gradient_change_bound)
    if not sine < 1:
        raise NoCertificateError(
            f"the gradient may turn by 90 degrees: its change is bounded by {gradient_change_bound:.3e}, "
            f"its norm at the centre is {gradient_norm:.3e}; use a smaller radius"
        )
    cosine = math.sqrt((1 - sine) * (1 + sine)) * (1 - 4 * _EPS)
    connected = level_set_is_connected(gradient_norm=gradient_norm, gradient_change_bound=gradient_change_bound)
    if not connected and not chord <= radius * cosine * (1 - _EPS):
        raise NoCertificateError(
            f"the gradient may turn by {math.degrees(math.asin(sine)):.1f} degrees, 45 or more, so S in the ball may "
            f"fall apart; then only points within r cos = {radius * cosine:.3e} are covered, q is at {chord:.3e}"
        )
    return chord / cosine * (1 + 2 * _EPS)


def _sine_bound(gradient_norm: float, gradient_change_bound: float) -> float:
    if not (0 < gradient_norm < math.inf and 0 <= gradient_change_bound < math.inf):
        raise NoCertificateError(
            f"expected a positive gradient norm and a finite bound on its change, got {gradient_norm} and "
            f"{gradient_change_bound}"
        )
    # nextafter keeps a quotient that underflows above the truth.
    return math.nextafter(gradient_change_bound / gradient_norm, math.inf)
