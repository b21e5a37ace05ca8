"""Words of the command line turned into what the verbs take."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from topwork.errors import UsageError

if TYPE_CHECKING:
    from topwork.contracts import Modality

__all__ = ["inputs_of", "process_age_s"]


def inputs_of(words: Sequence[str], modality: Modality) -> list[object]:
    """Return the paths that the words name, and the bytes on standard input for ``-``.

    A path that does not exist is returned as it is: among a thousand others it costs a line, not the run.
    """
    found: list[object] = []
    for word in words:
        found += [_stdin(modality)] if word == "-" else _files(word, modality)
    return found


def _files(word: str, modality: Modality) -> Sequence[object]:
    from topwork.verbs.predicting import input_files

    is_folder = os.path.isdir(word)  # noqa: PTH112 - a name too long for the system is no folder, and no fault
    return input_files([Path(word)], modality) if is_folder else [word]


def _stdin(modality: Modality) -> bytes:
    """Read one input from standard input, and no more of it than an input may have."""
    limit = modality.wire.max_bytes
    read = sys.stdin.buffer.read(limit + 1)
    if len(read) > limit:
        raise UsageError(
            f"Standard input holds more than {limit} bytes, the most that one {modality.wire.noun} may have.",
            next_step="Give one input at a time.",
        )
    return read


def process_age_s() -> float:
    """Return how long this process has been running, in seconds; 0 where the system does not tell."""
    with suppress(OSError, ValueError, IndexError, AttributeError):
        stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
        ticks = int(stat.rpartition(")")[2].split()[19])
        up_s = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        return max(0.0, up_s - ticks / os.sysconf("SC_CLK_TCK"))
    return 0.0
