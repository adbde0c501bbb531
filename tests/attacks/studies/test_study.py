"""Study files: what they may say, and two hundred that are wrong."""

import copy
import json
import random

import pytest

from attacks.datasets import load_images
from attacks.studies import load_study, study_names
from attacks.studies.study import NO_DEFENCE

GOOD = {
    "title": "A study",
    "about": "For tests.",
    "networks": ["digits", "resnet18"],
    "methods": ["gradient"],
    "attacks": ["manipulate", "ghorbani_top_k"],
    "defences": ["none", "strong", "smoothgrad"],
    "seeds": [0, 1],
    "batch": 5,
    "chunk": 5,
    "threads": 1,
    "pairs": {"data": "digits", "count": 10, "seed": 0, "range": [0, 100]},
    "hyperparameters": {"table": 1, "rows": {"digits": "vgg16"}},
    "attack": {"ghorbani_top_k": {"k": 5, "radius": 0.1}},
    "defence": {"strong": {"kind": "beta_smoothing", "beta": 0.5, "adaptive": True}},
    "overrides": [
        {"network": ["digits"], "iterations": 30, "lr": 1e-3, "explanation_weight": 1e7, "reason": "small maps"},
        {"attack": ["manipulate"], "beta_start": 5.0, "beta_end": 50, "output": "logits", "reason": "a test"},
    ],
}


def toml(values: dict, path: str = "") -> str:
    """Plain values as TOML; tables after the keys."""
    plain = {key: value for key, value in values.items() if not _is_table(value)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"[{path}{key}]", toml(value, f"{path}{key}.")]
        elif _is_table(value):
            lines += [f"[[{path}{key}]]\n{_inline(entry)}" for entry in value]
    return "\n".join(lines)


def _inline(entry: dict) -> str:
    rows = [(key, "{a = 1}" if isinstance(value, dict) else json.dumps(value)) for key, value in entry.items()]
    return "\n".join(f"{key} = {value}" for key, value in rows)


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def load(tmp_path, values):
    path = tmp_path / "study.toml"
    path.write_text(values if isinstance(values, str) else toml(values))
    return load_study(str(path))


def test_a_good_study_says_what_its_file_says(tmp_path):
    """Oracle: the values themselves, and the size of the product by hand."""
    study = load(tmp_path, GOOD)
    combinations = list(study.combinations())
    assert len(combinations) == 2 * 1 * 2 * 3 * 2
    assert len(study.pairs) == 10
    assert {c.config.iterations for c in combinations if c.network == "digits"} == {30}
    manipulated = [c.config for c in combinations if c.attack.kind == "manipulate"]
    assert {(c.beta_start, c.beta_end, c.output) for c in manipulated} == {(5.0, 50.0, "logits")}
    reasons = {"printed for vgg16 (table 1); none is for resnet18; a test"}
    assert {c.reason for c in manipulated if c.network == "resnet18"} == reasons
    assert study.defences[1].options == {"beta": 0.5, "adaptive": True}
    assert study.defences[0].kind == NO_DEFENCE


def test_pairs_are_the_same_for_the_same_seed_and_hold_no_image_twice(tmp_path):
    """Oracle: a second reading; distinctness; another seed."""
    study = load(tmp_path, GOOD)
    names = [name for pair in study.pairs.names for name in pair]
    assert study.pairs.names == load(tmp_path, GOOD).pairs.names
    assert len(set(names)) == 20
    assert set(names) <= set(load_images("digits", indices=range(100)).names)
    other = copy.deepcopy(GOOD)
    other["pairs"]["seed"] = 1
    assert study.pairs.names != load(tmp_path, other).pairs.names


def test_named_images_and_targets_make_all_pairs_but_those_with_themselves(tmp_path):
    """Oracle: the product by hand."""
    values = GOOD | {"pairs": {"images": ["chelsea", "coffee"], "targets": ["coffee", "rocket"]}}
    assert load(tmp_path, values).pairs.names == (("chelsea", "coffee"), ("chelsea", "rocket"), ("coffee", "rocket"))


@pytest.mark.parametrize("name", study_names())
def test_every_study_of_the_package_loads(name):
    """Oracle: the check itself; overrides carry their reasons by construction."""
    study = load_study(name)
    assert len(list(study.combinations())) >= 1


# Keys, as errors name them, whose value may be replaced by something of a wrong type.
PATHS = [
    ("title",), ("about",), ("networks",), ("methods",), ("attacks",), ("defences",), ("seeds",), ("batch",),
    ("chunk",), ("threads",), ("pairs",), ("pairs", "data"), ("pairs", "count"), ("pairs", "seed"), ("pairs", "range"),
    ("hyperparameters",), ("hyperparameters", "table"), ("hyperparameters", "rows"), ("attack",),
    ("attack", "ghorbani_top_k"), ("attack", "ghorbani_top_k", "k"), ("attack", "ghorbani_top_k", "radius"),
    ("defence", "strong"), ("defence", "strong", "kind"), ("defence", "strong", "beta"),
    ("defence", "strong", "adaptive"), ("overrides",), ("overrides", 0, "iterations"), ("overrides", 0, "lr"),
    ("overrides", 0, "network"), ("overrides", 0, "explanation_weight"), ("overrides", 0, "reason"),
    ("overrides", 1, "output"), ("overrides", 1, "beta_start"), ("overrides", 1, "attack"),
]  # fmt: skip
REQUIRED = [("title",), ("networks",), ("methods",), ("pairs",), ("pairs", "data"), ("pairs", "count"),
            ("defence", "strong", "kind"), ("overrides", 0, "reason")]  # fmt: skip
TABLES = [(), ("pairs",), ("hyperparameters",), ("hyperparameters", "rows"), ("attack",), ("attack", "ghorbani_top_k"),
          ("defence",), ("defence", "strong"), ("overrides", 0)]  # fmt: skip
NAMES = [("networks",), ("methods",), ("attacks",), ("defences",), ("pairs", "data"), ("overrides", 0, "network"),
         ("overrides", 1, "attack"), ("hyperparameters", "rows", "digits"), ("defence", "strong", "kind")]  # fmt: skip
LISTS = [("networks",), ("methods",), ("attacks",), ("defences",), ("seeds",), ("overrides", 0, "network")]
LOW = [("batch",), ("chunk",), ("threads",), ("pairs", "count"), ("pairs", "seed"), ("overrides", 0, "iterations"),
       ("overrides", 0, "lr"), ("hyperparameters", "table"), ("defence", "strong", "beta"),
       ("overrides", 0, "explanation_weight"), ("overrides", 1, "beta_start"), ("attack", "ghorbani_top_k", "k"),
       ("attack", "ghorbani_top_k", "radius")]  # fmt: skip
LONG = [("batch",), ("chunk",), ("threads",), ("seeds",), ("pairs", "count"), ("pairs", "seed"),
        ("hyperparameters", "table"), ("attack", "ghorbani_top_k", "k"), ("overrides", 0, "iterations"),
        ("overrides", 0, "lr")]  # fmt: skip


def key(path: tuple) -> str:
    """A path as errors write it."""
    words = ""
    for part in path:
        words += f"[{part}]" if isinstance(part, int) else f".{part}" if words else part
    return words


def at(values, path):
    for part in path:
        values = values[part]
    return values


def wrong(rng: random.Random) -> tuple[str, str]:
    """A study with one thing wrong, and what its error must name."""
    values = copy.deepcopy(GOOD)
    kind = rng.choice(["type", "unknown", "missing", "name", "empty", "repeat", "low", "long", "syntax"])
    if kind == "syntax":
        return wrong_syntax(rng)
    if kind == "unknown":
        path = (*rng.choice(TABLES), rng.choice(["netwroks", "colour", "iteration", "x"]))
        at(values, path[:-1])[path[-1]] = rng.choice([1, "one", [1], True])
        return toml(values), key(path)
    path = rng.choice(
        {"type": PATHS, "missing": REQUIRED, "name": NAMES, "empty": LISTS, "repeat": LISTS, "low": LOW, "long": LONG}[
            kind
        ]
    )
    table, last = at(values, path[:-1]), path[-1]
    if kind == "missing":
        del table[last]
    elif kind == "type":
        # A list in a list is wrong even where a list is right; everything else is, where its type differs.
        fitting = type(table[last])
        table[last] = rng.choice(
            [v for v in (True, "word", 1.5, [[1]], {"a": 1}) if type(v) is not fitting or v == [[1]]]
        )
    elif kind == "name":
        table[last] = [*table[last], "gradientt"] if isinstance(table[last], list) else "gradientt"
    elif kind == "empty":
        table[last] = []
    elif kind == "repeat":
        table[last] = [*table[last], table[last][0]]
    elif kind == "long":
        table[last] = [10**30] if isinstance(table[last], list) else 10**30
    else:
        table[last] = -3
    return toml(values), key(path)


def wrong_syntax(rng: random.Random) -> tuple[str, str]:
    """A study with a broken line, and the line's number."""
    lines = toml(GOOD).splitlines()
    spots = [i for i, line in enumerate(lines) if " = " in line]
    i = rng.choice(spots)
    lines[i] = rng.choice([lines[i].replace(" = ", " ", 1), lines[i].replace(" = ", " = = ", 1), f"{lines[i]} 1", "]"])
    return "\n".join(lines), f"line {i + 1},"


GROWING = {"beta_start": 5.0, "beta_end": 50.0, "reason": "not for this attack"}


@pytest.mark.parametrize("seed", range(200))
def test_a_wrong_study_is_refused_with_the_key_or_the_line(seed, tmp_path):
    """Oracle: the mistake that was planted."""
    text, name = wrong(random.Random(seed))
    with pytest.raises(ValueError, match="expected") as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith("study.toml: ")
    assert (f"key '{name}'" in message) or (name.startswith("line") and name in message), message
    assert "got" in message


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"pairs": {"images": ["coffee"], "targets": ["coffee"]}}, "pairs.targets"),
        ({"pairs": {"images": ["dog"], "targets": ["coffee"]}}, "pairs.images"),
        ({"pairs": {"images": ["coffee"], "targets": ["dog"]}}, "pairs.targets"),
        ({"pairs": {"images": ["coffee"], "targets": ["class:x"]}}, "pairs.targets"),
        ({"pairs": {"images": ["coffee"], "targets": ["text: "]}}, "pairs.targets"),
        ({"pairs": {"data": "digits", "count": 3, "targets": ["drawn:none.png"]}}, "pairs.targets"),
        ({"pairs": {"data": "digits", "count": 51, "range": [0, 100]}}, "pairs.count"),
        ({"pairs": {"data": "digits", "count": 5, "range": [100, 0]}}, "pairs.range"),
        ({"hyperparameters": {"table": 3}, "overrides": []}, "hyperparameters"),
        ({"hyperparameters": {"table": 6}}, "hyperparameters.table"),
        ({"overrides": [{"reason": "nothing"}]}, "overrides[0].reason"),
        ({"defence": {"strong": {"kind": "beta_smoothing", "beta": -1.0}}}, "defence.strong.beta"),
        ({"seeds": [-1]}, "seeds"),
        ({"seeds": [10**30]}, "seeds"),
        ({"pairs": {"data": "digits", "count": 3, "seed": 10**30}}, "pairs.seed"),
        ({"overrides": [{"lr": 10**400, "reason": "too long for a float"}]}, "overrides[0].lr"),
        ({"attack": {"ghorbani_top_k": {"radius": 5.0}}}, "attack.ghorbani_top_k.radius"),
        ({"attack": {"ghorbani_top_k": {"k": -3}}}, "attack.ghorbani_top_k.k"),
        ({"attacks": ["on_level_set"], "methods": ["lrp"], "attack": {}, "overrides": []}, "hyperparameters"),
        ({"attacks": ["on_level_set"], "attack": {}, "overrides": [GROWING]}, "overrides"),
        ({"overrides": [{"keep": "best", "reason": "not for this attack"}]}, "overrides"),
        ({"overrides": [{"stop_pcc": 0.9, "reason": "not for this attack"}]}, "overrides"),
    ],
)
def test_othersthat_do_not_fit_together_are_named(change, name, tmp_path):
    """Oracle: the mistake that was planted."""
    with pytest.raises(ValueError, match="expected") as caught:
        load(tmp_path, GOOD | change)
    assert f"key '{name}'" in str(caught.value)


def test_a_missing_study_and_other_bytes_are_named(tmp_path):
    """Oracle: the error's text."""
    with pytest.raises(ValueError, match="smoke"):
        load_study(str(tmp_path / "none.toml"))
    (tmp_path / "bytes.toml").write_bytes(b'title = "a"\nabout = "\xff"\n')
    with pytest.raises(ValueError, match="line 2"):
        load_study(str(tmp_path / "bytes.toml"))
