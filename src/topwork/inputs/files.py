"""Reading what a path names. It knows no format."""

from __future__ import annotations

import os
from pathlib import Path

from topwork.errors import DecodeError

__all__ = ["read_file"]


def read_file(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises
    ------
    DecodeError
        It cannot be read.
    """
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        # `Path.is_dir` raises for a name that is too long for the system, which may be the very error.
        is_folder = os.path.isdir(path)  # noqa: PTH112
        reason = "it is a folder" if is_folder else (getattr(error, "strerror", None) or str(error)).lower()
        raise DecodeError(f"Cannot read {path}: {reason}.", next_step="Check the path.") from error
