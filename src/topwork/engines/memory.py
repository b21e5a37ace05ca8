"""Process-wide settings: malloc keeps large blocks, threads that wait sleep, a GPU sums in one order.

Every large tensor on a CPU is otherwise mapped from the system and given back, page fault by page fault;
eager torch loses half its time to that and more. Programs call `keep_memory` as they start, before torch is
imported; a library has no business doing so, and nothing here happens on import. It knows nothing of who works.
"""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["give_back", "keep_memory", "rest_while_waiting", "sum_in_order"]

_M_TRIM_THRESHOLD = -1
_SPINS = 20_000
"""Turns of an empty loop before a thread sleeps: some 20 microseconds."""
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


def give_back() -> bool:
    """Return to the system what glibc's malloc holds and nobody uses, such as what a start took; tell if it did."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    return hasattr(libc, "gnu_get_libc_version") and libc.malloc_trim(0) == 1


def rest_while_waiting() -> None:
    """Let threads of OpenMP sleep where they wait for each other, unless the user has chosen otherwise.

    By default they spin, for milliseconds. Where anything else runs, the one that is waited for has often lost its core
    to one that spins: on two cores beside two busy processes a training step took 764 ms spinning and 83 ms sleeping.
    GNU's OpenMP, which torch brings, may be told to spin for some microseconds before it sleeps, so that the many short
    waits of a step cost no call into the system: on an idle machine that is a sixth more steps, on a busy one no fewer.
    OpenMP reads this once, when torch is first imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", str(_SPINS))


def sum_in_order() -> None:
    """Hold cuBLAS to workspaces with which it sums in the same order every time, unless the user has chosen otherwise.

    Training on a GPU is refused without it. It is read when a GPU is first used, and means nothing without one.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
