"""Pages of other origins: none by default, those that are named, and the browser's question before it sends."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from doors import keyed_door, made
from fake_servable import FakeServable, client
from topwork.errors import UsageError
from topwork.serving.app import application
from topwork.serving.http.origins import Origins

FRIEND, STRANGER = "https://friend.example", "https://friend.example.evil"


def ask(
    origins: tuple[str, ...], *requests: tuple[str, str, dict[str, str]], **rest: Any
) -> list[httpx.Response]:
    async def main() -> list[httpx.Response]:
        app = application(FakeServable(), origins=origins, **rest)
        async with app.running(), client(app) as one:
            await app.proven()
            return [
                await one.request(method, path, headers=headers, content=b"xx")
                for method, path, headers in requests
            ]

    return asyncio.run(main())


def preflight(origin: str) -> tuple[str, str, dict[str, str]]:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    return "OPTIONS", "/predict", {**headers, "access-control-request-headers": "x-api-key"}


def shared(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control")}


def test_nobody_is_let_in_unless_named() -> None:
    answers = ask((), ("POST", "/predict", {"origin": FRIEND}), preflight(FRIEND))
    assert [one.status_code for one in answers] == [200, 405]
    assert not any(shared(one) or "vary" in one.headers for one in answers)


def test_a_named_origin_may_ask_and_read_and_another_may_not() -> None:
    requests = [("POST", "/predict", {"origin": origin}) for origin in (FRIEND, STRANGER, "null")]
    friend, *others = ask((FRIEND,), *requests, ("POST", "/predict", {}))
    assert friend.headers["access-control-allow-origin"] == FRIEND
    assert friend.headers["access-control-expose-headers"] == "*"
    assert not any(shared(one) for one in others)
    assert {one.headers["vary"] for one in (friend, *others)} == {"origin"}
    assert "access-control-allow-credentials" not in friend.headers


def test_errors_can_be_read_too(tmp_path: Any) -> None:
    made(tmp_path / "keys.json", "phone")
    (refused,) = ask(
        (FRIEND,), ("POST", "/predict", {"origin": FRIEND}), door=keyed_door(tmp_path / "keys.json")
    )
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == FRIEND


def test_the_question_before_is_answered_without_a_key(tmp_path: Any) -> None:
    made(tmp_path / "keys.json", "phone")
    door = keyed_door(tmp_path / "keys.json")
    friend, stranger = ask((FRIEND,), preflight(FRIEND), preflight(STRANGER), door=door)
    assert (friend.status_code, friend.content) == (204, b"")
    assert "content-length" not in friend.headers
    assert friend.headers["access-control-allow-methods"] == "GET, HEAD, POST"
    assert friend.headers["access-control-allow-headers"] == "*, authorization"
    assert friend.headers["access-control-allow-origin"] == FRIEND
    assert (stranger.status_code, shared(stranger)) == (405, {})


def test_every_page_may_ask_where_the_operator_says_so() -> None:
    answers = ask(("*",), ("POST", "/predict", {"origin": STRANGER}), preflight(STRANGER))
    assert [one.headers["access-control-allow-origin"] for one in answers] == ["*", "*"]
    assert "vary" not in answers[0].headers


@pytest.mark.parametrize("good", ["https://a.example", "http://LOCALHOST:3000/", "http://[::1]:80", "*"])
def test_an_origin_is_taken(good: str) -> None:
    Origins((good,))


@pytest.mark.parametrize(
    "bad",
    ["", "friend.example", "https://", "https://a.example/path", "ftp://a.example", "null", "https://x@a.example",
     "https://a.example:port", "https://*.example?x", "https://[::1"],
)  # fmt: skip
def test_what_is_no_origin_is_refused(bad: str) -> None:
    with pytest.raises(UsageError, match="is no origin"):
        Origins((bad,))
