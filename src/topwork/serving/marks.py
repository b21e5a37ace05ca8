"""What tells a file from the one that stood there before. It reads no file."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

__all__ = ["Mark", "mark_of"]

Mark: TypeAlias = tuple[int, ...]


def mark_of(path: Path) -> Mark:
    """Return what tells a file from the one that stood there before; nothing for a file that is not there."""
    try:
        found = path.stat()
    except OSError:  # whoever opens it will say so
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
