"""A folder of bundles, looked at again and again: which models are there, and in which files.

`photos.topwork` is the model photos. `photos/1.topwork` and `photos/2.topwork` are versions of the model photos, of
which the highest number is wanted. A file that has changed is left alone until it has been at rest for a while.
It opens nothing, and knows no server.
"""

from __future__ import annotations

import logging
import time
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

from topwork.errors import TopworkError, UsageError
from topwork.serving.traffic.marks import Mark, mark_of

if TYPE_CHECKING:
    from topwork.contracts import Clock

__all__ = ["Candidate", "Directory"]

SUFFIX: Final = ".topwork"
LOG = logging.getLogger("topwork.serving")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be opened for a model.

    Attributes
    ----------
    version
        Its number; None where the model has but one file.
    mark
        Tells it from another file of the same path.
    """

    name: str
    path: Path
    version: int | None
    mark: Mark

    @property
    def key(self) -> tuple[Path, Mark]:
        """The file, as long as it is the same."""
        return self.path, self.mark

    @property
    def rank(self) -> tuple[float, str]:
        """Where it comes in order: the highest version first, and a file without a number last."""
        return (inf if self.version is None else -self.version), str(self.path)


class Directory:
    """What a folder holds, and what of it was refused. Use it from one thread at a time.

    Parameters
    ----------
    clock
        Seconds.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._folder: Path | None = None
        self._seen: dict[Path, tuple[Mark, float]] | None = None
        self._refused: set[tuple[Path, Mark]] = set()
        self._set_aside: set[tuple[Path, Mark]] = set()

    def look(self, folder: Path, rest_s: float) -> Mapping[str, tuple[Candidate, ...]]:
        """Return for each model the files that may be opened for it, the best first.

        A model without such a file is there all the same: its files are at work, or were refused. At the first look
        every file is at rest.

        Parameters
        ----------
        rest_s
            Seconds for which a file must not have changed.

        Raises
        ------
        UsageError
            There is no such folder.
        """
        if not folder.is_dir():
            raise UsageError(
                f"There is no folder {folder}.", next_step="Make it, or give another one as models_dir."
            )
        now, before = self._clock(), self._seen if folder == self._folder else None
        self._folder = folder
        there = {path: mark for path in _bundles(folder) if (mark := mark_of([path]))}
        self._seen = {
            path: (mark, now if before is not None else -inf)
            if before is None or path not in before or before[path][0] != mark
            else before[path]
            for path, mark in there.items()
        }
        found: dict[str, list[Candidate]] = {}
        for path, (mark, since_s) in self._seen.items():
            one = _candidate(folder, path, mark)
            good = found.setdefault(one.name, [])
            if now - since_s >= rest_s and one.key not in self._refused | self._set_aside:
                good.append(one)
        return {name: tuple(sorted(found[name], key=lambda one: one.rank)) for name in sorted(found)}

    def refuse(self, candidate: Candidate, reason: Exception) -> None:
        """Leave a file alone from now on, and note why; another file of its path has its own chance."""
        self._refused.add(candidate.key)
        unexpected = None if isinstance(reason, TopworkError) else reason
        LOG.error("%s is not served. %s", candidate.path, reason, exc_info=unexpected)

    def set_aside(self, key: tuple[Path, Mark]) -> None:
        """Leave a good file alone, as an operator wants it; `forgive` does not change that."""
        self._set_aside.add(key)

    def stays(self, candidate: Candidate) -> bool:
        """Tell whether a file that was opened may go on to be served: its path is there, and it was not set aside.

        What stands at its path may be another file by now, which is not at rest yet, or was refused.
        """
        return candidate.path in (self._seen or {}) and candidate.key not in self._set_aside

    def take_back(self, key: tuple[Path, Mark]) -> None:
        """Undo `set_aside`."""
        self._set_aside.discard(key)

    def forgive(self) -> None:
        """Let every file that was refused be tried again."""
        self._refused.clear()


def _bundles(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts) and path.is_file():
            yield path


def _candidate(folder: Path, path: Path, mark: Mark) -> Candidate:
    stem = path.stem
    has_number = path.parent != folder and stem.isascii() and stem.isdigit()
    # As names of models are compared: systems differ in how they compose accents.
    name = unicodedata.normalize("NFC", path.parent.name if has_number else stem)
    return Candidate(name, path, int(stem) if has_number else None, mark)
