"""Schemathesis, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["schemathesis"]

RUN = "import sys; from schemathesis.cli import schemathesis; sys.argv[0] = 'schemathesis'; schemathesis()"
SETTINGS = """
[checks.not_a_server_error]
# A client may want its answer within a millisecond (X-Timeout-Ms), and is told with 503 that this could not be.
expected-statuses = ["2xx", "3xx", "4xx", 503]
"""


def schemathesis(
    url: str, folder: Path, *options: str, further: str = ""
) -> subprocess.CompletedProcess[str]:
    (folder / "schemathesis.toml").write_text(SETTINGS + further)
    fixed = ("--checks", "all", "--phases", "examples,coverage,fuzzing", "--generation-deterministic")
    silent = ("--no-color", "--continue-on-failure")
    command = [sys.executable, "-c", RUN, "run", f"{url}/openapi.json", *fixed, *silent, *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
