"""When a worker process counts as broken, and how long to wait before the next one. It starts and ends none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topwork.serving.replicas.replica import Replica, Why

__all__ = ["Vigilance"]


@dataclass(frozen=True, slots=True)
class Vigilance:
    """How long things may take, in seconds.

    Attributes
    ----------
    beat_s
        How often a process says that it is alive, and how often all are looked at.
    silent_s, silent_start_s
        Silence after which a process counts as hanging; at its start, while it loads libraries, it may be longer.
    overdue_s
        How long after its deadline a request may still be worked on.
    start_s
        How long a start may take.
    backoff_s, longest_backoff_s
        Pause after a start that failed; it doubles from one to the next.
    leave_s
        How long a process may take to end that was told to.
    """

    beat_s: float = 1.0
    silent_s: float = 10.0
    silent_start_s: float = 60.0
    overdue_s: float = 5.0
    start_s: float = 600.0
    backoff_s: float = 0.5
    longest_backoff_s: float = 30.0
    leave_s: float = 2.0

    def pause_s(self, n_failed: int) -> float:
        """Return how long to wait after so many starts that failed one after the other."""
        return min(self.longest_backoff_s, self.backoff_s * 2.0 ** min(n_failed - 1, 30))

    def wrong(self, one: Replica, now_s: float, deadline_s: float) -> tuple[Why, str] | None:
        """Return why a process is to lose its place, as a word and in words; None where it is as it should be.

        Parameters
        ----------
        deadline_s
            How long a request may take; 0 for as long as it likes.
        """
        is_starting = one.state == "starting"
        mute_s = now_s - one.heard_s
        if mute_s > (self.silent_start_s if is_starting else self.silent_s):
            return "silent", f"it said nothing for {mute_s:.0f} s"
        if is_starting and now_s - one.began_s > self.start_s:
            return "start", f"it has not started in {self.start_s:g} s"
        if one.left_s is not None and now_s - one.left_s > self.leave_s:
            return "died", "it did not leave"
        worked_s = now_s - (one.oldest_s() or now_s)
        if deadline_s and worked_s > deadline_s + self.overdue_s:
            return "overdue", f"it worked {worked_s:.0f} s on a request whose deadline is {deadline_s:g} s"
        return None
