"""The feature cache: never stale, bounded, shared between processes, and no obstacle when it breaks."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from topwork.contracts import Inspection
from topwork.training.cache import Entry, FeatureCache, FeatureKey

KEY = FeatureKey("g" * 64, {"modality": "image", "height": 224}, "Pillow 12", "openvino", "fp32", "2026.4")


def entry(i: int, d: int = 8) -> Entry:
    content = i.to_bytes(32, "little")
    fingerprint = np.full(4, i % 251, dtype=np.uint8)
    return Entry(
        np.full(d, i + 0.5, dtype=np.float32), Inspection(content, fingerprint, {"width": 3.0}, None)
    )


def clock() -> Callable[[], float]:
    moments: Iterator[int] = iter(range(1000, 100_000))
    return lambda: float(next(moments))


def cache(folder: Path, limit_bytes: int = 2**30) -> FeatureCache:
    return FeatureCache(folder / "features.sqlite", limit_bytes=limit_bytes, now=clock())


def test_what_was_put_is_got_by_another_object(tmp_path: Path) -> None:
    entries = [entry(i) for i in range(1200)]
    cache(tmp_path).put(KEY, entries)
    found = cache(tmp_path).get(KEY, [e.inspection.content for e in entries] + [b"?" * 32])
    assert len(found) == 1200
    for one in entries:
        got = found[one.inspection.content]
        assert np.array_equal(got.features, one.features)
        assert got.inspection.facts == {"width": 3.0}
        assert one.inspection.fingerprint is not None
        assert got.inspection.fingerprint is not None
        assert np.array_equal(got.inspection.fingerprint, one.inspection.fingerprint)


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, graph="h" * 64),
        replace(KEY, preprocessing={"modality": "image", "height": 225}),
        replace(KEY, decoder="Pillow 13"),
        replace(KEY, engine="torch"),
        replace(KEY, precision="bf16"),
        replace(KEY, version="2026.5"),
    ],
)
def test_whatever_changes_a_feature_changes_the_key(tmp_path: Path, other: FeatureKey) -> None:
    store = cache(tmp_path)
    store.put(KEY, [entry(1)])
    assert store.get(other, [entry(1).inspection.content]) == {}
    assert len(store.get(KEY, [entry(1).inspection.content])) == 1


def test_the_parts_of_a_key_are_all_covered() -> None:
    assert set(KEY.__dataclass_fields__) == {
        "graph",
        "preprocessing",
        "decoder",
        "engine",
        "precision",
        "version",
    }


def test_the_oldest_entries_go_when_it_is_full(tmp_path: Path) -> None:
    store = cache(tmp_path, limit_bytes=400_000)
    store.put(KEY, [entry(0, d=500)])
    for start in range(1, 400, 40):
        store.put(KEY, [entry(i, d=500) for i in range(start, start + 40)])
        store.get(KEY, [entry(0).inspection.content])  # used all the time
    usage = store.usage()
    assert usage.size_bytes <= 400_000
    assert 0 < usage.n_entries < 400
    kept = store.get(KEY, [entry(i).inspection.content for i in range(401)])
    assert entry(0).inspection.content in kept
    assert entry(1).inspection.content not in kept
    assert entry(400).inspection.content in kept


def test_a_damaged_entry_counts_as_unknown(tmp_path: Path) -> None:
    store = cache(tmp_path)
    store.put(KEY, [entry(1), entry(2)])
    with closing(sqlite3.connect(tmp_path / "features.sqlite")) as base, base:
        (value,) = base.execute(
            "SELECT value FROM entry WHERE content = ?", (entry(1).inspection.content,)
        ).fetchone()
        flipped = value[:-1] + bytes([value[-1] ^ 1])
        base.execute("UPDATE entry SET value = ? WHERE content = ?", (flipped, entry(1).inspection.content))
    assert set(store.get(KEY, [entry(i).inspection.content for i in (1, 2)])) == {entry(2).inspection.content}


def test_a_file_that_is_no_database_is_replaced_and_told_of(tmp_path: Path) -> None:
    (tmp_path / "features.sqlite").write_bytes(b"this is no database at all" * 1000)
    store = cache(tmp_path)
    assert store.get(KEY, [b"x" * 32]) == {}
    assert store.trouble is not None
    assert "nothing is lost but time" in store.trouble
    store.put(KEY, [entry(1)])
    assert len(store.get(KEY, [entry(1).inspection.content])) == 1


def test_a_place_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = FeatureCache(tmp_path / "file" / "features.sqlite", limit_bytes=1, now=clock())
    store.put(KEY, [entry(1)])
    assert store.get(KEY, [b"x"]) == {}
    assert store.usage().n_entries == 0
    assert store.trouble is not None


def test_clearing_forgets_everything(tmp_path: Path) -> None:
    store = cache(tmp_path)
    store.put(KEY, [entry(1)])
    for suffix in ("-journal", "-wal", "-shm"):
        (tmp_path / f"features.sqlite{suffix}").write_bytes(b"what a kill left")
    store.clear()
    assert list(tmp_path.iterdir()) == []
    assert store.usage().n_entries == 0
    store.clear()


WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_feature_cache import KEY, entry
from topwork.training.cache import FeatureCache
store = FeatureCache(Path(sys.argv[1]), limit_bytes=2**30, now=time.time)
for start in range(int(sys.argv[2]), 10**9, 50):
    store.put(KEY, [entry(i, d=1280) for i in range(start, start + 50)])
    print(start, flush=True)
"""


def writer(path: Path, start: int) -> subprocess.Popen[str]:
    here = str(Path(__file__).parent)
    words = [sys.executable, "-c", WRITER, str(path), str(start), here]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_two_processes_write_and_a_kill_harms_neither_file_nor_entries(tmp_path: Path) -> None:
    path = tmp_path / "features.sqlite"
    first, second = writer(path, 0), writer(path, 1_000_000)
    assert first.stdout is not None
    assert second.stdout is not None
    for _ in range(3):
        first.stdout.readline()
        second.stdout.readline()
    time.sleep(0.05)
    first.kill()
    first.communicate()
    second.stdout.readline()
    second.stdout.readline()
    second.kill()
    second.communicate()
    store = cache(tmp_path)
    wanted = [entry(i) for start in (0, 1_000_000) for i in range(start, start + 150)]
    found = store.get(KEY, [e.inspection.content for e in wanted])
    assert store.trouble is None
    assert len(found) == 300
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
