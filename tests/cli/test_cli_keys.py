"""`topwork keys`, and `topwork serve` with them: from the making of a key to its end on a running server."""

from __future__ import annotations

import json
import os
import re
import struct
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from commands import Desk, Told
from doors import NOON
from topwork.cli.sources import expiry_of
from topwork.errors import UsageError
from topwork.inputs.image_opening import MAX_PIXELS

Command = Callable[..., Told]


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOPWORK_KEYS", str(tmp_path / "own.json"))
    return tmp_path / "own.json"


# --- keys ---------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_alone_on_standard_output(topwork: Command, own: Path) -> None:
    told = topwork("keys", "create", "phone", "--expires", "90d", "--per-minute", "60")
    assert told.status == 0
    assert re.fullmatch(r"tw_[0-9a-f]{12}_[0-9a-f]{64}\n", told.out)
    assert told.out.strip() not in told.err
    assert "60 requests in a minute" in told.err
    assert f"topwork serve BUNDLE --keys {own}" in told.err
    listed = topwork("keys", "list")
    assert told.out.strip() not in listed.out
    assert told.out[:15] in listed.out
    assert "phone" in listed.out


def test_keys_are_listed_and_made_as_json(topwork: Command, own: Path) -> None:
    assert topwork("keys", "list", "--json").json == []
    made = topwork("keys", "create", "boss", "--scope", "both", "--json").json
    (one,) = topwork("keys", "list", "--json").json
    assert (one["name"], one["scopes"], one["expires"], one["expired"]) == (
        "boss",
        ["predict", "admin"],
        None,
        False,
    )
    assert made["key"].startswith(one["prefix"])
    assert made["file"] == str(own)
    assert "key" not in one


def test_several_scopes_may_be_given(topwork: Command) -> None:
    made = topwork("keys", "create", "boss", "--scope", "metrics", "--scope", "both", "--json").json
    assert made["scopes"] == ["predict", "admin", "metrics"]


def test_without_keys_the_list_says_how_one_is_made(topwork: Command) -> None:
    told = topwork("keys", "list")
    assert (told.status, told.out) == (0, "")
    assert "topwork keys create NAME" in told.err


def test_a_key_is_revoked_in_the_file_that_is_named(topwork: Command, own: Path) -> None:
    for words in ((), ("--keys", "other.json")):
        topwork("keys", "create", "phone", *words)
    assert "of phone is no longer good" in topwork("keys", "revoke", "phone", "--keys", "other.json").out
    assert topwork("keys", "list", "--keys", "other.json", "--json").json == []
    assert len(topwork("keys", "list", "--json").json) == 1
    again = topwork("keys", "revoke", "phone", "--keys", "other.json")
    assert again.status == 1
    assert "There is no key 'phone'" in again.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--expires soon", "is no time at which a key can end"),
        ("--expires 2020-01-01", "would expire at 2020-01-01T00:00:00+00:00"),
        ("--expires 0h", "would expire"),
        ("--per-minute 0", "Invalid value for '--per-minute'"),
        ("--scope root", "'root' is not one of 'predict', 'admin', 'metrics', 'both', 'all'"),
    ],
)
def test_a_key_that_cannot_be_is_not_made(topwork: Command, own: Path, words: str, told: str) -> None:
    answer = topwork("keys", "create", "phone", *words.split())
    assert answer.status in (1, 2)
    assert told in answer.err
    assert not own.exists()


@pytest.mark.parametrize(
    ("word", "until"),
    [
        ("never", None),
        ("12h", NOON + timedelta(hours=12)),
        ("90d", NOON + timedelta(days=90)),
        ("8w", NOON + timedelta(weeks=8)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T12:00+02:00", datetime(2027, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_when_a_key_ends_is_said_as_people_say_it(word: str, until: datetime | None) -> None:
    assert expiry_of(word, NOON) == until


@pytest.mark.parametrize("word", ["", "90", "d", "-1d", "1.5d", "999999w", "2027-13-01", "10m", "٣d"])
def test_what_is_no_time_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="is no time at which a key can end"):
        expiry_of(word, NOON)


# --- a server that asks for them ----------------------------------------------------------------------


@contextmanager
def serving(desk: Desk, *words: str) -> Iterator[tuple[str, str]]:
    """Give the URL of a server on this machine and what it told of itself."""
    with desk.start("serve", *words, "--port", "0") as process:
        try:
            assert process.stderr is not None
            lines = [process.stderr.readline().decode() for _ in range(6)]
            found = re.search(r"Ready at (http://\S+)$", lines[0])
            assert found, "".join(lines) + process.stderr.read().decode()
            yield found[1], "".join(lines)
        finally:
            process.kill()


def status(url: str, body: bytes, key: str | None = None) -> int:
    headers = {"Content-Type": "image/jpeg", **({"X-API-Key": key} if key else {})}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data=body, headers=headers), timeout=60
        ) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code if json.load(error)["error"]["next_step"] else 0


@pytest.mark.skipif(os.name != "posix", reason="it is tested on POSIX")
def test_a_server_asks_for_the_keys_of_a_file_and_sees_it_change(
    desk: Desk, bundle: Path, photos: Path, topwork: Command
) -> None:
    photo = (photos / "green" / "03.jpg").read_bytes()
    first = topwork("keys", "create", "first", "--keys", "keys.json").out.strip()
    with serving(desk, str(bundle), "--keys", "keys.json") as (url, told):
        assert "keys   keys.json" in told
        assert '-H "X-API-Key: $KEY" -F file=@FILE' in told
        target = f"{url}/predict"
        assert [status(target, photo, key) for key in (None, "wrong", first)] == [401, 401, 200]
        second = topwork("keys", "create", "second", "--keys", "keys.json").out.strip()
        topwork("keys", "revoke", "first", "--keys", "keys.json")
        assert [status(target, photo, key) for key in (first, second)] == [401, 200]


def test_others_are_not_let_near_a_server_without_keys(topwork: Command, bundle: Path) -> None:
    told = topwork("serve", bundle, "--host", "0.0.0.0", "--port", "0")
    assert told.status == 1
    assert "Whoever can reach 0.0.0.0 could use this server" in told.err
    assert "topwork keys create NAME" in told.err
    assert "Ready" not in told.err


@pytest.mark.skipif(os.name != "posix", reason="it is tested on POSIX")
def test_others_are_let_in_where_the_operator_says_so(desk: Desk, bundle: Path, photos: Path) -> None:
    with serving(desk, str(bundle), "--host", "0.0.0.0", "--no-keys") as (url, told):
        assert "keys   none are asked for" in told
        assert status(f"{url}/predict", (photos / "green" / "03.jpg").read_bytes()) == 200


def test_a_page_that_is_no_origin_is_refused_before_the_start(topwork: Command, bundle: Path) -> None:
    told = topwork("serve", bundle, "--allow-origin", "example.org", "--port", "0")
    assert told.status == 1
    assert "is no origin" in told.err


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def bomb(side: int) -> bytes:
    """Return a PNG of a few bytes that says it has so many pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.skipif(os.name != "posix", reason="it is tested on POSIX")
def test_a_picture_of_too_many_pixels_is_refused_and_the_server_lives(
    desk: Desk, bundle: Path, photos: Path
) -> None:
    with serving(desk, str(bundle)) as (url, _):
        picture = urllib.request.Request(f"{url}/predict", bomb(60_000), {"Content-Type": "image/png"})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(picture, timeout=60)
        assert caught.value.code == 422
        assert f"{MAX_PIXELS:,}" in json.load(caught.value)["error"]["message"]
        assert status(f"{url}/predict", (photos / "green" / "03.jpg").read_bytes()) == 200
