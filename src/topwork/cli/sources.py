"""Words of the command line turned into what the verbs take."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from topwork.errors import UsageError

if TYPE_CHECKING:
    from topwork.contracts import Modality
    from topwork.data.reading import Layout

__all__ = ["engine_named", "inputs_of", "layout_named", "process_age_s"]

EngineWord = Literal["auto", "openvino", "onnxruntime", "torch"]


def layout_named(word: str) -> Layout:
    """Return a layout by its name."""
    from topwork.data.reading import Layout

    return cast("Layout", _one_of(word, get_args(Layout), "--layout"))


def engine_named(word: str) -> EngineWord:
    """Return an engine by its name."""
    return cast("EngineWord", _one_of(word, get_args(EngineWord), "--engine"))


def _one_of(word: str, known: Sequence[str], option: str) -> str:
    if word not in known:
        raise UsageError(f"{option} {word!r} is not known; expected one of {', '.join(known)}.")
    return word


def inputs_of(words: Sequence[str], modality: Modality) -> list[object]:
    """Return the paths that the words name, and the bytes on standard input for ``-``."""
    from topwork.verbs.predicting import input_files

    found: list[object] = []
    for word in words:
        found += [_stdin(modality)] if word == "-" else input_files([Path(word)], modality)
    return found


def _stdin(modality: Modality) -> bytes:
    """Read one input from standard input, and no more of it than an input may have."""
    limit = modality.wire.max_bytes
    read = sys.stdin.buffer.read(limit + 1)
    if len(read) > limit:
        raise UsageError(
            f"Standard input holds more than {limit} bytes, the most that one {modality.wire.noun} may have."
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
