"""One process-wide setting: glibc's malloc told to keep large blocks. It knows nothing of who allocates.

Every large tensor on a CPU is otherwise mapped from the system and given back, page fault by page fault;
eager torch loses half its time to that and more. Programs call `keep_memory` as they start, before torch is
imported; a library has no business doing so, and nothing here happens on import.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_memory"]

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST = 2**31 - 1


def keep_memory() -> bool:
    """Tell glibc's malloc not to return memory below 2 GiB a block; tell whether that took effect.

    Elsewhere (musl, macOS, Windows) nothing is done and the answer is False.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    settings = ((_M_MMAP_THRESHOLD, _LARGEST), (_M_TRIM_THRESHOLD, _LARGEST))
    return all(libc.mallopt(option, value) == 1 for option, value in settings)
