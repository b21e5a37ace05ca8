"""Features that were computed once are never computed again.

The cache is one SQLite file, because that is the best-kept code there is for a store that several processes
share and that survives a kill at any moment. An entry is found by what produced it: the SHA-256 of the
encoded input under the SHA-256 of a :class:`FeatureKey` (network, preprocessing, engine, precision,
versions). Nothing in it is ever stale, because nothing that changes a feature is left out of its key.

A cache is a convenience: when its disk is full, read-only or damaged, the fit goes on without it and says so.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from topwork.contracts import Array, Clock, Inspection, Json

__all__ = ["Entry", "FeatureCache", "FeatureKey", "Usage"]

_LAYOUT = 1
_CHUNK = 500  # below SQLite's smallest limit on the number of parameters
_SCHEMA = """
CREATE TABLE IF NOT EXISTS space (id INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL, described TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entry (
    space INTEGER NOT NULL, content BLOB NOT NULL, value BLOB NOT NULL, crc INTEGER NOT NULL,
    used_s INTEGER NOT NULL, PRIMARY KEY (space, content)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_used ON entry (used_s);
"""


@dataclass(frozen=True, slots=True)
class FeatureKey:
    """Everything besides the input itself that decides what its features are.

    Attributes
    ----------
    graph
        SHA-256 of the network: topology and weights.
    preprocessing
        The specification as `Preprocessing.to_json` gives it.
    decoder
        Version of what decodes, such as ``Pillow 12.0``.
    engine, precision, version
        What ran the network.
    """

    graph: str
    preprocessing: Mapping[str, Json]
    decoder: str
    engine: str
    precision: str
    version: str

    def digest(self) -> bytes:
        """Return 32 bytes that differ whenever any part differs."""
        return hashlib.sha256(self.described().encode()).digest()

    def described(self) -> str:
        """Return the key as canonical JSON."""
        return json.dumps({"layout": _LAYOUT, **asdict(self)}, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept of one readable input: its pooled features ``float32 [d]`` and what inspection showed."""

    features: Array
    inspection: Inspection


@dataclass(frozen=True, slots=True)
class Usage:
    """How full a cache is."""

    n_entries: int
    size_bytes: int
    limit_bytes: int


class FeatureCache:
    """A bounded store of `Entry` by key and content; safe between processes, usable from one thread at a time.

    Parameters
    ----------
    path
        The SQLite file; its folder is made.
    limit_bytes
        Where the file outgrows this, the entries that were used longest ago go first.
    now
        Seconds since the epoch; decides what was used last.
    """

    def __init__(self, path: Path, *, limit_bytes: int, now: Clock) -> None:
        self._path, self._limit_bytes, self._now = path, limit_bytes, now
        self.trouble: str | None = None
        """Why the cache could not be used, in words; None while all is well."""

    def get(self, key: FeatureKey, contents: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return what is known of these contents; an entry that was damaged on disk counts as unknown."""
        found: dict[bytes, Entry] = {}
        with self._open() as base:
            if base is None:
                return found
            space = self._space(base, key)
            for chunk in _chunks(sorted(set(contents)), _CHUNK):
                marks = ",".join("?" * len(chunk))
                where = f"WHERE space = ? AND content IN ({marks})"
                query = f"SELECT content, value, crc FROM entry {where}"  # noqa: S608 - only question marks
                for content, value, crc in base.execute(query, (space, *chunk)):
                    if zlib.crc32(value) == crc:
                        found[content] = _unpack(content, value)
                touch = f"UPDATE entry SET used_s = ? {where}"  # noqa: S608 - only question marks
                base.execute(touch, (int(self._now()), space, *chunk))
        return found

    def put(self, key: FeatureKey, entries: Iterable[Entry]) -> None:
        """Keep entries, then drop the oldest ones beyond the limit."""
        now_s = int(self._now())
        with self._open() as base:
            if base is None:
                return
            space = self._space(base, key)
            packed = ((e.inspection.content, _pack(e)) for e in entries)
            rows = ((space, content, value, zlib.crc32(value), now_s) for content, value in packed)
            base.executemany("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?)", rows)
            self._shrink(base)

    def usage(self) -> Usage:
        """Return the number of entries and the size on disk."""
        n_entries = size_bytes = 0
        with self._open() as base:
            if base is not None:
                (n_entries,) = base.execute("SELECT count(*) FROM entry").fetchone()
                size_bytes = _size_bytes(base)
        return Usage(n_entries, size_bytes, self._limit_bytes)

    def clear(self) -> None:
        """Forget everything and give the disk its room back."""
        for suffix in ("", "-wal", "-shm", "-journal"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        """Give a connection inside one transaction, or None when the cache cannot be used."""
        base = self._connect()
        if base is None:
            yield None
            return
        with closing(base):
            try:
                yield base
                base.commit()
            except sqlite3.Error as error:
                self._give_up(error)
                with suppress(sqlite3.Error):
                    base.rollback()

    def _connect(self) -> sqlite3.Connection | None:
        base: sqlite3.Connection | None = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            base = sqlite3.connect(self._path, timeout=30)
            base.execute("PRAGMA journal_mode = WAL")
            base.execute("PRAGMA synchronous = NORMAL")
            base.executescript(_SCHEMA)
            return base
        except (sqlite3.Error, OSError) as error:
            if base is not None:
                base.close()
            self._give_up(error)
            return None

    def _give_up(self, error: Exception) -> None:
        self.trouble = f"the feature cache {self._path} could not be used ({error}); nothing is lost but time"
        # Only a file that is no database is removed: it would be in the way for ever.
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            with suppress(OSError):
                self.clear()

    def _space(self, base: sqlite3.Connection, key: FeatureKey) -> int:
        digest = key.digest()
        base.execute("INSERT OR IGNORE INTO space (key, described) VALUES (?, ?)", (digest, key.described()))
        (number,) = base.execute("SELECT id FROM space WHERE key = ?", (digest,)).fetchone()
        return int(number)

    def _shrink(self, base: sqlite3.Connection) -> None:
        """Drop the least recently used tenth, again and again, until the limit holds."""
        while _size_bytes(base) > self._limit_bytes:
            (n,) = base.execute("SELECT count(*) FROM entry").fetchone()
            if not n:
                break
            base.execute(
                "DELETE FROM entry WHERE (space, content) IN "
                "(SELECT space, content FROM entry ORDER BY used_s LIMIT ?)",
                (max(1, n // 10),),
            )


def _size_bytes(base: sqlite3.Connection) -> int:
    pages, free, size = (
        int(base.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _chunks(items: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _pack(entry: Entry) -> bytes:
    shown = entry.inspection
    assert shown.fingerprint is not None
    sizes = {"d": int(entry.features.size), "m": int(shown.fingerprint.size)}
    head = json.dumps({**sizes, "facts": dict(shown.facts)}).encode()
    features = np.ascontiguousarray(entry.features, dtype="<f4").tobytes()
    return len(head).to_bytes(4, "little") + head + features + shown.fingerprint.tobytes()


def _unpack(content: bytes, value: bytes) -> Entry:
    start = 4 + int.from_bytes(value[:4], "little")
    head = json.loads(value[4:start])
    features = np.frombuffer(value, dtype="<f4", count=head["d"], offset=start)
    fingerprint = np.frombuffer(value, dtype=np.uint8, count=head["m"], offset=start + 4 * head["d"])
    return Entry(features, Inspection(content, fingerprint, head["facts"], None))
