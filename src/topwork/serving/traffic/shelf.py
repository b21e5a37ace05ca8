"""Models that are opened when they are asked and closed when others need their memory: the least recently used first.

What a model takes is measured: by how much the process grew when it was opened, and no less than its files have. One
is opened at a time, so that the measure is its own. A model that requests are using is closed when they are done; who
comes meanwhile waits, so that nobody is kept out by a model that is never idle. All who wait for a model when it is
opened are answered before it is closed again. It knows no HTTP.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

from topwork.errors import UsageError
from topwork.serving.batching.gathering import Gathered, gathered_of, gathering_within, together
from topwork.serving.hosting import Hosted
from topwork.serving.wrapping.around import Faced, reference_of

if TYPE_CHECKING:
    from topwork.contracts import Answer, Json, Reference, Servable, Wire
    from topwork.serving.limits import Limits
    from topwork.serving.settings.declared import ModelSettings
    from topwork.serving.traffic.posts import Opener

__all__ = ["Shelf", "Shelved", "TooLargeError", "resident_bytes"]

LOG = logging.getLogger("topwork.serving")
STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Return how much memory this process has in RAM; 0 where the system does not say."""
    try:
        return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class TooLargeError(UsageError):
    """A model that would not fit into the memory for models even alone."""


class Shelf:
    """The memory that models share; use it from any thread.

    Parameters
    ----------
    max_bytes
        How much all open models may take together; None for any amount.
    measure
        Gives the memory of the process in bytes.
    """

    def __init__(self, max_bytes: int | None = None, measure: Callable[[], int] = resident_bytes) -> None:
        self._max_bytes, self._measure = max_bytes, measure
        self._changed = threading.Condition()
        # All below, and the state of every book, is touched under that lock.
        self._order: list[ref[Shelved]] = []
        self._is_opening = False

    def resize(self, max_bytes: int | None) -> None:
        """Take another bound from now on; it holds when the next model is opened."""
        with self._changed:
            self._max_bytes = max_bytes

    def open_names(self) -> list[str]:
        """Return the names of the open models, the least recently used first."""
        with self._changed:
            return [book.name for book in self._open()]

    @contextmanager
    def borrowed(self, book: Shelved) -> Iterator[Servable]:
        """Give a model open, as soon as there is room, and keep it open inside.

        Raises
        ------
        TooLargeError
            It does not fit even alone.
        TopworkError
            It cannot be opened, or does not pass its proof.
        """
        servable = self._taken(book)
        try:
            yield servable
        finally:
            with self._changed:
                book.state.n_users -= 1
                self._changed.notify_all()

    def _taken(self, book: Shelved) -> Servable:
        state = book.state
        with self._changed:
            turn = state.n_openings
            state.n_waiting += 1
            try:
                self._changed.wait_for(
                    lambda: state.n_openings > turn or state.is_free or not self._is_opening
                )
                if state.n_openings > turn and state.servable is not None:
                    return state.servable  # it counts as its user since it was opened
                if state.is_free and state.servable is not None:
                    state.n_users += 1
                    self._used(book)
                    return state.servable
                self._is_opening = True
            finally:
                if state.n_openings == turn:
                    state.n_waiting -= 1
        return self._opened(book)

    def _opened(self, book: Shelved) -> Servable:
        """Open a model; whoever waits for it becomes its user at once."""
        state = book.state
        try:
            self._make_room(book, state.n_bytes or book.n_file_bytes)
            before = self._measure()
            servable = book.open()
            # Of several openings the most: what was freed before may have been used again, and not been measured.
            state.n_bytes = max(self._measure() - before, book.n_file_bytes, state.n_bytes)
            self._make_room(book, state.n_bytes)
            with self._changed:
                state.servable, state.is_closing = servable, False
                state.n_users, state.n_waiting = 1 + state.n_waiting, 0
                state.n_openings += 1
                self._used(book)
            return servable
        finally:
            with self._changed:
                self._is_opening = False
                self._changed.notify_all()

    def _make_room(self, book: Shelved, n_bytes: int) -> None:
        if self._max_bytes is not None and n_bytes > self._max_bytes:
            raise TooLargeError(
                f"The model {book.name} takes {n_bytes:,} bytes; all models together may take {self._max_bytes:,}.",
                next_step="Raise model_memory.",
            )
        while (victim := self._victim(book, n_bytes)) is not None:
            self._close(victim)

    def _victim(self, book: Shelved, n_bytes: int) -> Shelved | None:
        """Return the model that was used least recently, where one has to go."""
        with self._changed:
            others = [one for one in self._open() if one is not book]
            held = sum(one.state.n_bytes for one in others)
            is_full = self._max_bytes is not None and held + n_bytes > self._max_bytes
            return others[0] if others and is_full else None

    def _close(self, book: Shelved) -> None:
        """Close a model once nobody uses it any more; who comes meanwhile waits until it is opened again."""
        state = book.state
        with self._changed:
            state.is_closing = True
            self._changed.wait_for(lambda: state.n_users == 0)
            servable, state.servable, state.is_closing = state.servable, None, False
        assert servable is not None
        book.past_batches = together([book.past_batches, gathered_of(servable)])
        if (close := getattr(servable, "close", None)) is not None:
            close()
        del servable, close
        gc.collect()  # what an engine holds may hang in a cycle
        LOG.info("%s was closed, for another model needs its memory", book.name)

    def _used(self, book: Shelved) -> None:
        self._order = [one for one in self._order if one() not in (None, book)] + [ref(book)]

    def _open(self) -> list[Shelved]:
        there = (one() for one in self._order)
        return [book for book in there if book is not None and book.state.servable is not None]

    def shelving(self, open_model: Opener) -> Opener:
        """Return what opens a model so that it may be closed and opened again, where the limits bound the memory.

        The first opening is now, for what the model says of itself is needed while it is closed.
        """

        def opened(settings: ModelSettings, limits: Limits) -> Hosted:
            # A model with worker processes has its memory there.
            if limits.model_memory_bytes is None or settings.replicas.n_most:
                return open_model(settings, limits)
            self.resize(limits.model_memory_bytes)
            book = Shelved(
                self, partial(open_model, settings, limits), _title(settings), _file_bytes(settings)
            )
            return Hosted(book, limits, book.n_at_once)

        return opened


@dataclass(slots=True)
class _State:
    """What the shelf knows of a model."""

    servable: Servable | None = None
    n_bytes: int = 0
    n_users: int = 0
    n_waiting: int = 0
    n_openings: int = 0
    is_closing: bool = False

    @property
    def is_free(self) -> bool:
        return self.servable is not None and not self.is_closing


@dataclass(frozen=True, slots=True)
class _Face:
    """What a model says of itself."""

    name: str
    wire: Wire
    answer_schema: Mapping[str, Json]
    explanation_schema: Mapping[str, Json] | None
    about: Mapping[str, Json]
    reference: Reference | None

    @classmethod
    def of(cls, servable: Servable) -> _Face:
        return cls(
            servable.name,
            servable.wire,
            servable.answer_schema,
            servable.explanation_schema,
            servable.about,
            reference_of(servable),
        )


class Shelved(Faced):
    """A model that is open while somebody asks it; see `topwork.contracts.Servable`. It is opened once at once.

    Parameters
    ----------
    shelf
        Where it gets its memory.
    open_hosted
        Opens it.
    title
        What it is called before it is open.
    n_file_bytes
        Bytes of its files.

    Attributes
    ----------
    n_at_once
        Inputs that it can well work on at once.
    past_batches
        What it made of several requests in the times when it was open before.
    state
        The shelf's.

    Raises
    ------
    TooLargeError
        It does not fit even alone.
    TopworkError
        It cannot be opened.
    """

    def __init__(
        self, shelf: Shelf, open_hosted: Callable[[], Hosted], title: str, n_file_bytes: int
    ) -> None:
        self._shelf, self._open_hosted, self._title, self.n_file_bytes = (
            shelf,
            open_hosted,
            title,
            n_file_bytes,
        )
        self._said: _Face | None = None
        self._is_proven = False
        self.n_at_once = 1
        self.past_batches: Gathered | None = None
        self.state = _State()
        with shelf.borrowed(self):
            pass

    def open(self) -> Servable:
        """Open it; once more means that it is proven once more, and must be what it was.

        Raises
        ------
        TopworkError
            It cannot be opened, does not pass its proof, or is another model by now.
        """
        hosted = self._open_hosted()
        servable, self.n_at_once = self._gathering(hosted), hosted.n_at_once
        face = _Face.of(servable)
        if self._said is not None:
            _require_same(self._said, face)
            servable.prove()
            self._is_proven = True
        self._said = face
        return servable

    def _gathering(self, hosted: Hosted) -> Servable:
        """Let it make batches of several requests; how large they may be is measured when it is proven first."""
        before = self.past_batches if self._is_proven else None
        largest = None if before is None else before.largest
        return gathering_within(hosted.servable, hosted.n_at_once, hosted.limits, largest=largest)

    @property
    def gathered(self) -> Gathered | None:
        """What its batches are like, with those of before; None where it makes none."""
        now = self.state.servable
        return together([self.past_batches, None if now is None else gathered_of(now)])

    @property
    def _face(self) -> _Face:
        assert self._said is not None
        return self._said

    @property
    def is_open(self) -> bool:
        """Whether it is in memory."""
        return self.state.servable is not None

    @property
    def name(self) -> str:
        """Name in the API, also before it is open."""
        return self._said.name if self._said else self._title

    def prove(self) -> None:
        """Prove it, where it never was; whenever it is opened again it is proven by that."""
        if self._is_proven:
            return
        with self._shelf.borrowed(self) as servable:
            if not self._is_proven:
                servable.prove()
                self._is_proven = True

    def submit(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Open it where it is closed, and ask it."""
        with self._shelf.borrowed(self) as servable:
            yield from servable.submit(inputs)

    def explain(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Open it where it is closed, and ask it why."""
        with self._shelf.borrowed(self) as servable:
            yield from servable.explain(inputs)


def _require_same(before: _Face, now: _Face) -> None:
    words = ("wire", "answer_schema", "explanation_schema")
    if differing := [word for word in words if getattr(before, word) != getattr(now, word)]:
        raise UsageError(
            f"The file of {before.name} is of another model by now: it differs in {', '.join(differing)}.",
            next_step="Apply the settings again; then the new model takes its place.",
        )


def _title(settings: ModelSettings) -> str:
    return settings.name or (settings.paths[0].stem if settings.paths else str(settings.trunk))


def _file_bytes(settings: ModelSettings) -> int:
    return sum(path.stat().st_size for path in settings.paths if path.is_file())
