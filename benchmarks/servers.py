"""A server as a process of its own: started on a free port, waited for, watched, ended. It knows no benchmark."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import ROOT, TOPWORK

__all__ = ["Running", "client_cores", "of_bundle", "of_trivial", "server_cores", "serving"]

_TIMEOUT_S = 60.0
_POLL_S = 0.005
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def resident_mb(self) -> float:
        """Its resident set now, in millions of bytes, as the kernel counts it."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    @property
    def n_files(self) -> int:
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 - there is no path worth having


def of_bundle(bundle: Path, *words: str) -> list[str]:
    """Return the command that serves a bundle."""
    return [*TOPWORK, "serve", str(bundle), *words]


def of_trivial(**settings: object) -> list[str]:
    """Return the command that serves next to nothing; the settings are those of `trivial_server`."""
    return [sys.executable, "-m", "benchmarks.trivial_server", json.dumps(settings)]


def server_cores() -> tuple[int, ...]:
    """Return the cores for a server: all but the last, or the only one."""
    cores = _cores()
    return cores[:-1] or cores


def client_cores() -> tuple[int, ...]:
    """Return the core for a client: the last."""
    return _cores()[-1:]


def _cores() -> tuple[int, ...]:
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


@contextmanager
def serving(
    command: Sequence[str], env: Mapping[str, str] | None = None, *, health: str = "/readyz"
) -> Iterator[Running]:
    """Run a server on a free port until the block ends; the block begins when ``health`` answers 200.

    Raises
    ------
    RuntimeError
        It does not become ready.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    _adopt()
    server = subprocess.Popen(
        [*command, "--port", str(port)],
        env={**os.environ, **(env or {})},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_until_ready(server, port, health)
        yield Running(port, server.pid)
    finally:
        server.terminate()
        server.wait(_TIMEOUT_S)
        _end_group(server.pid)


def _adopt() -> None:
    """Become the parent of what servers leave behind, so that what it spent counts as theirs; on Linux."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _end_group(leader: int) -> None:
    """End what a server has left behind, which would stand in the way of the next one."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-leader, 0)


def _wait_until_ready(server: subprocess.Popen[bytes], port: int, health: str) -> None:
    limit_s = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < limit_s and server.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
            connection.request("GET", health)
            if connection.getresponse().status == 200:
                return
        time.sleep(_POLL_S)
    raise RuntimeError(f"The server did not become ready: {' '.join(map(str, server.args))}.")  # type: ignore[arg-type]
