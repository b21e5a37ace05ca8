"""Small pictures for tests, made here: photos-like noise in any mode, and files of it in any format."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def photo(seed: int = 0, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Make a smooth coloured picture, different for every seed; ``size`` is width and height."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, size=(6, 6, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def corners(size: tuple[int, int] = (80, 60)) -> Image.Image:
    """Make a picture whose quarters are red, green (top), blue, white (bottom)."""
    width, height = size
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    pixels[: height // 2, width // 2 :] = (0, 255, 0)
    pixels[height // 2 :, : width // 2] = (0, 0, 255)
    pixels[height // 2 :, width // 2 :] = (255, 255, 255)
    return Image.fromarray(pixels)


def file_of(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    """Return the bytes of a file of that picture; ``settings`` go to Pillow."""
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()
