"""Figures 7 to 12: true statements hold and false ones are refuted on data made for the purpose; the paper's study."""

from pathlib import Path

import numpy as np
import pytest

from attacks.studies import load_study
from figures import _architectures as shared
from figures import fig07_output_by_architecture as fig07
from figures import fig08_similarity_by_architecture as fig08
from figures._script import load_script

EXAMPLES = ("fig09_example_vgg16", "fig10_example_resnet18", "fig11_example_alexnet", "fig12_example_densenet121")


def _outputs(**changes):
    rng = np.random.default_rng(0)
    data = {
        "logits_change": rng.uniform(0.01, 0.1, (4, 20)),
        "logits_norm": np.full((4, 20), 8.0),
        "softmax_change": rng.uniform(1e-4, 1e-3, (4, 20)),
        "probability_before": np.full((4, 20), 0.9),
        "probability_after": np.full((4, 20), 0.91),
        "class_kept": np.ones((4, 20)),
        "networks": np.array(["a", "b", "c", "d"]),
    }
    return data | changes


def _similarities(**changes):
    rng = np.random.default_rng(0)
    data = {
        f"{what}_{metric}": rng.uniform(0.5, 1, (4, 50)) for what in ("maps", "images") for metric in fig08._METRICS
    }
    data |= {"softplus_10": np.full((4, 50), 0.9), "softplus_30": np.full((4, 50), 0.95)}
    data["softplus_10"][list(shared.ARCHITECTURES).index("densenet121")] = 0.6
    return data | {"networks": np.array(["a", "b", "c", "d"])} | changes


def _holding(claims):
    return {words for words, claim in claims.items() if claim.holds}


def test_true_statements_hold():
    """Oracle: data that were made to obey them."""
    for found in (fig07.claims(_outputs()), fig08.claims(_similarities())):
        assert _holding(found) == found.keys()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"softmax_change": np.vstack([np.full((3, 20), 1e-4), np.full((1, 20), 0.3)])}, "probabilities stay"),
        ({"probability_after": np.full((4, 20), 0.7)}, "change of confidence"),
        ({"logits_norm": np.vstack([np.full((3, 20), 8.0), np.full((1, 20), 0.05)])}, "pre-activation stays"),
        ({"class_kept": np.vstack([np.ones((3, 20)), np.zeros((1, 20))])}, "keep their class"),
    ],
)
def test_one_architecture_that_differs_refutes_the_statement_of_the_output(change, words):
    """Oracle: data that were made to violate one statement."""
    found = fig07.claims(_outputs(**change))
    assert {w for w in found if words in w} == found.keys() - _holding(found)


@pytest.mark.parametrize(("what", "words"), [("maps", "to the target"), ("images", "of images")])
@pytest.mark.parametrize("metric", fig08._METRICS)
def test_an_architecture_apart_from_the_others_is_not_comparable(metric, what, words):
    """Oracle: a median a hundred times smaller, or lower by 0.6."""
    apart = _similarities()[f"{what}_{metric}"]
    apart[2] = 0.01 * apart[2] if metric == "mse" else apart[2] - 0.6
    found = fig08.claims(_similarities(**{f"{what}_{metric}": apart}))
    assert found.keys() - _holding(found) == {f"{metric.upper()} {words} is comparable for all architectures (C.1)"}


def test_boxes_are_named_after_the_networks_that_ran():
    """Oracle: by hand."""
    assert shared.labels(np.array(["mnist_vgg", "densenet121"])) == ["small vgg", "DenseNet-121"]


def test_captions_give_the_setting_of_the_study():
    """Oracle: the words in the data; no seed but the study's own."""
    setting = {"setting": np.array("lr changed for a reason.")}
    example = {"names": np.array(["a", "b", "vgg16"]), "pairs": np.array(3), "image_ssim": np.array(1.0)}
    example |= {f"explanation_{key}": np.array(0.5) for key in shared._NUMBERS} | {"image_mse": np.array(1e-4)}
    found = [fig07.caption(_outputs(**setting)), fig08.caption(_similarities(**setting))]
    found += [shared.caption_of_example(example | setting, "vgg16")]
    for caption in found:
        assert "lr changed for a reason." in caption
        assert "seed 0" not in caption


def test_softplus_maps_of_densenet_as_near_as_others_refute_the_reason_for_its_beta():
    """Oracle: equal similarities."""
    same = np.full((4, 50), 0.9)
    found = fig08.claims(_similarities(softplus_10=same, softplus_30=same))
    assert {words for words in found if "beta" in words} == found.keys() - _holding(found)


def test_a_map_nearer_to_its_own_former_self_is_not_the_targets():
    """Oracle: a metric beside its mirror image."""
    data = {
        "explanation_pcc_target": 0.8,
        "explanation_pcc_original": 0.3,
        "image_ssim": 0.99,
        "output_class_kept": 1.0,
    }
    good = {key: np.array(value) for key, value in data.items()}
    assert len(_holding(shared.claims_of_example(good))) == 3
    bad = good | {
        "explanation_pcc_target": np.array(0.2),
        "image_ssim": np.array(0.8),
        "output_class_kept": np.array(0.0),
    }
    assert not _holding(shared.claims_of_example(bad))


def test_examples_are_of_the_architectures_of_the_paper():
    """Oracle: the supplement's captions of figures 9 to 12."""
    titles = ("VGG-16", "ResNet-18", "AlexNet", "DenseNet-121")
    small = [shared._SMALL[key] for name in titles for key, words in shared.ARCHITECTURES.items() if words == name]
    assert [load_script(name).budget.network for name in EXAMPLES] == small


def test_the_papers_study_is_one_that_is_accepted_where_the_images_are(tmp_path: Path):
    """Oracle: the study's own reader, on a folder of pictures in the place of ImageNet."""
    from PIL import Image

    folder = tmp_path / 'with "quotes"'
    folder.mkdir()
    for i in range(200):
        Image.new("RGB", (10, 10), (i, 0, 0)).save(folder / f"{i}.png")
    path = tmp_path / "table2_paper.toml"
    path.write_text(shared.paper_study(f"folder:{folder}"), encoding="utf-8")
    study = load_study(str(path))
    assert len(study.pairs) == 100
    steps = {c.network: c.config.iterations for c in study.combinations()}
    assert steps == shared._STEPS
    assert {source.weights for source in study.sources} == {"pretrained"}


def test_a_missing_folder_is_bad_input(tmp_path: Path):
    """Oracle: the message names the folder."""
    with pytest.raises(ValueError, match="nowhere"):
        fig07.compute(quick=True, studies=tmp_path, images="imagenet:nowhere")


@pytest.mark.slow
def test_examples_show_the_pair_of_median_similarity(tmp_path: Path):
    """Oracle: the column of the study, sorted by hand."""
    data = shared.example("vgg16", "", quick=True, studies=tmp_path, any_code=False)
    found, names = shared.study_of("", quick=True, studies=tmp_path, any_code=False)
    assert data["explanation_pcc_target"] == sorted(found.column("explanation_pcc_target", network=names["vgg16"]))[1]
    assert np.abs(data["target_map"].sum() - 1) < 1e-5
    assert np.isin(data["names"][:2], np.array(found.pairs)).all()
