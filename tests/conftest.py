"""Hypothesis profiles, and jaxtyping shapes checked by beartype in the whole run."""

import os

from hypothesis import settings
from jaxtyping import install_import_hook

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50, print_blob=True)
settings.register_profile("nightly", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

hook = install_import_hook(["curvature", "attacks", "proofs_check"], "beartype.beartype")
