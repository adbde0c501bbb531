"""The gallery: every figure with caption, claims and verdicts, data and command, and the theorems that it shows.

``python -m figures gallery`` writes ``gallery.html`` beside the folder of the outputs, to which it links;
``--markdown`` prints the table of claims and verdicts instead.
"""

import argparse
import importlib
import os
import sys
from pathlib import Path
from typing import Any

from attacks.storage import write_atomically
from figures._content import code
from figures._run import OUTPUT
from figures._script import script_names
from figures._store import Store
from figures.pages import contours, theorems
from figures.pages._page import environment, typeset
from proofs_check.__main__ import cell

# What a figure shows of the theorems, by the names of their claims.
SHOWS = {
    "fig14_smoothgrad_recovery": ("thm2.spherical_logistic", "thm2.product_noise", "thm2.gaussian_gap"),
    "fig18_maps_all_methods": ("thm1.theorem", "thm1.abs_sum_map"),
    "fig20_contours": ("thm1.theorem", "thm1.step3.lambda_max", "thm1.without_smoothness"),
    "extra_ladder": ("thm1.step1.hessian_frobenius", "thm1.step1.quarter", "thm1.step3.lambda_max"),
    "extra_theorem2_gap": ("thm2.product_gap_by_dimension", "thm2.product_noise", "thm2.gaussian_gap"),
    "extra_attack_vs_curvature": ("thm1.theorem", "thm1.displacement"),
    "extra_level_set_path": ("thm1.step4.path_integral", "thm1.theorem", "thm1.angle_form"),
}


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or print its table; exit status 2 if there is no figure to show."""
    parser = argparse.ArgumentParser(prog="python -m figures gallery", description=(__doc__ or "").strip())
    parser.add_argument("--out", type=Path, default=OUTPUT, help="folder of the figures; figures/output by default")
    parser.add_argument(
        "--markdown", action="store_true", help="print the claims and their verdicts as a table instead"
    )
    options = parser.parse_args(arguments)
    place = options.out.resolve().parent / "gallery.html"
    try:
        if options.markdown:
            print(markdown(records_in(options.out)))
            return 0
        text = page(options.out, place, theorems.verdicts())
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_atomically(place, text)
    print(f"open {place} in a browser")
    return 0


def page(folder: Path, place: Path, results: list[dict[str, Any]]) -> str:
    """The page for the outputs in ``folder``, with links that hold for a page at ``place``.

    Raises:
        ValueError: If there is no figure in the folder.
    """
    names, records = script_names(), records_in(folder)
    near = os.path.relpath(folder.resolve(), place.resolve().parent)
    link = _page(theorems.OUTPUT, place)
    known = _theorems(results, link)
    return (
        environment()
        .get_template("gallery.html")
        .render(
            figures=[_figure(name, records[name], near, known) for name in records],
            missing=[name for name in names if name not in records],
            theorems=link,
            contours=_page(contours.OUTPUT, place),
            math=typeset,
        )
    )


def _page(other: Path, place: Path) -> str:
    """The link from a page at ``place`` to another one; empty if that is not there."""
    return os.path.relpath(other, place.resolve().parent) if other.is_file() else ""


def records_in(folder: Path) -> dict[str, dict[str, Any]]:
    """What is told of the figures in a folder, by their names.

    Raises:
        ValueError: If there is no figure in it.
    """
    found = {name: record for name in script_names() if (record := Store(folder, name).drawn()) is not None}
    if not found:
        raise ValueError(f"expected figures in '{folder}', found none; run python -m figures all --quick")
    return found


def markdown(records: dict[str, dict[str, Any]]) -> str:
    """A row a claim: figure, claim, verdict, the number that decided, n."""
    lines = ["| figure | claim | verdict here | value | n |", "|---|---|---|---|---|"]
    for name, record in records.items():
        for claim in _claims(record):
            lines.append(
                f"| {title(name)} | {cell(claim['words'])} | {claim['verdict']} | {claim['value']:.4g} | {claim['n']} |"
            )
    return "\n".join(lines)


def _claims(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The claims of a figure, each with its words, its mark and the verdict that is shown."""
    judged = record["judged"]
    return [
        claim
        | {"words": words, "mark": _mark(claim, judged=judged, compared=record["compared"])}
        | ({} if judged else {"verdict": "not judged"})
        for words, claim in record["claims"].items()
    ]


def _figure(name: str, record: dict[str, Any], near: str, known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return record | {
        "name": name,
        "title": title(name),
        "heading": heading(name),
        "claims": _claims(record),
        "other_code": record["code"] != code(),
        "link": f"{near}/{name}",
        "theorems": [known[claim] for claim in SHOWS.get(name, ())],
    }


def title(name: str) -> str:
    """``fig05_ghorbani`` is Figure 5, ``extra_ladder`` is Extra figure, ladder."""
    first, _, rest = name.partition("_")
    return f"Figure {int(first[3:])}" if first.startswith("fig") else f"Extra figure, {rest.replace('_', ' ')}"


def heading(name: str) -> str:
    """What the script says that it draws."""
    words = importlib.import_module(f"figures.{name}").__doc__ or title(name)
    return words.partition("\n")[0].removesuffix(".")


def _mark(claim: dict[str, Any], *, judged: bool, compared: bool) -> str:
    if not judged:
        return "not"
    return "deviates" if compared and claim["deviates"] else "holds" if claim["holds"] else "not"


def _theorems(results: list[dict[str, Any]], link: str) -> dict[str, dict[str, Any]]:
    """The claims that figures show, by their names, with typeset words and their pictures."""
    texts, found = theorems.texts(), {result["id"]: result for result in results}
    known: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for names in SHOWS.values() for name in names):
        text = texts[name]
        words = {part: typeset(text[part].strip(), page=link) for part in ("statement", "idea")}
        known[name] = (
            found[name]
            | words
            | {"title": text["title"], "picture": theorems.picture(text["picture"]) if "picture" in text else None}
        )
    return known


if __name__ == "__main__":
    sys.exit(main())
