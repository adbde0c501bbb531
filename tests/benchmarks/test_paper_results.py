"""The tables of the paper's results, from made-up summaries."""

import pandas as pd
import pytest

from benchmarks import paper_results
from benchmarks.paper_results import resistance, table

OTHER = (
    "explanation_ssim_target", "image_pcc", "image_ssim", "output_class_kept", "output_logits_change",
    "output_softmax_change", "output_probability_before",
)  # fmt: skip


def rows(defence: str, gains: list[float], *, kept: float, changes: list[float] | None = None) -> pd.DataFrame:
    """One row a pair; maps start at a correlation of 0.2 with the target."""
    frame = pd.DataFrame(
        {
            "network": "n", "method": "gradient", "attack": "manipulate", "defence": defence, "seed": 0,
            "pair": range(len(gains)), "image": "a", "target": "b", "explanation_pcc_target_before": 0.2,
            "explanation_pcc_target": [0.2 + gain for gain in gains], "explanation_pcc_original": kept,
            "output_probability_after": changes or 0.0,
        }
    )  # fmt: skip
    return frame.assign(**dict.fromkeys(OTHER, 0.0))


def test_a_defended_study_that_is_partial_is_compared_over_its_own_pairs():
    """Oracle: by hand; four pairs without the defence, the first two of them with it, and one lost number."""
    whole, part = rows("none", [0.1, 0.3, 0.9, 0.9], kept=0.5), rows("soft", [0.0, 0.4, float("nan")], kept=0.8)
    (found,) = resistance(pd.concat([whole, part])).to_dict("records")
    assert found["n"] == 2
    assert found["gain undefended"] == pytest.approx(0.2)
    assert found["gain defended"] == pytest.approx(0.2)
    assert (found["gained less"], found["stayed nearer"]) == (0.5, 1.0)
    assert (found["PCC original undefended"], found["PCC original defended"]) == (0.5, 0.8)


def test_whole_studies_are_compared_pair_by_pair():
    """Oracle: by hand; rows in another order."""
    whole, defended = rows("none", [0.1, 0.3, 0.5], kept=0.5), rows("soft", [0.2, 0.2, 0.2], kept=0.4)
    (found,) = resistance(pd.concat([whole, defended[::-1]])).to_dict("records")
    assert (found["n"], found["stayed nearer"]) == (3, 0.0)
    assert found["gained less"] == pytest.approx(2 / 3)


def test_the_tenth_percentile_is_of_the_signed_change():
    """Oracle: by hand; ten images gain and one loses: with signs the percentile is that of a small gain or a loss."""
    (found,) = table(rows("none", [0.1] * 11, kept=0.5, changes=[-0.5, -0.3, *[0.1] * 9])).to_dict("records")
    assert found["confidence 10 %"] == pytest.approx(-0.3)
    assert found["confidence"] == pytest.approx(0.1)


def test_missing_studies_are_named_and_left_out_and_pairs_can_be_fewer(tmp_path, capsys):
    """Oracle: the output; status 1 only where there is nothing at all."""
    assert paper_results.main(["--studies", str(tmp_path)]) == 1
    for name, frame in (
        ("table1", rows("none", [0.1, 0.3, 0.5], kept=0.5)),
        ("table4", rows("soft", [0.2, 0.2, 0.2], kept=0.5)),
    ):
        (tmp_path / name).mkdir()
        frame.to_csv(tmp_path / name / "summary.csv")
    capsys.readouterr()
    assert paper_results.main(["--studies", str(tmp_path), "--pairs", "1"]) == 0
    said = capsys.readouterr()
    assert [line.split(":")[0] for line in said.err.splitlines()] == [
        "left out table2", "left out table5", "left out ghorbani"
    ]  # fmt: skip
    assert "defences against the original maps" in said.out
    assert [line.split()[3] for line in said.out.splitlines() if " soft " in line][-1] == "1"
    with pytest.raises(SystemExit):
        paper_results.main(["--pairs", "0"])
