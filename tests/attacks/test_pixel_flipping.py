"""Pixel flipping: order, steps, batches, and that relevant pixels count for more than random ones."""

import pytest
import torch
from torch import nn

from attacks import load_images, load_network
from attacks.defences import BetaSmoothing
from attacks.explanations import explain
from attacks.pixel_flipping import maps_of, pixel_flipping, random_maps


class Total(nn.Module):
    """Class 1 while the sum of all numbers is above 2.5, else class 0."""

    def forward(self, x):
        total = x.flatten(1).sum(1)
        return torch.stack([torch.full_like(total, 2.5), total], 1)


def test_pixels_go_in_the_order_of_the_map_in_all_channels_at_once():
    """Oracle: worked by hand: two channels of four pixels, worth 2, 1, 0.5 and 0.25 each sample."""
    x = torch.tensor([[1.0, 0.5], [0.25, 0.125]]).expand(2, 2, 2, 2)
    maps = torch.tensor([[[4.0, 3.0], [2.0, 1.0]], [[1.0, 2.0], [3.0, 4.0]]]) / 10
    found = pixel_flipping(Total(), x, torch.tensor([1, 1]), maps, steps=4)
    assert found.removed.tolist() == [0, 1, 2, 3, 4]
    # First sample: 3.75, then 1.75: wrong after one. Second: 3.75, 3.5, 3, 2, 0: wrong after three.
    assert found.accuracy.tolist() == [1.0, 0.5, 0.5, 0.0, 0.0]
    assert found.area == pytest.approx((0.75 + 0.5 + 0.25 + 0.0) / 4)


def test_ties_go_in_reading_order_and_steps_divide_all_pixels():
    """Oracle: a constant map; counts rounded from equal shares."""
    x = torch.tensor([[1.0, 0.5], [0.25, 2.0]])[None, None]
    found = pixel_flipping(Total(), x, torch.tensor([1]), torch.full((1, 2, 2), 0.25), steps=4)
    assert found.accuracy.tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]  # 3.75, 2.75, 2.25, 2, 0
    assert pixel_flipping(Total(), x, torch.tensor([1]), torch.rand(1, 2, 2), steps=3).removed.tolist() == [0, 1, 3, 4]


def test_a_gradient_map_finds_what_random_order_does_not():
    """Oracle: the trained digits network on its held-out images; random maps and reversed maps for contrast."""
    network, images = load_network("digits"), load_images("digits", indices=range(200))
    x = images.inputs(network)
    maps = maps_of(network, x, method="grad_times_input")
    areas = {
        name: pixel_flipping(network, x, images.labels, m, steps=16).area
        for name, m in {"map": maps, "random": random_maps(x), "reversed": -maps}.items()
    }
    assert areas["map"] < areas["random"] - 0.05 < areas["reversed"]


def test_nothing_depends_on_the_batch(network, images):
    """Oracle: metamorphic, one sample at a time against all at once; defended maps."""
    labels = network.predict(images)
    defence = BetaSmoothing(beta=1.0)
    maps = maps_of(network, images, defence=defence, batch=2)
    torch.testing.assert_close(maps, explain(network, images, defence=defence))
    one, all_ = (pixel_flipping(network, images, labels, maps, steps=9, batch=b) for b in (1, 3))
    assert torch.equal(one.accuracy, all_.accuracy)
    assert float(one.accuracy[0]) == 1
    assert torch.equal(random_maps(images)[:1], random_maps(images[:1]))
    assert not torch.equal(random_maps(images), random_maps(images, seed=1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": torch.tensor([0, 1])}, "expected labels"),
        ({"maps": torch.ones(3, 12, 11)}, "finite maps"),
        ({"maps": torch.full((3, 12, 12), float("nan"))}, "finite maps"),
        ({"steps": 0}, r"steps in 1\.\.144"),
        ({"steps": 145}, r"steps in 1\.\.144"),
        ({"batch": 0}, "batch >= 1"),
    ],
)
def test_bad_arguments_are_named(network, images, change, words):
    """Oracle: the error's text."""
    arguments = {"labels": torch.tensor([0, 1, 2]), "maps": torch.ones(3, 12, 12), **change}
    with pytest.raises(ValueError, match=words):
        pixel_flipping(network, images, arguments.pop("labels"), arguments.pop("maps"), **arguments)
