"""Pictures out of nobody's data: gradients, smooth noise and shapes, for proofs that may hold no photo.

They exercise a network the way photos do (smooth regions, edges, colours) and mean nothing.
"""

from __future__ import annotations

import io

import numpy as np

from topwork.contracts import Array

__all__ = ["pictures"]

_SIDES_PX = (192, 320)


def pictures(n: int, seed: int) -> tuple[bytes, ...]:
    """Make ``n`` PNG files; the same for the same seed, and the first ones the same for any ``n``."""
    return tuple(_png(np.random.default_rng([seed, i])) for i in range(n))


def _png(rng: np.random.Generator) -> bytes:
    import PIL.Image

    height, width = (int(side) for side in rng.integers(*_SIDES_PX, size=2))
    canvas = _gradient(rng, height, width) * 0.6 + _clouds(rng, height, width) * 0.4
    for _ in range(int(rng.integers(1, 5))):
        _draw_ellipse(canvas, rng)
    stream = io.BytesIO()
    PIL.Image.fromarray(np.rint(np.clip(canvas, 0, 255)).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def _gradient(rng: np.random.Generator, height: int, width: int) -> Array:
    """Return ``float32 [height, width, 3]``: one colour turning into another in a random direction."""
    one, other = rng.uniform(0, 255, size=(2, 3)).astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    part = (x * np.cos(angle) + y * np.sin(angle)) / 2.83 + 0.5
    blend: Array = (one + (other - one) * part[..., None]).astype(np.float32)
    return blend


def _clouds(rng: np.random.Generator, height: int, width: int) -> Array:
    """Return ``float32 [height, width, 3]``: noise at three scales, enlarged smoothly."""
    import PIL.Image

    total = np.zeros((height, width, 3), dtype=np.float32)
    for cells, weight in ((4, 0.5), (12, 0.3), (40, 0.2)):
        noise = PIL.Image.fromarray(rng.integers(0, 256, size=(cells, cells, 3), dtype=np.uint8))
        enlarged = noise.resize((width, height), PIL.Image.Resampling.BICUBIC)
        total += weight * np.asarray(enlarged, dtype=np.float32)
    return total


def _draw_ellipse(canvas: Array, rng: np.random.Generator) -> None:
    height, width, _ = canvas.shape
    y, x = np.ogrid[:height, :width]
    centre_y, centre_x = rng.uniform(0, height), rng.uniform(0, width)
    radius_y, radius_x = rng.uniform(0.05, 0.35, size=2) * (height, width)
    inside = ((y - centre_y) / radius_y) ** 2 + ((x - centre_x) / radius_x) ** 2 <= 1
    canvas[inside] = rng.uniform(0, 255, size=3)
