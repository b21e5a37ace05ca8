"""Stories in files: written whole or not at all, and read with suspicion. It knows no model.

A file that cannot be read is left as it is, and so is the story that is being played.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from topwork.errors import DataError, UsageError
from topwork.play.settings import Settings
from topwork.play.starts import Start
from topwork.play.story import KINDS, Story, Turn
from topwork.storage import explain, write_atomically

__all__ = ["Saves", "read_story", "written_story"]

_FORMAT: Final = "topwork story"
_VERSION: Final = 1
_MOST_BYTES: Final = 32 << 20
_MOST_FILES: Final = 1000
_NAME: Final = re.compile(r"\w[\w .-]{0,79}")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Saves:
    """A folder of stories.

    Attributes
    ----------
    takes_paths
        Whether a name may be the path of a file elsewhere, as on a player's own command line.
    """

    folder: Path
    takes_paths: bool = False

    def path_of(self, name: str) -> Path:
        """Return where a story of that name is.

        Raises
        ------
        UsageError
            It is no name of a file.
        """
        if self.takes_paths and (name.endswith(".json") or "/" in name or "\\" in name):
            return Path(name)
        if not _NAME.fullmatch(name) or name.endswith((".", " ")):
            raise UsageError(
                f"{name[:60]!r} is no name for a story.",
                next_step="Use letters, digits, blanks, - and _, at most 80 of them.",
            )
        return self.folder / f"{name}.json"

    def names(self) -> list[str]:
        """Return the names of what is here, the newest first."""
        found = [(path.stat().st_mtime, path.stem) for path in self.folder.glob("*.json") if path.is_file()]
        return [name for _, name in sorted(found, reverse=True)]

    def write(self, name: str, story: Story) -> Path:
        """Write a story; return where.

        Raises
        ------
        UsageError
            It is no name of a file, or there are too many.
        StorageError
            There is no room, or no right to write.
        """
        path = self.path_of(name)
        if not path.exists() and len(self.names()) >= _MOST_FILES:
            raise UsageError(
                f"There are {_MOST_FILES:,} stories in {self.folder}; no more are written.",
                next_step="Remove some of these files.",
            )
        write_atomically(path, written_story(story))
        return path

    def read(self, name: str) -> Story:
        """Read a story.

        Raises
        ------
        UsageError
            There is none of that name.
        DataError
            It is damaged, or of a newer version.
        StorageError
            It cannot be read.
        """
        path = self.path_of(name)
        if not path.is_file():
            known = ", ".join(self.names()[:8]) or "none so far"
            raise UsageError(f"There is no story {path}.", next_step=f"Stories here: {known}.")
        try:
            with path.open("rb") as stream:
                content = stream.read(_MOST_BYTES + 1)
        except OSError as error:
            raise explain(error, path, doing="read") from error
        return read_story(str(path), content)


def written_story(story: Story) -> bytes:
    """Return a story as the bytes of a file."""
    content = {"format": _FORMAT, "version": _VERSION, **asdict(story)}
    return json.dumps(content, ensure_ascii=False, indent=1).encode("utf-8", "replace")


def read_story(name: str, content: bytes) -> Story:
    """Read a story out of a file's bytes.

    Raises
    ------
    DataError
        They hold none, or one of a newer version.
    """
    if len(content) > _MOST_BYTES:
        raise _damaged(name, f"it is longer than {_MOST_BYTES:,} bytes")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise _damaged(name, "it is no JSON") from None
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise _damaged(name, f"it is no {_FORMAT}")
    if found.get("version") != _VERSION:
        raise DataError(
            f"{name} has the version {found.get('version')!r:.40}; this topwork reads {_VERSION}.",
            next_step="Play it with the topwork that wrote it.",
        )
    return _story(name, found)


def _story(name: str, found: Mapping[str, Any]) -> Story:
    seed, n_drawn = (_typed(name, found, key, int) for key in ("seed", "n_drawn"))
    remembered = _typed(name, found, "remembered", list)
    if not all(isinstance(one, str) for one in remembered):
        raise _damaged(name, "what is remembered is no list of texts")
    turns = [_turn(name, number, one) for number, one in enumerate(_typed(name, found, "turns", list))]
    return Story(
        _start(name, _typed(name, found, "start", dict)),
        seed,
        tuple(turns),
        n_drawn,
        tuple(remembered),
        _settings(name, _typed(name, found, "settings", dict)),
    )


def _start(name: str, found: Mapping[str, Any]) -> Start:
    return Start(*(_typed(name, found, key, str) for key in ("genre", "context", "opening")))


def _turn(name: str, number: int, found: object) -> Turn:
    if not isinstance(found, dict):
        raise _damaged(name, f"turn {number + 1} is none")
    kind = next((one for one in KINDS if one == found.get("kind")), None)
    if kind is None:
        raise _damaged(name, f"turn {number + 1} is of the kind {found.get('kind')!r:.40}")
    return Turn(kind, *(_typed(name, found, key, str) for key in ("action", "result")))


def _settings(name: str, found: Mapping[str, Any]) -> Settings:
    kinds = {name: type(value) for name, value in asdict(Settings()).items()}
    given: dict[str, Any] = {}
    for key, value in found.items():
        if key not in kinds or isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise _damaged(name, f"the setting {key!r:.40} makes no sense")
        if isinstance(value, str) != (kinds[key] is str):
            raise _damaged(name, f"the setting {key!r:.40} is {value!r:.40}")
        given[key] = kinds[key](value)
    try:
        return Settings(**given)
    except UsageError as error:
        raise _damaged(name, str(error)) from None


def _typed(name: str, found: Mapping[str, Any], key: str, kind: type[T]) -> T:
    value = found.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _damaged(name, f"{key!r} is {value!r:.40}")
    return value


def _damaged(name: str, why: str) -> DataError:
    return DataError(
        f"{name} is damaged: {why}.",
        next_step="It was left as it is; load another story, or mend it with an editor.",
    )
