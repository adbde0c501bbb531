"""Claims are judged on the data: on data made for a statement it holds, on their opposite it is refuted.

The oracle is the construction of the data; each case is judged both ways.
"""

import numpy as np
import pytest

from figures._claim import Claim, Data
from figures._robustness import METRICS, claims_of_scatter
from figures._script import load_script

RNG = np.random.default_rng(0)
SETTING = np.array("made up")


def noise(*shape: int, low: float, high: float) -> np.ndarray:
    return RNG.uniform(low, high, shape)


def curves(*, good: bool) -> Data:
    final = np.ones((5, 4))
    final[-1] = 0.5 if good else 2.0
    pcc = np.full((5, 4), 0.9 if good else 0.2)
    pcc[-1] = 0.91 if good else 0.7
    return {"final_mse": final, "final_pcc": pcc, "image_mse": np.full((5, 3, 4), 1e-4), "map_mse": np.ones((5, 3, 4))}


def softplus(*, good: bool) -> Data:
    beta = np.array([1.0, 10.0, 1000.0])
    rising, flat = np.array([0.2, 0.5, 0.99])[:, None], np.array([0.6, 0.6, 0.6])[:, None]
    main = np.repeat(rising if good else flat, 4, 1)
    return {"beta": beta, "pcc_main": main, "pcc_mnist_vgg": np.repeat(rising + 0.1, 4, 1)} | {
        "pcc_mnist_densenet": np.repeat(rising if good else rising + 0.4, 4, 1)
    }


def over_beta(*, good: bool) -> Data:
    low, high = (0.2, 0.6) if good else (0.6, 0.2)
    similarity = np.linspace(low, high, 5)[None, :, None] + noise(3, 5, 9, low=-0.01, high=0.01)
    found = {"similarity": similarity, "pictures_similarity": similarity[:2], "network": np.array("made up")}
    return found | lrp_over_beta(good=good)


def lrp_over_beta(*, good: bool) -> Data:
    maps = noise(2, 5, 6, 6, low=0, high=1)
    maps[:, 1] = maps[:, 0] if good else maps[:, 0, ::-1]
    return {"maps": maps, "digit_maps": maps}


def ghorbani(*, good: bool) -> Data:
    ours = 0 if good else 1
    to_target, to_original, after = np.full((4, 8), 0.3), np.full((4, 8), 0.8), np.full((4, 8), 0.5)
    to_target[ours], to_original[ours], after[ours] = 0.9, 0.4, 0.99
    moved = np.full((4, 8), 1e-3)
    moved[1, 3:], after[1, 3:] = 0.0, 1.0  # most find nothing and keep their output, which says nothing
    found = {"image_mse": moved}
    found |= {"explanation_pcc_original": to_original, "explanation_pcc_target": to_target}
    return found | {"output_probability_before": np.ones((4, 8)), "output_probability_after": after}


def output(*, good: bool) -> Data:
    return {
        "class_kept": np.ones((6, 5)) if good else np.eye(6, 5),
        "probability_before": np.full((6, 5), 0.9),
        "probability_after": np.full((6, 5), 0.901 if good else 0.5),
        "softmax_change": np.full((6, 5), 1e-3 if good else 0.4),
    }


def lrp_cifar(*, good: bool) -> Data:
    pcc = np.full(4, 0.95 if good else 0.3)
    kept = np.array([True, True, True, good])
    found = {"pcc_target": pcc, "pcc_target_before": np.full(4, 0.2), "kept": kept, "accuracy": np.array(pcc[0])}
    return found | {"data": np.array("cifar10")}


def recovery(*, good: bool) -> Data:
    rise, fall = np.linspace(0.3, 0.8, 5)[None, :, None], np.linspace(0.9, 0.2, 5)[None, :, None]
    original, target = (rise, fall) if good else (fall, rise + 0.7)
    wide = np.ones((2, 1, 6))
    return {"to_original": original * wide, "to_target": target * wide, "noise": np.linspace(0, 0.5, 5)}


def robustness(*, good: bool) -> Data:
    mse, similarity = ([1.0, 3.0], [0.9, 0.5]) if good else ([3.0, 1.0], [0.5, 0.9])
    found = {"mse": np.array(mse), "ssim": np.array(similarity), "pcc": np.array(similarity)}
    return {name: pair[:, None, None] * np.ones((2, 6, 5)) for name, pair in found.items()}


def images(*, good: bool) -> Data:
    mse, similarity = ([1.0, 3.0], [0.9, 0.85]) if good else ([1.0, 1000.0], [0.9, 0.3])
    found = {"mse": np.array(mse), "ssim": np.array(similarity), "pcc": np.array(similarity)}
    return {name: pair[:, None, None] * np.ones((2, 6, 5)) for name, pair in found.items()}


def flipping(*, good: bool) -> Data:
    return {"area": np.array([0.7, 0.3, 0.2, 0.1] if good else [0.2, 0.3, 0.4, 0.5]), "n": np.array(10)}


CASES = {
    "fig01_attack_curves": curves,
    "fig02_softplus_error": softplus,
    "fig03_gradient_over_beta": over_beta,
    "fig04_lrp_over_beta": lrp_over_beta,
    "fig05_ghorbani": ghorbani,
    "fig06_output_change": output,
    "fig13_lrp_cifar": lrp_cifar,
    "fig14_smoothgrad_recovery": recovery,
    "fig18_maps_all_methods": robustness,
    "fig19_images_all_methods": images,
    "fig21_pixel_flipping": flipping,
}


@pytest.mark.parametrize("name", CASES)
def test_statements_hold_on_data_made_for_them_and_fall_on_their_opposite(name: str):
    """Oracle: the construction."""
    script = load_script(name)
    true, false = (script.claims(CASES[name](good=good)) for good in (True, False))
    assert true.keys() == false.keys()
    assert [words for words, claim in true.items() if not claim.holds] == []
    assert [words for words, claim in false.items() if claim.holds] == []


def test_a_small_network_on_mnist_says_nothing_about_the_accuracy_on_cifar():
    """Oracle: C.2 is about VGG-16 on CIFAR-10."""
    claims = load_script("fig13_lrp_cifar").claims
    assert not [words for words in claims(lrp_cifar(good=True) | {"data": np.array("mnist")}) if "accuracy" in words]
    assert [words for words in claims(lrp_cifar(good=True)) if "accuracy" in words]


def test_noise_that_changes_nothing_recovers_nothing():
    """Oracle: curves that are flat over the noise level, with the original above the target throughout."""
    flat = recovery(good=True) | {"to_original": np.full((2, 5, 6), 0.8), "to_target": np.full((2, 5, 6), 0.3)}
    found = load_script("fig14_smoothgrad_recovery").claims(flat)
    assert {words.split()[0] for words, claim in found.items() if claim.holds} == {"with"}
    assert all(claim.value == 0 for claim in found.values() if not claim.holds)


def test_notes_give_the_numbers_of_the_data():
    """Oracle: the construction: medians of the change 0.01 and 0.5, and of the probability before, 1."""
    notes = [claim.note for claim in load_script("fig05_ghorbani").claims(ghorbani(good=True)).values()]
    assert any("they are 0.01 and 0.5" in note for note in notes)
    assert any("the median before is 1.000" in note for note in notes)


def test_an_attack_that_finds_nothing_is_not_counted_as_keeping_its_output():
    """Oracle: the construction: three of eight pairs are changed by both attacks; with none changed all count."""
    script, data = load_script("fig05_ghorbani"), ghorbani(good=True)
    words = "our method changes the confidence less than the target region (A.2)"
    found, none = script.claims(data)[words], script.claims(data | {"image_mse": np.zeros((4, 8))})[words]
    assert (found.holds, found.n, none.holds, none.n) == (True, 3, False, 8)
    assert "nothing better than the image itself for 5 pairs (top-k 0" in script.words(data | {"setting": SETTING})


def test_captions_in_the_papers_setting_name_its_images_and_network():
    """Oracle: the words in the data; nothing of MNIST is left where none was used."""
    words = {"network": "vgg16 (ImageNet, file)", "main": "vgg16 (ImageNet, file)", "reason": ""}
    words |= {"images": "ImageNet validation images", "setting": "made up"}
    shared = {key: np.array(value) for key, value in words.items()} | {"pixels": np.array(False)}
    shared |= {"lr": np.array(1e-3), "explanation_weight": np.array(1e11)}
    flips = {"share": np.arange(3), "zero": np.array([0.485, 0.456, 0.406])}
    one = load_script("fig01_attack_curves").words(curves(good=True) | shared)
    two = load_script("fig02_softplus_error").words(
        softplus(good=True) | {"mse_main": np.ones((3, 4)), "n": np.array(4)} | shared
    )
    last = load_script("fig21_pixel_flipping").words(flipping(good=True) | flips | shared)
    for caption in (one, two, last):
        assert "vgg16 (ImageNet, file)" in caption
        assert "ImageNet validation images" in caption
    assert "MNIST" not in one + last
    assert "0.225" not in one
    assert "mean colour" in last
    thirteen = lrp_cifar(good=True) | shared | {"pictures": np.array("CIFAR-10 test images"), "steps": np.array(9)}
    assert "pairs of CIFAR-10 test images" in load_script("fig13_lrp_cifar").words(thirteen)
    assert "MNIST" not in load_script("fig13_lrp_cifar").words(thirteen)


def test_captions_of_small_networks_say_what_stands_in():
    """Oracle: the words in the data."""
    words = {"network": "mnist_lenet (trained)", "images": "MNIST test images", "reason": "smaller maps"}
    data = curves(good=True) | {key: np.array(value) for key, value in words.items()} | {"pixels": np.array(True)}
    found = load_script("fig01_attack_curves").words(data | {"lr": np.array(2e-4), "explanation_weight": np.array(1.0)})
    assert "0.225 of the printed" in found
    assert "smaller maps" in found
    zero = {"share": np.arange(3), "zero": np.zeros(1), "network": np.array("a"), "images": np.array("MNIST")}
    assert "(black)" in load_script("fig21_pixel_flipping").words(flipping(good=True) | zero)


@pytest.mark.parametrize("name", ["fig03_gradient_over_beta", "fig04_lrp_over_beta"])
def test_captions_name_the_pictures_that_were_shown(name: str):
    """Oracle: a quick run shows a digit, a full one the photographs."""
    data = load_script("fig04_lrp_over_beta").compute(seed=0, quick=True)
    data |= {"similarity": np.ones((3, 5, 2)), "fitted": np.array(100)}
    found = load_script(name).words(data)
    assert "of 1 MNIST test image on mnist_vgg (trained on 4,000 images of MNIST)" in found
    assert "Chelsea" not in found


def test_a_quick_run_leaves_a_network_that_was_asked_for():
    """Oracle: the network's name in the data."""
    data = load_script("fig04_lrp_over_beta").compute(seed=0, quick=True, network="mnist_alexnet", data="mnist")
    assert str(data["network"]) == "mnist_alexnet"


@pytest.mark.parametrize("metric", METRICS)
def test_scatters_are_judged_on_the_right_side_of_the_diagonal(metric: str):
    """Oracle: the construction: smoothed maps farther from the target by the metric, then nearer."""
    up = noise(3, 2, 20, low=0.1, high=0.2) + np.array([0.0, 0.5, 0.5])[:, None, None]
    far, near = (up, 1 - up) if metric == "mse" else (1 - up, up)
    for data, expected in ((far, True), (near, False)):
        found = claims_of_scatter({"maps": data, "images": data}, metric)
        assert {claim.holds for claim in found.values()} == {expected}
        assert len(found) == 8


def test_statements_on_record_as_failing_deviate_when_they_hold():
    """Oracle: the record turned round."""
    data = {key: np.arange(3.0)[:, None, None] * np.ones((3, 2, 5)) for key in ("maps", "images")}
    words = "MSE of LRP maps to the target is mostly higher with SmoothGrad"
    found: dict[str, Claim] = claims_of_scatter(data, "mse", failing={words})
    assert [key for key, claim in found.items() if claim.deviates] == [words]
