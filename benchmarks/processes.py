"""Running a command as its user would: clock from its start, peak memory of it alone. It knows no benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "MALLOC_TUNED",
    "PROBE_ALONE",
    "ROOT",
    "TOPWORK",
    "Ended",
    "pinned",
    "run",
    "run_side",
]

ROOT = Path(__file__).parent.parent
"""The checkout; sides run in it."""

TOPWORK = (
    (sys.executable, "-m", "topwork")
    if os.name == "nt"
    else (str(Path(sys.executable).with_name("topwork")),)
)
"""The command as it is installed beside this interpreter."""

PROBE_ALONE = ("--recipe", "probe", "--proof", "none")
"""Options of a fit that stops at the first model."""

MALLOC_TUNED = {
    "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592"
}
"""Tells glibc to keep large blocks; eager torch on a CPU loses half its time and more without it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended well."""

    wall_s: float
    peak_rss_bytes: int
    stdout: str

    def last_json(self) -> Any:
        """Return the JSON value on the last line of standard output."""
        return json.loads(self.stdout.strip().splitlines()[-1])


def run(command: Sequence[str], env: Mapping[str, str] | None = None, *, cwd: Path | None = None) -> Ended:
    """Run a command to its end.

    Parameters
    ----------
    env
        Variables on top of this process's own.

    Raises
    ------
    RuntimeError
        It ended with a status other than 0; the message holds what it said.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as told:
        began_s = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=out, stderr=told, cwd=cwd, env={**os.environ, **(env or {})}
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began_s
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        told.seek(0)
        if process.returncode:
            last = told.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{last}")
        return Ended(wall_s, usage.ru_maxrss * 1024, out.read().decode())


def run_side(
    module: str,
    asked: Mapping[str, object],
    env: Mapping[str, str] | None = None,
    *,
    python: str = sys.executable,
    cores: Sequence[int] = (),
) -> Ended:
    """Run ``python -m benchmarks.MODULE JSON``, one side of a comparison; it prints a JSON value last."""
    return run(pinned([python, "-m", f"benchmarks.{module}", json.dumps(asked)], cores), env, cwd=ROOT)


def pinned(command: Sequence[str], cores: Sequence[int]) -> list[str]:
    """Return a command that runs on these cores alone; on all where there is none."""
    return ["taskset", "-c", ",".join(map(str, cores)), *command] if cores else [*command]
