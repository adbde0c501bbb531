"""The README: its Python runs, its commands and files exist, and it is short."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_python_of_the_readme_runs(block, tmp_path):
    """Oracle: another process, in a folder of its own; it prints something and no traceback."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{block}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_there_is_python_to_run():
    """Oracle: the README shows a certificate and an attack."""
    assert len(BLOCKS) == 2


def test_links_and_modules_of_the_readme_exist():
    """Oracle: the checkout."""
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert link.startswith("https://") or (ROOT / link).exists(), link
    for module in re.findall(r"python -m ([a-z_.]+)", TEXT):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    for target in re.findall(r"make ([a-z-]+) +#", TEXT):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


def test_the_readme_is_short():
    """Oracle: the house rule of at most 120 lines and one picture."""
    assert len(TEXT.splitlines()) < 120
    assert TEXT.count("![") == 1
    assert (ROOT / "docs" / "contour.png").stat().st_size < 150 * 1024
