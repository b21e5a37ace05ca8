"""A page that has another name lead to this machine gets nothing of the server (DNS rebinding)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from doors import made
from fake_servable import FakeServable, client
from topwork.errors import UsageError
from topwork.serving.app import application
from topwork.serving.http.access import Access, open_door
from topwork.serving.http.door import Door
from topwork.serving.http.hosts import Hosts
from topwork.serving.limits import Limits

HERE, EVERYWHERE = "127.0.0.1", "0.0.0.0"
OWN = [
    "localhost", "localhost:8000", "LocalHost.", "photos.localhost:80", "127.0.0.1", "127.0.0.1:8000", "127.1.2.3:1",
    "[::1]", "[::1]:8000",
]  # fmt: skip
FOREIGN = [
    "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost", "x", ":80",
    "192.0.2.7:8000", "[2001:db8::1]:8000", "0.0.0.0:8000", "::1", "[::1", "evil.example@localhost", "localhost:x",
]  # fmt: skip


@pytest.mark.parametrize("said", OWN)
def test_this_machines_names_for_itself_are_good(said: str) -> None:
    assert Hosts().knows(said)


@pytest.mark.parametrize("said", FOREIGN)
def test_every_other_name_is_not(said: str) -> None:
    assert not Hosts().knows(said)


def test_the_operator_allows_others() -> None:
    hosts = Hosts(["Models.Example.org", "192.0.2.7", "[2001:db8::1]"])
    good = ["models.example.org", "MODELS.example.org.:443", "192.0.2.7:80", "[2001:db8::1]:80", "localhost"]
    assert all(hosts.knows(one) for one in good)
    assert not any(hosts.knows(one) for one in ("example.org", "x.models.example.org", "192.0.2.8"))
    assert all(Hosts(["*"]).knows(one) for one in OWN + FOREIGN)


def test_an_address_is_no_name_that_somebody_could_have_lead_elsewhere() -> None:
    hosts = Hosts(["models.example.org"], addresses=True)
    assert all(hosts.knows(one) for one in ("192.0.2.7", "[2001:db8::1]:80", "127.0.0.1"))
    assert not hosts.knows("evil.example")


@pytest.mark.parametrize(
    "name", ["http://a.example", "a.example:80", "", "a b", "a/b", "*.a.example", "ä.example"]
)
def test_what_is_no_name_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a host") as caught:
        Hosts([name])
    assert caught.value.next_step


# --- at a server ----------------------------------------------------------------------------------------


def asked(door: Door | None, host: str | None, path: str = "/predict") -> httpx.Response:
    async def main() -> httpx.Response:
        app = application(FakeServable(), door=door)
        async with app.running(), client(app) as one:
            await app.proven()
            request = one.build_request("POST", path, content=b"xx")
            del request.headers["host"]
            if host is not None:
                request.headers["host"] = host
            return await one.send(request)

    return asyncio.run(main())


@pytest.mark.parametrize("path", ["/predict", "/v1/models", "/livez", "/nothing"])
def test_another_name_gets_421_and_how_to_go_on_whatever_it_asks_for(path: str) -> None:
    response = asked(None, "evil.example:8000", path)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (421, "misdirected")
    assert "'evil.example:8000'" in error["message"]
    assert "--allow-host" in error["next_step"]
    assert "chess" not in response.text


def test_the_other_protocols_say_so_in_their_way() -> None:
    response = asked(None, "evil.example", "/v2/models/chess/infer")
    assert (response.status_code, list(response.json())) == (421, ["error"])


def test_who_says_no_name_is_no_browser() -> None:
    assert asked(None, None).status_code == 200
    assert asked(None, "localhost:1").status_code == 200


@pytest.mark.parametrize("keys", [True, False])
def test_a_server_on_this_machine_looks_with_keys_and_without(tmp_path: Path, keys: bool) -> None:
    path = tmp_path / "keys.json"
    made(path, "phone")
    door = open_door(Access(path if keys else None, hosts=("a.example",)), HERE, Limits())
    assert asked(door, "evil.example").status_code == 421
    assert asked(door, "a.example").status_code == (401 if keys else 200)


def test_elsewhere_any_name_is_good_until_the_operator_names_some() -> None:
    anybody = open_door(Access(no_keys=True), EVERYWHERE, Limits())
    assert asked(anybody, "evil.example").status_code == 200
    named = open_door(Access(no_keys=True, hosts=("a.example",)), EVERYWHERE, Limits())
    statuses = [
        asked(named, host).status_code for host in ("a.example", "192.0.2.7", "localhost", "evil.example")
    ]
    assert statuses == [200, 200, 200, 421]


def test_a_door_for_this_machine_alone_looks_by_itself() -> None:
    assert asked(Door(None, local_only=True), "evil.example").status_code == 421
    assert asked(Door(None), "evil.example").status_code == 200
