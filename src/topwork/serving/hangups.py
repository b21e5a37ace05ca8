"""SIGHUP as a request instead of an end: noted from the start, handed on once somebody listens.

It knows nothing of what is asked for. Where a system has no such signal nothing is ever heard.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Hangups"]


class Hangups:
    """The hang-ups of this process; make it in the main thread, before what takes long begins.

    A handler in Python, rather than a mask, because a signal to a process goes to any thread that does not block it,
    and libraries have threads of their own.
    """

    def __init__(self) -> None:
        self._heard = False
        self._can = hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread()
        if self._can:
            signal.signal(signal.SIGHUP, lambda *_: self._note())

    def _note(self) -> None:
        self._heard = True

    @contextmanager
    def told_to(self, listener: Callable[[], object]) -> Iterator[None]:
        """Call ``listener`` on the running event loop for each, at once for those that were; then end as before it."""
        if not self._can:
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, listener)
        if self._heard:
            listener()
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
