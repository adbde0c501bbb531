"""The paper's qualitative results on MNIST, from the studies' summaries: ``python -m benchmarks.paper_results``.

Reads ``summary.csv`` of the studies table1, table2, table4, table5 and ghorbani below ``--studies`` (``out`` unless
another is named), run before with ``python -m attacks study NAME``. Medians over images, the same pairs throughout.
"""

import argparse
from pathlib import Path

import pandas as pd

STUDIES = ("table1", "table2", "table4", "table5", "ghorbani")
TARGET, BEFORE, ORIGINAL = (f"explanation_pcc_{name}" for name in ("target", "target_before", "original"))
KEYS = ["network", "method", "attack", "defence"]


def table(folder: Path, name: str) -> pd.DataFrame:
    """One row a combination of a study: medians, and the share of attacks whose class was kept.

    Raises:
        SystemExit: If the study has not been run.
    """
    path = folder / name / "summary.csv"
    if not path.is_file():
        raise SystemExit(f"expected {path}, found none; run: python -m attacks study {name} --out {folder / name}")
    rows = pd.read_csv(path)
    rows["gain"] = rows[TARGET] - rows[BEFORE]
    rows["confidence_change"] = (rows["output_probability_after"] - rows["output_probability_before"]).abs()
    groups = rows.groupby(KEYS, sort=False)
    return pd.DataFrame(
        {
            "n": groups.size(),
            "PCC target before": groups[BEFORE].median(),
            "PCC target": groups[TARGET].median(),
            "gain": groups["gain"].median(),
            "PCC original": groups[ORIGINAL].median(),
            "SSIM target": groups["explanation_ssim_target"].median(),
            "image PCC": groups["image_pcc"].median(),
            "image SSIM": groups["image_ssim"].median(),
            "kept": groups["output_class_kept"].mean(),
            "logits": groups["output_logits_change"].median(),
            "softmax": groups["output_softmax_change"].median(),
            "confidence": groups["confidence_change"].median(),
        }
    ).reset_index()


def resistance(folder: Path) -> pd.DataFrame:
    """Gain in PCC to the target of original and defended maps, and how often the defended one gained less."""
    rows = pd.concat([pd.read_csv(folder / name / "summary.csv") for name in ("table1", "table4", "table5")])
    rows["gain"] = rows[TARGET] - rows[BEFORE]
    wide = {
        column: rows.pivot_table(index=["method", "pair"], columns="defence", values=column, sort=False)
        for column in ("gain", ORIGINAL)
    }
    lines = []
    for defence in (name for name in wide["gain"].columns if name != "none"):
        for method in wide["gain"][defence].dropna().index.unique("method"):
            gain, kept = (wide[column].loc[method] for column in ("gain", ORIGINAL))
            lines.append(
                {
                    "method": method, "defence": defence, "n": len(gain),
                    "gain undefended": gain["none"].median(), "gain defended": gain[defence].median(),
                    "PCC original undefended": kept["none"].median(), "PCC original defended": kept[defence].median(),
                    "gained less": (gain[defence] < gain["none"]).mean(),
                    "stayed nearer": (kept[defence] > kept["none"]).mean(),
                }
            )  # fmt: skip
    return pd.DataFrame(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=Path, default=Path("out"))
    parser.add_argument("--names", nargs="*", choices=STUDIES, default=list(STUDIES))
    options = parser.parse_args()
    pd.set_option("display.width", 220, "display.max_columns", 20, "display.precision", 4)
    for name in options.names:
        print(f"\n{name}\n{table(options.studies, name).drop(columns='network' if name != 'table2' else 'method')}")
    if {"table1", "table4", "table5"} <= set(options.names):
        print(f"\ndefences against the original maps, by method\n{resistance(options.studies)}")


if __name__ == "__main__":
    main()
