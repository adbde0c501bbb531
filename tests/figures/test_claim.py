"""Claims refuse what is no verdict."""

import numpy as np
import pytest

from figures._claim import Claim


def test_numbers_of_numpy_become_plain():
    """Oracle: types."""
    claim = Claim(expected=True, holds=np.bool_(False), value=np.float32(2), n=np.int64(3))
    assert (type(claim.holds), type(claim.value), type(claim.n)) == (bool, float, int)
    assert claim.deviates
    assert claim.verdict == "does not hold here"


@pytest.mark.parametrize(
    "wrong", [{"value": float("nan")}, {"value": float("inf")}, {"n": 0}, {"holds": "yes"}, {"expected": 1}]
)
def test_what_is_no_verdict_is_refused(wrong: dict):
    """Oracle: the message."""
    with pytest.raises(ValueError, match="expected"):
        Claim(**({"expected": True, "holds": True, "value": 0.0, "n": 1} | wrong))
