"""Tasks and their names, and what a worker makes of them."""

import dataclasses
import importlib
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from attacks import Network, load_network, load_result, target_map
from attacks.datasets import ImageSet, load_images
from attacks.studies import load_study, plan
from attacks.studies.sources import Patterns, with_patterns
from attacks.studies.task import Task, fingerprint, make_task
from attacks.studies.worker import Clock, run_task
from attacks.targets import map_of_text

STUDY = """
title = "For tests"
networks = ["digits"]
methods = ["gradient", "lrp"]
defences = ["none", "smoothgrad"]
seeds = [0, 1]
batch = 3
[pairs]
data = "digits"
count = 5
[hyperparameters]
table = 1
[hyperparameters.rows]
digits = "vgg16"
[defence.smoothgrad]
samples = 2
[[overrides]]
iterations = 4
explanation_weight = 1e7
reason = "a test"
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "study.toml"
    path.write_text(STUDY)
    return plan(load_study(str(path)))


def test_a_plan_cuts_the_product_into_batches_with_names_of_their_own(planned):
    """Oracle: the product by hand."""
    assert len(planned.tasks) == 2 * 2 * 2 * 2
    assert [len(task) for task in planned.tasks[:2]] == [3, 2]
    assert len({task.name for task in planned.tasks}) == len(planned.tasks)
    names = [pair for task in planned.tasks[:2] for pair in task.pairs]
    assert names == list(planned.study.pairs.names)


def renamed(task: Task, **changes: object) -> str:
    """The name of a task of which something else holds."""
    task = dataclasses.replace(task, **changes)
    batch = (task.first, torch.from_numpy(task.x), task.aims)
    rest = {"network": task.network, "threads": task.threads, "chunk": task.chunk}
    return make_task(task.combination, task.pairs, batch, **rest).name


def test_the_name_changes_with_everything_that_determines_the_result(planned):
    """Oracle: one change at a time; and what must not change it."""
    task = planned.tasks[0]
    c = task.combination
    assert renamed(task) == task.name
    reasoned = dataclasses.replace(c.config, reason="another")
    assert renamed(task, combination=dataclasses.replace(c, config=reasoned)) == task.name
    moved = task.x.copy()
    moved[0, 0, 0, 0] += 2.0**-20
    faster = dataclasses.replace(c.config, lr=2 * c.config.lr)
    options = dataclasses.replace(c.attack, options={"k": 3})
    others = [
        renamed(task, combination=dataclasses.replace(c, config=faster)),
        renamed(task, combination=dataclasses.replace(c, attack=options)),
        renamed(task, combination=dataclasses.replace(c, seed=7)),
        renamed(task, x=moved),
        renamed(task, aims=task.aims[::-1]),
        renamed(task, x=task.x[:2], aims=task.aims[:2], pairs=task.pairs[:2]),
        renamed(task, threads=2),
        renamed(task, chunk=1),
        renamed(task, network="another"),
    ]
    assert len({task.name, *others}) == len(others) + 1


def test_versions_and_code_are_in_the_name(planned, monkeypatch):
    """Oracle: another version."""
    task = planned.tasks[0]
    monkeypatch.setattr("attacks.studies.task.environment", lambda: task.environment | {"torch": "0.0"})
    assert renamed(task) != task.name


def test_the_fingerprint_sees_weights_patterns_and_preprocessing(planned):
    """Oracle: one change at a time."""
    (network,) = planned.networks.values()
    prints = {fingerprint(network), fingerprint(dataclasses.replace(network, mean=(0.1,)))}
    prints.add(fingerprint(dataclasses.replace(network, patterns={"1": torch.ones(2)})))
    with torch.no_grad():
        weight = next(network.module.parameters())
        weight[0, 0] += 1e-3
        prints.add(fingerprint(network))
        weight[0, 0] -= 1e-3
    assert len(prints) == 4


def test_the_fingerprint_sees_the_users_forward_code(tmp_path, monkeypatch):
    """Oracle: a module of the user that is edited between two runs; weights and ``repr`` stay the same."""
    monkeypatch.syspath_prepend(str(tmp_path))
    source = (
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.layer = nn.Linear(4, 3)\n    def forward(self, x):\n        return self.layer(x.flatten(1))\n"
    )
    prints = []
    for text in (source, source, source.replace("x.flatten(1)", "x.flatten(1) ** 2")):
        (tmp_path / "users_edited.py").write_text(text)
        monkeypatch.delitem(sys.modules, "users_edited", raising=False)
        importlib.invalidate_caches()
        prints.append(fingerprint(load_network("users_edited:Net")))
    assert prints[0] == prints[1] != prints[2]


def test_the_fingerprint_sees_classes_without_a_file_and_traced_graphs():
    """Oracle: two classes made at run time; two graphs of one class whose code differs."""
    namespaces: tuple[dict, dict] = ({"__name__": "no_file"}, {"__name__": "no_file"})
    for name, namespace in zip("ab", namespaces, strict=True):
        exec(f"from torch import nn\nclass {name}(nn.Flatten): pass", namespace)
    made = [Network(module=namespace[name]()) for name, namespace in zip("ab", namespaces, strict=True)]
    traced = [Network(module=torch.fx.symbolic_trace(f)) for f in (lambda x: x.sin(), lambda x: x.cos())]
    assert len({fingerprint(network) for network in (*made, *traced)}) == 4


def test_a_task_gives_the_same_bytes_twice_and_holds_its_batch(planned, tmp_path):
    """Oracle: a second run; the task's own description."""
    for task in planned.tasks[:8:2]:
        network = planned.networks[task.network]
        output = run_task(task, network)
        assert output.content == run_task(task, network).content
        (tmp_path / "r").write_bytes(output.content)
        tensors, metadata = load_result(tmp_path / "r")
        assert metadata["study"]["images"] == [pair.image for pair in task.pairs]
        assert tensors["adversarial"].shape == task.x.shape
        assert np.array_equal(tensors["original"].numpy(), task.x)
        assert len(metadata["metrics"]["ranking"]["spearman"]) == len(task)
        assert output.times["steps"] == 4
        assert min(output.times.values()) > 0


def test_the_seed_of_a_study_is_that_of_the_noise(planned, tmp_path):
    """Oracle: with SmoothGrad another seed gives other images, without it the same ones."""
    found = {}
    for task in planned.tasks:
        c = task.combination
        if task.first == 0 and c.method == "gradient":
            (tmp_path / "r").write_bytes(run_task(task, planned.networks[task.network]).content)
            found[c.defence.name, c.seed] = load_result(tmp_path / "r")[0]["adversarial"]
    assert torch.equal(found["none", 0], found["none", 1])
    assert not torch.equal(found["smoothgrad", 0], found["smoothgrad", 1])


def test_a_worker_that_differs_from_the_client_refuses(planned):
    """Oracle: the error's text."""
    task = planned.tasks[0]
    other = dataclasses.replace(task, environment=task.environment | {"torch": "0.0"})
    with pytest.raises(RuntimeError, match=r"torch 0\.0 on the client"):
        run_task(other, planned.networks[task.network])


def test_a_clock_ends_an_attack_early():
    """Oracle: counting."""
    clock = Clock(limit=3)
    assert list(clock(range(10))) == [0, 1, 2]
    assert len(clock.seconds) == 3
    assert clock.median() > 0
    assert Clock().median() == 0


def test_files_beside_the_study_and_networks_of_the_user_are_found(tmp_path):
    """Oracle: the pixels that were written; a factory of this test suite."""
    for name, level in (("dark", 10), ("light", 200)):
        Image.new("RGB", (12, 12), (level, 0, 0)).save(tmp_path / f"{name}.png")
    (tmp_path / "study.toml").write_text("""
title = "Files"
networks = ["mine"]
methods = ["gradient"]
[network.mine]
kind = "tests.attacks.conftest:small_float_network"
[pairs]
images = ["dark.png"]
targets = ["light.png"]
""")
    (task,) = plan(load_study(str(tmp_path / "study.toml"))).tasks
    assert task.combination.network == "mine"
    assert task.pairs == (("dark.png", "light.png"),)
    assert np.allclose(task.x[0, 0], 10 / 255)
    assert np.allclose(task.aims[0][0], 200 / 255)


def test_texts_drawings_and_classes_are_aimed_at(tmp_path):
    """Oracle: the map of the text itself; the map of that class; a drawing that is half bright."""
    half = np.zeros((8, 8), dtype=np.uint8)
    half[:, 4:] = 255
    Image.fromarray(half).save(tmp_path / "half.png")
    text = STUDY.replace('["gradient", "lrp"]', '["gradient"]').replace('["none", "smoothgrad"]', '["none"]')
    text = text.replace("[defence.smoothgrad]\nsamples = 2\n", "")
    text = text.replace("count = 5", 'count = 1\ntargets = ["text:A", "drawn:half.png", "class:3"]')
    (tmp_path / "study.toml").write_text(text.replace("seeds = [0, 1]", "seeds = [0]"))
    planned = plan(load_study(str(tmp_path / "study.toml")))
    (task,) = planned.tasks
    network = planned.networks[task.network]
    (tmp_path / "r").write_bytes(run_task(task, network).content)
    goals = load_result(tmp_path / "r")[0]["target_map"]
    x = torch.from_numpy(task.x[2:])
    expected = target_map(network, x, config=task.combination.config, target_class=3)
    assert torch.allclose(goals[0], map_of_text("A", (8, 8)).float())
    assert torch.equal(goals[2], expected[0])
    assert goals[1][:, :3].sum() < 0.02
    assert len({pair.image for pair in task.pairs}) == 1


def test_a_class_that_a_network_does_not_have_is_named(tmp_path):
    """Oracle: the error's text."""
    text = STUDY.replace("count = 5", 'count = 1\ntargets = ["class:10"]')
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(ValueError, match=r"key 'pairs\.targets': expected a class below 10"):
        plan(load_study(str(tmp_path / "study.toml")))


def test_pattern_attribution_without_patterns_names_the_key(planned):
    """Oracle: the error's text."""
    (network,) = planned.networks.values()
    with pytest.raises(ValueError, match="key 'patterns'"):
        with_patterns(network, None, "study")


def test_patterns_are_fitted_on_all_classes(planned):
    """Oracle: the labels of the pictures that were read, of a data set that is stored class by class."""
    (network,) = planned.networks.values()
    images, read = load_images("digits"), []
    order = images.labels.argsort(stable=True).tolist()

    def picture(i):
        read.append(int(images.labels[order[i]]))
        return images.picture(order[i])

    by_class = ImageSet(images.labels[order], tuple(images.names[i] for i in order), picture)
    Patterns(by_class, 60, None).add(network)
    assert len(read) == 60
    assert set(read) == set(range(10))


def test_patterns_are_fitted_for_a_study_that_says_on_what(tmp_path):
    """Oracle: the layers that have weights; a second plan has the same fingerprint."""
    text = STUDY.replace('"gradient", "lrp"', '"pattern_attribution"').replace("seeds = [0, 1]", "seeds = [0]")
    (tmp_path / "study.toml").write_text(f'{text}\n[patterns]\ndata = "digits"\ncount = 200\n')
    first, second = (plan(load_study(str(tmp_path / "study.toml"))) for _ in range(2))
    (network,) = first.networks.values()
    assert len(network.patterns) == 3
    assert list(first.networks) == list(second.networks)
