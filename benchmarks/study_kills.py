"""Kill studies at random moments and start them again: the summary must not show it.

    python -m benchmarks.study_kills --kills 10

Kills by turns the whole run and one of its workers (SIGKILL), each time at a moment drawn
between the start and the end of an undisturbed run. Exit status 1 if a byte of the summary differs,
if no worker could be killed, or if the undisturbed run failed.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

STUDY = """
title = "Small enough to be killed often"
networks = ["digits"]
methods = ["gradient"]
batch = 1
[pairs]
data = "digits"
count = 12
seed = 3
[[overrides]]
iterations = 300
reason = "a test of the runner, not of the attack"
"""
SUMMARIES = ("summary.csv", "summary.parquet")


def start(study: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start a run and return at once; what it says goes to a file beside its folder."""
    command = [sys.executable, "-m", "attacks", "study", str(study), "--out", str(out), "--workers", "2"]
    with out.with_name(f"{out.name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[1])


def kill_run(study: Path, out: Path, *, after: float) -> None:
    """Start a run, and kill its first process after some seconds; its workers see that and end by themselves."""
    process = start(study, out)
    children: list[psutil.Process] = []
    deadline = time.monotonic() + after
    while time.monotonic() < deadline and process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True) or children
        time.sleep(0.05)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    if alive:
        raise RuntimeError(f"workers outlived the killed run: {alive}")


def kill_worker(study: Path, out: Path, *, after: float) -> bool:
    """Start a run, kill a worker after some seconds or as soon as there is one, and wait; whether there was one."""
    process = start(study, out)
    time.sleep(after)
    workers: list[psutil.Process] = []
    while process.poll() is None and not (workers := _workers(process.pid)):
        time.sleep(0.02)
    if workers:
        workers[0].send_signal(signal.SIGKILL)
    if process.wait(timeout=600) != 0:
        log = out.with_name(f"{out.name}.log").read_text()[-2000:]
        raise RuntimeError(f"the run failed after one of its workers was killed {after:.1f} s after its start: {log}")
    return bool(workers)


def same_summary(a: Path, b: Path) -> bool:
    """Whether two runs wrote the same bytes."""
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in SUMMARIES)


def _workers(pid: int) -> list[psutil.Process]:
    try:
        found = psutil.Process(pid).children(recursive=True)
        return [child for child in found if any("spawn_main" in word for word in child.cmdline())]
    except psutil.NoSuchProcess:  # it ended while we looked
        return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = folder / "kills.toml"
        study.write_text(STUDY)
        begun = time.monotonic()
        if start(study, folder / "undisturbed").wait() != 0:
            raise SystemExit(f"the undisturbed run failed: {(folder / 'undisturbed.log').read_text()[-2000:]}")
        seconds = time.monotonic() - begun
        print(f"undisturbed: {seconds:.1f} s")
        killed, worker_kills, round_ = 0, 0, 0
        same = True
        while killed < arguments.kills:
            out = folder / f"disturbed{round_}"
            round_ += 1
            for _ in range(2):
                after = rng.uniform(0, seconds)
                kill_run(study, out, after=after)
                killed += 1
                done = len(list((out / "results").glob("*.safetensors"))) if out.exists() else 0
                print(f"run killed after {after:.1f} s: {done} results are there")
            hit = kill_worker(study, out, after=rng.uniform(0, seconds))
            worker_kills += hit
            print(f"worker killed: {hit}; the run ended well: {same_summary(folder / 'undisturbed', out)}")
            same &= same_summary(folder / "undisturbed", out)
        print(f"{killed} runs and {worker_kills} workers killed; summaries the same byte for byte: {same}")
        if not worker_kills:
            print("no worker was alive when it was to be killed, so nothing was shown of that; try another --seed")
    return 0 if same and worker_kills else 1


if __name__ == "__main__":
    sys.exit(main())
