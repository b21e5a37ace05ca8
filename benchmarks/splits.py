"""Which photos every side trains on, validates on and is tested on: topwork's own split, handed to all.

Validation is the first fold, as it is for topwork itself. Nobody chooses anything by the test.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from topwork import Surroundings, plugins, verbs
from topwork.bundle import open_bundle
from topwork.contracts import Array
from topwork.data.split import SplitOptions, make_folds
from topwork.progress import Quiet

__all__ = ["PhotoSplit", "require_same_test", "split_photos"]

Row = tuple[str, str]
"""Path and label of a photo."""


@dataclass(frozen=True, slots=True)
class PhotoSplit:
    """A data set split with a seed."""

    photos: Path
    seed: int
    labels: tuple[str, ...]
    train: tuple[Row, ...]
    valid: tuple[Row, ...]
    test: tuple[Row, ...]

    @property
    def truth(self) -> dict[str, str]:
        """Label of each photo of the test, by its path."""
        return dict(self.test)

    def write(self, folder: Path) -> Path:
        """Write it where a side can read it."""
        path = folder / f"split-{self.photos.name}-{self.seed}.json"
        path.write_text(json.dumps({**asdict(self), "photos": str(self.photos)}), encoding="utf-8")
        return path


def split_photos(photos: Path, seed: int) -> PhotoSplit:
    """Split a folder as `topwork fit --seed` does."""
    found = verbs.check(photos, seed=seed, around=Surroundings(progress=Quiet()))
    if found.split is None:
        raise RuntimeError(f"A fit would refuse {photos}: {found.obstacle}")
    (raw,) = found.dataset.targets.values()
    target = plugins.task("classification").learn([raw[row] for row in found.findings.usable])
    fold, *_ = make_folds(found.split, target.encode(raw), SplitOptions(seed))

    def rows(numbers: Array) -> tuple[Row, ...]:
        return tuple((str(photos / found.dataset.keys[row]), str(raw[row])) for row in numbers.tolist())

    train, valid = rows(fold.train), rows(fold.valid)
    return PhotoSplit(
        photos, seed, target.labels, train, valid, _unseen(rows(found.split.test), train + valid)
    )


def _unseen(test: Sequence[Row], fitted: Sequence[Row]) -> tuple[Row, ...]:
    """Leave out photos of which a copy is trained or validated on: data sets with a test folder have some."""
    seen = {_content(path) for path, _ in fitted}
    return tuple(row for row in test if _content(row[0]) not in seen)


def _content(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def require_same_test(split: PhotoSplit, bundle: Path) -> None:
    """Raise RuntimeError where a bundle was tested on other photos than the split says."""
    tested = {content for content, side in open_bundle(bundle).sides().items() if side == "test"}
    ours = {_content(path) for path, _ in split.test}
    if tested != ours:
        raise RuntimeError(
            f"{bundle.name} was tested on {len(tested)} photos, the split has {len(ours)}, and "
            f"{len(tested & ours)} are the same; all must be."
        )
