"""How trials of canaries ended, kept in a file, so that the next start of the server holds to it. It knows no request.

A verdict is one on a canary as it was configured: `config_of` is another one as soon as a setting of the version, or
what its files hold, is. So a canary that was changed has a trial of its own, and the same one under another path has
not. The file is JSON, appears whole or not at all, and is changed by one process at a time.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from topwork.errors import StorageError, UsageError
from topwork.serving.settings.declared import VersionSettings, settings_of
from topwork.serving.traffic.shares import Ended
from topwork.storage import explain, locked, write_atomically

if TYPE_CHECKING:
    from topwork.contracts import Json

__all__ = ["Verdicts", "config_of"]

LOG = logging.getLogger("topwork.serving")
FORMAT: Final = "topwork-verdicts"
VERSION: Final = 1
PHASES: Final = ("promoted", "rolled back")

Kept: TypeAlias = dict[tuple[str, str], tuple[str, Ended]]
"""A model and its version to how the version was configured, and how its trial ended."""


def config_of(version: VersionSettings) -> str:
    """Return what tells a canary from one of its name that is configured otherwise; reads its files whole."""
    plain = replace(version, name=version.title)
    said = {
        one.key: value
        for one in settings_of(VersionSettings)
        if (value := getattr(plain, one.field)) != one.default and not isinstance(value, Path)
    }
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=repr).encode())
    for path in version.paths:
        for file in _files(path):
            digest.update(_digest(file))
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    yield from sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]


def _digest(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError:  # whoever opens it says so
        return b""


class Verdicts:
    """What is known of trials that ended; safe from several threads, for each entry is replaced whole.

    Parameters
    ----------
    path
        The file; None keeps them as long as this object lives.

    Raises
    ------
    StorageError
        It cannot be read.
    UsageError
        It is no file of verdicts.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._kept = {} if path is None else _read(path)

    def of(self, model: str, version: str, config: str) -> Ended | None:
        """Return how the trial of a canary ended that was configured so; None where it did not."""
        known, ended = self._kept.get((model, version), ("", None))
        if known != config or ended is None:
            return None
        LOG.warning(
            "%s: the canary %s stays %s, as was decided at %s. %s",
            model,
            version,
            ended.phase,
            ended.at.isoformat(timespec="seconds"),
            ended.reason,
        )
        return ended

    def keep(self, model: str, version: str, config: str, ended: Ended) -> None:
        """Keep how a trial ended; where that cannot be, the log says so and it holds until the server ends."""
        self._kept[model, version] = (config, ended)
        if self.path is None:
            LOG.warning(
                "%s: no file keeps this; when the server starts anew, so does the trial of %s. "
                "Set verdicts: FILE.",
                model,
                version,
            )
            return
        try:
            with locked(self.path):
                # Another server may keep its own there.
                _write(self.path, {**_read(self.path), (model, version): (config, ended)})
        except (StorageError, UsageError) as error:
            LOG.error(  # noqa: TRY400 - the error says all there is to know
                "%s: this is known until the server ends, for it could not be kept. %s", model, error
            )


# --- the file -----------------------------------------------------------------------------------------


def _read(path: Path) -> Kept:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise explain(error, path, doing="read") from error
    try:
        return _decoded(json.loads(content))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path} is no file of verdicts that this version can read: {str(error)[:200] or type(error).__name__}.",
            next_step="Name another file, or take it away; canaries then have their trials anew.",
        ) from None


def _decoded(value: Mapping[str, Any]) -> Kept:
    if (value["format"], value["version"]) != (FORMAT, VERSION):
        raise ValueError(f"expected the format {FORMAT!r}, version {VERSION}")
    return {
        (str(one["model"]), str(one["version"])): (str(one["config"]), _ended(one))
        for one in value["verdicts"]
    }


def _ended(entry: Mapping[str, Any]) -> Ended:
    at = datetime.fromisoformat(entry["at"])
    if entry["phase"] not in PHASES or at.tzinfo is None:
        raise ValueError(f"a verdict is {entry['phase']!r} at {entry['at']!r}")
    return Ended(entry["phase"], str(entry["reason"]), at)


def _write(path: Path, kept: Kept) -> None:
    entries: list[Json] = [
        {
            "model": model,
            "version": version,
            "config": config,
            "phase": ended.phase,
            "reason": ended.reason,
            "at": ended.at.isoformat(),
        }
        for (model, version), (config, ended) in kept.items()
    ]
    content = {"format": FORMAT, "version": VERSION, "verdicts": entries}
    write_atomically(path, json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n", private=True)
