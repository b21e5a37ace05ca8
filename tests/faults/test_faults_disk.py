"""Disks that are full or read-only: an error that says so, the old bundle untouched, and a cache that is no must."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from commands import PROGRAM, Desk
from faulty_disks import make_read_only
from quick import PROBE_WORDS
from quick import fit_probe as fit
from sound import assert_sound
from topwork import Model, StorageError, Surroundings, load
from topwork.progress import Lines

Disk = Callable[[str], Path]


def slow(value: str) -> ParameterSet:
    return pytest.param(value, marks=pytest.mark.slow)


class Notes:
    """A stream that keeps what was written to it."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""

    def isatty(self) -> bool:
        return False


def told(around: Surroundings) -> str:
    assert isinstance(around.progress, Lines)
    stream = around.progress.stream
    assert isinstance(stream, Notes)
    return stream.text


def noting(cache: Path) -> Surroundings:
    return Surroundings(cache_dir=cache, progress=Lines(Notes()))  # type: ignore[arg-type]


# --- where the bundle goes ----------------------------------------------------------------------------


def test_a_disk_that_fills_up_during_a_fit_leaves_the_old_bundle(
    disk: Disk, fitted: Model, photos: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    place = disk("600k")
    old = fitted.save(place / "model.topwork")
    with pytest.raises(StorageError, match="the disk is full") as caught:
        fit(photos, old, trunk=str(tiny_trunk), around=around)
    assert str(old) in caught.value.problem
    assert caught.value.next_step == "Free some space, or choose another place."
    assert [p.name for p in place.iterdir()] == ["model.topwork"]
    assert old.read_bytes() == fitted.path.read_bytes()
    assert load(old).name == "model"


def test_a_report_that_finds_no_room_is_an_error_and_the_bundle_stays(
    disk: Disk, fitted: Model, photos: Path, tiny_trunk: Path, around: Surroundings
) -> None:
    room_kb = fitted.path.stat().st_size // 1024 + 20
    place = disk(f"{room_kb}k")
    with pytest.raises(StorageError, match=r"report\.html: the disk is full"):
        fit(photos, place / "model", trunk=str(tiny_trunk), around=around)
    assert [p.name for p in place.iterdir()] == ["model.topwork"]
    assert_sound(place)


def test_a_read_only_disk_is_refused_before_any_work(
    disk: Disk, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    place = disk("1m")
    make_read_only(place)
    around = noting(tmp_path / "cache")
    with pytest.raises(StorageError, match="the file system is read-only"):
        fit(photos, place / "model", trunk=str(tiny_trunk), around=around)
    assert told(around) == ""
    assert not (tmp_path / "cache").exists()


def test_a_save_to_a_full_or_read_only_disk_leaves_what_was_there(disk: Disk, fitted: Model) -> None:
    place = disk("600k")
    old = fitted.save(place / "model.topwork")
    with pytest.raises(StorageError, match="the disk is full"):
        fitted.save(old)
    make_read_only(place)
    with pytest.raises(StorageError, match="read-only"):
        fitted.save(old)
    assert [p.name for p in place.iterdir()] == ["model.topwork"]
    assert old.read_bytes() == fitted.path.read_bytes()


# --- where the cache lies -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["8k", slow("64k"), slow("150k"), slow("200k")])
def test_a_cache_without_room_costs_time_and_nothing_else(
    size: str, disk: Disk, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    """The sizes let it fill up at different files: the features, the graph, or in the middle of one."""
    cache = disk(size)
    around = noting(cache)
    for _ in range(2):
        model = fit(photos, tmp_path / "model", trunk=str(tiny_trunk), around=around)
        assert model.predict(photos / "red" / "00.jpg").label == "red"
    assert_sound(tmp_path / "model.topwork")
    assert "All 60 inputs can be used." in told(around)


@pytest.mark.slow
def test_a_read_only_cache_costs_time_and_nothing_else(
    disk: Disk, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    cache = disk("4m")
    first = fit(photos, tmp_path / "first", trunk=str(tiny_trunk), around=noting(cache))
    make_read_only(cache)
    around = noting(cache)
    second = fit(photos, tmp_path / "second", trunk=str(tiny_trunk), around=around)
    every = sorted(photos.rglob("*.jpg"))
    assert [p.label for p in second.predict(every)] == [p.label for p in first.predict(every)]


def test_a_cache_that_cannot_be_a_folder_is_told_of(photos: Path, tiny_trunk: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    around = noting(tmp_path / "file" / "cache")
    fit(photos, tmp_path / "model", trunk=str(tiny_trunk), around=around)
    assert "the feature cache" in told(around)
    assert "could not be used" in told(around)


@pytest.mark.parametrize("damage", [slow("no database"), slow("cut"), "flipped"])
@pytest.mark.slow
def test_a_damaged_cache_is_begun_anew(damage: str, photos: Path, tiny_trunk: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    fit(photos, tmp_path / "model", trunk=str(tiny_trunk), around=noting(cache))
    [base], [graph, *_] = cache.glob("*.sqlite"), cache.glob("graphs/*")
    for path in (base, graph):
        content = bytearray(path.read_bytes())
        if damage == "no database":
            content = bytearray(b"not at all " * 500)
        elif damage == "cut":
            del content[len(content) // 3 :]
        else:
            content[16:4000] = bytes(byte ^ 0x5A for byte in content[16:4000])
        path.write_bytes(content)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            (cache / f"{base.name}{suffix}").unlink()
    for _ in range(2):
        model = fit(photos, tmp_path / "model", trunk=str(tiny_trunk), around=noting(cache))
        assert model.predict(photos / "green" / "03.jpg").answer is not None
    assert model.record.n_cached == 60
    assert_sound(cache)


# --- as a command -------------------------------------------------------------------------------------


def limited(n_bytes: int) -> Sequence[str]:
    """Return the program in a process that may write no file larger than that."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({n_bytes}, {n_bytes})); "
    return (*PROGRAM[:-1], limit + PROGRAM[-1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32" or not hasattr(os, "fork"), reason="limits are POSIX's")
def test_a_file_that_may_not_grow_ends_the_command_with_one(
    desk: Desk, fitted: Model, photos: Path, tiny_trunk: Path
) -> None:
    old = fitted.save(desk.folder / "model.topwork")
    small = Desk(desk.folder, desk.folder / "cache")
    words = ("fit", str(photos), "--trunk", str(tiny_trunk), *PROBE_WORDS, "--out", "model")
    ended = small.run(*words, program=tuple(limited(50_000)))
    assert ended.status == 1, ended.err
    *_, problem, next_step = ended.err.splitlines()
    assert problem == (
        "Error: Cannot write model.topwork: it would be larger than this process or file system allows."
    )
    assert next_step == "Raise the limit, or choose another place."
    assert "Traceback" not in ended.err
    assert old.read_bytes() == fitted.path.read_bytes()
    assert assert_sound(desk.folder) >= 1
    assert not list(desk.folder.glob(".*"))


@pytest.mark.slow
def test_a_full_disk_ends_the_command_with_one(
    disk: Disk, desk: Desk, fitted: Model, photos: Path, tiny_trunk: Path
) -> None:
    old = fitted.save(disk("600k") / "model.topwork")
    ended = desk.run("fit", str(photos), "--trunk", str(tiny_trunk), *PROBE_WORDS, "--out", str(old))
    assert ended.status == 1
    assert ended.err.splitlines()[-2:] == [
        f"Error: Cannot write {old}: the disk is full.",
        "Free some space, or choose another place.",
    ]
    assert old.read_bytes() == fitted.path.read_bytes()
