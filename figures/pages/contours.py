"""The interactive page of the contour network: a slider for beta, several seeds, curvature under the pointer.

``python -m figures contours`` writes ``figures/contours.html``. Values are computed in the page; the bounds of the
ladder are computed here, on a grid of points and sharpnesses, and kept under the hash of the code.
"""

import argparse
import hashlib
import inspect
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from markupsafe import Markup
from tqdm import tqdm

import curvature
from attacks.storage import write_atomically
from curvature import contour_network, curvature_bounds, soften
from figures._contour import weights
from figures.pages._page import FOLDER, TEMPLATES, environment, typeset

OUTPUT = FOLDER.parent / "contours.html"
CACHE = Path("out") / "contours"
SEEDS, BETAS, PLACES, RADIUS = (0, 1, 2), (0.3, 1.0, 3.0, 10.0, 30.0, 100.0), (-0.8, -0.4, 0.0, 0.4, 0.8), 0.05


def main(arguments: list[str] | None = None) -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m figures contours", description=(__doc__ or "").strip())
    parser.add_argument("--out", type=Path, default=OUTPUT, help="the page; figures/contours.html by default")
    options = parser.parse_args(arguments)
    write_atomically(options.out, page(kept_bounds()))
    print(f"open {options.out} in a browser")
    return 0


def page(bounds: Sequence[dict[str, Any]]) -> str:
    """The page as a self-contained file, with the bounds that it may show.

    Raises:
        ValueError: If there are no bounds.
    """
    if not bounds:
        raise ValueError("expected bounds for at least one point, got none")
    seeds = sorted({entry["seed"] for entry in bounds}, key=int)
    data = {
        "networks": {seed: dict(zip("WV", (w.tolist() for w in weights(int(seed))), strict=True)) for seed in seeds},
        "betas": sorted({entry["beta"] for entry in bounds}),
        "bounds": list(bounds),
    }
    script = (TEMPLATES / "contours.js").read_text(encoding="utf-8")
    return (
        environment()
        .get_template("contours.html")
        .render(
            data=Markup(json.dumps(data, allow_nan=False).replace("<", "\\u003c")),
            script=Markup(script),
            radius=RADIUS,
            math=typeset,
        )
    )


def ladder(
    seeds: Sequence[int] = SEEDS, betas: Sequence[float] = BETAS, places: Sequence[float] = PLACES
) -> list[dict[str, Any]]:
    """The ladder of bounds around each point of a grid, for each seed and sharpness; None where none is certified."""
    found = []
    cases = list(itertools.product(seeds, betas, places, places))
    for seed, beta, x1, x2 in tqdm(cases, desc="bounds", file=sys.stderr, disable=len(cases) < 50):
        x = torch.tensor([x1, x2], dtype=torch.float64)
        bounds = curvature_bounds(soften(contour_network(seed), beta), x, target_class=0, radius=RADIUS)
        curvatures = {name: bound.curvature for name, bound in bounds.items()}
        found.append({"seed": str(seed), "beta": beta, "x": [x1, x2], "curvature": curvatures})
    return found


def kept_bounds(folder: Path = CACHE) -> list[dict[str, Any]]:
    """``ladder()``, kept in ``folder`` under the hash of what determines it."""
    whole = hashlib.sha256(json.dumps([SEEDS, BETAS, PLACES, RADIUS, inspect.getsource(ladder)]).encode())
    root = Path(str(curvature.__file__)).parent
    for path in sorted(root.rglob("*.py")):
        whole.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    kept = folder / f"{whole.hexdigest()[:20]}.json"
    if not kept.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, json.dumps(ladder()))
    found: list[dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    sys.exit(main())
