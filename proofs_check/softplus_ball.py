r"""Ball-arithmetic enclosures of a softplus network, its gradient and its Hessian.

The network is given as plain lists of numbers, which are taken as exact. On a box with
centre c every pre-activation is enclosed twice, by the natural extension and by the mean
value form :math:`z(y) \in z(c) + J(\mathrm{box})(y - c)`, and the two are intersected.
Softplus and sigmoid are increasing and :math:`s''` is even and falls with :math:`|t|`, so
their ranges come from endpoints and are exact up to rounding.

This is code of its own on purpose: it shares nothing with ``curvature`` and can judge it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flint import arb, arb_mat

Row = Sequence[float]


@dataclass(frozen=True, kw_only=True)
class PlainNetwork:
    r""":math:`f(x) = w^T s_\beta(W_{L-1} \cdots s_\beta(W_1 x + b_1) \cdots + b_{L-1}) + b`, in lists."""

    weights: Sequence[Sequence[Row]]
    biases: Sequence[Row]
    head: Row
    head_bias: float = 0.0
    beta: float = 1.0

    @property
    def inputs(self) -> int:
        """The number of inputs."""
        return len(self.weights[0][0])


@dataclass(frozen=True)
class Jet:
    """Enclosures over one box: value, gradient ``[d, 1]`` and Hessian ``[d, d]``."""

    value: arb
    gradient: arb_mat
    hessian: arb_mat


class BallNetwork:
    """A ``PlainNetwork`` in ball matrices, ready for many boxes."""

    def __init__(self, network: PlainNetwork) -> None:
        """Convert the numbers once; they are read as exact binary fractions."""
        self.inputs = network.inputs
        self.beta = arb(network.beta)
        self.weights = [arb_mat([list(map(arb, row)) for row in W]) for W in network.weights]
        self.biases = [column(b) for b in network.biases]
        self.head = column(network.head)
        self.head_bias = arb(network.head_bias)

    def jet(self, box: arb_mat) -> Jet:
        """Enclose f, its gradient and its Hessian on a box ``[d, 1]``.

        Exactness: enclosure. The gradient is the intersection of the natural form and the
        mean value form, so its width is about (second derivative) x (width of the box).
        """
        if all(entry.is_exact() for entry in box.entries()):
            return self._jet(box, None)
        centre = box.mid()
        at_centre = self._jet(centre, None)
        on_box = self._jet(box, self._preactivations(centre))
        offset = box - centre
        gradient = intersection(on_box.gradient, at_centre.gradient + on_box.hessian * offset)
        value = on_box.value.intersection(at_centre.value + (gradient.transpose() * offset)[0, 0])
        return Jet(value, gradient, on_box.hessian)

    def _preactivations(self, point: arb_mat) -> list[arb_mat]:
        a, found = point, []
        for W, b in zip(self.weights, self.biases, strict=True):
            found.append(W * a + b)
            a = column([softplus(t, self.beta) for t in found[-1].entries()])
        return found

    def _jet(self, box: arb_mat, centre_z: list[arb_mat] | None) -> Jet:
        a, B = box, identity(self.inputs)
        offset = box - box.mid()
        jacobians, slopes, bends = [], [], []
        for i, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            A = W * B
            z = W * a + b
            if centre_z is not None:
                z = intersection(z, centre_z[i] + A * offset)
            t = z.entries()
            s = [sigmoid(u, self.beta) for u in t]
            jacobians.append(A)
            slopes.append(s)
            bends.append([bend(u, self.beta) for u in t])
            a, B = column([softplus(u, self.beta) for u in t]), scale_rows(s, A)
        return Jet((self.head.transpose() * a)[0, 0] + self.head_bias, *self._backward(jacobians, slopes, bends))

    def _backward(
        self, jacobians: list[arb_mat], slopes: list[list[arb]], bends: list[list[arb]]
    ) -> tuple[arb_mat, arb_mat]:
        F = self.head.entries()
        H = arb_mat(self.inputs, self.inputs)
        for i in reversed(range(len(self.weights))):
            A = jacobians[i]
            H += A.transpose() * scale_rows([f * c for f, c in zip(F, bends[i], strict=True)], A)
            back = self.weights[i].transpose() * column([f * s for f, s in zip(F, slopes[i], strict=True)])
            F = back.entries()
        d = self.inputs
        symmetric = [
            [H[min(i, j), max(i, j)].intersection(H[max(i, j), min(i, j)]) for j in range(d)] for i in range(d)
        ]
        return back, arb_mat(symmetric)


def column(entries: Sequence[int | float | arb]) -> arb_mat:
    """A column of balls."""
    return arb_mat(len(entries), 1, [arb(entry) for entry in entries])


def identity(n: int) -> arb_mat:
    """The identity matrix."""
    return arb_mat(n, n, [int(i == j) for i in range(n) for j in range(n)])


def scale_rows(factors: Sequence[arb], A: arb_mat) -> arb_mat:
    """diag(factors) A."""
    n = A.ncols()
    return arb_mat(A.nrows(), n, [factors[k // n] * entry for k, entry in enumerate(A.entries())])


def intersection(A: arb_mat, B: arb_mat) -> arb_mat:
    """Entrywise intersection of two enclosures of the same matrix."""
    return arb_mat(A.nrows(), A.ncols(), [a.intersection(b) for a, b in zip(A.entries(), B.entries(), strict=True)])


def norm(v: arb_mat) -> arb:
    """Euclidean norm of a column; the Frobenius norm of a matrix."""
    squares = sum((e * e for e in v.entries()), arb(0))  # e**2 is NaN for a ball whose middle is 0
    if squares > 0 or squares.is_exact():
        return squares.sqrt()
    # A ball around zero reaches below it; the root is taken of the two ends that are possible.
    return arb(0).union(squares.abs_upper().sqrt())


def sigmoid(t: arb, beta: arb) -> arb:
    """sigma(beta t), increasing."""
    return _increasing(lambda u: 1 / (1 + (-u).exp()), beta * t)


def softplus(t: arb, beta: arb) -> arb:
    """log(1 + exp(beta t)) / beta, increasing; written without overflow for large t."""
    return _increasing(lambda u: u + (-u).exp().log1p() if u > 0 else u.exp().log1p(), beta * t) / beta


def bend(t: arb, beta: arb) -> arb:
    r"""Beta g(beta t) with g(u) = 1/(2 cosh(u/2))^2, even and falling in \\|u\\|."""
    u = beta * t
    far = (u.abs_upper() / 2).sech() ** 2
    if u.is_exact():
        return beta * far / 4
    return beta * far.union((u.abs_lower() / 2).sech() ** 2) / 4


def _increasing(function, u: arb) -> arb:  # type: ignore[no-untyped-def]
    if u.is_exact():
        return function(u)
    return function(u.lower()).union(function(u.upper()))
