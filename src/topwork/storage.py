"""Files that are never half-written under their final name.

Everything that topwork leaves on a disk goes through here: a file is written beside its final name,
flushed to the disk and then renamed, so that a kill, a full disk or a lost connection leaves either the
old file or the new one. It knows where cache, keys and stories stand, and nothing of what is in a file.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from topwork.errors import StorageError, TopworkError

__all__ = [
    "TEMPORARY_SUFFIX",
    "atomic_file",
    "cache_folder",
    "explain",
    "keys_file",
    "locked",
    "stories_folder",
    "sweep",
    "write_atomically",
]

TEMPORARY_SUFFIX = ".topwork-part"
"""Ends the name of every file that is not finished; `sweep` removes what a kill left behind."""

_REASONS = {
    errno.ENOSPC: ("the disk is full", "Free some space, or choose another place."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space, or choose another place."),
    errno.EROFS: ("the file system is read-only", "Choose another place to write to."),
    errno.EACCES: ("permission was denied", "Choose a folder that you may write to."),
    errno.EPERM: ("permission was denied", "Choose a folder that you may write to."),
    errno.EFBIG: (
        "it would be larger than this process or file system allows",
        "Raise the limit, or choose another place.",
    ),
    errno.EEXIST: ("a file of that name is where a folder would have to be", "Check the path."),
    errno.ENOENT: ("there is no such place", "Check the path."),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "Check the path."),
    errno.EISDIR: ("it is a folder", "Give the name of a file."),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter name."),
}


def cache_folder() -> Path:
    """Return the folder for weights, graphs and features: the user's own, or ``TOPWORK_CACHE``."""
    import platformdirs

    chosen = os.environ.get("TOPWORK_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("topwork"))


def keys_file() -> Path:
    """Return the file of API keys: the user's own, or ``TOPWORK_KEYS``."""
    import platformdirs

    chosen = os.environ.get("TOPWORK_KEYS")
    return Path(chosen) if chosen else Path(platformdirs.user_config_dir("topwork")) / "keys.json"


def stories_folder() -> Path:
    """Return the folder of saved stories: the user's own, or ``TOPWORK_STORIES``."""
    import platformdirs

    chosen = os.environ.get("TOPWORK_STORIES")
    return Path(chosen) if chosen else Path(platformdirs.user_data_dir("topwork")) / "stories"


def explain(error: OSError, path: Path, *, doing: str = "write") -> StorageError:
    """Turn an operating system's error into one that says what to do."""
    reason, step = _REASONS.get(
        error.errno or 0, (error.strerror or str(error), "Check the disk and the path.")
    )
    return StorageError(f"Cannot {doing} {path}: {reason}.", next_step=step)


@contextmanager
def atomic_file(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under ``path`` only once it is complete and on the disk.

    Parameters
    ----------
    path
        Its final name; missing folders are made.
    private
        Only its owner may read and write it.

    Raises
    ------
    StorageError
        The disk is full, read-only or not writable; nothing is left behind, the old file is untouched.
    """
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name[:100]}.", suffix=TEMPORARY_SUFFIX, dir=path.parent
        )
        part = Path(name)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if not private:  # a temporary file is its owner's alone until then
            part.chmod(0o666 & ~_umask())
        part.replace(path)
        part = None
    except OSError as error:
        if isinstance(error, TopworkError):  # somebody within has explained it already
            raise
        raise explain(error, path) from error
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink()


def write_atomically(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write ``content`` under ``path``, whole or not at all; ``private`` as of `atomic_file`."""
    with atomic_file(path, private=private) as stream:
        stream.write(content)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time read, change and write the file under ``path``; others wait here.

    The lock is a file beside it, and ends with the process that holds it, however that ends. On Windows there is none.

    Raises
    ------
    StorageError
        There is no place for the lock.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise explain(error, path) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def sweep(folder: Path, *, older_than_s: float, now_s: float) -> int:
    """Remove unfinished files that a killed process left in ``folder``; return how many."""
    removed = 0
    for part in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        with suppress(OSError):
            if now_s - part.stat().st_mtime > older_than_s:
                part.unlink()
                removed += 1
    return removed


def _umask() -> int:
    # There is no way to read the mask without setting it; 0o022 is what every common system has, and a
    # stricter one only makes the copy less readable than it could be.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
