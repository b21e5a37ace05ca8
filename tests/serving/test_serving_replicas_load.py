"""Real servers under load while their worker processes are killed, and while a new version replaces the old."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from doors import made

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="processes out of /proc")]

TESTS = Path(__file__).resolve().parents[1]
SCRIPT = """
import sys
from pathlib import Path
from topwork.serving.replicas.autoscaling import Policy
from topwork.serving.hangups import Hangups
from topwork.serving.hosting import Hosted
from topwork.serving.replicas.manned import Replicas
from topwork.serving.server import run
from topwork.serving.settings.file import read_settings
from topwork.serving.succession import Succession
from unruly import QUICK, recipe

def opened(settings, limits):
    model = Replicas(recipe(name=settings.name, start_s=0.3), settings.replicas, vigilance=QUICK)
    return Hosted(model, limits, model.n_at_once)

succession = Succession(lambda: read_settings(Path(sys.argv[1])), opened, hangups=Hangups(),
                        on_change=lambda told: print("changed", *told.opened, flush=True))
run(succession.app, port=0, succession=succession, on_ready=lambda url: print(url, flush=True))
"""
SETTINGS = """
port: 0
keys: keys.json
models:
  - bundle: model
    name: chess
    replicas: {min_replicas: 3, max_replicas: 3}
limits: {max_waiting: 8}
"""


@dataclass
class Clients:
    """Threads that ask without a pause, and count what they get."""

    url: str
    key: str
    n: int = 6
    seen: Counter[int] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)

    def _ask(self) -> None:
        with httpx.Client(headers={"x-api-key": self.key}, timeout=60) as one:
            while not self.over.is_set():
                answer = one.post(f"{self.url}/predict", content=b"sleep:0.01")
                self.seen[answer.status_code] += 1
                if answer.status_code != 200:
                    self.told[answer.json()["error"]["message"]] += 1

    @contextmanager
    def asking(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._ask) for _ in range(self.n)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join()


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(path.parent.name))
    return found


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Clients]]:
    key = made(folder / "keys.json", "operator", "predict", "admin")
    (folder / "model").write_text("one")
    (folder / "topwork.yaml").write_text(SETTINGS)
    server = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(folder / "topwork.yaml")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        text=True,
    )
    with server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            assert url.startswith("http://")
            yield server, Clients(url, key)
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0
        finally:
            server.kill()


def test_one_of_three_killed_again_and_again_fails_no_request(tmp_path: Path) -> None:
    with serving(tmp_path) as (server, clients), clients.asking():
        n_killed, until = 0, time.monotonic() + 15
        while time.monotonic() < until:
            victims = children(server.pid)
            os.kill(victims[n_killed % len(victims)], signal.SIGKILL)
            n_killed += 1
            time.sleep(2.0)
    assert n_killed >= 5
    assert clients.seen[200] > 100
    assert set(clients.seen) <= {200, 429, 503}
    # A request may be killed twice, which is told as such; nothing else may fail.
    given_up = {one for one in clients.told if "2 processes that worked on it ended" in one}
    busy = {one for one in clients.told if "it takes no more" in one}
    assert set(clients.told) == given_up | busy


def test_a_new_version_takes_the_place_of_the_old_and_no_request_fails(tmp_path: Path) -> None:
    with serving(tmp_path) as (server, clients):
        assert server.stdout is not None
        first = set(children(server.pid))
        with clients.asking():
            for _ in range(4):
                (tmp_path / "new").write_text("another")
                (tmp_path / "new").replace(tmp_path / "model")
                before = set(children(server.pid))
                server.send_signal(signal.SIGHUP)
                assert server.stdout.readline().strip() == "changed chess"
                time.sleep(1.0)
                assert not before & set(children(server.pid)), "the old processes have ended"
        assert len(children(server.pid)) == len(first) == 3
    assert set(clients.seen) == {200}
