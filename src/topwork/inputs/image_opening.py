"""Opening a picture of unknown origin: the only place where Pillow meets bytes that somebody else wrote.

Whatever is wrong with a file ends here as a `DecodeError` in plain words. Sizes are checked before a pixel
is decoded, only well-known formats are tried, and Pillow's warnings stay inside. It knows nothing of the
size a network wants, of fingerprints or of labels.
"""

from __future__ import annotations

import importlib
import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from topwork.contracts import Allowance, Array
from topwork.errors import DecodeError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FORMATS", "MAX_BYTES", "MAX_PIXELS", "Opened", "flatten", "opened", "orientation_of", "resizable"]

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "MPO", "AVIF", "PPM")
"""The formats that are tried, by content; no other parser of Pillow is ever reached."""

_PARSERS = ("Jpeg", "Png", "Gif", "WebP", "Bmp", "Tiff", "Mpo", "Avif", "Ppm")

MAX_PIXELS = 100_000_000
"""Largest picture that is decoded, in declared pixels."""

MAX_BYTES = 256 * 1024 * 1024
"""Largest encoded picture that is looked at, in bytes (an uncompressed 16-bit scan fits)."""

_ORIENTATION_TAG = 0x0112
_FIRST_THAT_SWAPS_SIDES = 5


@dataclass(frozen=True, slots=True)
class Opened:
    """A picture whose pixels are in memory, perhaps already reduced, and not yet turned upright.

    Attributes
    ----------
    image
        The pixels, in a mode that can be resized without harm.
    orientation
        The EXIF orientation, 1 (upright) to 8, that the pixels still have.
    original_size
        Width and height in pixels of the original, not turned either.
    """

    image: Image
    orientation: int
    original_size: tuple[int, int]

    @property
    def swaps_sides(self) -> bool:
        """Whether width and height change places when the picture is turned upright."""
        return self.orientation >= _FIRST_THAT_SWAPS_SIDES

    def upright(self, part: Image) -> Image:
        """Turn ``part``, something that was made of `image`, upright."""
        from PIL.Image import Transpose

        ways = {
            2: Transpose.FLIP_LEFT_RIGHT,
            3: Transpose.ROTATE_180,
            4: Transpose.FLIP_TOP_BOTTOM,
            5: Transpose.TRANSPOSE,
            6: Transpose.ROTATE_270,
            7: Transpose.TRANSVERSE,
            8: Transpose.ROTATE_90,
        }
        return part.transpose(ways[self.orientation]) if self.orientation in ways else part


@contextmanager
def opened(encoded: bytes, *, least_side_px: int, allowance: Allowance | None = None) -> Iterator[Opened]:
    """Open the first frame of a picture; a shorter side of ``least_side_px`` pixels or more is all that is needed.

    A JPEG is reduced while it is decoded, which costs a fraction of decoding it whole. Errors inside the
    ``with`` block (a late surprise in the pixels) are explained in the same way as those of opening. Memory for the
    pixels is held until it ends, where there is an allowance.

    Raises
    ------
    DecodeError
        The bytes are empty, no picture of a known format, broken, or over a limit.
    """
    _check_bytes(encoded)
    with _explained(), _SILENCE, ExitStack() as held:
        import PIL.Image

        with PIL.Image.open(io.BytesIO(encoded), formats=_formats()) as image:
            whole = image.size
            is_reduced = _prepare(image, least_side_px)
            if allowance is not None:
                held.enter_context(allowance.held(_memory_of(image, whole)))
            yield _load(image, whole if is_reduced else None)


def flatten(image: Image) -> Image:
    """Return the picture in RGB, transparent parts over white."""
    import PIL.Image

    if image.mode not in ("LA", "RGBA"):
        return image if image.mode == "RGB" else image.convert("RGB")
    colours = image.convert("RGBA")
    white = PIL.Image.new("RGBA", colours.size, "white")
    return PIL.Image.alpha_composite(white, colours).convert("RGB")


def orientation_of(image: Image) -> int:
    """Return the EXIF orientation, 1 to 8; a picture with broken EXIF counts as upright."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # the parser met garbage; the pixels are fine, and a viewer would not turn them either
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def resizable(image: Image) -> Image:
    """Return the picture in a mode whose pixels can be averaged: no palette, 8 bits, transparency in a channel.

    Modes that can be averaged as they are (grey, CMYK, alpha) stay: converting the small result is cheaper.
    """
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("1", "PA"):
        return image.convert("L" if image.mode == "1" else "RGBA")
    if image.mode[0] in "IF":
        return _eight_bits(image)
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        return image.convert("RGBA")
    return image


@cache
def _formats() -> tuple[str, ...]:
    """Load the parsers of `FORMATS`, and no other; return those that this build of Pillow has."""
    import PIL.Image

    for name in _PARSERS:
        importlib.import_module(f"PIL.{name}ImagePlugin")
    return tuple(name for name in FORMATS if name in PIL.Image.OPEN)


def _prepare(image: Image, least_side_px: int) -> bool:
    """Refuse a picture of too many pixels, and return whether it will be reduced while it is decoded."""
    _check_pixels(image.size)
    # Only JPEG reduces while decoding; for every other format this does nothing.
    return image.draft(None, (least_side_px, least_side_px)) is not None


def _load(image: Image, whole: tuple[int, int] | None) -> Opened:
    image.load()
    # A TIFF turns itself upright while it loads, so its size is known only now.
    return Opened(resizable(image), orientation_of(image), whole or image.size)


def _memory_of(image: Image, whole: tuple[int, int]) -> int:
    """Return the bytes that decoding takes: pixels as Pillow keeps them, what they are converted to, coefficients.

    A progressive JPEG is kept whole as coefficients of 16 bits, however far it is then reduced.
    """
    n_pixels = image.width * image.height
    n_coefficients = whole[0] * whole[1] * len(image.getbands()) if image.info.get("progressive") else 0
    return n_pixels * (_bytes_kept(image.mode) + _bytes_converted(image.mode)) + 2 * n_coefficients


def _bytes_kept(mode: str) -> int:
    if mode in ("1", "L", "P"):
        return 1
    return 2 if mode.startswith("I;16") else 4


def _bytes_converted(mode: str) -> int:
    """Return what `resizable` makes of a pixel besides: floats on their way to 8 bits, or a copy in another mode."""
    if mode[0] in "IF":
        return 3 * 4 + 1
    return 4 if mode in ("P", "PA") else 1 if mode == "1" else 0


def _eight_bits(image: Image) -> Image:
    """Bring integer or float grey to 8 bits over the range that its numbers stand for.

    0..65535 where they are 16-bit integers, 0..1 or 0..255 for floats, otherwise what the picture itself spans.
    """
    import PIL.Image

    values = np.asarray(image).astype(np.float32)
    low, high = _range_of(values, is_float=image.mode == "F")
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) * (
        255.0 / max(high - low, 1e-12)
    )
    return PIL.Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def _range_of(values: Array, *, is_float: bool) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise DecodeError("The picture holds no finite number.")
    low, high = float(finite.min()), float(finite.max())
    for usual in (1.0, 255.0) if is_float else (65535.0,):
        if low >= 0 and high <= usual:
            return 0.0, usual
    return low, high


def _check_bytes(encoded: bytes) -> None:
    if not encoded:
        raise DecodeError("The file is empty.", next_step="Give a picture such as a JPEG or PNG.")
    if len(encoded) > MAX_BYTES:
        raise DecodeError(
            f"The file has {len(encoded):,} bytes; at most {MAX_BYTES:,} are read.",
            next_step="Save the picture smaller.",
        )


def _check_pixels(size: tuple[int, int]) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise DecodeError(f"The picture is {width} × {height} pixels: it has no content.")
    if width * height > MAX_PIXELS:
        raise DecodeError(
            f"The picture claims {width} × {height} pixels; at most {MAX_PIXELS:,} are decoded.",
            next_step="Save the picture smaller.",
        )


@contextmanager
def _explained() -> Iterator[None]:
    """Turn whatever a parser of hostile bytes may raise into one error with a reason.

    Pillow's parsers raise nearly every built-in there is (struct.error, IndexError, SyntaxError, ...); the
    cause stays attached for whoever looks for a bug.
    """
    try:
        yield
    except DecodeError:
        raise
    except Exception as error:
        raise DecodeError(_reason(error), next_step="Replace the file, or leave it out.") from error


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError
    from PIL.Image import DecompressionBombError

    if isinstance(error, UnidentifiedImageError):
        return f"This is not a picture in a known format ({', '.join(_formats())})."
    if isinstance(error, DecompressionBombError):
        return f"The picture claims more pixels than the {MAX_PIXELS:,} that are decoded."
    if isinstance(error, MemoryError):
        return "The picture does not fit into memory."
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return "The picture is cut off: its file ends before the pixels do."
    return f"The picture is damaged: {str(error).rstrip('.') or type(error).__name__}."


class _Silence:
    """Keeps Pillow's warnings in while any thread is inside.

    `warnings.catch_warnings` restores a list that another thread may have changed meanwhile; here the first
    thread in adds one filter for Pillow's modules, and the last one out takes exactly that one away.
    """

    def __init__(self) -> None:
        self._filter: tuple[Any, ...] = ("ignore", None, Warning, re.compile(r"PIL\b"), 0)
        self._lock = threading.Lock()
        self._n_inside = 0

    def __enter__(self) -> None:
        with self._lock:
            self._n_inside += 1
            if self._n_inside == 1:
                _filters().insert(0, self._filter)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                # It is gone already where somebody's catch_warnings put another list in place.
                with suppress(ValueError):
                    _filters().remove(self._filter)


def _filters() -> list[Any]:
    return warnings.filters  # type: ignore[return-value]


_SILENCE = _Silence()
