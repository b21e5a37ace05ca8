"""Laying heat over a picture, so that a person sees which part of it spoke for an answer.

The picture turns pale grey and heat inks it, from nothing over yellow to a deep orange, with a line around what is
hotter than half. The ink grows darker as it grows redder, so no eye has to tell red from green, and the line is there
in black and white, too. It knows no network and no label.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from topwork.contracts import Array
from topwork.errors import UsageError
from topwork.inputs.image_opening import flatten, opened
from topwork.inputs.image_preprocessing import ImagePreprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Box", "overlay", "seen"]

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, each as a part of the picture's width or height, 0 to 1."""

_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_WARM = (255, 225, 80)
_HOT = (213, 80, 0)
_DEEPEST = 0.85
"""Share of the colour where it is hottest."""
_PALE = 0.5
"""Share of white that is mixed into the grey picture."""
_OUTLINED = 0.5
_QUALITY = 85


def overlay(jpeg: bytes, heat: Array, box: Box = _WHOLE) -> bytes:
    """Lay heat over a picture.

    Parameters
    ----------
    jpeg
        The picture, upright, such as a thumbnail.
    heat
        ``float32 [h, w]``, 0 to 1.
    box
        Which part of the picture the heat belongs to; see `seen`.

    Returns
    -------
    A JPEG of the same size.

    Raises
    ------
    DecodeError
        The bytes are no picture.
    UsageError
        The heat is not ``[h, w]`` from 0 to 1.
    """
    _require_heat(heat)
    with opened(jpeg, least_side_px=1 << 15) as photo:
        picture = flatten(photo.image)
    warm = _spread(heat, box, picture.size)
    stream = io.BytesIO()
    _coloured(picture, warm).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def seen(width: int, height: int, preprocessing: ImagePreprocessing) -> Box:
    """Return which part of an upright picture of that size, or those proportions, a network is shown."""
    if preprocessing.fit == "squash":
        return _WHOLE
    scale = max(preprocessing.width / width, preprocessing.height / height) / preprocessing.crop_fraction
    across, down = (
        min(1.0, side / scale / whole)
        for side, whole in ((preprocessing.width, width), (preprocessing.height, height))
    )
    return ((1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2)


def _require_heat(heat: Array) -> None:
    if heat.ndim != 2 or 0 in heat.shape or not (heat.min() >= 0 and heat.max() <= 1):
        reach = f" from {heat.min():g} to {heat.max():g}" if heat.size else ""
        raise UsageError(f"The heat is {list(heat.shape)}{reach}; expected [h, w] from 0 to 1.")


def _spread(heat: Array, box: Box, size: tuple[int, int]) -> Array:
    """Return the heat of every pixel of a picture, ``float32 [height, width]``; 0 outside the box."""
    import PIL.Image
    from PIL.Image import Resampling

    width, height = size
    left, right = (round(edge * width) for edge in (box[0], box[2]))
    top, bottom = (round(edge * height) for edge in (box[1], box[3]))
    part = (max(1, right - left), max(1, bottom - top))
    stretched = PIL.Image.fromarray(heat.astype(np.float32)).resize(part, Resampling.BILINEAR)
    whole = np.zeros((height, width), dtype=np.float32)
    whole[top:bottom, left:right] = np.asarray(stretched)
    return whole


def _coloured(picture: Image, warm: Array) -> Image:
    import PIL.Image

    grey = np.asarray(picture.convert("L"), np.float32)[:, :, None]
    pale = grey + (255 - grey) * _PALE
    level = warm[:, :, None]
    ink = np.array(_WARM) * (1 - level) + np.array(_HOT) * level
    # The ink is as light and dark as the picture below it, so that its lines stay visible in the heat.
    mixed = pale * (1 - _DEEPEST * level) + ink * pale / 255 * _DEEPEST * level
    mixed[_outline(warm)] = 0
    return PIL.Image.fromarray(np.rint(mixed).astype(np.uint8))


def _outline(warm: Array) -> Array:
    """Return ``bool [h, w]``: the pixels that are hotter than half and have a neighbour that is not."""
    hot = np.pad(warm >= _OUTLINED, 1, mode="edge")
    inner = hot[:-2, 1:-1] & hot[2:, 1:-1] & hot[1:-1, :-2] & hot[1:-1, 2:]
    return np.asarray(hot[1:-1, 1:-1] & ~inner)
