"""Pages for a browser: self-contained files, light and dark, that need no server and no network."""

import importlib
from collections.abc import Sequence

PAGES = ("theorems", "contours", "gallery")


def make_page(name: str, arguments: Sequence[str]) -> int:
    """The command line of one page; returns the exit status."""
    status: int = importlib.import_module(f"figures.pages.{name}").main(list(arguments))
    return status
