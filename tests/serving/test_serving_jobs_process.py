"""Jobs of a server that is killed: every one that was told is answered, once, by the next one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")

TESTS = Path(__file__).resolve().parents[1]
SERVER = """
import sys
from pathlib import Path
from fake_servable import FakeServable
from topwork.serving.app import Application
from topwork.serving.hosting import Hosted
from topwork.serving.jobs.jobs import Jobs
from topwork.serving.limits import Limits
from topwork.serving.server import run
limits = Limits()
app = Application([Hosted(FakeServable(delay_s=0.002), limits, 2)], limits, jobs=Jobs(Path(sys.argv[1])))
run(app, port=0, on_ready=lambda url: print(url, flush=True))
"""


@contextmanager
def serving(path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVER, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, process.communicate()[1]
        yield url, process
    finally:
        process.kill()
        process.communicate()


def asked(url: str, body: bytes | None = None) -> Any:
    order = urllib.request.Request(url, body, {"content-type": "application/octet-stream"})
    with urllib.request.urlopen(order, timeout=30) as response:
        return json.load(response)


def over(url: str, name: str) -> Any:
    until = time.monotonic() + 60
    while (job := asked(f"{url}/v1/jobs/{name}"))["status"] in ("queued", "running"):
        assert time.monotonic() < until, job
        time.sleep(0.01)
    return job


@pytest.mark.parametrize("n_kills", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_a_server_that_is_killed_again_and_again_loses_no_job(tmp_path: Path, n_kills: int) -> None:
    rng, path = random.Random(0), tmp_path / "jobs.sqlite"
    told: dict[str, int] = {}
    for _ in range(n_kills):
        with serving(path) as (url, process):
            until = time.monotonic() + rng.uniform(0.02, 0.4)
            n_most = len(told) + 75  # a quick machine would fill the store, which takes a thousand
            while time.monotonic() < until and len(told) < n_most:
                n = rng.randrange(1, 2000)
                told[asked(f"{url}/v1/models/chess/jobs", b"x" * n)["id"]] = n
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert len(told) >= 2 * n_kills
    with serving(path) as (url, process):
        for name, n in told.items():
            job = over(url, name)
            # One that was at work in three kills is given up; with two threads that is next to none.
            if job["status"] == "done":
                assert job["result"]["predictions"][0]["n_bytes"] == n
            else:
                assert "ended 3 times" in job["error"]["message"]
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")


def test_a_job_under_way_does_not_keep_a_server_from_ending(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    content = json.dumps({"inputs": ["YWJj"] * 64}).encode()
    with serving(path) as (url, process):
        order = urllib.request.Request(
            f"{url}/v1/models/chess/jobs", content, {"content-type": "application/json"}
        )
        names = []
        for _ in range(20):
            with urllib.request.urlopen(order, timeout=30) as response:
                names.append(json.load(response)["id"])
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert time.monotonic() - began < 10
    with serving(path) as (url, _):
        assert {over(url, name)["status"] for name in names} == {"done"}


def test_two_servers_do_not_share_a_file(tmp_path: Path) -> None:
    with serving(tmp_path / "jobs.sqlite"):
        other = subprocess.run(
            [sys.executable, "-c", SERVER, str(tmp_path / "jobs.sqlite")],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
            text=True,
            check=False,
        )
    assert other.returncode == 1
    assert "is in use by another process" in other.stderr
