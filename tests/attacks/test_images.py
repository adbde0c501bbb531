"""Pictures by name and from files."""

import numpy as np
import pytest
from PIL import Image

from attacks import load_network, load_picture


def test_named_pictures_come_with_their_credits():
    """Oracle: the sizes of scikit-image's photographs and of the digits."""
    assert load_picture("chelsea").image.size == (451, 300)
    assert "CC0" in load_picture("coffee").credit
    assert load_picture("digits/3", channels=1).image.size == (8, 8)


def test_a_file_is_read_in_any_colour_mode(tmp_path):
    """Oracle: the same grey picture written in four modes."""
    grey = Image.fromarray((np.arange(400).reshape(20, 20) % 256).astype(np.uint8))
    for mode in ("L", "RGB", "RGBA", "P"):
        path = tmp_path / f"{mode}.png"
        grey.convert(mode).save(path)
        picture = load_picture(str(path))
        assert picture.image.mode == "RGB"
        assert picture.image.size == (20, 20)


def test_what_is_no_picture_is_named(tmp_path):
    """Oracle: the error's text."""
    text = tmp_path / "text.png"
    text.write_text("no picture")
    with pytest.raises(ValueError, match="cannot be read as one"):
        load_picture(str(text))
    with pytest.raises(ValueError, match="neither"):
        load_picture("dog")
    with pytest.raises(ValueError, match="index below 1797"):
        load_picture("digits/1797")
    truncated = tmp_path / "short.png"
    Image.new("RGB", (64, 64), (1, 2, 3)).save(truncated)
    truncated.write_bytes(truncated.read_bytes()[:60])
    with pytest.raises(ValueError, match="cannot be read as one"):
        load_picture(str(truncated))
    tiny = tmp_path / "tiny.png"
    Image.new("RGB", (2, 2)).save(tiny)
    with pytest.raises(ValueError, match="at least 8x8"):
        load_picture(str(tiny))
    nan = tmp_path / "nan.tiff"
    Image.fromarray(np.full((9, 9), np.nan, dtype=np.float32)).save(nan)
    with pytest.raises(ValueError, match="NaN"):
        load_picture(str(nan))


def test_a_picture_of_the_wrong_size_or_colour_is_refused(tmp_path):
    """Oracle: the error's text."""
    digits = load_network("digits")
    with pytest.raises(ValueError, match=r"expected inputs of shape \(1, 8, 8\)"):
        digits.preprocess(Image.new("L", (16, 16)))
    with pytest.raises(ValueError, match="channels"):
        digits.preprocess(Image.new("RGB", (8, 8)))
