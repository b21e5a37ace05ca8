"""Pictures: what a photo's file becomes before a network sees it.

`IMAGE` executes a specification (`ImagePreprocessing`) with Pillow.
It does not normalise by mean and deviation (the exported network does), and knows no network and no label.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import Allowance, Array, Decoded, Json, Preprocessing, Remark, Shown, Wire
from topwork.errors import DecodeError, TopworkError, UsageError
from topwork.inputs import image_description, image_heat, image_likeness, image_synthesis, image_variation
from topwork.inputs.files import read_file
from topwork.inputs.image_opening import Opened, flatten, opened, orientation_of, resizable
from topwork.inputs.image_preprocessing import MOST_SIDE_PX, ImagePreprocessing
from topwork.inputs.image_region import region

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["IMAGE", "ImageModality"]

_REVISION = 1  # raise it when the same picture and specification give another tensor
_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".bmp", ".dib",
    ".tif", ".tiff", ".mpo", ".avif", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
_WIRE = Wire(
    in_json="base64",
    media_types=(
        "image/jpeg",
        "image/png",
        "image/webp",
        "image/gif",
        "image/bmp",
        "image/tiff",
        "image/avif",
    ),
    widget="file",
    max_bytes=32 * 1024 * 1024,
    noun="photo",
)


class ImageModality:
    """Photos and other pictures; see `IMAGE`, which decodes within no allowance."""

    _allowance: Allowance | None = None

    @property
    def name(self) -> str:
        """Return ``image``."""
        return "image"

    @property
    def suffixes(self) -> frozenset[str]:
        """Suffixes that a folder reader picks up; what a file holds is decided by its content."""
        return frozenset(_SUFFIXES)

    @property
    def wire(self) -> Wire:
        """Base64 in JSON, a file in a form."""
        return _WIRE

    @property
    def decoder(self) -> str:
        """Our revision, Pillow's version, and those of the codecs that it was built with."""
        import PIL
        from PIL import features

        codecs = " ".join(
            f"{codec} {features.version(codec)}" for codec in ("libjpeg_turbo", "jpg", "webp", "avif")
        )
        return f"image {_REVISION} pillow {PIL.__version__} {codecs}"

    def encode(self, item: object) -> bytes:
        """Turn a path, the bytes of a file, a PIL image or an array into the bytes of a picture.

        An array is ``uint8 [h, w, 3]`` (RGB) or ``[h, w]`` (grey), or the same as floats from 0 to 1.

        Raises
        ------
        DecodeError
            The file cannot be read, or the PIL image cannot be loaded.
        UsageError
            The item is of another kind, or an array of another shape or range.
        """
        if isinstance(item, bytes | bytearray | memoryview):
            return bytes(item)
        if isinstance(item, str | Path):
            return read_file(Path(item))
        return _png(_as_image(item))

    def decode(self, encoded: bytes, preprocessing: Preprocessing) -> Decoded:
        """Decode a picture into ``uint8 [height, width, 3]``, RGB, with ``width``, ``height``, ``brightness``.

        Raises
        ------
        DecodeError
            The bytes are no picture, broken, or over a limit.
        UsageError
            The specification belongs to another modality.
        """
        spec = _own(preprocessing)
        with opened(encoded, least_side_px=_least_side_px(spec), allowance=self._allowance) as photo:
            fingerprint, brightness = image_likeness.fingerprint(photo.upright(_small(photo)))
            width, height = _upright_pair(photo, photo.original_size)
            facts = {"width": float(width), "height": float(height), "brightness": brightness}
            return Decoded(np.array(_tensor_image(photo, spec)), fingerprint, facts)

    def within(self, allowance: Allowance) -> ImageModality:
        """Return pictures that are decoded within an allowance; see `topwork.contracts.BoundedDecoding`."""
        bounded = copy.copy(self)
        bounded._allowance = allowance
        return bounded

    def preprocessing(self, stored: Mapping[str, Json]) -> ImagePreprocessing:
        """Read what `ImagePreprocessing.to_json` wrote.

        Raises
        ------
        UsageError
            A key is missing or unknown, or a value out of range.
        """
        known = {f.name for f in fields(ImagePreprocessing)}
        if wrong := sorted(known.symmetric_difference(stored)):
            raise UsageError(
                f"The image preprocessing has unknown or missing keys: {', '.join(wrong)}.",
                next_step=f"It has exactly these: {', '.join(sorted(known))}.",
            )
        return ImagePreprocessing(**stored)  # type: ignore[arg-type]  # __post_init__ checks every field

    def inspection_preprocessing(self) -> ImagePreprocessing:
        """Return a specification that decodes as little as a look at the data needs."""
        return ImagePreprocessing(height=32, width=32, fit="squash", interpolation="bilinear")

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """Nothing."""
        return ()

    def near_duplicates(self, fingerprints: Array) -> Array:
        """Return ``int64 [p, 2]``: pairs of rows that show the same picture; see `image_likeness`."""
        return image_likeness.near_duplicates(fingerprints)

    def canvas(self, preprocessing: Preprocessing) -> ImagePreprocessing:
        """Return the same specification for somewhat larger pictures."""
        spec = _own(preprocessing)
        height, width = (
            min(MOST_SIDE_PX, round(side * image_variation.CANVAS)) for side in (spec.height, spec.width)
        )
        return replace(spec, height=height, width=width)

    def vary(self, canvas: Array, preprocessing: Preprocessing, draw: np.random.Generator) -> Array:
        """Draw a crop, perhaps mirrored, in other light: ``uint8 [height, width, 3]``; see `image_variation`."""
        spec = _own(preprocessing)
        return image_variation.vary(canvas, spec.height, spec.width, draw)

    def languages(self, encoded: Iterable[bytes]) -> Mapping[str, float]:  # noqa: ARG002
        """Return nothing: pictures are in no language."""
        return {}

    @property
    def described_by(self) -> str:
        """Return what `classical` looks at."""
        return "shapes and colours"

    def classical(self, encoded: bytes) -> Array:
        """Describe a picture by gradients and colours; see `image_description`.

        Raises
        ------
        DecodeError
            The bytes are no picture, broken, or over a limit.
        """
        side = image_description.SIDE_PX
        spec = ImagePreprocessing(height=side, width=side, fit="squash", interpolation="bilinear")
        with opened(encoded, least_side_px=side) as photo:
            return image_description.describe(_tensor_image(photo, spec))

    def tabulate(self, fitted: Sequence[Array | str], tested: Sequence[Array | str]) -> tuple[Array, Array]:
        """Stack descriptions ``float32 [n, m]``; what could not be described is all zeros."""
        return image_description.stack(fitted), image_description.stack(tested)

    def show(self, encoded: bytes, side_px: int) -> Shown:
        """Return a JPEG, the longer side at most ``side_px``, upright, never enlarged.

        Raises
        ------
        DecodeError
            The bytes are no picture, broken, or over a limit.
        """
        return Shown(_thumbnail(encoded, side_px))

    def overlay(self, encoded: bytes, heat: Array, preprocessing: Preprocessing, side_px: int) -> Shown:
        """Return a thumbnail with heat over it; see `image_heat`.

        Raises
        ------
        DecodeError
            The bytes are no picture, broken, or over a limit.
        """
        small = _thumbnail(encoded, side_px)
        with opened(small, least_side_px=side_px) as photo:
            width, height = photo.original_size
        return Shown(image_heat.overlay(small, heat, image_heat.seen(width, height, _own(preprocessing))))

    def parts(self, tensor: Array) -> None:  # noqa: ARG002
        """Return None: where a part of a photo is black, something black is there."""
        return

    def synthetic(self, n: int, seed: int, preprocessing: Preprocessing | None = None) -> tuple[bytes, ...]:  # noqa: ARG002
        """Make ``n`` PNG files of gradients, smooth noise and shapes; the same for the same seed."""
        return image_synthesis.pictures(n, seed)

    def region(
        self, encoded: bytes, box: image_heat.Box, preprocessing: Preprocessing, side_px: int
    ) -> bytes:
        """Cut a part out of what the network is shown; see `image_region`.

        Raises
        ------
        DecodeError
            The bytes are no picture, broken, or over a limit.
        """
        return region(encoded, box, _own(preprocessing), side_px)


IMAGE = ImageModality()
"""The image modality."""


def _thumbnail(encoded: bytes, side_px: int) -> bytes:
    with opened(encoded, least_side_px=side_px) as photo:
        small = photo.image.copy()
        small.thumbnail((side_px, side_px))
        stream = io.BytesIO()
        flatten(photo.upright(small)).save(stream, "JPEG", quality=80)
        return stream.getvalue()


def _own(preprocessing: Preprocessing) -> ImagePreprocessing:
    if not isinstance(preprocessing, ImagePreprocessing):
        raise UsageError(f"A picture cannot be decoded with a preprocessing for {preprocessing.modality}.")
    return preprocessing


def _least_side_px(spec: ImagePreprocessing) -> int:
    """Return the shorter side below which reducing the picture early would lose detail."""
    longer = max(spec.height, spec.width)
    needed = longer / spec.crop_fraction if spec.fit == "crop" else longer
    return max(int(np.ceil(needed)), 3 * image_likeness.SIDE_PX)


def _upright_pair(photo: Opened, pair: tuple[int, int]) -> tuple[int, int]:
    """Swap a pair of width and height between the picture as stored and upright; it is its own inverse."""
    return (pair[1], pair[0]) if photo.swaps_sides else pair


def _tensor_image(photo: Opened, spec: ImagePreprocessing) -> Image:
    from PIL.Image import Resampling

    size = _upright_pair(photo, (spec.width, spec.height))
    resample = Resampling.BICUBIC if spec.interpolation == "bicubic" else Resampling.BILINEAR
    # Only what the crop keeps is resized. Far larger pictures are first reduced by a whole number.
    resized = photo.image.resize(size, resample, box=_crop_box(photo, size, spec), reducing_gap=2.0)
    return flatten(photo.upright(resized))


def _crop_box(
    photo: Opened, size: tuple[int, int], spec: ImagePreprocessing
) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of the part that is kept, in (fractional) pixels of the opened picture."""
    width, height = photo.image.size
    if spec.fit == "squash":
        return (0, 0, width, height)
    scale = max(size[0] / width, size[1] / height) / spec.crop_fraction
    # Rounding may leave a hair less than nothing to cut off.
    x, y = (max(0.0, (total - side / scale) / 2) for total, side in ((width, size[0]), (height, size[1])))
    return (x, y, width - x, height - y)


def _small(photo: Opened) -> Image:
    from PIL.Image import Resampling

    side = image_likeness.SIDE_PX
    return flatten(photo.image.resize((side, side), Resampling.BILINEAR, reducing_gap=3.0))


def _as_image(item: object) -> Image:
    import PIL.Image

    if isinstance(item, PIL.Image.Image):
        return _own_pixels(item)
    if isinstance(item, np.ndarray):
        return PIL.Image.fromarray(_as_bytes(item))
    raise UsageError(
        f"Received {type(item).__name__}; expected a path, the bytes of a file, a PIL image or a NumPy array."
    )


def _own_pixels(image: Image) -> Image:
    """Return a PIL image upright in RGB, as its file would have been decoded."""
    try:
        image.load()
        upright = Opened(resizable(image), orientation_of(image), image.size)
        return flatten(upright.upright(upright.image))
    except TopworkError:
        raise
    except Exception as error:  # the caller's image may be lazy: its file is parsed only now
        raise DecodeError(f"The PIL image cannot be loaded: {error}.") from error


def _as_bytes(array: Array) -> Array:
    """Return ``uint8 [h, w, 3]`` or ``[h, w]``."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or 0 in array.shape:
        raise UsageError(f"The array has shape {array.shape}; expected [h, w, 3] (RGB) or [h, w] (grey).")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise UsageError(f"The array is {array.dtype}; expected uint8, or floats from 0 to 1.")
    if not (array.min() >= 0 and array.max() <= 1):
        raise UsageError(
            f"The float array reaches from {array.min():g} to {array.max():g}; expected 0 to 1.",
            next_step="Undo the normalisation, or divide by 255.",
        )
    scaled: Array = np.rint(array * 255).astype(np.uint8)
    return scaled


def _png(image: Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()
