"""Keys are off only where this machine alone can reach the server, or where the operator says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from doors import made
from fake_servable import FakeServable
from topwork.errors import UsageError
from topwork.serving.app import application
from topwork.serving.http.access import Access, is_loopback, keys_for, open_door
from topwork.serving.http.door import Door
from topwork.serving.http.keyring import revoke
from topwork.serving.limits import Limits
from topwork.serving.server import run

HERE, EVERYWHERE = "127.0.0.1", "0.0.0.0"


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOPWORK_KEYS", str(tmp_path / "own.json"))
    return tmp_path / "own.json"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.0.2.1", False),
        ("no such name.invalid", False),
        ("\x00", False),
    ],
)
def test_this_machine_alone_is_told_from_the_rest(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_on_this_machine_no_keys_are_asked_for_unless_they_are_named(own: Path) -> None:
    assert open_door(Access(), HERE, Limits()).keyring is None
    made(own, "phone")
    assert open_door(Access(), HERE, Limits()).keyring is None
    keyring = open_door(Access(own), HERE, Limits()).keyring
    assert keyring is not None
    assert keyring.path == own


def test_elsewhere_the_users_own_keys_are_asked_for_or_the_start_is_refused(own: Path) -> None:
    with pytest.raises(UsageError, match=r"Whoever can reach 0\.0\.0\.0") as caught:
        open_door(Access(), EVERYWHERE, Limits())
    assert "topwork keys create NAME" in caught.value.next_step
    assert "--no-keys" in caught.value.next_step
    made(own, "phone")
    assert open_door(Access(), EVERYWHERE, Limits()).keyring is not None
    assert keys_for(Access(), EVERYWHERE) == own
    revoke(own, "phone")
    with pytest.raises(UsageError, match="holds no key"):
        open_door(Access(), EVERYWHERE, Limits())


def test_no_keys_is_a_choice_that_must_be_made() -> None:
    door = open_door(Access(no_keys=True), EVERYWHERE, Limits())
    assert (door.keyring, door.local_only) == (None, False)


def test_keys_and_no_keys_do_not_go_together(own: Path) -> None:
    with pytest.raises(UsageError, match="Leave out one"):
        open_door(Access(own, no_keys=True), HERE, Limits())


@pytest.mark.parametrize("host", [HERE, EVERYWHERE])
def test_a_file_that_is_not_there_is_told_with_how_it_is_made(tmp_path: Path, host: str) -> None:
    with pytest.raises(UsageError, match="There is no file of API keys") as caught:
        open_door(Access(tmp_path / "none.json"), host, Limits())
    assert f"topwork keys create NAME --keys {tmp_path / 'none.json'}" in caught.value.next_step


def test_the_server_itself_refuses_as_well() -> None:
    app = application(FakeServable())
    with pytest.raises(UsageError, match="there are no API keys"):
        run(app, EVERYWHERE, port=0)
    assert app.door.local_only
    assert not Door(None).local_only
