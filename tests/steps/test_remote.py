"""Rows answered by a server that is busy, stumbles, loses connections or refuses."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any

import pytest

from topwork.data.streams import Row
from topwork.errors import TopworkError, UsageError
from topwork.steps.remote import Patience, is_url, open_remote

ABOUT = {
    "name": "texts",
    "about": {"created": "2026-01-01"},
    "input": {"noun": "sentence", "in_json": "text", "max_inputs": 8},
}


@dataclass
class Server:
    """Answers with the length of each text, once it has made the mistakes that it was given."""

    mistakes: list[Any] = field(default_factory=list)
    delay_s: float = 0.0
    url: str = ""
    n_asked: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    most_at_once: int = 0
    at_once: int = 0

    def reply(self, texts: list[str]) -> tuple[int, Any, dict[str, str]]:
        with self.lock:
            self.n_asked += 1
            mistake = self.mistakes.pop(0) if self.mistakes else None
        if mistake is not None:
            status, headers = mistake if isinstance(mistake, tuple) else (mistake, {})
            return status, {"error": {"message": f"mistake {status}", "next_step": "Wait."}}, headers
        if any(text == "boom" for text in texts):
            return 500, {"error": {"message": "a bug", "next_step": ""}}, {}
        if len(texts) == 1 and texts[0] == "bad":
            return 422, {"error": {"message": "It is bad.", "next_step": "Mend it."}}, {}
        if len(texts) > 1 and "large" in texts:
            return 413, {"error": {"message": "too large", "next_step": ""}}, {}
        with self.lock:
            self.answered.update(texts)
        found = [{"error": "It is bad."} if text == "bad" else {"value": float(len(text))} for text in texts]
        return 200, {"model": "texts", "predictions": found}, {}


@contextmanager
def serving(
    *mistakes: Any, delay_s: float = 0.0, about: Any = ABOUT, key: str | None = None
) -> Iterator[Server]:
    server = Server(list(mistakes), delay_s=delay_s)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.say(200, {"models": [{"name": "texts"}]} if self.path == "/v1/models" else about, {})

        def do_POST(self) -> None:
            with server.lock:
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            content = json.loads(self.rfile.read(int(self.headers["content-length"])))
            time.sleep(server.delay_s)
            status, value, headers = server.reply(content["inputs"])
            with server.lock:
                server.at_once -= 1
            if key is not None and self.headers.get("x-api-key") != key:
                status, value = 401, {"error": {"message": "no key", "next_step": ""}}
            if status == 0:  # the connection is lost
                self.close_connection = True
                return
            self.say(status, value, headers)

        def say(self, status: int, value: Any, headers: dict[str, str]) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            for name, one in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, one)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None: ...

    with Quiet(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


class Waits:
    """Notes how long it would have waited."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, over: threading.Event, seconds: float) -> bool:
        self.seconds.append(seconds)
        return over.wait(0)


def rows(*texts: str) -> Iterator[Row]:
    return (Row(i, f"line {i}", text, text.encode()) for i, text in enumerate(texts, start=1))


def answered(url: str, *texts: str, waits: Waits | None = None, **rest: Any) -> list[Any]:
    patience = Patience(wait=waits or Waits(), **rest)
    found = open_remote(url, patience=patience).answers(rows(*texts))
    return [one.answer["value"] if one.answer is not None else one.problem for one in found]


def numbered(n: int) -> list[str]:
    return ["x" * (i % 50 + 1) for i in range(n)]


def test_answers_come_in_order_from_several_requests_at_once() -> None:
    texts = numbered(200)
    with serving(delay_s=0.02) as server:
        assert answered(server.url, *texts, n_parallel=4) == [float(len(text)) for text in texts]
        assert 2 <= server.most_at_once <= 4
        assert server.n_asked == 200 / 8, "no more inputs than its server takes"
        assert answered(f"{server.url}/v1/models/texts", "abc") == [3.0]


def test_no_more_is_read_than_is_under_way() -> None:
    read = Counter[str]()

    def endless() -> Iterator[Row]:
        for i in range(1, 10**9):
            read["rows"] += 1
            yield Row(i, "", "", b"x")

    with serving() as server:
        found = open_remote(server.url, patience=Patience(n_parallel=2)).answers(endless())
        assert len(list(islice(found, 100))) == 100
        found.close()  # type: ignore[attr-defined]
    assert read["rows"] <= 100 + 8 * 7


@pytest.mark.parametrize("mistake", [429, 503, 502, 504, 500, 408, 0])
def test_what_may_pass_is_tried_again(mistake: int) -> None:
    waits = Waits()
    with serving(mistake) as server:
        assert answered(server.url, "a", "bb", waits=waits, n_parallel=1) == [1.0, 2.0]
    assert len(waits.seconds) == 1


def test_waits_grow_and_are_as_long_as_the_server_says() -> None:
    waits, later = Waits(), formatdate(time.time() + 100, usegmt=True)
    mistakes = [
        503,
        503,
        503,
        (429, {"retry-after": "7"}),
        (429, {"retry-after": later}),
        (503, {"retry-after": "x"}),
    ]
    with serving(*mistakes) as server:
        assert answered(server.url, "a", waits=waits, n_parallel=1, first_wait_s=1.0) == [1.0]
    first, second, third, said, dated, odd = waits.seconds
    assert 0.5 <= first <= 1 <= second * 1.0001 <= 2.001
    assert 2 <= third <= 4
    assert 7 <= said <= 8
    assert 90 <= dated <= 101
    assert 15 <= odd <= 30


def test_an_input_over_which_a_server_stumbles_costs_its_own_row() -> None:
    with serving() as server:
        found = answered(server.url, *"abc", "boom", *"de", "bad", "large", "f", n_parallel=2)
    assert found == [1.0, 1.0, 1.0, "a bug", 1.0, 1.0, "It is bad. Mend it.", 5.0, 1.0]


def test_a_bad_input_alone_is_told_in_full() -> None:
    with serving() as server:
        assert answered(server.url, "bad") == ["It is bad. Mend it."]


def test_a_server_that_stays_away_ends_it_and_what_was_answered_is_good() -> None:
    with serving() as server:
        answerer = open_remote(server.url, patience=Patience(n_parallel=1, n_tries=3, wait=Waits()))
        found = answerer.answers(rows(*numbered(40)))
        good = [next(found) for _ in range(8)]
        server.mistakes += [503] * 100
        with pytest.raises(TopworkError, match="refuses with the status 503: mistake 503") as caught:
            good += list(found)
        assert "--resume" in caught.value.next_step
        assert [one.row.number for one in good] == list(range(1, len(good) + 1))
    with pytest.raises(TopworkError, match="gives no reply: ConnectionRefusedError"):
        list(answerer.answers(rows("a")))
    with pytest.raises(TopworkError, match="gives no reply"):
        open_remote(server.url)


def test_a_key_is_sent() -> None:
    with serving(key="tw_secret") as server:
        found = open_remote(server.url, key="tw_secret").answers(rows("abc"))
        assert [one.answer for one in found] == [{"value": 3.0}]
        with pytest.raises(TopworkError, match="status 401") as caught:
            list(open_remote(server.url, key="other").answers(rows("abc")))
        assert "--key-file" in caught.value.next_step


def test_who_stops_does_not_wait_for_a_server_that_is_slow() -> None:
    with serving() as server:
        found = open_remote(server.url, patience=Patience(n_parallel=2)).answers(rows(*numbered(400)))
        next(found)
        server.delay_s = 5.0
        time.sleep(0.2)
        began = time.monotonic()
        found.close()  # type: ignore[attr-defined]
        assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "url", ["http://", "https://", "http://a@b", "http://a:99999", "http://h/v1/models/a/b"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no address of a server"):
        open_remote(url)
    assert is_url(url)


def test_another_kind_of_server_is_told() -> None:
    with (
        serving(about={"hello": 1}) as server,
        pytest.raises(TopworkError, match="did not answer as topwork does"),
    ):
        open_remote(server.url)
    odd = {**ABOUT, "input": {"noun": "smell", "in_json": "chemistry", "max_inputs": 1}}
    with serving(about=odd) as server, pytest.raises(TopworkError, match="takes 'smell'"):
        open_remote(server.url)
