"""The command ``python -m attacks diagnose``: its object, files, page, words and errors."""

import dataclasses
import html
import json
import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from attacks import load_network, load_picture
from attacks.__main__ import main
from attacks.change_search import Effort
from attacks.diagnosis import diagnose
from attacks.report.diagnosis import write_diagnosis
from attacks.report.diagnosis_words import MAP, NORMAL, at_least, at_most, degrees, sentences
from attacks.soft_logit import soft_logit

FAST = ["--steps", "6", "--restarts", "1"]
DIGIT = ["diagnose", "--network", "digits", "--image", "digits/5", *FAST]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two radii: one with a certificate, one so large that nothing can be proven."""
    out = tmp_path_factory.mktemp("diagnose")
    assert main([*DIGIT, "--radius", "0.1", "8", "--out", str(out)]) == 0
    return out, json.loads((out / "diagnosis.json").read_text())


def test_json_is_one_object_and_nothing_else(finished, tmp_path, capsys):
    """Oracle: the file that an earlier run wrote; the documented keys."""
    out, written = finished
    assert main([*DIGIT, "--radius", "8", "0.1", "--json", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found.pop("seconds") > 0
    assert found == written
    assert "diagnose" in printed.err
    assert [at["radius"] for at in found["radii"]] == [0.1, 8.0]
    assert {p.name for p in out.iterdir()} == {"diagnosis.html", "diagnosis.png", "diagnosis.json"}
    with Image.open(out / "diagnosis.png") as picture:
        assert picture.size[0] > 1000


def test_what_is_proven_is_above_what_is_found(finished):
    """Oracle: the order of the two ends; a radius at which the gradient may vanish proves nothing."""
    _, found = finished
    near, far = found["radii"]
    certificate = near["certificate"]
    assert 0 < near["found"]["normal_on_level_set"] <= near["found"]["normal"] <= certificate["change_bound"]
    assert 0 < near["found"]["map_on_level_set"] <= near["found"]["map"] <= certificate["map_change_bound"]
    assert certificate["curvature_attained"] <= certificate["curvature_bound"]
    assert certificate["curvature_bound"] == min(r["curvature"] for r in near["rungs"].values() if r["curvature"])
    assert far["certificate"]["vacuous"]
    assert not near["violations"]
    assert far["sentences"][0]["strength"] == "nothing proven"
    assert "may vanish" in far["sentences"][0]["text"]
    assert len(found["geometry"]["curvatures"]) == 63


def test_every_sentence_names_its_map_and_the_numbers_are_those_of_the_object(finished):
    """Oracle: the object's numbers, read back out of the text: above what is proven, below what was found."""
    _, found = finished
    near = found["radii"][0]
    assert {s["about"] for s in near["sentences"]} == {NORMAL, MAP}
    assert {s["strength"] for s in near["sentences"]} == {"proven", "found", "estimate"}
    proven = {s["about"]: s["text"] for s in near["sentences"] if s["strength"] == "proven"}
    reached = {s["about"]: s["text"] for s in near["sentences"] if s["strength"] == "found"}
    for text, words, value in (
        (proven[NORMAL], r"a chord of ([\d.e-]+)\)", near["certificate"]["change_bound"]),
        (proven[NORMAL], r"turns by ([\d.e-]+) degrees", degrees(near["certificate"]["change_bound"])),
        (proven[MAP], r"moves by ([\d.e-]+) ", near["certificate"]["map_change_bound"]),
    ):
        assert value <= float(re.search(words, text)[1]) <= 1.01 * value
    for text, words, value in (
        (reached[NORMAL], r"a chord of ([\d.e-]+)\)", near["found"]["normal"]),
        (reached[NORMAL], r"degrees \(([\d.e-]+)\)\.", near["found"]["normal_on_level_set"]),
        (reached[MAP], r"has moved by ([\d.e-]+) ", near["found"]["map"]),
    ):
        assert 0.99 * value <= float(re.search(words, text)[1]) <= value
    assert degrees(2**0.5) == pytest.approx(90)
    assert degrees(2.0) == pytest.approx(180)


@given(st.floats(1e-300, 1e300), st.integers(1, 6))
def test_a_text_is_on_the_safe_side_of_its_number(value, digits):
    """Oracle: the number itself, and one unit of the last digit."""
    above, below = float(at_most(value, digits)), float(at_least(value, digits))
    assert below <= value <= above
    assert above - below <= 1.001 * 10 ** (math.floor(math.log10(value)) - digits + 1)


def test_the_page_stands_alone_and_says_the_sentences(finished):
    """Oracle: the page's text; no address is in it."""
    page = (finished[0] / "diagnosis.html").read_text()
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("data:image/") == 6
    for words in ("At most: the unit normal", "At least", "Nothing is proven of either map", "UCI optical digits",
                  "python -m attacks diagnose", "exact up to rounding", "first order local"):  # fmt: skip
        assert words in page


def test_a_violated_certificate_would_be_reported(finished):
    """Oracle: a false sibling: a certificate below what the search attained."""
    network = load_network("digits")
    x = network.preprocess(load_picture("digits/5", channels=1).image)[0]
    (at,) = diagnose(network, x, radii=[0.1], effort=Effort(steps=2, restarts=0)).radii
    assert not at.violations()
    broken = dataclasses.replace(at.certificate, change_bound=at.found.normal.value / 2)
    (words,) = dataclasses.replace(at, certificate=broken).violations()
    assert "unit normal" in words


def test_max_pooling_is_named_and_estimates_remain(tmp_path):
    """Oracle: the paths of the network's own layers; no number is called proven, and the page gives the reason."""
    network, picture = load_network("mnist_vgg", weights="random"), load_picture("mnist/7", channels=1)
    x = network.preprocess(picture.image)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attacks.geometry.DENSE", 10)
        found = diagnose(network, x, radii=[0.1], effort=Effort(steps=1, restarts=0))
    (at,) = found.radii
    assert at.certificate is None
    pools = [name for name, m in network.module.named_modules() if isinstance(m, torch.nn.MaxPool2d)]
    assert len(pools) == 3
    assert all(f"'{name}' (MaxPool2d)" in found.field.reason for name in pools)
    assert all(bound.curvature is None and pools[0] in bound.reason for bound in at.rungs.values())
    assert not found.geometry.complete
    words = sentences(found, at)
    assert "proven" not in {s.strength for s in words}
    assert at.found.normal.value > 0
    assert at.normal_estimate > 0
    write_diagnosis(tmp_path, network, found, picture=picture, command="")
    page = (tmp_path / "diagnosis.html").read_text()
    assert f"<b>No certificate applies:</b> {found.field.reason}. What" in html.unescape(page)


def test_a_layer_that_is_no_part_of_a_stack_is_named_before_the_size(monkeypatch):
    """Oracle: by hand; of a stack without such a layer the limit is named."""
    monkeypatch.setattr("attacks.soft_logit.LARGEST_UNROLLED", 10)
    x = torch.full((1, 8, 8), 0.5)
    for middle, words in ((torch.nn.ReLU6(), "layer '2' "), (torch.nn.ReLU(), "an input of 64 numbers")):
        module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4), middle, torch.nn.Linear(4, 2))
        network = dataclasses.replace(load_network("digits"), module=module.eval())
        soft = soft_logit(network, x, 0, beta=1.0)
        assert words in soft.reason
        assert soft.matrices is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--radius", "-1"], "finite and > 0"),
        (["--radius", "nan"], "finite and > 0"),
        (["--beta", "0"], "beta"),
        (["--target-class", "12"], "class from 0 to 9"),
        (["--steps", "0"], "steps >= 1"),
        (["--image", "nobody.png"], "expected a picture file"),
        (["--network", "nonet"], "expected a network among"),
        (["--network", "tests.attacks.odd_networks:leaky"], "'2'"),
        (["--network", "tests.attacks.odd_networks:not_finite"], "finite logits"),
    ],
)
def test_bad_input_is_one_clear_paragraph_with_status_two(arguments, words, tmp_path, capsys, monkeypatch):
    """Oracle: the contract; nothing half-written is left behind."""
    monkeypatch.chdir(tmp_path)
    assert main([*DIGIT, *arguments, "--out", "here"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert not list(tmp_path.iterdir())
