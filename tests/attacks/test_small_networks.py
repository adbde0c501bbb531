"""Small networks: training, its cache, the split, and that explanations and certificates apply to them."""

import dataclasses
import json

import pytest
import torch
from safetensors import safe_open

import attacks.small_networks as small
from attacks import explain, load_network
from attacks.datasets import mnist, stratified_split
from attacks.small_networks import ARCHITECTURES, Recipe, train, trained_weights, vgg16_cifar10, weights_file
from attacks.weights import train as train_weights
from curvature import extreme_curvatures, hvp, hypotheses, logit
from curvature.bounds.entesari_2024 import entesari_2024_graph

QUICK = Recipe(epochs=2, batch=50, lr=1e-2, shift=0)


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """Training in a second: two passes; in a cache folder of its own."""
    monkeypatch.setenv(small.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setitem(ARCHITECTURES, "mnist_lenet", (small.lenet, QUICK))
    return tmp_path


def test_training_is_seeded_and_leaves_the_global_generator_alone():
    """Oracle: two runs, another seed, the global generator's next number."""
    x = torch.rand(60, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % 10
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    recipe = dataclasses.replace(QUICK, batch=20, shift=2)
    first, second = (train(small.alexnet, x, labels, recipe=recipe).state_dict() for _ in range(2))
    other = train(small.alexnet, x, labels, recipe=dataclasses.replace(recipe, seed=1)).state_dict()
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_training_learns_and_the_weights_are_kept_under_the_recipes_name(quick, monkeypatch, capsys):
    """Oracle: held-out accuracy far above chance, the file, and a second call that must not train."""
    network = load_network("mnist_lenet")
    (path,) = quick.glob("*.safetensors")
    assert path == weights_file("mnist_lenet")
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()["training"])
    pixels, labels = mnist()
    _, held_out = stratified_split(labels)
    x = torch.tensor(pixels)[held_out, None] / 255
    right = float((network.predict(x) == labels[held_out]).double().mean())
    assert metadata["held_out_accuracy"] == pytest.approx(right)
    assert right > 0.7
    assert "held-out accuracy" in capsys.readouterr().err
    monkeypatch.setattr(small, "train", lambda *_, **__: pytest.fail("trained again"))
    again = load_network("mnist_lenet", weights="pretrained")
    assert torch.equal(again.module[0].weight, network.module[0].weight)


def test_another_recipe_or_architecture_has_another_file(quick, monkeypatch):
    """Oracle: the file names."""
    names = {weights_file("mnist_lenet")}
    monkeypatch.setitem(ARCHITECTURES, "mnist_lenet", (small.lenet, dataclasses.replace(QUICK, lr=2e-2)))
    names.add(weights_file("mnist_lenet"))
    monkeypatch.setitem(ARCHITECTURES, "mnist_lenet", (small.alexnet, QUICK))
    names.add(weights_file("mnist_lenet"))
    assert len(names) == 3
    assert all(name.parent == quick for name in names)


def test_damaged_weights_and_a_folder_that_cannot_be_written_are_named(quick, monkeypatch):
    """Oracle: the error's text."""
    weights_file("mnist_lenet").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="cannot be read"):
        load_network("mnist_lenet")
    (quick / "file").write_text("")
    monkeypatch.setenv(small.CACHE_VARIABLE, str(quick / "file" / "inside"))
    with pytest.raises(ValueError, match=rf"can be written.*{small.CACHE_VARIABLE}"):
        trained_weights("mnist_lenet")


def test_shifts_move_whole_images_and_bring_in_black():
    """Oracle: every possible shift of one lit pixel, made by hand."""
    x = torch.zeros(200, 1, 9, 9)
    x[:, 0, 4, 3] = 1
    torch.manual_seed(0)
    moved = small._shifted(x, 2)
    places = {tuple(p) for p in moved[:, 0].nonzero()[:, 1:].tolist()}
    assert places == {(4 + i, 3 + j) for i in range(-2, 3) for j in range(-2, 3)}
    assert (moved.sum((1, 2, 3)) == 1).all()
    assert torch.equal(small._shifted(x, 0), x)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_small_network_can_be_softened_explained_and_attacked_at(name):
    """Oracle: the contract of a network: logits, a map, a softened copy; average pooling alone leaves LeNet smooth."""
    network = load_network(name, weights="random")
    x = torch.rand(2, 1, 28, 28)
    assert network.module(x).shape == (2, 10)
    soft = network.soften(5.0)
    assert explain(soft, x).shape == (2, 28, 28)
    rough = {entry.kind for entry in hypotheses(soft.module)}
    assert rough <= {"MaxPool2d"}
    assert bool(rough) == (name != "mnist_lenet")


def test_a_certified_bound_on_the_hessian_applies_to_the_softened_lenet():
    """Oracle: Hessian-vector products in the ball, which the bound must cover."""
    module = load_network("mnist_lenet", weights="random").soften(1.0).module.double()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 28, 28, generator=generator, dtype=torch.float64)
    bound = entesari_2024_graph(module, x, target_class=3, radius=1e-2).hessian
    f = logit(module, 3)
    largest = extreme_curvatures(f, x, rtol=1e-2, max_hvps=60)
    attained = [float(hvp(f, x, largest.directions[0].reshape(x.shape)).norm())]
    for _ in range(5):
        u, v = (torch.randn(x.shape, generator=generator, dtype=torch.float64) for _ in range(2))
        attained.append(float(hvp(f, x + 1e-2 * u / u.norm(), v / v.norm()).norm()))
    assert 0 < max(attained) <= bound < float("inf")


def test_the_cifar_network_is_vgg16s_convolutions():
    """Oracle: 13 convolutions and three linear layers; the shape of CIFAR-10's images; random weights are said."""
    network = load_network("vgg16_cifar10")
    kinds = [type(m).__name__ for m in vgg16_cifar10().modules()]
    assert (kinds.count("Conv2d"), kinds.count("Linear"), kinds.count("MaxPool2d")) == (13, 3, 5)
    assert network.module(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert network.weights == "random, seed 0"
    with pytest.raises(ValueError, match="file of weights"):
        load_network("vgg16_cifar10", weights="pretrained")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_trained_networks_come_with_the_package(name, tmp_path, monkeypatch):
    """Oracle: the folder, 96 % of the 1,000 held-out images, and what was noted at the end of the training."""
    monkeypatch.setenv(small.CACHE_VARIABLE, str(tmp_path))
    network = load_network(name)
    assert not list(tmp_path.iterdir())
    assert sorted(path.name for path in small.SHIPPED.glob("*.safetensors")) == sorted(
        weights_file(known).name for known in ARCHITECTURES
    )
    pixels, labels = mnist()
    _, held_out = stratified_split(labels)
    x = torch.tensor(pixels)[held_out, None] / 255
    right = torch.cat([network.predict(part) for part in x.split(250)]) == labels[held_out]
    assert right.double().mean() >= 0.96
    with safe_open(trained_weights(name), framework="pt") as file:
        noted = json.loads(file.metadata()["training"])["held_out_accuracy"]
    assert float(right.double().mean()) == pytest.approx(
        noted, abs=0.002
    )  # a processor that rounds otherwise: an image or two


def test_weights_are_trained_anew_beside_the_script(quick, monkeypatch, capsys):
    """Oracle: the folder; the file of an older recipe goes, an unknown name changes nothing."""
    monkeypatch.setattr(train_weights, "SHIPPED", quick)
    (quick / "mnist_lenet-0123456789ab.safetensors").write_bytes(b"old")
    with pytest.raises(SystemExit):
        train_weights.main(["lenet"])
    assert "among mnist_lenet" in capsys.readouterr().err
    assert len(list(quick.iterdir())) == 1
    train_weights.main(["mnist_lenet"])
    assert [path.name for path in quick.glob("*.safetensors")] == [weights_file("mnist_lenet").name]
