"""`topwork top` and the log of `topwork serve` as JSON."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path

from commands import Desk, Told, end
from local_server import serving
from topwork.serving.app import Application, application
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.traffic.canaries import Rules
from topwork.serving.traffic.shares import Canary, Lane, Traffic
from topwork.serving.traffic.versions import Versions
from watched_servable import StaffedServable, WatchedServable


def test_one_look_as_a_table_and_as_json(topwork: Callable[..., Told]) -> None:
    with serving(application(WatchedServable(name="<b>[red]"))) as url:
        table = topwork("top", url, "--once", "--every", "0.1")
        told = topwork("top", url, "--once", "--every", "0.1", "--json")
    assert (table.status, told.status) == (0, 0)
    assert "requests/s" in table.out
    assert "<b>[red]" in table.out
    found = json.loads(told.out)
    assert (found["schema"], found["models"][0]["name"], found["models"][0]["is_ready"]) == (
        1,
        "<b>[red]",
        True,
    )


def test_worker_processes_stand_beside_the_state(topwork: Callable[..., Told]) -> None:
    with serving(application(StaffedServable(states={"ready": 2, "starting": 1}))) as url:
        table = topwork("top", url, "--once", "--every", "0.1")
    assert "ready, 2 of 3 processes" in table.out


def test_versions_have_a_table_of_their_own(topwork: Callable[..., Told]) -> None:
    limits = Limits()
    members = {name: Hosted(WatchedServable("m"), limits) for name in ("v1", "v2")}
    traffic = Traffic("m", [Lane("v1", 1.0)], Canary("v2", 0.25, Rules()))
    versions = Versions(members, traffic, {})
    with serving(Application([versions], limits)) as url:
        on_trial = topwork("top", url, "--once", "--every", "0.1")
        versions.settle("promoted")
        told = topwork("top", url, "--once", "--every", "0.1", "--json")
        after = topwork("top", url, "--once", "--every", "0.1")
    rows = [line.split() for line in on_trial.out.splitlines()]
    assert ["m@v2", "25.0%", "0.0", "0", "0", "–", "–", "trial"] in rows
    assert "promoted 20" in after.out
    canary = json.loads(told.out)["versions"][0]
    assert (canary["version"], canary["phase"], canary["share"]) == ("v2", "promoted", 1.0)


def test_a_server_that_is_not_there_is_told_in_a_line(topwork: Callable[..., Told]) -> None:
    told = topwork("top", "http://127.0.0.1:1", "--once")
    assert told.status == 1
    assert "cannot be reached" in told.err


def test_it_looks_again_and_again_until_it_is_interrupted(desk: Desk) -> None:
    with (
        serving(application(WatchedServable())) as url,
        desk.start("top", url, "--every", "0.2", "--json") as process,
    ):
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        told = end(process)
    assert [line["models"][0]["name"] for line in lines] == ["chess"] * 3
    assert "Traceback" not in told.err


def test_with_a_log_of_json_standard_error_holds_nothing_else(desk: Desk, bundle: Path, photos: Path) -> None:
    with desk.start("serve", str(bundle), "--port", "0", "--log-format", "json") as process:
        assert process.stderr is not None
        try:
            first = json.loads(process.stderr.readline())
            url = first["message"].removeprefix("ready at ")
            content = (photos / "green" / "03.jpg").read_bytes()
            headers = {"x-request-id": "order-17", "content-type": "image/jpeg"}
            request = urllib.request.Request(f"{url}/predict", content, headers)
            with urllib.request.urlopen(request, timeout=60) as response:
                answer = json.load(response)
                assert response.headers["x-request-id"] == "order-17"
            process.send_signal(signal.SIGTERM)
            told = end(process)
        finally:
            process.kill()
    assert isinstance(answer["predictions"][0]["in_domain"], bool)
    (asked,) = [json.loads(line) for line in told.err.splitlines()]
    assert (asked["request_id"], asked["status"], asked["model"]) == ("order-17", 200, "colours")
