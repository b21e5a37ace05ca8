"""A thread that writes whatever anybody asks of one decoder, all of it in one batch; see `topwork.engines.writing`.

Whoever asks has a `Desk`, takes tokens there as they come, and may ask for more or give texts up at any time. The
thread is there as long as there is something to write. It knows no letters.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from queue import Empty, SimpleQueue

from topwork.contracts import Written
from topwork.engines.writing import Decoder, Opening, write

__all__ = ["Desk", "Scribe"]


class Scribe:
    """Writes with a decoder, for several at once; safe from several threads.

    Attributes
    ----------
    decoder
        Nobody else may use it, save within `alone`.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self._changed = threading.Condition(threading.Lock())
        # All below is touched under that lock.
        self._fresh: deque[tuple[Desk, int, Opening]] = deque()
        self._owners: dict[int, tuple[Desk, int]] = {}
        self._lost: set[int] = set()
        self._n_come = self._n_wanting = 0
        self._is_running = self._is_stepping = False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the decoder to oneself; what is being written waits meanwhile."""
        with self._changed:
            self._n_wanting += 1
            while self._is_stepping:
                self._changed.wait()
            self._is_stepping = True
            self._n_wanting -= 1
        try:
            yield
        finally:
            self._stepped()

    def ask(self, desk: Desk, numbered: Sequence[tuple[int, Opening]]) -> None:
        """Take texts in, each with its number at the desk."""
        with self._changed:
            self._fresh += [(desk, number, opening) for number, opening in numbered]
            if self._fresh and not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="topwork-scribe", daemon=True).start()

    def give_up(self, desk: Desk, numbers: Collection[int]) -> None:
        """Write no more of some texts."""
        with self._changed:
            self._fresh = deque(one for one in self._fresh if one[0] is not desk or one[1] not in numbers)
            lost = [
                key for key, (whose, number) in self._owners.items() if whose is desk and number in numbers
            ]
            for key in lost:
                del self._owners[key]
            self._lost.update(lost)

    # --- the thread's side --------------------------------------------------------------------------------

    def admit(self) -> Sequence[Opening]:
        """Give the batch those who have come; see `topwork.engines.writing.Joining`."""
        with self._changed:
            found = [opening for _, _, opening in self._fresh]
            self._owners.update(enumerate(((desk, n) for desk, n, _ in self._fresh), self._n_come))
            self._n_come += len(found)
            self._fresh.clear()
            return found

    def gone(self) -> Collection[int]:
        """Give the batch the numbers of those who were given up."""
        with self._changed:
            lost, self._lost = self._lost, set()
            return lost

    def _run(self) -> None:
        while self._begins():
            try:
                self._write()
            except BaseException as error:
                self._fail(error)

    def _begins(self) -> bool:
        """Begin a batch where there is something to write; else the thread ends."""
        with self._changed:
            self._n_come, self._owners, self._lost = 0, {}, set()
            self._is_running = bool(self._fresh)
            return self._is_running

    def _write(self) -> None:
        batch = write(self.decoder, self.admit(), self)
        while (one := self._step(batch)) is not None:
            with self._changed:
                owner = self._owners.get(one.number)
                if owner is not None and one.ending is not None:
                    del self._owners[one.number]
            if owner is not None:
                desk, number = owner
                desk.put(replace(one, number=number))

    def _step(self, batch: Iterator[Written]) -> Written | None:
        with self._changed:
            while self._is_stepping or self._n_wanting:
                self._changed.wait()
            self._is_stepping = True
        try:
            return next(batch, None)
        finally:
            self._stepped()

    def _stepped(self) -> None:
        with self._changed:
            self._is_stepping = False
            self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        """Tell everybody who had something in the batch that it broke."""
        with self._changed:
            desks = {id(desk): desk for desk, _ in self._owners.values()}
        for desk in desks.values():
            desk.put(error)


class Desk:
    """Where one caller asks a scribe and takes what is written; for one thread."""

    def __init__(self, scribe: Scribe) -> None:
        self._scribe = scribe
        self._came: SimpleQueue[Written | BaseException] = SimpleQueue()
        self._n_asked = 0
        self._open: set[int] = set()

    def put(self, one: Written | BaseException) -> None:
        """Lay down a token, or what broke the batch."""
        self._came.put(one)

    def ask(self, openings: Sequence[Opening]) -> None:
        """Have texts written; they take the next numbers."""
        numbered = list(enumerate(openings, self._n_asked))
        self._n_asked += len(openings)
        self._open.update(number for number, _ in numbered)
        self._scribe.ask(self, numbered)

    def give_up(self, numbers: Collection[int]) -> None:
        """Write no more of some texts."""
        if wanted := self._open.intersection(numbers):
            self._open -= wanted
            self._scribe.give_up(self, wanted)

    def take(self, timeout_s: float) -> Written | None:
        """Wait for the next token of a text that is wanted; None where none comes for so long."""
        while True:
            try:
                one = self._came.get(timeout=timeout_s)
            except Empty:
                return None
            if isinstance(one, BaseException):
                raise one
            if one.number in self._open:
                if one.ending is not None:
                    self._open.remove(one.number)
                return one

    def close(self) -> None:
        """Give up whatever is still open."""
        self.give_up(set(self._open))
