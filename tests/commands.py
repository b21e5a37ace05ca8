"""Commands as a user gives them, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = (sys.executable, "-W", "error", "-c", "from topwork.cli import main; main()")
PATIENCE_S = 200


@dataclass(frozen=True, slots=True)
class Told:
    """What a command left: its exit status, and what it wrote to standard output and standard error."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value that is all of standard output."""
        [line] = self.out.splitlines()
        return json.loads(line)


@dataclass(frozen=True, slots=True)
class Desk:
    """Where commands are given: a folder to stand in, and a cache."""

    folder: Path
    cache: Path

    def start(
        self, *words: str, program: tuple[str, ...] = PROGRAM, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command whose standard streams are pipes."""
        pipe = subprocess.PIPE
        settings = {**os.environ, "TOPWORK_CACHE": str(self.cache), **(environment or {})}
        command = [*program, *words]
        # Unbuffered, so that a line read here takes nothing away from what `end` will return.
        return subprocess.Popen(
            command, bufsize=0, cwd=self.folder, env=settings, stdin=pipe, stdout=pipe, stderr=pipe
        )

    def run(
        self,
        *words: str,
        stdin: bytes = b"",
        program: tuple[str, ...] = PROGRAM,
        environment: dict[str, str] | None = None,
    ) -> Told:
        """Run a command to its end."""
        with self.start(*words, program=program, environment=environment) as process:
            return end(process, stdin)


def end(process: subprocess.Popen[bytes], stdin: bytes = b"") -> Told:
    """Wait for a process and return what it told."""
    out, err = process.communicate(stdin, timeout=PATIENCE_S)
    return Told(process.returncode, out.decode(), err.decode())
