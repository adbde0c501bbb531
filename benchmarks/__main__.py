"""All benchmarks, one after the other: ``python -m benchmarks``."""

import subprocess
import sys
from pathlib import Path

SKIPPED = (
    *("soundness", "ladder", "tightness", "attack_comparison", "study_kills"),  # they have commands of their own
    *("ascent", "random_networks"),  # parts of soundness
)

for script in sorted(Path(__file__).parent.glob("[!_]*.py")):
    if script.stem not in SKIPPED:
        print(f"\n== {script.stem}", flush=True)
        status = subprocess.run([sys.executable, "-m", f"benchmarks.{script.stem}"], check=False).returncode
        if status:
            sys.exit(status)
