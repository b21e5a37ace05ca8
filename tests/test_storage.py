"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from topwork.errors import StorageError, WeightsError
from topwork.storage import (
    TEMPORARY_SUFFIX,
    atomic_file,
    explain,
    keys_file,
    locked,
    stories_folder,
    sweep,
    write_atomically,
)


def test_a_file_is_written_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_atomically(tmp_path / "new" / "a.bin", b"content")
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"content"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.bin"]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    for name, private in (("a", True), ("b", False)):
        write_atomically(tmp_path / name, b"content", private=private)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"]
    mask = os.umask(0)
    os.umask(mask)
    assert modes == [0o600, 0o666 & ~mask]


COUNTING = """
import sys
from pathlib import Path
from topwork.storage import locked, write_atomically
path = Path(sys.argv[1])
for _ in range(50):
    with locked(path):
        write_atomically(path, str(int(path.read_bytes()) + 1).encode())
"""


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX's")
def test_processes_that_change_a_file_wait_for_each_other(tmp_path: Path) -> None:
    target = tmp_path / "count"
    target.write_bytes(b"0")
    several = [subprocess.Popen([sys.executable, "-c", COUNTING, str(target)]) for _ in range(3)]
    assert [one.wait(120) for one in several] == [0, 0, 0]
    assert target.read_bytes() == b"150"


def test_a_lock_that_has_no_place_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Cannot write"), locked(tmp_path / "file" / "keys.json"):
        raise AssertionError("there is no such folder")


def test_the_file_of_keys_is_the_users_or_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPWORK_KEYS", "here/keys.json")
    assert keys_file() == Path("here/keys.json")
    monkeypatch.delenv("TOPWORK_KEYS")
    assert keys_file().name == "keys.json"
    assert "topwork" in str(keys_file().parent)


def test_stories_are_the_users_own_unless_a_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPWORK_STORIES", "here")
    assert stories_folder() == Path("here")
    monkeypatch.delenv("TOPWORK_STORIES")
    assert stories_folder().name == "stories"


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_file(target) as stream:
        stream.write(b"half of the n")
        raise RuntimeError
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match="the disk is full") as caught,
        atomic_file(tmp_path / "a") as stream,
    ):
        stream.write(b"x")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "Free some space" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_path_below_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="Cannot write"):
        write_atomically(tmp_path / "file" / "below", b"")


def test_an_unknown_reason_is_passed_on() -> None:
    assert "some reason" in str(explain(OSError(9999, "some reason"), Path("x")))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not there")
def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    script = (
        "import sys; from pathlib import Path; from topwork.storage import write_atomically\n"
        "for i in range(10**9): write_atomically(Path(sys.argv[1]), bytes([i % 256]) * 1_000_000)"
    )
    for delay_s in (0.0, 0.01, 0.03):
        writer = subprocess.Popen([sys.executable, "-c", script, str(target)])
        while not target.exists() and writer.poll() is None:
            time.sleep(0.005)
        time.sleep(delay_s)
        writer.kill()
        writer.wait()
        content = target.read_bytes()
        assert len(content) == 1_000_000
        assert len(set(content)) == 1


def test_sweeping_removes_only_what_is_old_and_unfinished(tmp_path: Path) -> None:
    old, young, other = (tmp_path / n for n in (f".a{TEMPORARY_SUFFIX}", f".b{TEMPORARY_SUFFIX}", "c"))
    for path in (old, young, other):
        path.write_bytes(b"")
    os.utime(old, (1000, 1000))
    os.utime(other, (1000, 1000))
    assert sweep(tmp_path, older_than_s=3600, now_s=time.time()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([young.name, "c"])


def test_an_error_that_is_explained_already_passes_unchanged(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not what they claim"), atomic_file(tmp_path / "a") as stream:
        stream.write(b"x")
        raise WeightsError("not what they claim to be")
    assert list(tmp_path.iterdir()) == []
