"""`topwork serve` as a process: ready, a request, a signal, the end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from commands import Desk, end

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")


@contextmanager
def serving(desk: Desk, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with desk.start("serve", *words) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline().decode()
            found = re.search(r"Ready at (http://\S+)$", line)
            assert found, line + process.stderr.read().decode()
            yield process, found[1]
        finally:
            process.kill()


def ask(url: str, body: bytes | None = None) -> dict[str, object]:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request, timeout=60) as response:
        found: dict[str, object] = json.load(response)
        return found


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_until_it_is_told_to_stop(
    ending: signal.Signals, desk: Desk, bundle: Path, photos: Path
) -> None:
    with serving(desk, str(bundle), "--port", "0") as (process, url):
        answer = ask(f"{url}/predict", (photos / "green" / "03.jpg").read_bytes())
        assert "green" in json.dumps(answer)
        assert "/predict" in json.dumps(ask(f"{url}/openapi.json"))
        process.send_signal(ending)
        told = end(process)
    assert (told.status, told.out) == (0, "")
    assert f"curl -F file=@FILE {url}/predict" in told.err


def test_a_disturbed_bundle_is_not_served(desk: Desk, bundle: Path) -> None:
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    (desk.folder / "disturbed.topwork").write_bytes(content)
    told = desk.run("serve", "disturbed.topwork", "--port", "0")
    assert told.status == 1
    assert told.err.startswith("Error: disturbed.topwork")
    assert "Ready" not in told.err
    assert "Traceback" not in told.err


def test_a_port_that_is_taken_is_an_error(desk: Desk, bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = desk.run("serve", str(bundle), "--port", port)
    assert told.status == 1
    assert f"port {port}" in told.err
    assert "Choose another port" in told.err
