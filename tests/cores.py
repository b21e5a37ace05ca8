"""Each of several workers has cores of its own: two threads of one on a single core wait for each other.

It takes effect when it is imported, which must be before any library that starts a thread for each core that it sees.
"""

from __future__ import annotations

import os
import sys


def share() -> None:
    """Take this worker's part of the cores; all of them where there are fewer cores than workers."""
    name = os.environ.get("PYTEST_XDIST_WORKER")
    n_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if name is not None and 1 < n_workers <= len(cores) and "numpy" not in sys.modules:
        os.sched_setaffinity(0, cores[int(name.removeprefix("gw")) :: n_workers])


share()
