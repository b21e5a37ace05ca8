"""A part of a picture is what the network was shown there."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from topwork.contracts import CutsRegions
from topwork.errors import DecodeError, UsageError
from topwork.inputs import IMAGE, ImagePreprocessing

WHOLE = ImagePreprocessing(64, 64, fit="squash")
LEFT = (0.0, 0.0, 0.5, 1.0)


def quartered(width: int = 400, height: int = 200, orientation: int = 1) -> bytes:
    """Return a JPEG whose quarters are red, green, blue and white, row by row."""
    small = Image.new("RGB", (2, 2))
    small.putdata([(220, 0, 0), (0, 220, 0), (0, 0, 220), (255, 255, 255)])
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    small.resize((width, height), Image.Resampling.NEAREST).save(stream, "JPEG", quality=95, exif=exif)
    return stream.getvalue()


def cut(
    encoded: bytes, box: tuple[float, float, float, float], spec: ImagePreprocessing = WHOLE
) -> Image.Image:
    return Image.open(io.BytesIO(IMAGE.region(encoded, box, spec, 48)))


def colour(picture: Image.Image) -> list[int]:
    """Return the mean colour in steps of 32."""
    return [round(float(level) / 32) for level in np.asarray(picture, np.float32).mean(axis=(0, 1))]


def test_pictures_can_be_cut() -> None:
    assert isinstance(IMAGE, CutsRegions)
    assert not isinstance(object(), CutsRegions)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0.0, 0.0, 0.45, 0.45), [7, 0, 0]),
        ((0.55, 0.0, 1.0, 0.45), [0, 7, 0]),
        ((0.0, 0.55, 0.45, 1.0), [0, 0, 7]),
        ((0.55, 0.55, 1.0, 1.0), [8, 8, 8]),
    ],
)
def test_each_quarter_is_where_it_should_be(
    box: tuple[float, float, float, float], expected: list[int]
) -> None:
    assert colour(cut(quartered(), box)) == expected


def test_it_is_as_large_as_asked_for_and_keeps_its_proportions() -> None:
    assert cut(quartered(), (0.0, 0.0, 0.5, 0.5)).size == (48, 24)
    assert cut(quartered(2000, 2000), LEFT).size == (24, 48)
    assert cut(quartered(20, 20), LEFT).size == (10, 20), "enlarged"


def test_the_box_is_of_what_the_network_is_shown() -> None:
    """Of a picture twice as wide as high the network sees the square in the middle: red and green meet there."""
    square = ImagePreprocessing(64, 64)
    assert cut(quartered(), (0.0, 0.0, 1.0, 1.0), square).size == (48, 48)
    assert colour(cut(quartered(), (0.0, 0.0, 0.45, 0.45), square)) == [7, 0, 0]
    three = Image.new("RGB", (300, 100), (220, 0, 0))
    three.paste((0, 0, 220), (100, 0, 200, 100))
    stream = io.BytesIO()
    three.save(stream, "PNG")
    assert colour(cut(stream.getvalue(), (0.1, 0.1, 0.9, 0.9), square)) == [0, 0, 7]


def test_a_picture_that_lies_on_its_side_is_turned_first() -> None:
    """Turned by 180 degrees what stands first is white."""
    assert colour(cut(quartered(orientation=3), (0.0, 0.0, 0.45, 0.45))) == [8, 8, 8]
    assert cut(quartered(orientation=6), (0.0, 0.0, 1.0, 1.0)).size == (24, 48)


@pytest.mark.parametrize("box", [(0.5, 0.0, 0.5, 1.0), (0.0, 0.6, 1.0, 0.4), (-0.1, 0, 1, 1), (0, 0, 1.1, 1)])
def test_a_box_that_is_none_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(UsageError, match="expected left < right"):
        IMAGE.region(quartered(), box, WHOLE, 48)


def test_what_is_no_picture_cannot_be_cut() -> None:
    with pytest.raises(DecodeError):
        IMAGE.region(b"no picture", LEFT, WHOLE, 48)
