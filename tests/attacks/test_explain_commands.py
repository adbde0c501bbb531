"""The commands ``explain`` and ``fit-patterns``: their files, resuming, errors."""

import json

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save

from attacks import EXPLANATIONS, explain, load_network, load_picture
from attacks.__main__ import main
from attacks.commands import fit_patterns
from attacks.explanations.patterns import PatternFit

FIT = ["fit-patterns", "--network", "digits", "--data", "digits", "--limit", "40", "--batch", "16"]


@pytest.fixture(scope="module")
def patterns(tmp_path_factory):
    path = tmp_path_factory.mktemp("patterns") / "digits.safetensors"
    assert main([*FIT, "--out", str(path)]) == 0
    return path


def test_all_methods_are_drawn_side_by_side(patterns, tmp_path):
    """Oracle: the maps of ``explain`` itself; a picture with a row a method."""
    command = ["explain", "--network", "digits", "--image", "digits/5", "--patterns", str(patterns)]
    assert main([*command, "--beta", "inf", "2", "--out", str(tmp_path)]) == 0
    maps = load_file(tmp_path / "maps.safetensors")
    assert maps.keys() == EXPLANATIONS.keys()
    network = load_network("digits")
    x = network.preprocess(load_picture("digits/5", channels=1).image)
    expected = torch.cat([explain(network, x, method="lrp"), explain(network.soften(2.0), x, method="lrp")])
    torch.testing.assert_close(maps["lrp"], expected, rtol=1e-6, atol=1e-9)
    with Image.open(tmp_path / "maps.png") as picture:
        assert picture.height > picture.width


def test_patterns_that_a_network_brings_are_used(patterns, tmp_path, monkeypatch, capsys):
    """Oracle: the maps made with the same patterns from their file; a factory that returns both."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "users_patterned.py").write_text(
        "import dataclasses\nfrom pathlib import Path\nfrom attacks import load_network\n"
        "from attacks.explanations.patterns import load_patterns\n"
        f"def make():\n    patterns = load_patterns(Path({str(patterns)!r}))\n"
        "    return dataclasses.replace(load_network('digits'), patterns=patterns)\n"
    )
    own, filed = tmp_path / "own", tmp_path / "filed"
    command = ["explain", "--image", "digits/5", "--beta", "2"]
    assert main([*command, "--network", "users_patterned:make", "--out", str(own)]) == 0
    assert "left out" not in capsys.readouterr().err
    assert main([*command, "--network", "digits", "--patterns", str(patterns), "--out", str(filed)]) == 0
    assert (own / "maps.safetensors").read_bytes() == (filed / "maps.safetensors").read_bytes()


def _interrupted_fit(out, monkeypatch):
    """A fit that Ctrl-C ends after its first batch of 16."""
    add = PatternFit.add

    def stop(self, x):
        if self.samples >= 16:
            raise KeyboardInterrupt
        add(self, x)

    with monkeypatch.context() as patched:
        patched.setattr(fit_patterns.PatternFit, "add", stop)
        assert main([*FIT, "--out", str(out)]) == 1


def test_a_fit_that_was_interrupted_goes_on_to_the_same_bytes(patterns, tmp_path, monkeypatch, capsys):
    """Oracle: an undisturbed fit."""
    out = tmp_path / "digits.safetensors"
    _interrupted_fit(out, monkeypatch)
    assert "interrupted after 16 of 40" in capsys.readouterr().err
    assert not out.exists()
    assert main([*FIT, "--out", str(out)]) == 0
    assert out.read_bytes() == patterns.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["digits.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "--network", "digits", "--image", "digits/5", "--methods", "saliency"], "expected methods among"),
        (["explain", "--network", "digits", "--image", "digits/5", "--methods", "pattern_attribution"], "fit-patterns"),
        (["explain", "--network", "digits", "--image", "digits/5", "--beta", "-1"], "finite beta > 0"),
        (["explain", "--network", "digits", "--image", "digits/5", "--target-class", "12"], "class"),
        (["fit-patterns", "--network", "digits", "--data", "faces", "--out", "p"], "expected mnist, digits"),
        ([*FIT, "--batch", "0", "--out", "p"], "batch and limit"),
        (["fit-patterns", "--network", "digits", "--data", "mnist", "--out", "p"], "expected inputs of shape"),
    ],
)
def test_bad_input_is_one_clear_paragraph_with_status_two(arguments, words, tmp_path, capsys, monkeypatch):
    """Oracle: the contract; nothing half-written is left behind."""
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--weights", "random"], "the same network,"),
        (["--weights", "random", "--seed", "2"], "the same network,"),
        (["--split", "test"], "the same data,"),
        (["--network", "mnist_lenet", "--data", "mnist", "--weights", "random"], "the same data and network,"),
    ],
)
def test_an_unfinished_fit_goes_on_with_the_same_network_and_data_only(changes, words, tmp_path, monkeypatch, capsys):
    """Oracle: the error's text; the file stays; the command that began the fit ends it."""
    out = tmp_path / "p.safetensors"
    _interrupted_fit(out, monkeypatch)
    before = out.with_name("p.safetensors.unfinished").read_bytes()
    assert main([*FIT, *changes, "--out", str(out)]) == 2
    assert f"expected an unfinished fit of {words}" in capsys.readouterr().err
    assert out.with_name("p.safetensors.unfinished").read_bytes() == before
    assert main([*FIT, "--out", str(out)]) == 0


@pytest.mark.parametrize(
    "metadata", [{}, {"samples": 3}, {"samples": "many", "origin": {}}, {"samples": 3, "origin": 1}]
)
def test_an_unfinished_fit_that_says_too_little_is_named(metadata, tmp_path, capsys):
    """Oracle: the error's text; files as another version of the program could have left them."""
    unfinished = tmp_path / "p.safetensors.unfinished"
    unfinished.write_bytes(save({"1/x": torch.zeros(1)}, {"fit": json.dumps(metadata)}))
    assert main([*FIT, "--out", str(tmp_path / "p.safetensors")]) == 2
    assert "expected a file of fit written by this version" in capsys.readouterr().err


def test_an_unfinished_fit_of_another_network_is_named(tmp_path, capsys):
    """Oracle: the error's text; the file stays."""
    unfinished = tmp_path / "p.safetensors.unfinished"
    unfinished.write_bytes(b"damaged")
    assert main([*FIT, "--out", str(tmp_path / "p.safetensors")]) == 2
    assert "expected a file of fit" in capsys.readouterr().err
    assert unfinished.exists()
