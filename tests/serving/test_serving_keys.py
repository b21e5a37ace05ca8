"""Keys are made, kept as hashes, found, told from forged ones, and gone once they are revoked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from doors import NOON, made
from topwork.errors import StorageError, UsageError
from topwork.serving.http.keyring import Keyring, Wish, create, read_keys, revoke
from topwork.serving.http.keys import Key, digest_of, is_right, new_key, prefix_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "own" / "keys.json"


# --- a key --------------------------------------------------------------------------------------------


def test_a_key_is_long_random_and_told_by_its_beginning() -> None:
    several = [new_key("phone", ("predict",), created=NOON) for _ in range(20)]
    texts = {text for text, _ in several}
    assert len(texts) == len({key.prefix for _, key in several}) == 20
    for text, key in several:
        assert len(text) == 80
        assert text.startswith(f"{key.prefix}_")
        assert prefix_of(text) == key.prefix
        assert len(text.removeprefix(key.prefix)) == 65, "256 bits in hexadecimal"
        assert text not in repr(key)


@pytest.mark.parametrize(
    "text", ["", "tw_", "tw_00112233445_" + "0" * 64, "TW_" + "0" * 12 + "_" + "0" * 64, "é" * 80]
)
def test_what_looks_like_no_key_has_no_prefix(text: str) -> None:
    assert prefix_of(text) is None
    assert not is_right(text, None)


def test_a_key_is_right_to_the_last_character() -> None:
    text, key = new_key("phone", ("predict",), created=NOON)
    _, other = new_key("other", ("predict",), created=NOON)
    assert is_right(text, key)
    assert not is_right(text, other)
    assert not is_right(text, None)
    for wrong in (text[:-1], text + "0", text.upper(), text[:-1] + ("0" if text[-1] != "0" else "1")):
        assert not is_right(wrong, key)


def test_a_key_that_nobody_has_is_not_even_that_of_an_empty_hash() -> None:
    """The hash that unknown keys are held against in vain must let nobody in, were its origin ever found."""
    assert not is_right("anything", None)
    assert digest_of("anything") != "0" * 64


def test_time_is_over_at_the_very_moment() -> None:
    _, key = new_key("phone", ("predict",), created=NOON, expires=NOON)
    assert key.expired(NOON)
    assert not key.expired(NOON - timedelta(microseconds=1))
    _, endless = new_key("phone", ("predict",), created=NOON)
    assert not endless.expired(datetime.max.replace(tzinfo=NOON.tzinfo))


# --- the file -----------------------------------------------------------------------------------------


def test_what_was_made_is_read_again_and_the_key_itself_is_not_there(path: Path) -> None:
    wish = Wish("phone", ("predict", "admin"), NOON + timedelta(days=90), 60)
    text, key = create(path, wish, now=NOON)
    other = made(path, "Büro")
    assert next(iter(read_keys(path).values())) == key
    assert [one.name for one in read_keys(path).values()] == ["phone", "Büro"]
    content = path.read_text(encoding="utf-8")
    for secret in (text, other):
        assert secret not in content
        assert secret.rpartition("_")[2] not in content
        assert digest_of(secret) in content


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_the_file_is_its_owners_alone_whenever_it_is_written(path: Path) -> None:
    made(path, "a")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    revoke(path, "a")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_is_revoked_by_name_or_prefix(path: Path) -> None:
    a, b = made(path, "a"), made(path, "b")
    assert revoke(path, "a").prefix == prefix_of(a)
    assert revoke(path, str(prefix_of(b))).name == "b"
    assert read_keys(path) == {}
    with pytest.raises(UsageError, match="There is no key 'a'"):
        revoke(path, "a")


def test_a_name_made_to_look_like_a_prefix_does_not_save_a_key(path: Path) -> None:
    first = str(prefix_of(made(path, "first")))
    made(path, first)
    assert revoke(path, first).name == "first"


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (Wish(" "), "cannot be called"),
        (Wish("a\nb"), "cannot be called"),
        (Wish("x" * 101), "cannot be called"),
        (Wish("a", ()), "cannot have the scopes"),
        (Wish("a", ("root",)), "cannot have the scopes"),  # type: ignore[arg-type]
        (Wish("a", expires=NOON), "would expire"),
        (Wish("a", per_minute=0), "would be none"),
    ],
)
def test_a_key_that_cannot_be_is_not_made(path: Path, wish: Wish, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        create(path, wish, now=NOON)
    assert not path.exists()


def test_a_name_is_one_keys_alone(path: Path) -> None:
    made(path, "a")
    with pytest.raises(UsageError, match="called 'a' already"):
        made(path, "a")
    assert len(read_keys(path)) == 1


def entry(**other: Any) -> dict[str, Any]:
    good = {
        "prefix": "tw_0123456789ab",
        "name": "a",
        "digest": "0" * 64,
        "scopes": ["predict"],
        "created": NOON.isoformat(),
        "expires": None,
        "per_minute": None,
    }
    return {**good, **other}


def file_of(*entries: Any, **other: Any) -> bytes:
    return json.dumps({"format": "topwork-keys", "version": 1, "keys": list(entries), **other}).encode()


def test_an_entry_by_hand_is_read(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(file_of(entry()))
    assert read_keys(path)["tw_0123456789ab"].name == "a"
    assert set(entry()) == {field.name for field in fields(Key)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        file_of(version=2),
        file_of(more=1),
        file_of("a"),
        file_of(entry(scopes=["root"])),
        file_of(entry(scopes=[["root"]])),
        file_of(entry(per_minute=0)),
        file_of(entry(per_minute="9")),
        file_of(entry(per_minute=True)),
        file_of(entry(digest="")),
        file_of(entry(digest=None)),
        file_of(entry(created="2026-01-01T00:00:00")),
        file_of(entry(expires="soon")),
        file_of(entry(expires=3)),
        file_of({**entry(), "more": 1}),
        file_of({"prefix": "tw_0123456789ab"}),
    ],
)
def test_a_file_that_is_none_of_keys_is_a_clear_error(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is no file of API keys") as caught:
        read_keys(path)
    assert "topwork keys create" in caught.value.next_step


MAKING = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from topwork.serving.http.keyring import Wish, create
for i in range(10):
    create(Path(sys.argv[1]), Wish(f"{sys.argv[2]} {i}"), now=datetime.now(UTC))
"""


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX's")
def test_no_key_is_lost_where_several_are_made_at_once(path: Path) -> None:
    several = [subprocess.Popen([sys.executable, "-c", MAKING, str(path), name]) for name in "abc"]
    assert [one.wait(120) for one in several] == [0, 0, 0]
    assert len(read_keys(path)) == 30


# --- a server's eye on it -----------------------------------------------------------------------------


def test_a_keyring_sees_every_change_and_reads_nothing_twice(path: Path) -> None:
    made(path, "a")
    ring = Keyring(path)
    first = ring.keys()
    assert ring.keys() is first
    made(path, "b")
    assert [key.name for key in ring.keys().values()] == ["a", "b"]
    revoke(path, "a")
    assert [key.name for key in ring.keys().values()] == ["b"]


def test_keys_are_not_good_while_their_file_cannot_be_read(path: Path) -> None:
    made(path, "a")
    content = path.read_bytes()
    ring = Keyring(path)
    assert len(ring.keys()) == 1
    path.write_bytes(b"broken")
    for _ in range(2):
        with pytest.raises(UsageError):
            ring.keys()
    path.unlink()
    with pytest.raises(StorageError):
        ring.keys()
    path.write_bytes(content)
    assert len(ring.keys()) == 1
