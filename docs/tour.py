"""From a trained network to its certificate, in seconds and without a download.

Run it as a script (``python docs/tour.py``), or cell by cell in an editor that knows ``# %%``.
"""

# %% A trained network and one input: an 8x8 digit, pixels in [0, 1], float64 as for all geometry.
import torch
from sklearn.datasets import load_digits

from curvature import (
    certify_explanation,
    curvature_bounds,
    digits_network,
    extreme_curvatures,
    gradient,
    hypotheses,
    logit,
    soften,
    unit_normal,
)

x = torch.tensor(load_digits().images[5] / 16)[None]
network = digits_network().double()
k = int(network(x[None]).argmax())
print(f"the network sees a {k}")

# %% Theorem 1 needs a network that is twice differentiable; ReLU is not. Its softplus copy is.
print("in the way of the theorem:", *(f"'{rough.path}' ({rough.kind})" for rough in hypotheses(network)))
soft = soften(network, beta=1.0)
assert not hypotheses(soft)
assert int(soft(x[None]).argmax()) == k

# %% The explanation is the unit normal of the level set of the logit: the gradient map, up to its length.
f = logit(soft, target_class=k)
n, G = unit_normal(f, x), gradient(f, x)
print(f"||grad f|| = {G.norm():.3f}, and n is its direction: n . grad f = {n @ G.flatten():.3f}")

# %% How fast the normal turns along the level set: the principal curvatures, largest in magnitude first, 1/length.
found = extreme_curvatures(f, x, k=4)
print("largest curvatures here:", [round(float(value), 4) for value in found.curvatures])

# %% A first proof: bounds of the curvature in the whole ball, from the paper's constant to the sharpest.
radius = 0.1
for name, bound in curvature_bounds(soft, x, target_class=k, radius=radius).items():
    nothing = f"nothing: {bound.reason or 'this rung bounds the change of the gradient instead'}"
    print(f"{name:>20}: {nothing if bound.curvature is None else format(bound.curvature, '.4g')}")

# %% The certificate: for every y within the radius, how far the explanation can be from that of x.
cert = certify_explanation(soft, x, target_class=k, radius=radius)
assert not cert.vacuous, cert.reason
print(f"{cert.change_attained:.5f} <= largest change of the normal  <= {cert.change_bound:.5f}")
print(f"{cert.curvature_attained:.5f} <= largest curvature in the ball <= {cert.curvature_bound:.5f}")
print(f"cos(n(x), n(y)) >= {cert.cosine_bound:.5f}; the abs-sum map moves by at most {cert.map_change_bound:.5f}")

# %% The left ends were found by a search, the right ends are proven: the truth is in between.
assert cert.change_attained <= cert.change_bound
assert abs(found.curvatures[0]) <= cert.curvature_attained * (1 + 1e-9)
assert cert.curvature_attained <= cert.curvature_bound
