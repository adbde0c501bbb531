"""The paper's qualitative results on MNIST, from the studies' summaries: ``python -m benchmarks.paper_results``.

Reads ``summary.csv`` of the studies table1, table2, table4, table5 and ghorbani below ``--studies`` (``out`` unless
another is named), run before with ``python -m attacks study NAME``; one that has not been run is named and left out.
Medians over images, the same pairs throughout; ``--pairs N`` takes the first N pairs alone.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

STUDIES = ("table1", "table2", "table4", "table5", "ghorbani")
TARGET, BEFORE, ORIGINAL = (f"explanation_pcc_{name}" for name in ("target", "target_before", "original"))
COMPARED = ("table1", "table4", "table5")  # the original maps and the defended ones
MATCH = ["network", "method", "attack", "seed", "pair", "image", "target"]
KEYS = ["network", "method", "attack", "defence"]


def read(folder: Path, name: str, *, pairs: int | None = None) -> pd.DataFrame | None:
    """The summary of a study, one row an attacked image, of the first ``pairs`` pairs; None if it has not been run."""
    path = folder / name / "summary.csv"
    if not path.is_file():
        return None
    rows = pd.read_csv(path)
    return rows if pairs is None else rows[rows["pair"] < pairs].copy()


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a combination of a study: medians, and the share of attacks whose class was kept.

    ``confidence`` is the median of the change's magnitude, ``confidence 10 %`` the tenth percentile of the signed
    change of the winning class's probability: a tenth of the images lose as much or more.
    """
    rows = rows.copy()
    rows["gain"] = rows[TARGET] - rows[BEFORE]
    rows["signed_change"] = rows["output_probability_after"] - rows["output_probability_before"]
    rows["confidence_change"] = rows["signed_change"].abs()
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
            "confidence 10 %": groups["signed_change"].quantile(0.1),
        }
    ).reset_index()


def resistance(rows: pd.DataFrame) -> pd.DataFrame:
    """Gain in PCC to the target of original and defended maps, and how often the defended one gained less.

    All numbers of a row are over the same pairs: those that were attacked both with and without the defence.

    Args:
        rows: Those of the original maps (defence ``none``) and of the defended ones.
    """
    rows = rows.assign(gain=rows[TARGET] - rows[BEFORE]).dropna(subset=["gain", ORIGINAL])
    lines = []
    for (method, defence), defended in rows[rows["defence"] != "none"].groupby(["method", "defence"], sort=False):
        undefended = rows[(rows["defence"] == "none") & (rows["method"] == method)]
        both = undefended.merge(defended, on=MATCH, suffixes=("", "_defended"), validate="one_to_one")
        if not both.empty:
            lines.append({"method": method, "defence": defence, **_comparison(both)})
    return pd.DataFrame(lines)


def _comparison(both: pd.DataFrame) -> dict[str, float]:
    kept, kept_defended = both[ORIGINAL], both[f"{ORIGINAL}_defended"]
    return {
        "n": len(both),
        "gain undefended": both["gain"].median(),
        "gain defended": both["gain_defended"].median(),
        "PCC original undefended": kept.median(),
        "PCC original defended": kept_defended.median(),
        "gained less": (both["gain_defended"] < both["gain"]).mean(),
        "stayed nearer": (kept_defended > kept).mean(),
    }


def main(words: list[str] | None = None) -> int:
    """Print the tables; exit status 1 if none of the studies has been run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=Path, default=Path("out"))
    parser.add_argument("--names", nargs="*", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--pairs", type=int, help="the first so many pairs alone")
    options = parser.parse_args(words)
    if options.pairs is not None and options.pairs < 1:
        parser.error(f"expected --pairs >= 1, got {options.pairs}")
    found: dict[str, pd.DataFrame] = {}
    for name in options.names:
        rows = read(options.studies, name, pairs=options.pairs)
        if rows is None:
            out = options.studies / name
            print(f"left out {name}: no {out / 'summary.csv'}; run: python -m attacks study {name} --out {out}",
                  file=sys.stderr)  # fmt: skip
        else:
            found[name] = rows
    pd.set_option("display.width", 220, "display.max_columns", 20, "display.precision", 4)
    for name, rows in found.items():
        print(f"\n{name}\n{table(rows).drop(columns='network' if name != 'table2' else 'method')}")
    compared = [found[name] for name in COMPARED if name in found]
    if "table1" in found and len(compared) > 1:
        print(f"\ndefences against the original maps, by method\n{resistance(pd.concat(compared))}")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
