"""Cutting a part out of a picture: what a network was shown there, as a small JPEG.

It knows neither network nor heat; which part it is comes as a box.
"""

from __future__ import annotations

import io
from math import ceil

from topwork.errors import UsageError
from topwork.inputs.image_heat import Box, seen
from topwork.inputs.image_opening import flatten, opened
from topwork.inputs.image_preprocessing import ImagePreprocessing

__all__ = ["region"]

_QUALITY = 80


def region(encoded: bytes, box: Box, preprocessing: ImagePreprocessing, side_px: int) -> bytes:
    """Cut a part out of what a network is shown of a picture.

    Parameters
    ----------
    encoded
        The picture's file.
    box
        Left, top, right and bottom of the part, 0 to 1 of what the network is shown.
    side_px
        The longer side of the result at most; nothing is enlarged.

    Returns
    -------
    A JPEG.

    Raises
    ------
    DecodeError
        The bytes are no picture, broken, or over a limit.
    UsageError
        The box is empty or reaches beyond 0 to 1.
    """
    left, top, right, bottom = box
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise UsageError(f"The box is {box}; expected left < right and top < bottom, from 0 to 1.")
    # The whole picture must be so much larger than its part.
    least_side_px = ceil(side_px / (min(right - left, bottom - top) * preprocessing.crop_fraction))
    with opened(encoded, least_side_px=least_side_px) as photo:
        upright = photo.upright(photo.image)
        width, height = upright.size
        whole = seen(width, height, preprocessing)
        x = _pixels(whole[0] * width, whole[2] * width, (left, right))
        y = _pixels(whole[1] * height, whole[3] * height, (top, bottom))
        small = flatten(upright.crop((x[0], y[0], x[1], y[1])))
        small.thumbnail((side_px, side_px))
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=_QUALITY)
        return stream.getvalue()


def _pixels(first: float, last: float, part: tuple[float, float]) -> tuple[int, int]:
    """Return the edges of a part of what lies between two positions, at least one pixel apart."""
    low, high = (round(first + edge * (last - first)) for edge in part)
    return (low, high) if high > low else (max(0, high - 1), max(1, high))
