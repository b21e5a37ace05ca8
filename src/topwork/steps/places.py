"""Where a fit leaves its bundle and its report."""

from __future__ import annotations

import os
import shutil
import weakref
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from topwork.errors import StorageError, UsageError
from topwork.storage import TEMPORARY_SUFFIX, explain, write_atomically

__all__ = ["SUFFIX", "Place", "TemporaryFolder", "default_bundle", "default_plot", "require_file_place"]

SUFFIX = ".topwork"


class TemporaryFolder:
    """A folder that goes when nobody holds this object any more, or when the process ends."""

    def __init__(self) -> None:
        self.path = Path(mkdtemp(prefix="topwork-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Place:
    """Paths of bundle and report; ``folder`` is set where both vanish with the model."""

    bundle: Path
    report: Path
    folder: TemporaryFolder | None = None

    @property
    def unfinished(self) -> Path:
        """Folder for what a fit needs to go on after being killed; it goes when the bundle is written."""
        return self.bundle.with_name(f"{self.bundle.stem}.unfinished")

    @property
    def suspects(self) -> Path:
        """Where labels that look wrong are listed, for the user to edit and hand back."""
        return self.bundle.with_name(f"{self.bundle.stem}.labels.csv")

    @classmethod
    def of(cls, data: Path, out: str | Path | None) -> Place:
        """Choose the paths, and find out before any work is done that they cannot be written.

        Raises
        ------
        UsageError
            ``out`` is a folder, or would overwrite the data.
        StorageError
            Nothing can be written there.
        """
        if out is None:
            folder = TemporaryFolder()
            bundle = folder.path / f"{_stem(data)}{SUFFIX}"
            return cls(bundle, bundle.with_name(f"{bundle.stem}.report.html"), folder)
        bundle = _with_suffix(Path(out))
        try:
            _require_file(Path(out), bundle, data)
        except OSError as error:  # the system cannot even look at such a name
            raise explain(error, bundle) from error
        _require_writable(bundle.parent)
        return cls(bundle, bundle.with_name(f"{bundle.stem}.report.html"))


def default_bundle(data: Path) -> Path:
    """Return where the command writes when it is not told: the current folder, under the data's name."""
    return Path(f"{_stem(data)}{SUFFIX}")


def require_file_place(file: Path) -> None:
    """Refuse a folder and a place that cannot be written, before any work is done.

    Raises
    ------
    UsageError
        It is a folder.
    StorageError
        Nothing can be written there.
    """
    if file.is_dir():
        raise UsageError(
            f"{file} is a folder; expected the name of a file to write.",
            next_step=f"Give a name in it, such as {file / 'plot.html'}.",
        )
    _require_writable(file.parent)


def default_plot(data: Path) -> Path:
    """Return where the command draws a sweep when it is not told: the current folder, under the data's name."""
    return Path(f"{_stem(data)}.rates.html")


def _stem(data: Path) -> str:
    name = data.resolve().name
    return (Path(name).stem if data.is_file() else name) or "model"


def _with_suffix(out: Path) -> Path:
    return out if out.suffix == SUFFIX or not out.name else out.with_name(out.name + SUFFIX)


def _require_file(out: Path, bundle: Path, data: Path) -> None:
    """Refuse a folder, which leaves open what is meant, and the data themselves."""
    for path in (out, bundle):
        if path.is_dir():
            raise UsageError(
                f"{path} is a folder; expected the name of a file to write.",
                next_step=f"Give a name in it, such as {path / f'model{SUFFIX}'}.",
            )
    if bundle.exists() and data.exists() and bundle.samefile(data):
        raise UsageError(
            f"{bundle} is the data itself and would be overwritten.", next_step="Choose another --out."
        )


def _require_writable(folder: Path) -> None:
    """Write and remove a small file, because a fit that cannot be saved should fail before it begins."""
    trial = folder / f".trial-{os.getpid()}{TEMPORARY_SUFFIX}"
    try:
        write_atomically(trial, b"trial")
        trial.unlink()
    except StorageError as error:
        if isinstance(error.__cause__, OSError):
            raise explain(error.__cause__, folder) from error
        raise
