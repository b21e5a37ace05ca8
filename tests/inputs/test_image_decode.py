"""Decoding pictures: geometry, colour modes, orientation, and every way in which a file can be wrong."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pictures import corners, file_of, photo
from topwork.contracts import Array
from topwork.errors import DecodeError, UsageError
from topwork.inputs import IMAGE, ImagePreprocessing
from topwork.inputs.image_opening import FORMATS, MAX_PIXELS, _Silence

SQUASH = ImagePreprocessing(48, 48, fit="squash", interpolation="bilinear")
CORNERS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


def tensor(encoded: bytes, spec: ImagePreprocessing = SQUASH) -> Array:
    return IMAGE.decode(encoded, spec).tensor


def quarters(pixels: Array) -> list[str]:
    """Name the colours in the middle of the four quarters, row by row."""
    height, width, _ = pixels.shape
    spots = [pixels[y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return [
        min(CORNERS, key=lambda c: int(np.abs(np.subtract(CORNERS[c], spot, dtype=int)).sum()))
        for spot in spots
    ]


# --- geometry ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(31, 17), (17, 31), (224, 224), (1000, 40), (700, 500), (1, 1)])
@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_the_tensor_has_the_size_that_was_asked_for(size: tuple[int, int], fit: Any) -> None:
    spec = ImagePreprocessing(40, 56, fit=fit)
    pixels = tensor(file_of(photo(1, size)), spec)
    assert pixels.shape == (40, 56, 3)
    assert pixels.dtype == np.uint8
    pixels[0, 0] = 7  # it is the caller's own


def test_squash_shows_the_whole_picture_and_crop_its_centre() -> None:
    wide = np.zeros((60, 120, 3), dtype=np.uint8)
    wide[:, :30], wide[:, 90:] = (255, 0, 0), (0, 0, 255)
    encoded = file_of(Image.fromarray(wide))
    squashed = tensor(encoded, ImagePreprocessing(40, 40, fit="squash"))
    cropped = tensor(encoded, ImagePreprocessing(40, 40, fit="crop", crop_fraction=1.0))
    assert tuple(squashed[20, 2]) == (255, 0, 0)
    assert tuple(squashed[20, 37]) == (0, 0, 255)
    assert (
        cropped[:, 2:-2].max() == 0
    )  # the black middle half; its edge is smoothed as the whole picture's is


def test_crop_fraction_is_the_part_of_the_shorter_side_that_is_kept() -> None:
    ring = np.full((100, 100, 3), 255, dtype=np.uint8)
    ring[10:90, 10:90] = 0
    encoded = file_of(Image.fromarray(ring))
    assert tensor(encoded, ImagePreprocessing(40, 40, crop_fraction=0.78)).max() == 0
    assert tensor(encoded, ImagePreprocessing(40, 40, crop_fraction=0.9)).max() > 200


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_result_is_that_of_the_plain_way(interpolation: Any) -> None:
    """Reducing a JPEG early and resizing only the crop must not show."""
    rng = np.random.default_rng(0)  # with detail of the size that the network still sees
    image = Image.fromarray(rng.integers(0, 256, (96, 120, 3), dtype=np.uint8)).resize((960, 768))
    plain = Image.open(io.BytesIO(file_of(image, "JPEG", quality=95))).convert("RGB")
    resample = getattr(Image.Resampling, interpolation.upper())
    scaled = plain.resize((320, 256), resample)
    expected = np.asarray(scaled.crop((48, 16, 272, 240)), dtype=int)
    found = tensor(
        file_of(image, "JPEG", quality=95), ImagePreprocessing(224, 224, interpolation=interpolation)
    )
    assert np.abs(found - expected).mean() < 3


def test_facts_are_those_of_the_original() -> None:
    grey = Image.new("RGB", (640, 480), (51, 51, 51))
    for kind in ("JPEG", "PNG"):
        facts = IMAGE.decode(file_of(grey, kind), SQUASH).facts
        assert (facts["width"], facts["height"]) == (640, 480)
        assert facts["brightness"] == pytest.approx(0.2, abs=0.01)


# --- orientation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_undone(kind: str, orientation: int) -> None:
    turned_by = {
        1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE], 6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE], 8: [Image.Transpose.ROTATE_270],
    }  # fmt: skip
    image = corners()
    for way in turned_by[orientation]:
        image = image.transpose(way)
    exif = Image.Exif()
    exif[0x0112] = orientation
    settings = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    decoded = IMAGE.decode(
        file_of(image, kind, exif=exif, **settings), ImagePreprocessing(48, 64, fit="squash")
    )
    assert quarters(decoded.tensor) == ["red", "green", "blue", "white"]
    assert (decoded.facts["width"], decoded.facts["height"]) == (80, 60)
    upright = IMAGE.decode(file_of(corners()), ImagePreprocessing(48, 64, fit="squash")).fingerprint
    assert np.abs(decoded.fingerprint.astype(int) - upright).mean() < 8


def test_broken_exif_leaves_the_picture_as_it_is() -> None:
    encoded = file_of(corners(), "JPEG", quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert quarters(tensor(encoded)) == ["red", "green", "blue", "white"]


# --- colour modes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("P", "PNG"), ("P", "GIF"), ("RGBA", "PNG"), ("RGBA", "WEBP"),
     ("YCbCr", "JPEG"), ("LAB", "TIFF"), ("RGB", "BMP"), ("RGB", "PPM"), ("RGB", "AVIF")],
)  # fmt: skip
def test_colours_survive_every_mode(mode: str, kind: str) -> None:
    if mode == "LAB":
        from PIL import ImageCms

        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.applyTransform(corners(), ImageCms.buildTransform(srgb, lab, "RGB", "LAB"))
        assert image is not None
    else:
        image = corners().convert(mode)
    assert quarters(tensor(file_of(image, kind))) == ["red", "green", "blue", "white"]


@pytest.mark.parametrize(("mode", "kind"), [("1", "PNG"), ("1", "TIFF"), ("L", "JPEG"), ("LA", "PNG")])
def test_grey_modes_become_three_equal_channels(mode: str, kind: str) -> None:
    half = Image.fromarray(np.repeat([[0, 255]], 24, axis=1).repeat(48, axis=0).astype(np.uint8))
    pixels = tensor(file_of(half.convert(mode), kind))
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()
    assert pixels[24, 4, 0] < 5
    assert pixels[24, 44, 0] > 250


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(kind: str) -> None:
    ramp = np.linspace(0, 65535, 48).astype(np.uint16)[None].repeat(48, axis=0)
    pixels = tensor(file_of(Image.fromarray(ramp), kind))
    expected = np.linspace(0, 255, 48)
    assert np.abs(pixels[24, :, 0] - expected).max() <= 6


def test_a_dark_sixteen_bit_picture_stays_dark() -> None:
    dark = np.linspace(0, 5140, 48).astype(np.uint16)[None].repeat(48, axis=0)
    assert abs(int(tensor(file_of(Image.fromarray(dark), "PNG")).max()) - 20) <= 1


@pytest.mark.parametrize("scale", [1.0, 255.0, 3000.0])
def test_floating_point_grey_is_brought_to_its_range(scale: float) -> None:
    ramp = (np.linspace(0, scale, 48, dtype=np.float32))[None].repeat(48, axis=0)
    pixels = tensor(file_of(Image.fromarray(ramp), "TIFF"))
    assert (pixels[24, 1, 0] < 20, pixels[24, 46, 0] > 235) == (True, True)


def test_floats_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(DecodeError, match="no finite number"):
        tensor(file_of(Image.fromarray(np.full((8, 8), np.nan, dtype=np.float32)), "TIFF"))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_transparent_parts_are_white(mode: str) -> None:
    image: Image.Image
    settings: dict[str, Any] = {}
    if mode == "P":
        image = Image.new("P", (48, 48), 0)
        image.putpalette([10, 20, 30, 40, 50, 60])
        settings["transparency"] = 0
    elif mode == "RGB":
        image = Image.new("RGB", (48, 48), (10, 20, 30))
        settings["transparency"] = (10, 20, 30)
    else:
        image = Image.new(mode, (48, 48), (0,) * len(mode))
    assert tensor(file_of(image, "PNG", **settings)).min() == 255


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO", "AVIF"])
def test_the_first_frame_of_many_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (48, 48), colour) for colour in ("red", "blue", "green")]
    encoded = file_of(frames[0], kind, save_all=True, append_images=frames[1:])
    assert set(quarters(tensor(encoded))) == {"red"}


# --- files that are wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "empty"),
        (b"This is a text and no picture at all.", "not a picture"),
        (b"\xff\xd8\xff\xe0 not really a JPEG", "picture"),
        (file_of(photo(3, (300, 300)), "JPEG")[:2000], "cut off"),
        (file_of(photo(3, (300, 300)), "PNG")[:20000], "cut off"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture"),
        (b"SIMPLE  =                    T" + b" " * 2850, "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(encoded: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        tensor(encoded)


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_001, 12_000, 60_000])
def test_a_bomb_is_refused_before_a_pixel_is_decoded(side: int) -> None:
    resource = pytest.importorskip("resource", reason="the peak of memory is asked of POSIX")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DecodeError, match=f"{MAX_PIXELS:,}"):
        tensor(png_header(side, side))
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    )  # kB; the picture would take 300 MB


def test_a_text_chunk_that_explodes_is_refused() -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("comment", "0" * 50_000_000, zip=True)
    with pytest.raises(DecodeError, match="damaged"):
        tensor(file_of(photo(), "PNG", pnginfo=info))


def test_a_large_colour_profile_does_no_harm() -> None:
    assert tensor(file_of(photo(), "JPEG", icc_profile=b"\0" * 500_000)).shape == (48, 48, 3)


def test_the_formats_that_are_tried_can_all_be_read() -> None:
    seen = [kind for kind in FORMATS if tensor(file_of(photo(), kind)).shape == (48, 48, 3)]
    assert len(seen) == len(FORMATS) == 9


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "PPM"])
def test_fuzzed_pictures_decode_or_say_why(kind: str) -> None:
    rng = np.random.default_rng(len(kind) + ord(kind[0]))
    good = file_of(photo(5, (64, 48)), kind)
    n_refused = 0
    for i in range(40):
        bad = np.frombuffer(good, dtype=np.uint8).copy()
        if i % 4 == 0:
            bad = bad[: rng.integers(1, len(bad))]
        else:  # the header, or anywhere
            reach = min(len(bad), 64) if i % 4 == 1 else len(bad)
            at = rng.integers(0, reach, size=int(rng.integers(1, 20)))
            bad[at] = rng.integers(0, 256, size=len(at), dtype=np.uint8)
        try:
            assert tensor(bad.tobytes()).shape == (48, 48, 3)
        except DecodeError as error:
            assert len(error.problem) > 10  # noqa: PT017
            n_refused += 1
    assert n_refused >= 5


# --- warnings and threads ---------------------------------------------------------------------------------


def test_pillow_warnings_stay_inside_even_with_threads() -> None:
    """Pillow warns of 9,500 × 9,500 pixels and of broken EXIF; the tests turn any warning into an error."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 1, "maker" * 20
    damaged = bytearray(exif.tobytes())
    damaged[-60:] = b""
    noisy = [png_header(9_500, 9_500), file_of(photo(), "JPEG", exif=bytes(damaged))]
    n_filters = len(warnings.filters)

    def refuse(i: int) -> str:
        try:
            return str(tensor(noisy[i % 2]).shape)
        except DecodeError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(refuse, range(40)))
    assert len(answers) == 2
    assert not any("Warning" in answer for answer in answers)
    assert len(warnings.filters) == n_filters


def test_the_filter_stays_until_the_last_thread_is_out() -> None:
    silence, n_filters = _Silence(), len(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with silence:
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=stay)
    with silence:
        thread.start()
        inside.wait(10)
    assert len(warnings.filters) == n_filters + 1
    leave.set()
    thread.join()
    assert len(warnings.filters) == n_filters


def test_several_threads_decode_the_same() -> None:
    files = [file_of(photo(i, (200, 150)), kind) for i in range(6) for kind in ("JPEG", "PNG")]
    spec = ImagePreprocessing(64, 64)
    alone = [tensor(one, spec) for one in files]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda one: tensor(one, spec), files))
    assert all((one == other).all() for one, other in zip(alone, together, strict=True))


def test_another_modality_s_specification_is_refused() -> None:
    class OfText:
        modality = "text"

        def to_json(self) -> dict[str, str]:
            return {}

        def describe(self) -> str:
            return "of text"

    with pytest.raises(UsageError, match="text"):
        IMAGE.decode(file_of(photo()), OfText())


def test_a_crop_of_the_whole_side_fits_pictures_of_any_proportion() -> None:
    spec = ImagePreprocessing(height=32, width=32, fit="crop", crop_fraction=1.0)
    seen = 0
    for width in range(1, 60, 3):
        for height in (1, 7, 31, 47, 53):
            stream = io.BytesIO()
            Image.new("RGB", (width, height), (9, 99, 199)).save(stream, "PNG")
            assert IMAGE.decode(stream.getvalue(), spec).tensor.shape == (32, 32, 3)
            seen += 1
    assert seen == 100
