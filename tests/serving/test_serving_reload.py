"""A real server whose settings change under load: not one request fails, whatever the operator does."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from doors import made
from loads import Load

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")

TESTS = Path(__file__).resolve().parents[1]
SCRIPT = """
import sys, time
from pathlib import Path
from fake_servable import FakeServable
from loads import Load
from topwork.errors import ProofError
from topwork.serving.hangups import Hangups
from topwork.serving.hosting import Hosted
from topwork.serving.server import run
from topwork.serving.settings.file import read_settings
from topwork.serving.succession import Succession

def opened(settings, limits):
    # A bundle is a text here: what its model is called in its answers, and what its proof does.
    text = settings.bundle.read_text()
    def proof():
        time.sleep(600 if text == "slow" else 0.02)
        if text == "bad":
            raise ProofError("Output 3 differs by 0.2.")
    return Hosted(FakeServable(settings.name, proof=proof, delay_s=0.003), limits, 4)

succession = Succession(lambda: read_settings(Path(sys.argv[1])), opened, hangups=Hangups(),
                        on_change=lambda told: print("changed", *told.opened, flush=True))
if len(sys.argv) > 2:
    print("opened", flush=True)
    sys.stdin.readline()
run(succession.app, port=succession.settings.port, succession=succession,
    on_ready=lambda url: print(url, flush=True))
print("ended", flush=True)
"""


@dataclass
class Server:
    """A process that serves by a settings file, and who may change that file."""

    folder: Path
    process: subprocess.Popen[str]
    key: str
    url: str = ""

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def hang_up(self) -> str:
        self.process.send_signal(signal.SIGHUP)
        return self.line()

    def reload(self) -> tuple[int, Any]:
        try:
            order = urllib.request.Request(f"{self.url}/v1/admin/reload", b"", {"x-api-key": self.key})
            with urllib.request.urlopen(order, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)


def write(folder: Path, *models: str, rest: str = "", content: str = "good") -> None:
    """Write a settings file as an operator does, whole or not at all."""
    for name in models:
        (folder / "new").write_text(content)
        (folder / "new").replace(folder / name)
    entries = "".join(f"- {{bundle: {name}, name: {name}}}\n" for name in models)
    (folder / "new").write_text(f"port: 0\nkeys: keys.json\nmodels:\n{entries}{rest}")
    (folder / "new").replace(folder / "topwork.yaml")


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[Server]:
    key = made(folder / "keys.json", "operator", "predict", "admin")
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(folder / "topwork.yaml"), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        text=True,
    )
    server = Server(folder, process, key)
    try:
        if not words:
            server.url = server.line()
            assert server.url.startswith("http://"), process.stderr and process.stderr.read()
        yield server
    finally:
        process.kill()
        process.communicate()


def test_ten_reloads_and_mistakes_between_them_fail_no_request(tmp_path: Path) -> None:
    write(tmp_path, "m0", "always")
    with serving(tmp_path) as server:
        load = Load(server.url, server.key)
        with load.running():
            load.answers("m0")
            for turn in range(1, 11):
                name = f"m{turn}"
                write(tmp_path, name, "always", rest=f"limits: {{max_inputs: {turn}, keep_alive: {turn}}}\n")
                if turn % 2:
                    assert server.hang_up() == f"changed {name} always"
                else:
                    status, told = server.reload()
                    assert (status, told["opened"]) == (200, [name, "always"])
                    assert server.line() == f"changed {name} always"
                load.answers(name)
                spoil(server, turn)
                assert server.reload()[0] == 409
                load.answers(name)
        assert load.failed == []
        assert len(load.seen) == 11
        assert sum(load.seen.values()) >= 11 * 10
        server.process.send_signal(signal.SIGTERM)
        out, err = server.process.communicate(timeout=60)
        assert (server.process.returncode, out) == (0, "ended\n")
        assert err.count("all is as it was") == 10
        assert "Traceback" not in err


def spoil(server: Server, turn: int) -> None:
    """Make one mistake of several kinds."""
    mistakes = ("hots: 3\n", "- [", "limits: {deadline: soon}\n", "host: 0.0.0.0\n")
    if turn % 5:
        write(server.folder, "other", rest=mistakes[turn % 5 - 1])
    else:
        write(server.folder, "other", content="bad")


def test_sigterm_during_a_reload_drains_and_ends(tmp_path: Path) -> None:
    write(tmp_path, "m0")
    with serving(tmp_path) as server:
        write(tmp_path, "m1", content="slow")
        answers: list[tuple[int, Any]] = []
        asking = threading.Thread(target=lambda: answers.append(server.reload()))
        asking.start()
        time.sleep(0.5)
        under_way = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
        under_way.request(
            "POST",
            "/predict",
            body=json.dumps({"inputs": ["YWJj"] * 64}).encode(),
            headers={"content-type": "application/json", "x-api-key": server.key},
        )
        time.sleep(0.05)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        with closing(under_way), under_way.getresponse() as answer:
            assert (answer.status, len(json.loads(answer.read())["predictions"])) == (200, 64)
        out, err = server.process.communicate(timeout=60)
        asking.join(30)
        assert (server.process.returncode, out, err) == (0, "ended\n", "")
        assert [(status, told["error"]["code"]) for status, told in answers] == [(503, "unavailable")]
        assert time.monotonic() - began < 20, "it waited for the model that never gets ready"


def test_a_hangup_before_the_server_is_up_waits_for_it(tmp_path: Path) -> None:
    write(tmp_path, "m0")
    with serving(tmp_path, "wait") as server:
        assert server.line() == "opened"
        write(tmp_path, "m1")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert server.process.poll() is None
        assert server.process.stdin is not None
        server.process.stdin.write("\n")
        server.process.stdin.flush()
        told = {server.line(), server.line()}
        assert "changed m1" in told
        assert any(line.startswith("http://") for line in told)


def test_bounds_on_connections_go_for_those_that_come_then(tmp_path: Path) -> None:
    write(tmp_path, "m0", rest="limits: {header_timeout: 60s}\n")
    with serving(tmp_path) as server:
        write(tmp_path, "m0", rest="limits: {header_timeout: 300ms}\n")
        server.hang_up()
        host, _, port = server.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as silent:
            assert b" 408 " in silent.recv(1000)
