"""What counts as a change of a figure's data, and what does not."""

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from figures import _content, _draw
from figures._script import load_script, script_names
from figures._studies import METHODS
from tests.figures.conftest import Written


def _names(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _used(function: Callable[..., Any], seen: set[Any]) -> Iterator[tuple[str, Any]]:
    """Globals of the figures' modules that a function uses, and those that the functions among them use."""
    seen.add(function)
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        yield name, value
        if inspect.isfunction(value) and value.__module__.startswith("figures.") and value not in seen:
            yield from _used(value, seen)


def _defined(source: str) -> set[str]:
    body = ast.parse(source).body
    assigned = [node for statement in body if isinstance(statement, ast.Assign) for node in ast.walk(statement)]
    names = {node.id for node in assigned if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return names | {statement.name for statement in body if isinstance(statement, ast.FunctionDef)}


def _drawing(functions: list[Callable[..., Any]]) -> list[str]:
    """What these use of ``_draw``, which the hash leaves out."""
    own = {name: vars(_draw)[name] for name in _defined(inspect.getsource(_draw))}
    used = (pair for function in functions for pair in _used(function, set()))
    found = {name for name, value in used if name in own and value is own[name]}
    return sorted(found)


def test_nothing_that_the_hash_leaves_out_decides_data():
    """Oracle: the names that the compiled functions use; the drawing functions, which do use them, are caught."""
    scripts = [load_script(name) for name in script_names()]
    assert _drawing([script.compute for script in scripts]) == []
    assert {"TWO_COLUMNS", "boxes", "show_map", "NAMES"} <= set(_drawing([script.draw for script in scripts]))


def test_methods_are_in_the_order_of_their_names():
    """Oracle: what the axes' words are taken from."""
    assert tuple(_draw.NAMES) == METHODS


@pytest.mark.parametrize("form", ["{}", "imagenet:{}", "chelsea>{},{}>coffee"])
def test_a_changed_file_of_the_users_counts(written: Written, tmp_path: Path, form: str):
    """Oracle: metamorphic, the same name with other bytes; another file beside it changes nothing."""
    script, path = written(), tmp_path / "one.png"

    def found() -> str:
        _content._state.cache_clear()
        return _content.content(script, seed=0, quick=False, arguments={"data": form.format(path, path)})

    without = found()
    path.write_bytes(b"one")
    before = found()
    (tmp_path / "other").write_bytes(b"other")
    assert before == found() != without
    path.write_bytes(b"two")
    assert found() != before


@pytest.mark.parametrize("change", ["added", "grown", "renamed", "none"])
def test_a_changed_folder_of_the_users_counts(written: Written, tmp_path: Path, change: str):
    """Oracle: metamorphic."""
    script, inner = written(), tmp_path / "pictures" / "val"
    inner.mkdir(parents=True)
    (inner / "a.jpg").write_bytes(b"a")

    def found() -> str:
        _content._state.cache_clear()
        return _content.content(script, seed=0, quick=False, arguments={"data": f"imagenet:{tmp_path / 'pictures'}"})

    before = found()
    if change == "added":
        (inner / "b.jpg").write_bytes(b"")
    elif change == "grown":
        (inner / "a.jpg").write_bytes(b"aa")
    elif change == "renamed":
        (inner / "a.jpg").rename(inner / "b.jpg")
    assert (found() == before) == (change == "none")


def test_words_and_empty_options_name_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Oracle: by hand, in a folder that is not empty."""
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert [list(_content._named(value)) for value in ("", "mnist", "1.0", "chelsea>coffee,", "a:", "long" * 99)] == [
        []
    ] * 6


def test_the_package_that_resizes_pictures_counts():
    """Oracle: the version that Pillow gives itself."""
    import PIL

    assert _content.versions()["pillow"] == PIL.__version__
