"""The command ``python -m attacks run``, its files, its page and its errors."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attacks import load_result
from attacks.__main__ import main

ODD = "tests.attacks.odd_networks"
RUN = [
    "run",
    "--network",
    "digits",
    "--image",
    "digits/5",
    "--target",
    "digits/9",
    "--iterations",
    "30",
    "--curvature-every",
    "10",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    command = [sys.executable, "-m", "attacks", *RUN, "--json", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return out, done


def test_json_is_one_object_and_nothing_else(finished):
    """Oracle: the documented keys."""
    _, done = finished
    found = json.loads(done.stdout)
    assert {
        "config",
        "seed",
        "seconds",
        "step_seconds",
        "step_cost_in_gradients",
        "explanation",
        "image",
        "output",
        "curvature",
        "files",
    } <= found.keys()
    assert {f"{m}_{s}" for m in ("pcc", "ssim", "mse") for s in ("target", "original", "target_before")} <= found[
        "explanation"
    ].keys()
    assert {"mse", "ssim", "pcc", "linf"} == found["image"].keys()
    assert {"class_kept", "probability_before", "probability_after", "logits_change", "softmax_change"} == found[
        "output"
    ].keys()
    assert {"beta", "original", "adversarial", "gradient_norm_original", "normal_change", "trace"} == found[
        "curvature"
    ].keys()
    assert [point["step"] for point in found["curvature"]["trace"]] == [0, 10, 20, 30]
    assert found["curvature"]["beta"] == 1
    assert "attack" in done.stderr


def test_files_are_all_there_and_the_result_reads_back(finished):
    """Oracle: the JSON object beside the files."""
    out, done = finished
    assert {p.name for p in out.iterdir()} == {
        "result.safetensors",
        "report.html",
        "overview.png",
        "manipulated.png",
        "metrics.json",
    }
    tensors, metadata = load_result(out / "result.safetensors")
    found = json.loads(done.stdout)
    assert metadata["metrics"]["explanation"]["pcc_target"][0] == found["explanation"]["pcc_target"]
    assert tensors["adversarial"].shape == (1, 1, 8, 8)
    assert tensors["history.loss"].shape == (30, 1)
    with Image.open(out / "overview.png") as overview:
        assert overview.size[0] > 1000


def test_the_same_command_gives_the_same_bytes(finished, tmp_path):
    """Oracle: a second process; times are not in the file."""
    out, _ = finished
    command = [sys.executable, "-m", "attacks", *RUN, "--out", str(tmp_path)]
    subprocess.run(command, capture_output=True, check=True, cwd=Path(__file__).parents[2])
    assert (tmp_path / "result.safetensors").read_bytes() == (out / "result.safetensors").read_bytes()


def test_the_page_stands_alone_and_says_the_numbers(finished):
    """Oracle: the page's text; no address but the source of the paper is in it."""
    page = (finished[0] / "report.html").read_text()
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("data:image/") >= 9
    for words in (
        "PCC to target",
        "β" if "β" in page else "&beta;",
        "python -m attacks run",
        "UCI optical digits",
        "largest curvature",
    ):
        assert words in page


def test_the_page_shows_in_a_browser(finished):
    """Oracle: headless Chromium; every image has loaded, nothing is wider than a phone."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("NO BROWSER FOUND: the page was not tested; install Chromium")
    script = (
        "<script>addEventListener('load',()=>{const i=[...document.images];"
        "document.title='images '+i.length+' loaded '+i.filter(x=>x.naturalWidth>0).length+' overflow '+"
        "(document.documentElement.scrollWidth>innerWidth)})</script>"
    )
    page = finished[0].parent / "probe.html"
    page.write_text((finished[0] / "report.html").read_text() + script)
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={finished[0].parent / 'profile'}",
            "--window-size=400,800",
            "--disable-background-networking",
            "--no-first-run",
            "--virtual-time-budget=3000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=400,
        check=True,
    )
    title = done.stdout.split("<title>")[1].split("</title>")[0]
    assert title == "images 9 loaded 9 overflow false"


def bad(tmp_path: Path, name: str) -> list[str]:
    """Arguments with one thing wrong."""
    text = tmp_path / "text.png"
    text.write_text("no picture")
    Image.new("L", (30, 30)).save(tmp_path / "large.png")
    Image.new("I;16", (8, 8), 30000).save(tmp_path / "deep.png")
    Image.fromarray(np.full((8, 8), np.nan, dtype=np.float32)).save(tmp_path / "nan.tiff")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "file").write_text("")
    return {
        "unknown network": [*RUN, "--network", "vgg17"],
        "unknown method": [*RUN, "--method", "saliency"],
        "unknown picture": [*RUN, "--image", "dog"],
        "no picture": [*RUN, "--image", str(text)],
        "wrong size": [*RUN, "--image", str(tmp_path / "large.png")],
        "unwritable folder": [*RUN, "--out", str(tmp_path / "file" / "out")],
        "bad beta": [*RUN, "--beta", "-1"],
        "NaN beta": [*RUN, "--curvature-beta", "nan"],
        "bad iterations": [*RUN, "--iterations", "0"],
        "no row": [*RUN, "--table", "3"],
        "unknown device": [*RUN, "--device", "abacus"],
        "16-bit picture": [*RUN, "--image", str(tmp_path / "deep.png")],
        "NaN pixels": [*RUN, "--image", str(tmp_path / "nan.tiff")],
        "folder in /proc": [*RUN, "--out", "/proc/x/out"],
        "missing weights": [*RUN, "--weights", str(tmp_path / "none.pt")],
        "damaged weights": [*RUN, "--weights", str(text)],
        "weights of other things": [*RUN, "--weights", str(tmp_path / "list.pt")],
        "no table": [*RUN, "--table", "0"],
        "three betas": [*RUN, "--beta", "1", "2", "3"],
        "NaN lr": [*RUN, "--lr", "nan"],
        "negative seed": [*RUN, "--seed", "-1"],
        "negative period": [*RUN, "--curvature-every", "-5"],
        "beta of no curvature": [*RUN, "--curvature-beta", "0", "--curvature-every", "0"],
        "class out of range": [*RUN, "--target-class", "5000"],
        "device without data": [*RUN, "--device", "meta"],
        "activation": [*RUN, "--network", f"{ODD}:leaky"],
        "size of a user's network": [
            *(*RUN, "--network", f"{ODD}:any_size"),
            *("--image", str(tmp_path / "large.png"), "--target", str(tmp_path / "large.png")),
        ],
        "dtype of a user's network": [*RUN, "--network", f"{ODD}:double"],
        "no logits": [*RUN, "--network", f"{ODD}:no_logits"],
        "NaN weights": [*RUN, "--network", f"{ODD}:not_finite"],
        "broken factory": [*RUN, "--network", f"{ODD}:broken"],
    }[name]


NAMES = [
    "unknown network",
    "unknown method",
    "unknown picture",
    "no picture",
    "wrong size",
    "unwritable folder",
    "bad beta",
    "NaN beta",
    "bad iterations",
    "no row",
    "unknown device",
    "16-bit picture",
    "NaN pixels",
    "folder in /proc",
    "missing weights",
    "damaged weights",
    "weights of other things",
    "no table",
    "three betas",
    "NaN lr",
    "negative seed",
    "negative period",
    "beta of no curvature",
    "class out of range",
    "device without data",
    "activation",
    "size of a user's network",
    "dtype of a user's network",
    "no logits",
    "NaN weights",
    "broken factory",
]


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_is_one_clear_paragraph_with_status_two(name, tmp_path, capsys):
    """Oracle: the contract; nothing half-written is left behind."""
    out = tmp_path / "new" / "out"
    arguments = bad(tmp_path, name)
    status = main([*arguments, *([] if "--out" in arguments else ["--out", str(out)])])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert status == 2
    assert len(lines) == 1
    assert "expected" in lines[0]
    assert not (tmp_path / "new").exists()


def test_an_activation_that_cannot_be_softened_is_named(tmp_path, capsys):
    """Oracle: the path and the type in the message."""
    assert main([*bad(tmp_path, "activation"), "--out", str(tmp_path / "out")]) == 2
    assert "'2' (LeakyReLU)" in capsys.readouterr().err


def test_the_advice_of_torch_to_load_carelessly_is_not_repeated(tmp_path, capsys):
    """Oracle: the message on a damaged weights file."""
    assert main([*bad(tmp_path, "damaged weights"), "--out", str(tmp_path / "out")]) == 2
    assert "arbitrary code" not in capsys.readouterr().err


def test_an_unknown_option_exits_with_status_two():
    """Oracle: the usage contract."""
    with pytest.raises(SystemExit) as caught:
        main(["run", "--netwrok", "digits"])
    assert caught.value.code == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_state_and_says_so(tmp_path, number):
    """Oracle: the signal sent to a running attack."""
    command = [
        sys.executable,
        "-u",
        "-m",
        "attacks",
        *RUN,
        "--iterations",
        "200000",
        "--curvature-every",
        "0",
        "--out",
        str(tmp_path),
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stderr is not None
    seen = ""
    while "/200000" not in seen or ("0/200000" in seen[-200:] and "1" not in seen.split("attack")[-1][:20]):
        seen += os.read(process.stderr.fileno(), 1024).decode()
    process.send_signal(number)
    _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    assert "interrupted: this is the state after" in errors
    _, metadata = load_result(tmp_path / "result.safetensors")
    assert 0 < metadata["completed"] < 200000


def test_a_signal_before_the_attack_ends_it_without_a_traceback(tmp_path):
    """Oracle: the contract; whether it still imports or already loads depends on the machine."""
    command = [sys.executable, "-m", "attacks", *RUN, "--iterations", "200000", "--out", str(tmp_path / "new")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=400)
    assert "Traceback" not in errors
    assert process.returncode in (-signal.SIGINT, 0, 1)


def test_pages_of_an_earlier_run_do_not_stay_beside_a_new_result(tmp_path, monkeypatch):
    """Oracle: a run whose drawing fails after its result was written."""
    (tmp_path / "report.html").write_text("an earlier run's")
    monkeypatch.setattr("attacks.commands.run.write_report", lambda *_, **__: (_ for _ in ()).throw(OSError("full")))
    assert main([*RUN, "--iterations", "2", "--out", str(tmp_path)]) == 2
    assert {p.name for p in tmp_path.iterdir()} == {"result.safetensors"}


def test_a_damaged_result_is_named(tmp_path):
    """Oracle: the error's text."""
    path = tmp_path / "result.safetensors"
    with pytest.raises(ValueError, match="does not exist"):
        load_result(path)
    path.write_bytes(b"\x10\0\0\0\0\0\0\0damaged")
    with pytest.raises(ValueError, match="cannot be read"):
        load_result(path)
