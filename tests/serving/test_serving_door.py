"""Who is let in: keys, scopes, expiry, rates, wrong keys, and a revoked key that ends at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from doors import NOON, Clock, keyed_door, made
from fake_servable import TEXT, FakeServable, client
from topwork.serving.app import Application, application
from topwork.serving.http.door import Door
from topwork.serving.http.keyring import revoke
from topwork.serving.http.keys import prefix_of
from topwork.serving.http.messages import Request, json_response
from topwork.serving.http.refusals import STATUSES
from topwork.serving.http.routes import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def use(
    door: Door | None, ask: Callable[[httpx.AsyncClient], Awaitable[Any]], address: str = "192.0.2.7"
) -> Any:
    """Ask an application behind a door; it has an admin call as well."""

    async def reload(_: Request) -> Any:
        return json_response({"status": "reloaded"})

    async def main() -> Any:
        app = application(FakeServable(wire=TEXT), door=door)
        app.routes = (*app.routes, Route("POST", "/admin/reload", reload, "admin"))
        async with app.running(), client(app, address) as one:
            await app.proven()
            return await ask(one)

    return asyncio.run(main())


def asked(door: Door | None, headers: dict[str, str], path: str = "/predict", **rest: Any) -> httpx.Response:
    response: httpx.Response = use(door, lambda one: one.post(path, content=b"xx", headers=headers), **rest)
    if response.status_code >= 400:
        error = response.json()["error"]
        assert STATUSES[error["code"]] == response.status_code
        assert error["message"]
        assert error["next_step"]
    return response


# --- keys ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["Authorization: Bearer {}", "authorization: bearer  {} ", "X-API-Key: {}"]
)
def test_a_right_key_gets_in_by_either_header(path: Path, header: str) -> None:
    name, _, value = header.format(made(path, "phone")).partition(": ")
    assert asked(keyed_door(path), {name: value}).status_code == 200


def test_our_own_header_counts_where_a_proxy_needs_the_other(path: Path) -> None:
    key = made(path, "phone")
    other = {"authorization": "Basic eDp5"}
    assert asked(keyed_door(path), {**other, "x-api-key": key}).status_code == 200
    assert (
        asked(keyed_door(path), {"authorization": f"Bearer {key}", "x-api-key": "wrong"}).status_code == 401
    )
    assert asked(keyed_door(path), other).status_code == 401


def test_without_a_key_it_is_401_with_how_to_get_one(path: Path) -> None:
    made(path, "phone")
    response = asked(keyed_door(path), {})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="topwork"'
    assert "topwork keys create" in response.json()["error"]["next_step"]


def test_wrong_keys_are_all_told_the_same(path: Path) -> None:
    key = made(path, "phone")
    flipped = key[:-1] + ("0" if key[-1] != "0" else "1")
    wrong = ["x", "", flipped, key.replace("tw_", "tw_0")[:80], "tw_" + "0" * 12 + "_" + "0" * 64, "k" * 5000]
    told = {asked(keyed_door(path), {"x-api-key": one}).text for one in wrong}
    assert len(told) == 1
    response = asked(keyed_door(path), {"x-api-key": flipped})
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert str(prefix_of(key)) not in response.text


def test_an_expired_key_is_told_so(path: Path) -> None:
    key = made(path, "phone", expires=NOON + timedelta(hours=1))
    assert asked(keyed_door(path), {"x-api-key": key}).status_code == 200
    late = keyed_door(path, now=lambda: NOON + timedelta(hours=1))
    response = asked(late, {"x-api-key": key})
    assert response.status_code == 401
    assert "has expired" in response.json()["error"]["message"]


def test_a_key_is_good_for_its_scopes_alone(path: Path) -> None:
    predict, admin = made(path, "phone"), made(path, "boss", "admin")
    both, metrics = made(path, "both", "predict", "admin"), made(path, "prometheus", "metrics")
    found = {
        (name, target): asked(keyed_door(path), {"x-api-key": key}, target)
        for name, key in (("predict", predict), ("admin", admin), ("both", both), ("metrics", metrics))
        for target in ("/predict", "/admin/reload")
    }
    allowed = {place for place, response in found.items() if response.status_code == 200}
    assert allowed == {
        ("predict", "/predict"),
        ("admin", "/admin/reload"),
        ("both", "/predict"),
        ("both", "/admin/reload"),
    }
    refused = found["predict", "/admin/reload"]
    assert refused.status_code == 403
    assert 'error="insufficient_scope", scope="admin"' in refused.headers["www-authenticate"]


def test_prometheus_has_a_key_that_is_good_for_nothing_else(path: Path) -> None:
    keys = {scope: made(path, scope, scope) for scope in ("metrics", "predict", "admin")}
    door = keyed_door(path)

    async def ask(one: httpx.AsyncClient) -> dict[str, list[int]]:
        return {
            scope: [
                (await one.get(target, headers={"authorization": f"Bearer {key}"})).status_code
                for target in ("/metrics", "/v1/models")
            ]
            for scope, key in keys.items()
        }

    assert use(door, ask) == {"metrics": [200, 403], "predict": [403, 200], "admin": [403, 403]}


def test_a_revoked_key_ends_at_once_and_a_new_one_begins(path: Path) -> None:
    key, other = made(path, "phone"), made(path, "other")

    async def ask(one: httpx.AsyncClient) -> list[int]:
        statuses = [(await one.get("/v1/models", headers={"x-api-key": key})).status_code]
        revoke(path, "phone")
        statuses.append((await one.get("/v1/models", headers={"x-api-key": key})).status_code)
        new = made(path, "new")
        return statuses + [
            (await one.get("/v1/models", headers={"x-api-key": k})).status_code for k in (new, other)
        ]

    assert use(keyed_door(path), ask) == [200, 401, 200, 200]


def test_keys_that_cannot_be_read_let_nobody_in_and_say_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = made(path, "phone")
    door = keyed_door(path)
    path.write_bytes(b"broken")
    response = asked(door, {"x-api-key": key})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
    assert str(path) not in response.text
    assert str(path) in caplog.text


# --- what asks for none -------------------------------------------------------------------------------


def test_what_is_open_stays_open_and_nothing_else(path: Path) -> None:
    made(path, "phone")
    routes = application(FakeServable(wire=TEXT), door=keyed_door(path)).routes

    async def ask(one: httpx.AsyncClient) -> dict[str, int]:
        found = {}
        for route in routes:
            target = route.path.replace("{name}", "chess")
            found[route.path] = (await one.request(route.method, target, content=b"x")).status_code
        return found

    found = use(keyed_door(path), ask)
    assert {target for target, status in found.items() if status != 401} == {
        *("/livez", "/readyz", "/openapi.json", "/docs", "/"),
        *("/ping", "/v2", "/v2/health/live", "/v2/health/ready"),
    }
    assert len(found) == 24


def test_a_path_that_is_not_there_is_404_with_or_without_a_key(path: Path) -> None:
    key = made(path, "phone")
    for headers in ({}, {"x-api-key": key}):
        assert asked(keyed_door(path), headers, "/nothing").status_code == 404


def test_the_names_of_models_are_for_those_with_a_key(path: Path) -> None:
    key = made(path, "phone")
    target = "/v1/models/other/predict"
    assert "chess" not in asked(keyed_door(path), {}, target).text
    assert "chess" in asked(keyed_door(path), {"x-api-key": key}, target).text


def test_without_keys_everybody_asks_but_nobody_administers() -> None:
    for door in (None, Door(None)):
        assert asked(door, {}).status_code == 200
        response = asked(door, {}, "/admin/reload")
        assert response.status_code == 403
        assert "--keys" in response.json()["error"]["next_step"]


def test_who_is_not_let_in_has_no_body_read(path: Path) -> None:
    made(path, "phone")

    async def main() -> list[Any]:
        app = application(FakeServable(), door=keyed_door(path))
        sent: list[Any] = []

        async def receive() -> Any:
            raise AssertionError("the body was asked for")

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "http.response.body" and message.get("more_body"):
                raise asyncio.CancelledError  # what follows is the polite end of the connection

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/predict",
            "headers": [(b"content-length", b"1000000")],
            "client": ("192.0.2.7", 4),
        }
        async with app.running():
            await app.proven()
            with pytest.raises(asyncio.CancelledError):
                await app(scope, receive, send)
        return sent

    start, *_ = asyncio.run(main())
    assert start["status"] == 401
    assert (b"connection", b"close") in start["headers"]


# --- how often ----------------------------------------------------------------------------------------


def test_a_key_that_comes_too_often_is_told_when_to_come_again(path: Path) -> None:
    slow, free = made(path, "slow", per_minute=2), made(path, "free")
    clock = Clock()

    async def ask(one: httpx.AsyncClient) -> list[httpx.Response]:
        got = [await one.post("/predict", content=b"x", headers={"x-api-key": slow}) for _ in range(3)]
        got.append(await one.post("/predict", content=b"x", headers={"x-api-key": free}))
        clock.now_s = 30.0
        got.append(await one.post("/predict", content=b"x", headers={"x-api-key": slow}))
        return got

    got = use(keyed_door(path, clock=clock), ask)
    assert [response.status_code for response in got] == [200, 200, 429, 200, 200]
    assert got[2].headers["retry-after"] == "30"
    assert got[2].json()["error"]["code"] == "rate_limited"


def statuses(door: Door, keys: list[str], address: str = "192.0.2.7") -> list[int]:
    async def ask(one: httpx.AsyncClient) -> list[int]:
        return [(await one.get("/v1/models", headers={"x-api-key": key})).status_code for key in keys]

    found: list[int] = use(door, ask, address)
    return found


def test_wrong_keys_of_an_address_are_bounded_and_right_ones_are_let_in_all_the_same(path: Path) -> None:
    key = made(path, "phone")
    clock = Clock()
    door = keyed_door(path, wrong_per_minute=3, clock=clock)
    assert statuses(door, ["no"] * 5 + [key]) == [401, 401, 401, 429, 429, 200]
    assert statuses(door, ["no"], address="192.0.2.8") == [401]
    clock.now_s = 20.001
    assert statuses(door, ["no", "no"]) == [401, 429]


def test_a_whole_subnet_of_ipv6_is_one_client(path: Path) -> None:
    made(path, "phone")
    door = keyed_door(path, wrong_per_minute=1, clock=Clock())
    found = [statuses(door, ["no"], f"2001:db8:0:1::{i}") for i in (1, 2)]
    found += [statuses(door, ["no"], address) for address in ("2001:db8:0:2::1", "", "unix")]
    assert found == [[401], [429], [401], [401], [401]]


def test_an_expired_key_counts_as_wrong(path: Path) -> None:
    key = made(path, "phone", expires=NOON + timedelta(hours=1))
    late = keyed_door(path, now=lambda: NOON + timedelta(days=1), wrong_per_minute=1, clock=Clock())
    assert statuses(late, [key, key]) == [401, 429]


def test_a_refused_key_is_logged_without_what_was_sent(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made(path, "phone")
    assert statuses(keyed_door(path), ["a secret of somebody"]) == [401]
    assert "192.0.2.7" in caplog.text
    assert "secret" not in caplog.text


# --- two applications ---------------------------------------------------------------------------------


def test_a_door_is_asked_by_every_application_that_has_it(path: Path) -> None:
    key = made(path, "slow", per_minute=1)
    door = keyed_door(path, clock=Clock())
    assert statuses(door, [key]) == [200]
    assert statuses(door, [key]) == [429]
    assert isinstance(application(FakeServable(), door=door), Application)
