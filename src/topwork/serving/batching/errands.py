"""What a thread does for somebody who may leave before it is done: whoever it waits for on the way is told at once.

Threads call each other through generators that know nothing of whom they work for, so the errand of a thread is kept
with the thread. It knows no request and nothing of what is done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Errand", "Late", "waiting"]

_HERE = threading.local()


class Late(Exception):  # noqa: N818 - an event, not a fault
    """Nobody waited for an answer any more when its turn came."""


class Errand:
    """One piece of a thread's work.

    Attributes
    ----------
    is_over
        Nobody waits for it any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: list[tuple[Callable[[], None], Callable[[], bool]]] = []
        self.is_over = False

    def leave(self) -> None:
        """Note that nobody waits any more, and tell whom the thread waits for; from any thread."""
        with self._lock:
            self.is_over, told = True, tuple(self._waits)
        for on_leave, _ in told:
            on_leave()

    @property
    def is_in_line(self) -> bool:
        """Whether the thread waits for its turn, with nothing being done for it."""
        with self._lock:
            waits = tuple(self._waits)
        return any(is_so() for _, is_so in waits)

    @contextmanager
    def here(self) -> Iterator[None]:
        """Have this thread work on it meanwhile."""
        before = getattr(_HERE, "errand", None)
        _HERE.errand = self
        try:
            yield
        finally:
            _HERE.errand = before

    @contextmanager
    def waits(self, on_leave: Callable[[], None], is_in_line: Callable[[], bool]) -> Iterator[None]:
        """Wait meanwhile; see `waiting`."""
        one = (on_leave, is_in_line)
        with self._lock:
            if self.is_over:
                raise Late
            self._waits.append(one)
        try:
            yield
        finally:
            with self._lock:
                self._waits.remove(one)


@contextmanager
def waiting(on_leave: Callable[[], None], is_in_line: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Wait for something meanwhile, on whatever errand this thread is; without one nothing is ever told.

    Parameters
    ----------
    on_leave
        Called, from another thread, once nobody waits any more; returns at once.
    is_in_line
        Whether it is not this errand's turn yet.

    Raises
    ------
    Late
        Nobody waits as it is.
    """
    errand: Errand | None = getattr(_HERE, "errand", None)
    if errand is None:
        yield
        return
    with errand.waits(on_leave, is_in_line):
        yield
