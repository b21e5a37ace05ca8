"""The image modality besides decoding: specifications, what callers hand over, thumbnails, synthetic pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pictures import corners, file_of, photo
from topwork.contracts import Modality
from topwork.errors import DecodeError, UsageError
from topwork.inputs import IMAGE, ImagePreprocessing, modalities, modality

SPEC = ImagePreprocessing(40, 40, fit="squash")


def opened(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded))


# --- the room ---------------------------------------------------------------------------------------------


def test_modalities_are_found_by_name() -> None:
    visited = [modality(one.name) is one for one in modalities()]
    assert visited == [True, True, True]
    with pytest.raises(UsageError, match=r"no modality 'smell'\.\nKnown are: image, text, vector"):
        modality("smell")


def test_the_modality_keeps_the_protocol() -> None:
    one: Modality = IMAGE
    assert one.name == "image"
    assert {".jpg", ".png", ".webp", ".tiff"} <= one.suffixes
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in one.suffixes)
    assert (one.wire.in_json, one.wire.widget, one.wire.noun) == ("base64", "file", "photo")
    assert 2**20 < one.wire.max_bytes < 2**28


def test_the_decoder_names_the_versions_that_its_pixels_hang_on() -> None:
    import PIL

    assert PIL.__version__ in IMAGE.decoder
    assert "libjpeg_turbo" in IMAGE.decoder


# --- specifications ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        ImagePreprocessing(224, 224),
        ImagePreprocessing(7, 9, "squash", 1.0, "bilinear"),
        IMAGE.inspection_preprocessing(),
    ],
)
def test_a_specification_comes_back_from_json(spec: ImagePreprocessing) -> None:
    stored = spec.to_json()
    assert stored["height"] == spec.height
    assert IMAGE.preprocessing(stored) == spec
    assert spec.modality == IMAGE.name


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sharpen": True}, "sharpen"),
        ({"height": None}, "height"),
        ({"height": 0}, "1 to 4096"),
        ({"width": 10**9}, "1 to 4096"),
        ({"width": 2.5}, "width"),
        ({"fit": "stretch"}, "crop or squash"),
        ({"crop_fraction": 0}, "above 0"),
        ({"crop_fraction": 1.5}, "at most 1"),
        ({"crop_fraction": "0.9"}, "crop_fraction"),
        ({"interpolation": "nearest"}, "bicubic"),
    ],
)
def test_a_specification_that_cannot_be_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        IMAGE.preprocessing({**ImagePreprocessing(224, 224).to_json(), **change})


def test_a_specification_with_a_key_missing_is_refused() -> None:
    stored = dict(ImagePreprocessing(224, 224).to_json())
    del stored["fit"]
    with pytest.raises(UsageError, match="fit"):
        IMAGE.preprocessing(stored)


# --- what callers hand over -------------------------------------------------------------------------------


def test_a_file_and_its_bytes_are_taken_as_they_are(tmp_path: Path) -> None:
    encoded = file_of(photo(), "JPEG")
    path = tmp_path / "Größe – 写真.JPG"
    path.write_bytes(encoded)
    visited = [
        IMAGE.encode(item) for item in (path, str(path), encoded, bytearray(encoded), memoryview(encoded))
    ]
    assert visited == [encoded] * 5


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "LA", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
def test_a_pil_image_gives_what_its_file_would_have_given(mode: str) -> None:
    if mode in ("I;16", "F"):
        ramp = np.linspace(0, 60_000 if mode == "I;16" else 1, 64 * 64).reshape(64, 64)
        image = Image.fromarray(ramp.astype(np.uint16 if mode == "I;16" else np.float32))
    else:
        image = photo(4, (64, 64)).convert(mode)
    kind = "TIFF" if mode not in ("YCbCr",) else "JPEG"
    of_file = IMAGE.decode(file_of(image, kind), SPEC).tensor.astype(int)
    of_image = IMAGE.decode(IMAGE.encode(image), SPEC).tensor
    assert np.abs(of_file - of_image).mean() < (4 if mode in ("YCbCr", "CMYK") else 1)


def test_a_pil_image_of_a_turned_photo_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = file_of(corners().transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    of_file, of_image = IMAGE.decode(turned, SPEC), IMAGE.decode(IMAGE.encode(opened(turned)), SPEC)
    assert np.abs(of_file.tensor.astype(int) - of_image.tensor).mean() < 1


def test_arrays_are_pixels() -> None:
    pixels = np.asarray(photo(1, (40, 40)))
    grey = pixels[..., 0]
    for array in (pixels, grey, pixels / 255.0, (grey / 255.0).astype(np.float32), pixels[:, ::-1][:, ::-1]):
        found = np.asarray(opened(IMAGE.encode(array)))
        assert (found == (pixels if array.ndim == 3 else grey)).all()


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        (np.zeros((3, 8, 8), np.uint8), r"\[h, w, 3\]"),
        (np.zeros((0, 8, 3), np.uint8), "shape"),
        (np.zeros(5, np.uint8), "shape"),
        (np.zeros((8, 8), np.int64), "int64"),
        (np.full((8, 8), 1.5), "from 1.5 to 1.5"),
        (np.full((8, 8), -0.1), "expected 0 to 1"),
        (np.full((8, 8), np.nan), "expected 0 to 1"),
        (12, "int"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_was_expected(item: object, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        IMAGE.encode(item)


def test_a_path_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="no such file"):
        IMAGE.encode(tmp_path / "gone.jpg")
    with pytest.raises(DecodeError, match="it is a folder"):
        IMAGE.encode(str(tmp_path))


def test_a_lazy_pil_image_with_a_broken_file_is_a_decode_error() -> None:
    with pytest.raises(DecodeError, match="cannot be loaded"):
        IMAGE.encode(opened(file_of(photo(3, (300, 300)), "JPEG")[:3000]))


# --- thumbnails and synthetic pictures --------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "P", "1"])
def test_a_thumbnail_is_a_small_upright_jpeg(mode: str) -> None:
    small = opened(IMAGE.show(file_of(photo(2, (400, 200)).convert(mode), "TIFF"), 100).jpeg)
    assert (small.format, small.mode, small.size) == ("JPEG", "RGB", (100, 50))


def test_a_thumbnail_is_turned_and_never_enlarged() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    encoded = file_of(photo(2, (40, 20)), "JPEG", exif=exif)
    assert opened(IMAGE.show(encoded, 100).jpeg).size == (20, 40)
    with pytest.raises(DecodeError):
        IMAGE.show(b"nothing", 100)


def test_synthetic_pictures_are_seeded_different_and_decodable() -> None:
    one, again, other = IMAGE.synthetic(6, 0), IMAGE.synthetic(6, 0), IMAGE.synthetic(6, 1)
    assert one == again
    assert IMAGE.synthetic(2, 0) == one[:2]
    assert len({*one, *other}) == 12
    decoded = [IMAGE.decode(picture, IMAGE.inspection_preprocessing()) for picture in one]
    assert all(d.tensor.std() > 5 for d in decoded)
    assert not len(IMAGE.near_duplicates(np.stack([d.fingerprint for d in decoded])))
    assert IMAGE.synthetic(0, 0) == ()
