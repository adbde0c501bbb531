"""The page of the theorems: every claim of ``proofs_check`` with statement, proof idea, picture, verdict and evidence.

``python -m figures theorems`` writes ``figures/theorems.html``; the claims are checked once a version of the code.
"""

import argparse
import functools
import hashlib
import json
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import curvature
import proofs_check
from attacks.report.page import svg_uri
from attacks.storage import write_atomically
from figures._store import style
from figures.pages._page import FOLDER, environment, typeset
from figures.pages.theorem1_pictures import PICTURES as PICTURES1
from figures.pages.theorem2_pictures import PICTURES as PICTURES2
from proofs_check.claim import Claim
from proofs_check.registry import CLAIMS

OUTPUT = FOLDER.parent / "theorems.html"
CACHE = Path("out") / "proofs"
PICTURES = PICTURES1 | PICTURES2


def main(arguments: list[str] | None = None) -> int:
    """Write the page; exit status 1 if a verdict is not the recorded one."""
    parser = argparse.ArgumentParser(prog="python -m figures theorems", description=(__doc__ or "").strip())
    parser.add_argument("--out", type=Path, default=OUTPUT, help="the page; figures/theorems.html by default")
    options = parser.parse_args(arguments)
    results = verdicts()
    write_atomically(options.out, page(results))
    print(f"open {options.out} in a browser")
    return 1 if deviating(results) else 0


def verdicts(folder: Path = CACHE) -> list[dict[str, Any]]:
    """What ``python -m proofs_check --json`` says of all claims; kept in ``folder`` under the hash of the code.

    Raises:
        RuntimeError: If the checks cannot be run.
    """
    kept = folder / f"{_code()}.json"
    if not kept.is_file():
        command = [sys.executable, "-m", "proofs_check", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parents[1])
        if done.returncode not in (0, 1):  # 1: a verdict deviates, which the page shows
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, done.stdout)
    found: list[dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8"))["claims"]
    return found


def deviating(results: list[dict[str, Any]]) -> list[str]:
    """Claims whose verdict is not the one on record."""
    return [claim["id"] for claim in results if claim["verdict"] != claim["expected"]]


def texts() -> dict[str, dict[str, str]]:
    """Titles, statements and proof ideas in LaTeX, by the claim's id, in the order of the registry.

    Raises:
        ValueError: If they are not those of the registry: a claim is missing, unknown or was changed since.
    """
    found: dict[str, dict[str, str]] = {}
    for path in sorted((FOLDER / "texts").glob("*.toml")):
        found |= {entry["id"]: entry for entry in tomllib.loads(path.read_text(encoding="utf-8"))["claim"]}
    if found.keys() != CLAIMS.keys():
        raise ValueError(
            f"expected a text for each claim and no other, differing: {sorted(found.keys() ^ CLAIMS.keys())}"
        )
    stale = [name for name, claim in CLAIMS.items() if found[name]["of"] != digest(claim)]
    if stale:
        wanted = {name: digest(CLAIMS[name]) for name in stale}
        raise ValueError(
            f"expected texts that were read against the registry, got older ones; after reading, set {wanted}"
        )
    return {name: found[name] for name in CLAIMS}


def digest(claim: Claim) -> str:
    """Of what the typeset text says in other signs."""
    return hashlib.sha256(f"{claim.statement}\0{claim.argument}".encode()).hexdigest()[:12]


def page(results: list[dict[str, Any]]) -> str:
    """The page as a self-contained file."""
    written = texts()
    first: dict[str, Mapping[str, str]] = {}
    claims = []
    for result in results:
        text = written[result["id"]]
        name = text.get("picture")
        claims.append(
            result
            | {
                "title": text["title"],
                "statement": typeset(text["statement"].strip()),
                "idea": typeset(text["idea"].strip()),
            }
            | {"picture": None, "caption": "", "same_picture": first.get(name or "")}
        )
        if name and name not in first:
            first[name] = {"id": result["id"], "title": text["title"]}
            claims[-1]["picture"] = picture(name)
            claims[-1]["caption"] = (PICTURES[name].__doc__ or "").strip()
    counts = Counter(claim["verdict"] for claim in claims)
    return (
        environment()
        .get_template("theorems.html")
        .render(
            claims=claims,
            counts=", ".join(f"{n} {verdict}" for verdict, n in counts.items()),
            deviating=deviating(results),
            command="python -m figures theorems",
            math=typeset,
        )
    )


@functools.cache
def picture(name: str) -> str:
    """One of ``PICTURES`` for an ``img``."""
    with style():
        return svg_uri(PICTURES[name]())


def _code() -> str:
    """Hash of the code that the verdicts depend on."""
    whole = hashlib.sha256()
    for package in (proofs_check, curvature):
        root = Path(str(package.__file__)).parent
        for path in sorted(p for p in root.rglob("*") if p.suffix in (".py", ".safetensors")):
            whole.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()[:20]


if __name__ == "__main__":
    sys.exit(main())
