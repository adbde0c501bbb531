"""Data sets: splits, names, and folders in the form in which CIFAR-10 and ImageNet come."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from attacks import load_images, load_network, load_picture
from attacks.datasets import stratified_split


def test_mnists_split_is_stratified_and_complete():
    """Oracle: 400 and 100 of each digit, and every image once."""
    parts = [load_images("mnist", split=split) for split in ("train", "test")]
    assert [len(part) for part in parts] == [4000, 1000]
    assert [part.labels.bincount().tolist() for part in parts] == [[400] * 10, [100] * 10]
    assert len({*parts[0].names, *parts[1].names}) == 5000


def test_images_have_the_names_that_pictures_are_loaded_by():
    """Oracle: ``load_picture`` of the name; the label of a known image."""
    for source, network in (
        ("mnist", load_network("mnist_lenet", weights="random")),
        ("digits", load_network("digits")),
    ):
        images = load_images(source, indices=[3, 1, 3])
        x = images.inputs(network)
        assert len(images) == len(images.labels) == 3
        assert torch.equal(x[0], x[2])
        assert torch.equal(images.inputs(network, [1]), x[1:2])
        assert torch.equal(x[1:2], network.preprocess(load_picture(images.names[1], channels=1).image))


def test_drawn_positions_mix_the_classes():
    """Oracle: the labels, in contrast with those of the first images, which are all of one class; a permutation."""
    images = load_images("mnist", split="train")
    assert images.labels[images.drawn(100)].unique().tolist() == list(range(10))
    assert images.labels[:100].unique().tolist() == [0]
    assert sorted(images.drawn(len(images), seed=3)) == list(range(len(images)))
    assert images.drawn(5, seed=3) != images.drawn(5)
    with pytest.raises(ValueError, match="expected 1 to 4000 images, got 4001"):
        images.drawn(4001)


def test_digits_held_out_images_are_recognised():
    """Oracle: the trained network's accuracy on what it was not trained on, and false labels for contrast."""
    images, network = load_images("digits"), load_network("digits")
    right = network.predict(images.inputs(network)) == images.labels
    assert len(images) == 397
    assert right.double().mean() > 0.95


def test_the_split_depends_on_the_seed_alone():
    """Oracle: a second call, another seed."""
    labels = torch.arange(50) % 5
    first, second, third = (stratified_split(labels, seed=s)[1] for s in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert labels[first].bincount().tolist() == [2] * 5


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """Six training images in two batches, three test images, as CIFAR-10's python version stores them."""
    from torchvision.datasets import CIFAR10

    generator = np.random.default_rng(0)
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(count):
        return {"data": generator.integers(0, 256, (count, 3072), dtype=np.uint8), "labels": list(range(count))}

    content = {"data_batch_1": batch(4), "data_batch_2": batch(2), "test_batch": batch(3)}
    monkeypatch.setattr(
        CIFAR10, "train_list", [write(name, content[name]) for name in ("data_batch_1", "data_batch_2")]
    )
    monkeypatch.setattr(CIFAR10, "test_list", [write("test_batch", content["test_batch"])])
    name, md5 = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return tmp_path, content


def test_cifar_images_are_read_in_their_order_and_channels(cifar):
    """Oracle: the bytes that were written: planes of red, green, blue, row by row."""
    folder, content = cifar
    assert len(load_images(f"cifar10:{folder}", split="train")) == 6
    images = load_images(f"cifar10:{folder}")
    assert images.labels.tolist() == [0, 1, 2]
    network = load_network("vgg16_cifar10")
    x = images.inputs(network, [2])
    expected = content["test_batch"]["data"][2].reshape(1, 3, 32, 32) / 255
    torch.testing.assert_close(network.pixels(x), torch.from_numpy(expected).float())


@pytest.fixture
def imagenet(tmp_path):
    """Two of three classes with a validation image each, as torchvision lays ImageNet out."""
    classes = {"n01": ("ant",), "n02": ("bee",), "n03": ("cat", "puss")}
    torch.save((classes, ["n01", "n03"]), tmp_path / "meta.bin")
    generator = np.random.default_rng(0)
    for wnid, size in (("n01", (300, 260)), ("n03", (256, 400))):
        folder = tmp_path / "val" / wnid
        folder.mkdir(parents=True)
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / "ILSVRC2012_val_1.JPEG")
    return tmp_path


def test_imagenet_images_keep_the_numbers_of_their_classes_and_any_size(imagenet):
    """Oracle: positions among all classes, not among those that have images; the network's own preprocessing."""
    images = load_images(f"imagenet:{imagenet}")
    assert images.labels.tolist() == [0, 2]
    network = load_network("efficientnet_lite0", weights="random")
    assert images.inputs(network).shape == (2, 3, 224, 224)
    assert images.names[1] == "n03/ILSVRC2012_val_1.JPEG"
    with Image.open(imagenet / "val" / "n03" / "ILSVRC2012_val_1.JPEG") as picture:
        assert torch.equal(images.inputs(network, [1]), network.preprocess(picture.convert("RGB")))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": "cifar100:x"}, "expected mnist, digits, cifar10:DIR"),
        ({"source": "cifar10"}, "expected mnist, digits, cifar10:DIR"),
        ({"source": "mnist:here"}, "expected mnist, digits, cifar10:DIR"),
        ({"source": "digits", "indices": [0, 397]}, r"indices in 0\.\.396"),
        ({"source": "digits", "indices": [-1]}, r"indices in 0\.\.396"),
        ({"source": "cifar10:no/such/folder"}, "expected cifar10 in 'no/such/folder'"),
        ({"source": "imagenet:no/such/folder"}, "expected imagenet in 'no/such/folder'"),
    ],
)
def test_bad_sources_are_named(arguments, words):
    """Oracle: the error's text."""
    with pytest.raises(ValueError, match=words):
        load_images(**arguments)


def test_damaged_cifar_files_are_named(cifar):
    """Oracle: the error's text, after one byte was changed."""
    folder, _ = cifar
    path = folder / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="expected cifar10 in"):
        load_images(f"cifar10:{folder}")


def test_a_folder_of_pictures_is_read_in_the_order_of_names(tmp_path):
    """Oracle: the pictures that were written; other files are passed over."""
    (tmp_path / "b").mkdir()
    for name, level in (("b/2.png", 20), ("a.PNG", 10)):
        Image.new("RGB", (9, 9), (level,) * 3).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    images = load_images(f"folder:{tmp_path}")
    assert images.names == ("a.PNG", "b/2.png")
    assert [images.picture(i).getpixel((0, 0))[0] for i in range(2)] == [10, 20]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="found none"):
        load_images(f"folder:{tmp_path / 'empty'}")
