"""What Ctrl-C does to a command: it says so, unwinds, and ends soon whatever still runs in other threads.

It knows nothing of the commands. A server, which drains when it is interrupted, puts its own handler in place
while it runs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType, TracebackType

__all__ = ["STATUS", "Interruption", "stop_asked"]

STATUS = 130
"""Exit status of a command that Ctrl-C ended: 128 and the number of the signal."""
_SHOW_CURSOR = "\x1b[?25h"


class Interruption:
    """Handles Ctrl-C inside a ``with``: the first unwinds with a deadline, the second ends at once.

    Work that can stop with something to show for it asks `stop_asked` between two steps. From then on the first
    Ctrl-C only answers it, and the next one is what otherwise would be the first.

    Unwinding gives files and bars the time to be put away. A download or a compiler in another thread cannot
    be told to stop, and what is not finished never stands under its final name; so the process simply ends
    once patience does.

    Parameters
    ----------
    patience_s
        How long unwinding may take.

    Attributes
    ----------
    happened
        Whether Ctrl-C came.
    """

    def __init__(self, patience_s: float = 2.0) -> None:
        self._patience_s = patience_s
        self.happened = False
        self._asks, self._asked_to_stop = False, False
        self._before: object = None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._take)
        _CURRENT.append(self)
        return self

    def asked(self) -> bool:
        """Return whether Ctrl-C came, and take the next one for a wish to stop rather than to end."""
        self._asks = True
        return self._asked_to_stop

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _CURRENT.remove(self)
        # After an interruption the handler stays: what is left to wait for is the end of the process.
        if callable(self._before) and not self.happened:
            signal.signal(signal.SIGINT, self._before)

    def _take(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._asks and not self._asked_to_stop:
            self._asked_to_stop = True
            _tell("Stopping, with the best so far; Ctrl-C again ends without it.\n")
            return
        if self.happened:
            _end_now()
        self.happened = True
        _tell("Stopped.\n")
        deadline = threading.Timer(self._patience_s, _end_now)
        deadline.daemon = True
        deadline.start()
        raise KeyboardInterrupt


_CURRENT: list[Interruption] = []


def stop_asked() -> bool:
    """Return whether the user wants the command to stop with what it has; see `Interruption`."""
    return bool(_CURRENT) and _CURRENT[-1].asked()


def _end_now() -> None:
    _tell("")
    os._exit(STATUS)


def _tell(text: str) -> None:
    """Write around Python's buffers, which may be in the middle of a write when a signal comes."""
    with suppress(OSError, ValueError):
        clean = f"\r{_SHOW_CURSOR}\x1b[2K" if sys.stderr.isatty() else ""
        os.write(sys.stderr.fileno(), f"{clean}{text}".encode())
