"""The game behind HTTP: games and turns, who may ask, what is bounded, and a client that leaves."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import pytest

from fake_narrator import FakeNarrator
from local_server import serving
from playhouse import FIRST, site


@contextmanager
def asked(
    url: str, method: str, path: str, body: object = None, **headers: str
) -> Iterator[http.client.HTTPResponse]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    content = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"content-type": "application/json", **named} if method == "POST" else named
    try:
        connection.request(method, path, content, sent)
        yield connection.getresponse()
    finally:
        connection.close()


def ask(url: str, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    with asked(url, method, path, body, **headers) as response:
        content = response.read().decode()
        if response.headers["content-type"] == "application/x-ndjson":
            return response.status, [json.loads(line) for line in content.splitlines()]
        return response.status, json.loads(content)


def begun(url: str, **choice: str) -> str:
    status, found = ask(url, "POST", "/games", choice)
    assert status == 201
    return str(found["id"])


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_game_is_begun_played_and_found_again(tmp_path: Path) -> None:
    narrator = FakeNarrator([" You find a key. It is cold."])
    with serving(site(tmp_path, narrator)) as url:
        assert ask(url, "GET", "/genres")[1]["asks"] is True
        key = begun(url, genre="space")
        status, events = ask(url, "POST", f"/games/{key}/moves", {"kind": "do", "text": "I look down"})
        assert status == 200
        assert events[0] == {"event": "begun", "kind": "do", "action": "You look down."}
        assert events[-1] == {"event": "told", "result": "You find a key. It is cold."}
        assert "".join(one["text"] for one in events if one["event"] == "piece") == events[-1]["result"]
        status, found = ask(url, "GET", f"/games/{key}")
        assert (status, found["genre"], found["model"]) == (200, "space", "a fake")
        assert found["turns"] == [
            {"kind": "do", "action": "You look down.", "result": "You find a key. It is cold."}
        ]
    with serving(site(tmp_path, narrator)) as url:  # another process would find it, too
        assert ask(url, "GET", f"/games/{key}") == (200, found)


def test_a_game_has_the_story_that_was_asked_for(tmp_path: Path) -> None:
    with serving(site(tmp_path, FakeNarrator(), asks=False)) as url:
        assert ask(url, "GET", "/genres")[1]["asks"] is False
        found = ask(url, "GET", f"/games/{begun(url)}")[1]
        assert found["opening"] == FIRST.start.opening
        own = ask(url, "GET", f"/games/{begun(url, prompt='I wake up')}")[1]
        assert own["opening"] == "You wake up."
        assert ask(url, "POST", "/games", {"genre": "opera"})[0] == 422


def test_commands_are_lines_in_any_kind_of_turn(tmp_path: Path) -> None:
    with serving(site(tmp_path, FakeNarrator())) as url:
        key = begun(url)
        for kind in ("line", "say", "do"):
            assert ask(url, "POST", f"/games/{key}/moves", {"kind": kind, "text": "/set length 20"})[1] == [
                {"event": "notice", "text": "length is 20."}
            ]
        assert ask(url, "POST", f"/games/{key}/moves", {"kind": "line", "text": "/quit"})[1] == []
        names = ask(url, "POST", f"/games/{key}/moves", {"kind": "line", "text": "/save ../../up"})[1]
        assert "no name for a story" in names[0]["text"]
        assert (
            ask(url, "POST", f"/games/{key}/moves", {"kind": "fly", "text": "x"})[1][0]["event"] == "notice"
        )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"host": "evil.example"}, 421),
        ({"sec_fetch_site": "same-origin"}, 201),
    ],
)
def test_only_its_own_page_may_do_something(headers: dict[str, str], status: int, tmp_path: Path) -> None:
    with serving(site(tmp_path, FakeNarrator())) as url:
        assert ask(url, "POST", "/games", {}, **headers)[0] == status
        assert ask(url, "POST", "/games", {}, origin=url)[0] == 201


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/games", b"[" * 60_000, 400),
        ("POST", "/games", b"[]", 400),
        ("POST", "/games", {"prompt": 3}, 400),
        ("POST", "/games", b"x" * (64 * 1024 + 1), 413),
        ("POST", "/games/AAAAAAAAAAAAAAAA/moves", {"kind": "do", "text": "run"}, 404),
        ("GET", "/games/..%2Fup", None, 404),
        ("GET", "/games", None, 405),
        ("GET", "/nothing", None, 404),
    ],
)
def test_what_makes_no_sense_is_refused(
    method: str, path: str, body: object, status: int, tmp_path: Path
) -> None:
    with serving(site(tmp_path, FakeNarrator())) as url:
        found, answer = ask(url, method, path, body)
        assert found == status
        assert answer["error"]["message"]


def test_a_client_that_leaves_ends_what_is_written_for_it(tmp_path: Path) -> None:
    narrator = FakeNarrator(
        [" One is here. And then" + "".join(f" word{i}" for i in range(500))], pace_s=0.03
    )
    with serving(site(tmp_path, narrator)) as url:
        key = begun(url)
        assert ask(url, "POST", f"/games/{key}/moves", {"kind": "line", "text": "/set length 600"})[0] == 200
        with asked(url, "POST", f"/games/{key}/moves", {"kind": "do", "text": "run"}) as response:
            while json.loads(response.readline())["event"] != "piece":
                pass
            assert ask(url, "POST", f"/games/{key}/moves", {"kind": "do", "text": "run"})[0] == 409
        until(lambda: narrator.n_closed == 1)
        assert narrator.n_given < 500
        found = ask(url, "GET", f"/games/{key}")[1]
        assert [turn["result"] for turn in found["turns"]] == ["One is here."]
        assert ask(url, "POST", f"/games/{key}/moves", {"kind": "do", "text": "run"})[0] == 200


def test_games_are_bounded_and_one_that_was_closed_is_opened_again(tmp_path: Path) -> None:
    one = site(tmp_path, FakeNarrator(), most_games=2)
    with serving(one) as url:
        keys = [begun(url) for _ in range(2)]
        assert ask(url, "POST", f"/games/{keys[0]}/moves", {"kind": "continue"})[0] == 200
        keys.append(
            begun(url)
        )  # closes the second one, which was used least recently, and of which nothing is saved
        assert ask(url, "GET", f"/games/{keys[1]}")[0] == 404
        keys.append(begun(url))  # closes the first one, which is saved
        status, found = ask(url, "GET", f"/games/{keys[0]}")  # and this the third
        assert (status, len(found["turns"])) == (200, 1)
        assert [ask(url, "GET", f"/games/{key}")[0] for key in keys[2:]] == [404, 200]


def test_a_game_that_is_being_written_is_not_closed(tmp_path: Path) -> None:
    narrator = FakeNarrator(go_on=Event())
    with serving(site(tmp_path, narrator, most_games=1)) as url:
        key = begun(url)
        with asked(url, "POST", f"/games/{key}/moves", {"kind": "continue"}) as response:
            response.readline()
            assert ask(url, "POST", "/games", {})[0] == 429
            assert narrator.go_on is not None
            narrator.go_on.set()
            response.read()
        assert ask(url, "POST", "/games", {})[0] == 201


def test_a_fault_of_the_game_is_said_without_its_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FakeNarrator):
        def n_tokens(self, text: str) -> int:
            raise RuntimeError("secret")

    with serving(site(tmp_path, Broken())) as url:
        key = begun(url)
        [notice] = ask(url, "POST", f"/games/{key}/moves", {"kind": "do", "text": "run"})[1][1:]
        assert "made a mistake" in notice["text"]
        assert "secret" not in notice["text"]
        assert ask(url, "GET", f"/games/{key}")[0] == 200
    assert "secret" in caplog.text


def test_the_page_keeps_to_itself(tmp_path: Path) -> None:
    with serving(site(tmp_path, FakeNarrator())) as url, asked(url, "GET", "/") as response:
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "connect-src 'self'" in policy
        assert b"http" not in response.read().replace(b"http-equiv", b"")


def test_it_starts_and_ends_as_a_server_asks(tmp_path: Path) -> None:
    async def live() -> list[str]:
        sent: list[str] = []
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await site(tmp_path, FakeNarrator())({"type": "lifespan"}, receive, send)
        return sent

    assert asyncio.run(live()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
