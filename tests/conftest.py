"""Hypothesis profiles, and jaxtyping shapes checked by beartype in the whole run."""

import os
import signal

import torch
from hypothesis import settings
from jaxtyping import install_import_hook

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50, print_blob=True)
settings.register_profile("nightly", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# torch says some things once a process: which test would fail on them would depend on the order.
torch.set_warn_always(True)

# A shell's background jobs ignore Ctrl-C, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

hook = install_import_hook(["curvature", "attacks", "proofs_check"], "beartype.beartype")
