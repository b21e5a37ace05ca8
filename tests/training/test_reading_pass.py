"""The reading pass: every row once, bad rows noted, nothing computed twice, memory bounded."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from topwork.contracts import Array, Decoded, Precision
from topwork.errors import DecodeError
from topwork.progress import Quiet
from topwork.training.cache import FeatureCache, FeatureKey
from topwork.training.reading import AHEAD, BATCH, Reading, Runner, inspect, partition, read_features

KEY = FeatureKey("g", {}, "d", "e", "fp32", "1")


@dataclass
class Rows:
    """Inputs whose content is their own number; some cannot be read, some not be decoded."""

    n: int
    unreadable: frozenset[int] = frozenset()
    read_count: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return self.n

    def read(self, row: int) -> bytes:
        self.read_count.append(row)
        if row in self.unreadable:
            raise DecodeError("the file is gone")
        return str(row).encode()


def decode(encoded: bytes) -> Decoded:
    if encoded.endswith(b"13"):
        raise DecodeError("not an image", next_step="x")
    return Decoded(np.array([int(encoded)]), np.array([int(encoded) % 251], dtype=np.uint8), {"width": 1.0})


@dataclass
class Doubler:
    """An engine that gives twice its input and counts what it ran."""

    name: str = "doubler"
    precision: Precision = "fp32"
    version: str = "1"
    n_streams: int = 2
    n_run: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, batch: Array) -> dict[str, Array]:
        with self.lock:
            self.n_run += len(batch)
        assert len(batch) <= BATCH
        return {"features": np.concatenate([batch, 2.0 * batch], axis=1).astype(np.float32), "other": batch}


def cache(folder: Path) -> FeatureCache:
    return FeatureCache(folder / "c.sqlite", limit_bytes=2**30, now=time.time)


def run(rows: Rows, engine: Doubler, store: FeatureCache | None = None) -> Reading:
    runner = Runner(lambda: engine, {"features": 2}, None if store is None else (store, KEY))
    return read_features(rows, decode, runner, n_threads=2, progress=Quiet())


def test_every_row_gets_its_own_features() -> None:
    reading = run(Rows(1000), Doubler())
    good = [i for i in range(1000) if not str(i).endswith("13")]
    assert np.array_equal(reading.features[good, 0], np.array(good, dtype=np.float32))
    assert np.array_equal(reading.features[good, 1], 2 * np.array(good, dtype=np.float32))
    assert reading.inspections[7].content == hashlib.sha256(b"7").digest()
    assert (reading.n_cached, reading.n_computed) == (0, len(good))


def test_a_batch_holds_tensors_of_one_shape_and_every_row_gets_its_own_features() -> None:
    shapes: list[tuple[int, ...]] = []

    class Lengths(Doubler):
        def run(self, batch: Array) -> dict[str, Array]:
            with self.lock:
                shapes.append(batch.shape)
            return {"features": np.stack([batch.sum(1), batch.max(1)], axis=1).astype(np.float32)}

    def decode_to_any_length(encoded: bytes) -> Decoded:
        row = int(encoded)
        return Decoded(np.full(1 + row % 7, row), np.array([row % 251], dtype=np.uint8), {})

    runner = Runner(lambda: Lengths(), {"features": 2})
    reading = read_features(Rows(300), decode_to_any_length, runner, n_threads=2, progress=Quiet())
    rows = np.arange(300)
    assert np.array_equal(reading.features[:, 0], rows * (1 + rows % 7))
    assert np.array_equal(reading.features[:, 1], rows)
    assert sum(n for n, _ in shapes) == reading.n_computed == 300
    assert max(n for n, _ in shapes) == BATCH
    assert len(shapes) <= 300 // BATCH + 7


def test_bad_rows_are_noted_and_cost_nothing_else() -> None:
    reading = run(Rows(40, frozenset({3, 4})), Doubler())
    assert reading.inspections[3].problem == "the file is gone"
    assert reading.inspections[3].content == b""
    assert reading.inspections[13].problem == "not an image"
    assert reading.inspections[13].content == hashlib.sha256(b"13").digest()
    assert (reading.features[[3, 4, 13]] == 0).all()
    assert sum(one.problem is not None for one in reading.inspections) == 3


def test_a_second_pass_computes_nothing(tmp_path: Path) -> None:
    first, second = Doubler(), Doubler()
    before = run(Rows(700), first, cache(tmp_path))
    after = run(Rows(700), second, cache(tmp_path))
    assert first.n_run == before.n_computed == after.n_cached == 693
    assert second.n_run == after.n_computed == 0
    assert np.array_equal(before.features, after.features)
    assert [one.problem for one in before.inspections] == [one.problem for one in after.inspections]
    assert after.inspections[5].facts == {"width": 1.0}


def test_only_what_is_new_is_computed(tmp_path: Path) -> None:
    engine = Doubler()
    run(Rows(100), Doubler(), cache(tmp_path))
    reading = run(Rows(150), engine, cache(tmp_path))
    assert (reading.n_cached, engine.n_run) == (99, 49)


def test_an_engine_that_needs_time_to_start_does_not_hold_up_decoding() -> None:
    ready, decoded = threading.Event(), []

    def decode_and_count(encoded: bytes) -> Decoded:
        decoded.append(encoded)
        if len(decoded) >= 10 * BATCH:
            ready.set()
        return decode(encoded)

    def engine() -> Doubler:
        assert ready.wait(20), "decoding waited for the engine"
        return Doubler()

    reading = read_features(
        Rows(300), decode_and_count, Runner(engine, {"features": 2}), n_threads=2, progress=Quiet()
    )
    assert reading.n_computed == 297


def test_what_waits_for_the_engine_is_bounded() -> None:
    started, waiting, most = threading.Lock(), [0], [0]

    def count(encoded: bytes) -> Decoded:
        with started:
            waiting[0] += 1
            most[0] = max(most[0], waiting[0])
        return decode(encoded)

    class Slow(Doubler):
        def run(self, batch: Array) -> dict[str, Array]:
            time.sleep(0.0005)
            with started:
                waiting[0] -= len(batch)
            return super().run(batch)

    runner = Runner(lambda: Slow(), {"features": 2})
    read_features(Rows(4000), count, runner, n_threads=2, progress=Quiet())
    assert most[0] <= (AHEAD + 6) * BATCH


@pytest.mark.parametrize("where", ["engine", "run"])
def test_a_failure_of_the_engine_reaches_the_caller(where: str) -> None:
    def engine() -> Doubler:
        if where == "engine":
            raise OSError("no weights")
        return Doubler()

    width = {"features": 2} if where == "engine" else {"no such output": 2}
    expected: type[Exception] = OSError if where == "engine" else KeyError
    with pytest.raises(expected):
        read_features(Rows(2000), decode, Runner(engine, width), n_threads=2, progress=Quiet())


def test_several_outputs_stand_side_by_side() -> None:
    runner = Runner(Doubler, {"other": 1, "features": 2})
    reading = read_features(Rows(3), decode, runner, n_threads=2, progress=Quiet())
    assert reading.features.tolist() == [[0, 0, 0], [1, 1, 2], [2, 2, 4]]


def test_inspecting_needs_no_engine() -> None:
    reading = inspect(Rows(30), decode, n_threads=2, progress=Quiet())
    assert reading.features.shape == (30, 0)
    assert [i for i, one in enumerate(reading.inspections) if one.problem] == [13]


def test_no_rows_are_no_trouble() -> None:
    assert run(Rows(0), Doubler()).inspections == ()


def test_progress_counts_every_row_once(tmp_path: Path) -> None:
    done: list[int] = []

    class Counting:
        def say(self, line: str) -> None: ...

        def track(self, title: str, total: int, unit: str) -> AbstractContextManager[Callable[[int], None]]:
            return nullcontext(done.append)

    run(Rows(100), Doubler(), cache(tmp_path))
    runner = Runner(Doubler, {"features": 2}, (cache(tmp_path), KEY))
    read_features(Rows(300, frozenset({200})), decode, runner, n_threads=2, progress=Counting())
    assert sum(done) == 300


def test_partition_gives_views_of_the_rows_asked_for() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 100):
        features = rng.normal(size=(n, 3))
        before, order = features.copy(), rng.permutation(n)
        one, other = np.sort(order[: n // 2]), np.sort(order[n // 2 : n - n // 5])
        found = partition(features, one, other)
        assert np.array_equal(found[0], before[one])
        assert np.array_equal(found[1], before[other])
        assert all(part.base is features for part in found)
        assert sorted(map(tuple, features)) == sorted(map(tuple, before))


# --- some of the rows -----------------------------------------------------------------------------------


def read_some(rows: Rows, wanted: list[int], engine: Doubler, store: FeatureCache | None = None) -> Reading:
    runner = Runner(lambda: engine, {"features": 2}, None if store is None else (store, KEY))
    return read_features(rows, decode, runner, n_threads=2, progress=Quiet(), wanted=np.array(wanted))


def test_only_what_is_wanted_is_run_and_everything_is_looked_at() -> None:
    engine, wanted = Doubler(), [2, 3, 13, 50, 99]
    reading = read_some(Rows(100, frozenset({3})), wanted, engine)
    assert engine.n_run == reading.n_computed == 3
    assert np.flatnonzero(reading.known).tolist() == [2, 50, 99]
    assert reading.features[[2, 50, 99], 1].tolist() == [4.0, 100.0, 198.0]
    assert not reading.features[~reading.known].any()
    whole = run(Rows(100, frozenset({3})), Doubler())
    assert [one.problem for one in reading.inspections] == [one.problem for one in whole.inspections]
    assert [one.content for one in reading.inspections] == [one.content for one in whole.inspections]
    assert np.array_equal(reading.fingerprints, whole.fingerprints)


def test_what_is_wanted_is_read_first() -> None:
    """Otherwise looking at all the others would count for its speed."""
    rows = Rows(1000)
    read_some(rows, list(range(900, 1000)), Doubler())
    assert set(rows.read_count[:100]) == set(range(900, 1000))


def test_what_is_not_wanted_is_known_where_it_is_cached(tmp_path: Path) -> None:
    run(Rows(40), Doubler(), cache(tmp_path))
    engine = Doubler()
    reading = read_some(Rows(100), [90, 91], engine, cache(tmp_path))
    assert (reading.n_cached, engine.n_run) == (39, 2)
    assert np.flatnonzero(reading.known).tolist() == [*(i for i in range(40) if i != 13), 90, 91]
    assert np.array_equal(reading.features[:13, 1], 2.0 * np.arange(13))


def test_a_whole_reading_knows_every_row_that_can_be_read() -> None:
    assert np.flatnonzero(~run(Rows(30, frozenset({3})), Doubler()).known).tolist() == [3, 13]
