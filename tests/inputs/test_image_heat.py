from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pictures import file_of, photo
from topwork.contracts import Array
from topwork.errors import DecodeError, UsageError
from topwork.inputs import IMAGE, ImagePreprocessing
from topwork.inputs.image_heat import overlay, seen


def pixels(jpeg: bytes) -> Array:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), np.float32)


def colourfulness(jpeg: bytes) -> Array:
    """Return by how much red exceeds blue, ``[h, w]``: what is grey has none."""
    shown = pixels(jpeg)
    return np.asarray(shown[:, :, 0] - shown[:, :, 2])


def jpeg_of(size: tuple[int, int] = (96, 64), seed: int = 0) -> bytes:
    return file_of(photo(seed, size), "JPEG", quality=95)


def half_hot() -> Array:
    heat = np.zeros((32, 32), np.float32)
    heat[:, :16] = 1
    return heat


def test_the_hot_half_is_coloured_and_the_cold_half_is_grey() -> None:
    shown = colourfulness(overlay(jpeg_of(), half_hot()))
    assert shown.shape == (64, 96)
    assert shown[:, :40].mean() > 60
    assert np.abs(shown[:, 56:]).max() < 12


def test_without_heat_a_picture_is_grey_and_keeps_its_light_and_shade() -> None:
    jpeg = jpeg_of()
    shown = pixels(overlay(jpeg, np.zeros((4, 4), np.float32)))
    grey = np.asarray(Image.open(io.BytesIO(jpeg)).convert("L"), np.float32)
    assert np.corrcoef(shown.mean(axis=2).ravel(), grey.ravel())[0, 1] > 0.99
    assert np.abs(shown[:, :, 0] - shown[:, :, 2]).max() < 12


def test_lines_of_the_picture_stay_visible_in_the_heat() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::16] = stripes[:, 1::16] = stripes[:, 2::16] = 255
    jpeg = file_of(Image.fromarray(stripes), "JPEG", quality=95)
    shown = pixels(overlay(jpeg, np.ones((4, 4), np.float32))).mean(axis=(0, 2))
    assert shown[1] - shown[8] > 40


def test_hotter_is_darker_on_white_for_eyes_that_see_no_colour() -> None:
    white = file_of(Image.new("RGB", (64, 64), "white"), "JPEG")
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    light = np.asarray(Image.open(io.BytesIO(overlay(white, ramp))).convert("L"), np.float32)[32]
    steps = light[[4, 20, 44, 60]]
    assert (np.diff(steps) < -10).all()


def test_a_line_runs_around_what_is_hotter_than_half() -> None:
    white = file_of(Image.new("RGB", (64, 64), "white"), "JPEG")
    rows = np.linspace(-1, 1, 64)
    bump = np.exp(-4 * (rows[:, None] ** 2 + rows**2)).astype(np.float32)
    light = np.asarray(Image.open(io.BytesIO(overlay(white, bump))).convert("L"), np.float32)
    dark = np.flatnonzero(light[32] < 80)
    assert len(dark) in range(2, 5)
    for at in (dark.min(), dark.max()):
        assert bump[32, at] == pytest.approx(0.5, abs=0.1)


def test_heat_stays_in_the_box_that_it_belongs_to() -> None:
    shown = colourfulness(overlay(jpeg_of((100, 50)), np.ones((8, 8), np.float32), (0.25, 0.0, 0.75, 1.0)))
    assert shown[:, 30:70].mean() > 60
    assert np.abs(shown[:, :20]).max() < 15
    assert np.abs(shown[:, 80:]).max() < 15


@pytest.mark.parametrize("size", [(100, 60), (60, 100), (80, 80), (4000, 30)])
@pytest.mark.parametrize("shape", [(32, 32), (24, 48)])
@pytest.mark.parametrize("crop_fraction", [1.0, 0.875, 0.5])
def test_the_box_is_what_the_network_is_shown(
    size: tuple[int, int], shape: tuple[int, int], crop_fraction: float
) -> None:
    spec = ImagePreprocessing(*shape, crop_fraction=crop_fraction, interpolation="bilinear")
    width, height = size
    across = np.tile(np.linspace(0, 255, width), (height, 1))
    down = np.tile(np.linspace(0, 255, height)[:, None], (1, width))
    tones = np.stack([across, down, 0 * down], axis=2).astype(np.uint8)
    shown = IMAGE.decode(file_of(Image.fromarray(tones)), spec).tensor.astype(np.float32) / 255
    left, top, right, bottom = seen(width, height, spec)
    assert shown[:, :, 0].mean() == pytest.approx((left + right) / 2, abs=0.03)
    # The first and the last pixel stand for half a pixel inside the edges.
    pixel_x, pixel_y = (right - left) / shape[1], (bottom - top) / shape[0]
    assert shown[0, 0, 0] == pytest.approx(left + pixel_x / 2, abs=0.02)
    assert shown[-1, -1, 0] == pytest.approx(right - pixel_x / 2, abs=0.02)
    assert shown[0, 0, 1] == pytest.approx(top + pixel_y / 2, abs=0.02)
    assert shown[-1, -1, 1] == pytest.approx(bottom - pixel_y / 2, abs=0.02)


def test_a_squashed_picture_is_seen_whole() -> None:
    spec = ImagePreprocessing(32, 32, fit="squash", crop_fraction=0.5)
    assert seen(300, 20, spec) == (0, 0, 1, 1)


def test_a_thumbnail_of_any_kind_of_file_takes_heat() -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        thumbnail = IMAGE.show(file_of(photo(1, (400, 300)), kind), 80).jpeg
        assert pixels(overlay(thumbnail, half_hot())).shape == (60, 80, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 2, 3)),
        np.zeros((0, 2)),
        np.full((2, 2), 1.1),
        np.full((2, 2), -0.1),
        np.full((2, 2), np.nan),
    ],
)
def test_what_is_no_heat_is_refused(wrong: Array) -> None:
    with pytest.raises(UsageError, match=r"expected \[h, w\] from 0 to 1"):
        overlay(jpeg_of(), wrong)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(DecodeError):
        overlay(b"no picture", half_hot())
