"""Integrated gradients against Captum, completeness, and chunks."""

import functools

import pytest
import torch
from captum.attr import IntegratedGradients

from attacks import relevance
from attacks.explanations.integrated_gradients import integrated_gradients
from tests.attacks.families import family, inputs

CLASSES = torch.tensor([1, 2])


@pytest.mark.parametrize(
    ("name", "steps", "tolerance"), [("plain", 32, 1e-11), ("efficientnet", 32, 1e-11), ("plain", 30, 1e-6)]
)
def test_map_equals_captums(name, steps, tolerance):
    """Oracle: Captum's right Riemann sum of the softmax score in float64.

    Captum keeps the weights and places of the steps in float32, where 1/32 is exact and 1/30 is not.
    """
    soft, x = family(name).soften(4.0), inputs(2)
    captum = IntegratedGradients(lambda p: soft.module(p).softmax(1))
    expected = captum.attribute(x, target=CLASSES, n_steps=steps, method="riemann_right")
    actual, _ = integrated_gradients(soft, x, CLASSES, steps=steps)
    assert (actual - expected).norm() <= tolerance * expected.norm()


def test_thirty_steps_are_the_default():
    """Oracle: the function with its steps named."""
    soft, x = family("plain").soften(4.0), inputs(1)
    named, _ = integrated_gradients(soft, x, CLASSES[:1], steps=30)
    assert torch.equal(relevance(soft, x, CLASSES[:1], method="integrated_gradients"), named)


def test_sum_is_the_score_at_the_input_less_that_at_the_baseline():
    """Oracle: completeness; the right sum's error falls with the number of steps, by 10 for ten times as many."""
    soft, x = family("plain").soften(4.0), inputs(2)
    score = soft.module(x).softmax(1).gather(1, CLASSES[:, None])[:, 0]
    base = soft.module(0 * x).softmax(1).gather(1, CLASSES[:, None])[:, 0]
    errors = []
    for steps in (20, 200):
        r, _ = integrated_gradients(soft, x, CLASSES, steps=steps, chunk=20)
        errors.append((r.flatten(1).sum(1) - (score - base)).abs().max().item())
    assert errors[1] < 1e-2 * float(score.min())
    assert 8 < errors[0] / errors[1] < 12


@pytest.mark.parametrize("name", ["plain", "efficientnet"])
def test_chunks_change_neither_map_nor_gradient(name):
    """Oracle: all steps held in one graph by autograd, against groups of 1, 3 (uneven) and 7."""
    soft = family(name).soften(4.0)
    results = []
    for chunk in (None, 1, 3, 7):
        x = inputs(2).requires_grad_(True)
        r, logits = integrated_gradients(soft, x, CLASSES, steps=7, chunk=chunk)
        loss = (r * torch.arange(r.numel(), dtype=r.dtype).reshape(r.shape).cos()).sum() + logits.square().sum()
        results.append((r.detach(), logits.detach(), torch.autograd.grad(loss, x)[0]))
    for found in results[1:]:
        for actual, expected in zip(found, results[0], strict=True):
            assert (actual - expected).norm() <= 1e-11 * expected.norm()


def test_the_chunk_bounds_the_memory():
    """Oracle: numbers saved for the backward pass, counted by torch's own hook; none grow with the steps."""
    soft = family("plain").soften(4.0)

    def saved(steps: int, chunk: int | None) -> int:
        sizes = []
        pack = functools.partial(lambda log, t: log.append(t.numel()) or t, sizes)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            x = inputs(1).requires_grad_(True)
            r, _ = integrated_gradients(soft, x, CLASSES[:1], steps=steps, chunk=chunk)
        del r
        return sum(sizes)

    held, chunked = ([saved(steps, chunk) for steps in (4, 8)] for chunk in (None, 2))
    assert held[1] > 1.8 * held[0]
    assert chunked[0] < held[0] / 2
    # Every pass of 2 points saves for itself and is freed before the next one.
    assert chunked[1] <= 2.1 * chunked[0]


@pytest.mark.parametrize("arguments", [{"steps": 0}, {"chunk": 0}])
def test_bad_steps_are_refused(arguments):
    """Oracle: the error's text."""
    with pytest.raises(ValueError, match="expected steps >= 1"):
        integrated_gradients(family("plain"), inputs(1), CLASSES[:1], **arguments)
