"""Networks and images of figures: trained weights or an error, and words that say what was taken."""

from pathlib import Path

import pytest
import torch

from attacks import NETWORKS
from figures import fig01_attack_curves, fig02_softplus_error, fig04_lrp_over_beta, fig21_pixel_flipping
from figures._inputs import images_in_words, network_in_words, trained_network


@pytest.fixture
def _no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without torchvision's weights and without a network."""

    def refuse(*arguments, **options):
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)


@pytest.mark.usefixtures("_no_weights")
@pytest.mark.parametrize(
    "module", [fig01_attack_curves, fig02_softplus_error, fig04_lrp_over_beta, fig21_pixel_flipping]
)
def test_a_figure_on_the_papers_network_without_its_weights_is_an_error(module):
    """Oracle: the message; ``load_network`` alone would take random weights."""
    with pytest.raises(ValueError, match="could not be downloaded"):
        module.compute(seed=0, quick=False, network=module.PAPER["network"])


@pytest.mark.usefixtures("_no_weights")
@pytest.mark.parametrize("name", ["vgg16", "vgg16_cifar10"])
def test_no_network_of_the_list_comes_with_random_weights(name: str):
    """Oracle: the message."""
    assert name in NETWORKS
    with pytest.raises(ValueError, match=r"expected .* weights"):
        trained_network(name)


def test_a_users_network_comes_as_its_factory_makes_it():
    """Oracle: the words, and the factory's own kind of module."""
    found = trained_network("curvature.demo_networks:digits_architecture")
    assert network_in_words(found).endswith("(as the factory makes them, seed 0)")


def test_small_networks_say_what_they_were_trained_on():
    """Oracle: the words."""
    assert network_in_words(trained_network("digits")) == "digits (trained, digits.safetensors)"


def test_a_folder_of_the_users_is_not_named():
    """Oracle: the words hold no path."""
    assert images_in_words("imagenet:/data/of/mine") == "ImageNet validation images"
    assert images_in_words("mnist") == "MNIST test images"
