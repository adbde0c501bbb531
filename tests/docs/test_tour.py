"""The tour runs, asserts what it says, and prints a certificate that encloses what was found."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOUR = (ROOT / "docs" / "tour.py").read_text(encoding="utf-8")
_ENCLOSED = re.compile(r"([\d.]+) <= largest [a-z ]+<= ([\d.]+)")


def _run(source, folder):
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{source}"],
        capture_output=True,
        text=True,
        cwd=folder,
    )


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    done = _run(TOUR, tmp_path_factory.mktemp("tour"))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_was_found_is_below_what_is_proven(printed):
    """Oracle: a search against the certificate, for the normal and for the curvature."""
    found = [(float(low), float(high)) for low, high in _ENCLOSED.findall(printed)]
    assert len(found) == 2
    assert all(0 < low <= high for low, high in found)


def test_the_sharpest_rung_is_the_certificate_and_no_rung_is_below_what_was_found(printed):
    """Oracle: the printed table of rungs against the printed certificate."""
    rungs = {name: float(value) for name, value in re.findall(r"^ *(\w+): ([\d.e+-]+)$", printed, re.MULTILINE)}
    attained, bound = (float(value) for value in _ENCLOSED.findall(printed)[1])
    assert {"singla_feizi_2020", "sign_aware", "first_order_local"} <= rungs.keys()
    assert min(rungs.values()) == pytest.approx(bound, rel=1e-3)  # four digits are printed
    assert all(value >= attained for value in rungs.values())


def test_a_network_that_is_not_smooth_ends_the_tour(tmp_path):
    """Oracle: the same tour with the ReLU network in the place of its softplus copy."""
    broken = TOUR.replace("soft = soften(network, beta=1.0)", "soft = network")
    assert broken != TOUR
    done = _run(broken, tmp_path)
    assert done.returncode == 1
    assert "AssertionError" in done.stderr


def test_the_tour_is_short():
    """Oracle: the promise of about 30 lines of code, comments and imports aside."""
    code = [line for line in TOUR.split("\nx = ")[1].splitlines() if line.strip() and not line.startswith("#")]
    assert len(code) <= 30
