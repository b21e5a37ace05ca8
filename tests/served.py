"""`topwork serve` as a process, and requests to it."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from commands import Desk

__all__ = ["ask", "serving"]


@contextmanager
def serving(desk: Desk, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Serve on a free port until the block ends; give the process and its URL once it is ready."""
    with desk.start("serve", "--port", "0", *words) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline().decode()
            found = re.search(r"Ready at (http://\S+)$", line)
            assert found, line + process.stderr.read().decode()
            yield process, found[1]
        finally:
            process.kill()


def ask(url: str, body: bytes | None = None) -> Any:
    """Return the JSON that a server answers; a body is a photo."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)
