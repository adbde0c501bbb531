"""A figure's script written on the spot."""

import importlib.util
import itertools
from pathlib import Path

import pytest

from figures._script import Script, script_of

SOURCE = '''
import numpy as np
from matplotlib.figure import Figure
from figures._claim import Claim
from figures._script import Budget

BUDGET = Budget(network="none", n=3, steps=0, minutes=0.1)
CAPTION = """Three
    numbers."""
PAPER = {{"data": "imagenet:{{folder}}"}}

def compute(*, seed, quick, scale=1.0, data="mnist"):
    with open({log!r}, "a") as file:
        file.write(f"{{seed}} {{quick}} {{scale}} {{data}}\\n")
    return {{"numbers": scale * np.arange(3.0) + seed}}

def claims(data):
    growth = np.diff(data["numbers"]).min()
    return {{"the numbers grow": Claim(expected={expected}, holds=growth > 0, value=growth, n=3)}}

def draw(data):
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot(data["numbers"], color={colour!r})
    return figure
'''


class Written:
    """Writes a script, loads it, and knows how often its ``compute`` ran."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self._number = folder, folder / "log", itertools.count()

    def __call__(self, *, expected: bool = True, colour: str = "red", change: tuple[str, str] = ("", "")) -> Script:
        source = SOURCE.format(log=str(self.log), expected=expected, colour=colour).replace(*change)
        path = self.folder / f"script{next(self._number)}.py"
        path.write_text(source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return script_of(module, "fig99_three")

    @property
    def runs(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)
