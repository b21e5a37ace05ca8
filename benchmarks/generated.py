"""Pictures made of nobody's data: as many distinct small JPEGs in four classes as one wants.

Each is smooth colour and noise of its own, so that none is a near duplicate of another; the class leans the
colour. Run as ``python -m benchmarks.generated FOLDER FIRST LAST`` it writes one share of them.
"""

from __future__ import annotations

import io
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["CLASSES", "write_photos"]

CLASSES = ("amber", "blue", "green", "red")
_LEAN = {"amber": (50, 20, -40), "blue": (-30, -10, 60), "green": (-30, 50, -20), "red": (60, -20, -20)}
_SIDE_PX = 192
_QUALITY = 85


def write_photos(folder: Path, n: int, n_processes: int) -> Path:
    """Write ``n`` JPEGs of some 10 kB into one folder per class below ``folder``, and return it."""
    bounds = [round(n * i / n_processes) for i in range(n_processes + 1)]
    shares = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.generated", str(folder), str(first), str(last)],
            cwd=Path(__file__).parent.parent,
        )
        for first, last in pairwise(bounds)
    ]
    statuses = [share.wait() for share in shares]
    if any(statuses):
        raise RuntimeError(f"The pictures could not be written to {folder}.")
    return folder


def photo(number: int) -> bytes:
    """Return the JPEG with that number; the same for the same number."""
    random = np.random.default_rng(number)
    coarse = random.integers(30, 226, (6, 6, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BICUBIC)
    grain = random.normal(0, 7, (_SIDE_PX, _SIDE_PX, 1)).astype(np.float32)
    lean = np.array(_LEAN[CLASSES[number % len(CLASSES)]], dtype=np.float32)
    pixels = np.clip(np.asarray(smooth, dtype=np.float32) + lean + grain, 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def _write(folder: Path, first: int, last: int) -> None:
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(first, last):
        (folder / CLASSES[number % len(CLASSES)] / f"{number:06d}.jpg").write_bytes(photo(number))


if __name__ == "__main__":
    _write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
