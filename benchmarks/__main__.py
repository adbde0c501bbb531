"""All benchmarks, one after the other: ``python -m benchmarks``."""

import subprocess
import sys
from pathlib import Path

# They measure numbers, not speed, and have commands of their own.
SKIPPED = ("soundness", "ladder", "tightness", "attack_comparison", "study_kills")

for script in sorted(Path(__file__).parent.glob("[!_]*.py")):
    if script.stem not in SKIPPED:
        print(f"\n== {script.stem}", flush=True)
        status = subprocess.run([sys.executable, "-m", f"benchmarks.{script.stem}"], check=False).returncode
        if status:
            sys.exit(status)
