"""One pass over a data set: read, hash, decode, look, and run the trunk on what the cache does not hold.

Two pools overlap the work. Decoders turn files into tensors; runners push batches through the engine, each of
tensors of one shape, so that no time goes into filling up short texts. The engine is asked for only when the first
batch is ready, so that a trunk can be loading while the first photos are decoded. What waits between the pools is
bounded, so memory does not grow with the data beyond the features themselves. It knows neither what an input is nor
what the network is: both come as objects.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from topwork.contracts import Array, Decoded, Engine, Inspection, Progress
from topwork.errors import DecodeError
from topwork.training.cache import Entry, FeatureCache, FeatureKey

__all__ = ["Reading", "Runner", "inspect", "partition", "read_features"]

BATCH = 8
"""Inputs per call of the engine; larger batches gain nothing on a CPU."""
AHEAD = 64
"""Batches that may wait for the engine, about 80 MB of pictures of 224 pixels."""
LOOKUP = 256
"""Rows hashed and looked up in the cache at a time."""

Rows = Sequence[int]
Decode = Callable[[bytes], Decoded]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a pass found.

    Attributes
    ----------
    inspections
        One per row.
    features
        ``float32 [n, d]``; the rows of unreadable inputs are zero. Without a runner ``[n, 0]``.
    fingerprints
        ``uint8 [n, m]``; the rows of unreadable inputs are zero. Inspections hold views of its rows.
    n_cached, n_computed
        Rows whose features came out of the cache, and out of the engine.
    items_per_s
        Rows run per second between the first and the last result of the engine; 0 where there were none.
    known
        ``bool [n]``: rows that have features.
    """

    inspections: tuple[Inspection, ...]
    features: Array
    fingerprints: Array
    known: Array
    n_cached: int
    n_computed: int
    items_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Runner:
    """What turns tensors into features.

    Attributes
    ----------
    engine
        Called from several threads; may block until the engine is ready.
    outputs
        Name and width of each of the engine's outputs to take, side by side.
    store
        Where features are kept, and under which key; None to keep none.
    """

    engine: Callable[[], Engine]
    outputs: Mapping[str, int]
    store: tuple[FeatureCache, FeatureKey] | None = None

    def run(self, tensors: Array) -> Array:
        """Run a batch ``[n, ...]`` and return ``float32 [n, d]``."""
        given = self.engine().run(tensors)
        return np.concatenate([given[name] for name in self.outputs], axis=1)


class _Source(Protocol):
    """The part of a data set that this pass needs."""

    @property
    def read(self) -> Callable[[int], bytes]: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class _Seen:
    """What decoding some rows came to: what was seen of each, and tensors of those that could be decoded."""

    inspections: dict[int, Inspection]
    tensors: dict[int, Array]


class _Shelf:
    """Decoded inputs that wait until a batch of one shape is full; pictures have one shape, texts have many."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, ...], dict[int, Array]] = {}

    def __len__(self) -> int:
        return sum(len(one) for one in self._waiting.values())

    def put(self, row: int, tensor: Array) -> dict[int, Array] | None:
        """Add an input; return its batch where that is full now."""
        batch = self._waiting.setdefault(tensor.shape, {})
        batch[row] = tensor
        return self._waiting.pop(tensor.shape) if len(batch) == BATCH else None

    def fullest(self) -> dict[int, Array]:
        """Take the largest batch that is not full."""
        return self._waiting.pop(max(self._waiting, key=lambda shape: len(self._waiting[shape])))


def inspect(source: _Source, decode: Decode, *, n_threads: int, progress: Progress) -> Reading:
    """Read and decode every row without any network."""
    return _Pass(source, decode, None, n_threads, progress).run()


def read_features(
    source: _Source,
    decode: Decode,
    runner: Runner,
    *,
    n_threads: int,
    progress: Progress,
    wanted: Array | None = None,
) -> Reading:
    """Read every row and return its features, computing only those that the cache does not hold.

    Parameters
    ----------
    wanted
        Rows whose features are computed; they are read before the others, so that the rate is that of reading alone.
        None for every row.
    """
    return _Pass(source, decode, runner, n_threads, progress).run(wanted)


def partition(features: Array, *parts: Array) -> tuple[Array, ...]:
    """Sort rows in place so that each part is a view; what ``features`` held elsewhere is then in disorder.

    Copies of the features of many inputs would double the memory of a fit. Parts are row numbers, disjoint.
    """
    order = np.concatenate([*parts, np.setdiff1d(np.arange(len(features)), np.concatenate(parts))])
    for start in range(len(order)):
        _carry(features, order, start)
    edges = np.cumsum([len(part) for part in parts])
    return tuple(features[end - len(part) : end] for part, end in zip(parts, edges, strict=True))


def _carry(features: Array, order: Array, start: int) -> None:
    """Follow one cycle of a permutation, putting row ``order[i]`` at ``i``, and mark its places as done."""
    if order[start] == start:
        return
    held, here = features[start].copy(), start
    while (source := int(order[here])) != start:
        features[here] = features[source]
        order[here] = here
        here = source
    features[here] = held
    order[here] = here


class _Pass:
    """State of one pass; used once."""

    def __init__(
        self, source: _Source, decode: Decode, runner: Runner | None, n_threads: int, progress: Progress
    ) -> None:
        self._source, self._decode, self._runner = source, decode, runner
        self._n_threads, self._progress = n_threads, progress
        self._is_run = runner is not None
        self._inspections: list[Inspection | None] = [None] * len(source)
        width = sum(runner.outputs.values()) if runner else 0
        self._features = np.zeros((len(source), width), dtype=np.float32)
        self._fingerprints = np.zeros((len(source), 0), dtype=np.uint8)
        self._known = np.zeros(len(source), dtype=bool)
        self._n_cached = self._n_computed = 0
        self._fresh: list[Entry] = []
        self._moments: list[tuple[int, float]] = []
        self._decoding: deque[tuple[int, Future[_Seen]]] = deque()
        self._running: deque[tuple[tuple[int, ...], Future[Array]]] = deque()
        self._shelf = _Shelf()

    def run(self, wanted: Array | None = None) -> Reading:
        every = np.arange(len(self._source))
        with (
            self._progress.track("Reading", len(self._source), "inputs") as advance,
            ThreadPoolExecutor(self._n_threads, "decode") as decoders,
            ThreadPoolExecutor(self._n_threads, "run") as runners,
        ):
            try:
                self._read(every if wanted is None else wanted, decoders, runners, advance)
                if wanted is not None:
                    self._is_run = False
                    self._read(np.setdiff1d(every, wanted), decoders, runners, advance)
            finally:
                for _, future in self._running:
                    future.cancel()
                decoders.shutdown(wait=False, cancel_futures=True)
                self._keep(at_least=1)
        done = tuple(i for i in self._inspections if i is not None)
        return Reading(
            inspections=done,
            features=self._features,
            fingerprints=self._fingerprints,
            known=self._known,
            n_cached=self._n_cached,
            n_computed=self._n_computed,
            items_per_s=self._items_per_s(),
        )

    def _read(
        self,
        rows: Array,
        decoders: ThreadPoolExecutor,
        runners: ThreadPoolExecutor,
        advance: Callable[[int], None],
    ) -> None:
        """Read some rows to their end."""
        for batch in _batches(self._unknown(rows, decoders, advance)):
            self._decoding.append((len(batch), decoders.submit(self._decode_rows, batch)))
            self._go_on(runners, advance)
        while self._decoding or self._running or self._shelf:
            self._finish_one(runners, advance)

    def _go_on(self, runners: ThreadPoolExecutor, advance: Callable[[int], None]) -> None:
        """Take what is done, and wait for something where too much is under way."""
        while self._decoding and self._decoding[0][1].done():
            self._take_decoded(runners, advance)
        while self._running and self._running[0][1].done():
            self._take_features(advance)
        while self._n_under_way() >= AHEAD * BATCH:
            self._finish_one(runners, advance)

    def _n_under_way(self) -> int:
        decoding, running = sum(n for n, _ in self._decoding), sum(len(rows) for rows, _ in self._running)
        return decoding + len(self._shelf) + running

    def _finish_one(self, runners: ThreadPoolExecutor, advance: Callable[[int], None]) -> None:
        """Wait for what has been under way the longest; with nothing else left, run what is not a full batch."""
        if self._running and (len(self._running) > self._n_threads or not self._decoding):
            self._take_features(advance)
        elif self._decoding:
            self._take_decoded(runners, advance)
        else:
            self._submit(self._shelf.fullest(), runners)

    def _take_decoded(self, runners: ThreadPoolExecutor, advance: Callable[[int], None]) -> None:
        seen = self._decoding.popleft()[1].result()
        for row, inspection in seen.inspections.items():
            self._note(row, inspection)
        advance(len(seen.inspections) - len(seen.tensors))
        for row, tensor in seen.tensors.items():
            if batch := self._shelf.put(row, tensor):
                self._submit(batch, runners)

    def _submit(self, batch: dict[int, Array], runners: ThreadPoolExecutor) -> None:
        assert self._runner is not None
        future = runners.submit(lambda run: run(np.stack(list(batch.values()))), self._runner.run)
        self._running.append((tuple(batch), future))

    def _note(self, row: int, seen: Inspection) -> None:
        """Keep what was seen of a row, its fingerprint in one matrix with the others."""
        if seen.fingerprint is not None:
            if not self._fingerprints.size:
                self._fingerprints = np.zeros((len(self._source), len(seen.fingerprint)), dtype=np.uint8)
            self._fingerprints[row] = seen.fingerprint
            seen = replace(seen, fingerprint=self._fingerprints[row])
        self._inspections[row] = seen

    def _items_per_s(self) -> float:
        """Return the rate after the first batch, which waited for the trunk to be loaded."""
        if len(self._moments) < 2:
            return 0.0
        (n_first, first_s), (n_last, last_s) = self._moments[0], self._moments[-1]
        return (n_last - n_first) / max(last_s - first_s, 1e-9)

    def _unknown(
        self, rows: Array, decoders: ThreadPoolExecutor, advance: Callable[[int], None]
    ) -> Iterator[int]:
        """Yield those of the rows whose features the cache does not hold, filling in the others."""
        if self._runner is None or self._runner.store is None:
            yield from rows.tolist()
            return
        cache, key = self._runner.store
        for start in range(0, len(rows), LOOKUP):
            some: list[int] = rows[start : start + LOOKUP].tolist()
            contents = list(decoders.map(self._hash, some))
            known = cache.get(key, [c for c in contents if c])
            for row, content in zip(some, contents, strict=True):
                if content in known:
                    self._note(row, known[content].inspection)
                    self._features[row] = known[content].features
                    self._known[row] = True
                    self._n_cached += 1
                    advance(1)
                else:
                    yield row

    def _hash(self, row: int) -> bytes:
        try:
            return hashlib.sha256(self._source.read(row)).digest()
        except DecodeError:
            return b""  # the decoder meets the same error again and reports it

    def _decode_rows(self, rows: Rows) -> _Seen:
        inspections, tensors = {}, {}
        for row in rows:
            content = b""
            try:
                encoded = self._source.read(row)
                content = hashlib.sha256(encoded).digest()
                one = self._decode(encoded)
                tensors[row] = one.tensor
                inspections[row] = Inspection(content, one.fingerprint, one.facts, None)
            except DecodeError as error:
                inspections[row] = Inspection(content, None, {}, error.problem)
        return _Seen(inspections, tensors if self._is_run else {})

    def _take_features(self, advance: Callable[[int], None]) -> None:
        rows, future = self._running.popleft()
        for row, features in zip(rows, future.result(), strict=True):
            self._features[row] = features
            self._known[row] = True
            inspection = self._inspections[row]
            if self._runner is not None and self._runner.store is not None and inspection is not None:
                self._fresh.append(Entry(self._features[row], inspection))
        self._n_computed += len(rows)
        self._moments = [*self._moments[:1], (self._n_computed, time.perf_counter())]
        self._keep(at_least=LOOKUP)
        advance(len(rows))

    def _keep(self, *, at_least: int) -> None:
        """Hand what is fresh to the cache, often enough that a kill costs a few seconds of work at most."""
        if self._runner is not None and self._runner.store is not None and len(self._fresh) >= at_least:
            cache, key = self._runner.store
            cache.put(key, self._fresh)
            self._fresh.clear()


def _batches(rows: Iterator[int]) -> Iterator[tuple[int, ...]]:
    batch: list[int] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield tuple(batch)
            batch = []
    if batch:
        yield tuple(batch)
