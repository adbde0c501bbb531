"""Targets: drawings, texts, other classes; and the commands that name them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from attacks import load_network, load_picture, load_result, load_target, map_of_drawing, map_of_text, preset
from attacks.__main__ import main
from attacks.manipulation import target_map

CONFIG = preset("digits", "gradient")


@pytest.fixture(scope="module")
def digits():
    return load_network("digits")


@pytest.fixture(scope="module")
def five(digits):
    return digits.preprocess(load_picture("digits/5", channels=1).image)


def test_a_drawing_is_its_brightness_fitted_and_normalised():
    """Oracle: a bar worked by hand, without blur; the fitted picture has black edges."""
    array = np.zeros((20, 40), dtype=np.uint8)
    array[:, 20:] = 255
    found = map_of_drawing(Image.fromarray(array), (20, 20), blur=0.0)
    assert found.shape == (20, 20)
    assert float(found.sum()) == pytest.approx(1)
    expected = torch.zeros(20, 20, dtype=torch.float64)
    expected[5:15, 10:] = 0.01
    torch.testing.assert_close(found[:, [0, 1, 18, 19]], expected[:, [0, 1, 18, 19]], atol=1e-4, rtol=0)
    assert (found[:5] == 0).all()


def test_blur_spreads_and_keeps_the_sum():
    """Oracle: the variance of a blurred point is the square of the blur, to the kernel's discretisation."""
    array = np.zeros((41, 41), dtype=np.uint8)
    array[20, 20] = 255
    found = map_of_drawing(Image.fromarray(array), (41, 41), blur=2.0)
    rows = torch.arange(41, dtype=torch.float64) - 20
    assert float(found.sum()) == pytest.approx(1)
    assert float((found.sum(1) * rows.square()).sum()) == pytest.approx(4, rel=0.02)
    assert float(map_of_drawing(Image.fromarray(array), (41, 41)).max()) < 1


@pytest.mark.parametrize("size", [(28, 28), (224, 224), (64, 200)])
def test_a_text_is_centred_and_fills_its_space(size):
    """Oracle: mirror images: H is its own mirror, so is its map; one side is filled."""
    found = map_of_text("H", size)
    assert float(found.sum()) == pytest.approx(1)
    centre = [float((found.sum(1 - d) * torch.arange(size[d])).sum()) for d in (0, 1)]
    assert centre[0] == pytest.approx((size[0] - 1) / 2, abs=0.06 * size[0])
    assert centre[1] == pytest.approx((size[1] - 1) / 2, abs=0.06 * size[1])
    lit = (found > found.max() / 10).nonzero()
    spans = lit.amax(0) - lit.amin(0) + 1
    assert (spans.double() / torch.tensor(size) > 0.6).any()
    assert not torch.equal(map_of_text("H", size), map_of_text("I", size))


def test_another_class_is_explained_in_the_same_picture(digits, five):
    """Oracle: ``target_map`` with the class; the predicted class gives another map."""
    target = load_target("same", digits, five, config=CONFIG, target_class=3)
    assert torch.equal(target.map, target_map(digits, five, config=CONFIG, target_class=3))
    assert torch.equal(target.input, five)
    assert not torch.allclose(target.map, target_map(digits, five, config=CONFIG))


def test_a_drawn_target_is_shown_and_has_the_inputs_shape_and_dtype(digits, five, tmp_path):
    """Oracle: the drawing itself, in float64 and in colour."""
    path = tmp_path / "cross.png"
    array = np.zeros((32, 32), dtype=np.uint8)
    array[14:18] = array[:, 14:18] = 255
    Image.fromarray(array).save(path)
    target = load_target(f"drawn:{path}", digits, five.double(), config=CONFIG)
    assert target.map.dtype == torch.float64
    torch.testing.assert_close(target.map[0], map_of_drawing(Image.fromarray(array), (8, 8)))
    torch.testing.assert_close(target.input[0, 0] / target.input.sum(), target.map[0])
    assert target.picture.name == "cross.png"


@pytest.mark.parametrize(
    ("source", "target_class", "words"),
    [
        ("text:", None, "text with letters"),
        ("text:far too long for eight pixels", None, "shorten it"),
        ("text:A", 3, "expected a picture"),
        ("same", None, "expected a class"),
        ("same", 10, r"class in 0\.\.9"),
        ("digits/9", -1, r"class in 0\.\.9"),
        ("drawn:no_such.png", None, "no_such.png"),
        ("no_such_name", None, "no_such_name"),
    ],
)
def test_bad_targets_are_named(digits, five, source, target_class, words):
    """Oracle: the error's text."""
    with pytest.raises(ValueError, match=words):
        load_target(source, digits, five, config=CONFIG, target_class=target_class)


def test_a_black_drawing_and_a_bad_blur_are_named():
    """Oracle: the error's text."""
    with pytest.raises(ValueError, match="white on black"):
        map_of_drawing(Image.new("L", (9, 9)), (9, 9))
    with pytest.raises(ValueError, match="blur"):
        map_of_text("A", (28, 28), blur=-1.0)


RUN = ["run", "--network", "digits", "--image", "digits/5", "--iterations", "5", "--curvature-every", "0", "--json"]


@pytest.mark.parametrize(
    ("options", "attack", "defence"),
    [
        (["--target", "same", "--target-class", "3"], "manipulate", None),
        (["--target", "text:7", "--attack", "ghorbani_target_region"], "ghorbani_target_region", None),
        (["--target", "digits/9", "--attack", "on_level_set", "--beta", "10"], "on_level_set", None),
        (["--target", "digits/9", "--defence", "beta_smoothing", "--no-adaptive"], "manipulate", "beta_smoothing"),
        (["--target", "digits/9", "--defence", "smoothgrad:noise=0.2,samples=3"], "manipulate", "smoothgrad"),
    ],
)
def test_the_command_takes_attacks_targets_and_defences(options, attack, defence, tmp_path, capsys):
    """Oracle: the JSON object and the result file."""
    arguments = [*RUN, *options, "--out", str(tmp_path)]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    _, metadata = load_result(tmp_path / "result.safetensors")
    for said in (found, metadata):
        assert said["attack"] == attack
        assert (said["defence"] or {}).get("name") == defence
    if defence == "beta_smoothing":
        assert found["defence"]["adaptive"] is False
    if attack == "on_level_set":
        assert found["path"]["largest_deviation"] < 1e-5
        assert "path on the level set" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--attack", "fgsm"], "an attack among manipulate"),
        (["--defence", "blur"], "a defence among beta_smoothing"),
        (["--defence", "smoothgrad:beta=1"], "settings of smoothgrad among"),
        (["--defence", "smoothgrad:samples=many"], "samples of smoothgrad as int"),
        (["--defence", "smoothgrad:seed=1,seed=2"], "each once"),
        (["--attack", "on_level_set", "--beta", "10", "100"], "one fixed beta"),
        (["--target", "same"], "expected a class"),
    ],
)
def test_bad_options_are_one_clear_line(options, words, tmp_path, capsys):
    """Oracle: status 2, the error's text, nothing left behind."""
    out = tmp_path / "new"
    assert main([*RUN, "--target", "digits/9", *options, "--out", str(out)]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()
