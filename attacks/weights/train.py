"""Train small networks anew, on this machine: ``python -m attacks.weights.train [NAME ...]``.

It overwrites the files beside this script, one a network, and removes those of older recipes.
"""

import argparse
from collections.abc import Sequence

from attacks.small_networks import ARCHITECTURES, SHIPPED, train_and_save, weights_file


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; up to a minute a network."""
    parser = argparse.ArgumentParser(prog="python -m attacks.weights.train", description=(__doc__ or "").strip())
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ARCHITECTURES)}; all by default")
    names = parser.parse_args(arguments).names or list(ARCHITECTURES)
    if unknown := [name for name in names if name not in ARCHITECTURES]:
        parser.error(f"expected networks among {', '.join(ARCHITECTURES)}, got {', '.join(unknown)}")
    for name in names:
        path = SHIPPED / weights_file(name).name
        train_and_save(name, path)
        for old in set(SHIPPED.glob(f"{name}-*.safetensors")) - {path}:
            old.unlink()


if __name__ == "__main__":
    main()
