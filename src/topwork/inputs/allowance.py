"""Memory that decoding threads share: so much for one input, so much for all at once. It knows no kind of input."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from topwork.errors import DecodeError

__all__ = ["SharedAllowance"]


class SharedAllowance:
    """See `topwork.contracts.Allowance`; who comes first is first, so that a large input is not passed for ever.

    Parameters
    ----------
    most_each
        Bytes of one input.
    most_together
        Bytes of all inputs that are being decoded.
    """

    def __init__(self, most_each: int, most_together: int) -> None:
        self._most_each, self._most_together = most_each, most_together
        self._changed = Condition()
        self._line: deque[object] = deque()
        self.n_held = 0

    def resize(self, most_each: int, most_together: int) -> None:
        """Take other bounds from now on; what is held stays."""
        with self._changed:
            self._most_each, self._most_together = most_each, most_together
            self._changed.notify_all()

    @contextmanager
    def held(self, n_bytes: int) -> Iterator[None]:
        """Hold bytes until the block ends.

        Raises
        ------
        DecodeError
            One input is never given so many.
        """
        self._take(n_bytes)
        try:
            yield
        finally:
            with self._changed:
                self.n_held -= n_bytes
                self._changed.notify_all()

    def _take(self, n_bytes: int) -> None:
        mine = object()
        with self._changed:
            if n_bytes > (most := min(self._most_each, self._most_together)):
                raise DecodeError(
                    f"Decoding it would take {n_bytes:,} bytes of memory; at most {most:,} are given to one input.",
                    next_step="Send it smaller.",
                )
            self._line.append(mine)
            try:
                self._changed.wait_for(lambda: self._line[0] is mine and self._has_room_for(n_bytes))
                self.n_held += n_bytes
            finally:
                self._line.remove(mine)
                self._changed.notify_all()

    def _has_room_for(self, n_bytes: int) -> bool:
        # Alone everybody has room, also where the bounds have shrunk meanwhile.
        return self.n_held == 0 or self.n_held + n_bytes <= self._most_together
