"""How long somebody waits for an answer: until it is there, or where it comes in pieces, from one to the next."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

__all__ = ["Patience", "Wait"]


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds from now on.

    Attributes
    ----------
    for_s
        Until the answer, or its first piece.
    each_s
        From then on, from one piece to the next.
    whole_s
        Until the whole answer, however it comes.
    """

    for_s: float
    each_s: float = inf
    whole_s: float = inf


class Wait:
    """The same by a clock that stands at ``now_s``.

    Attributes
    ----------
    until_s
        From then on nobody waits.
    """

    def __init__(self, patience: Patience, now_s: float) -> None:
        self._each_s, self._end_s = patience.each_s, now_s + patience.whole_s
        self.until_s = min(now_s + patience.for_s, self._end_s)

    def go_on(self, now_s: float) -> None:
        """Note that there is another piece."""
        self.until_s = min(now_s + self._each_s, self._end_s)

    def left(self, now_s: float) -> Patience:
        """Return what is left of the patience, for whoever has another clock."""
        return Patience(self.until_s - now_s, self._each_s, self._end_s - now_s)
