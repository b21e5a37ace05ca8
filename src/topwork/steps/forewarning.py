"""Telling while inputs are read that reading alone will use the budget up, as soon as its rate shows that.

It counts units of work and knows nothing of what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from topwork.contracts import Budget, Progress
from topwork.report.quantities import duration

__all__ = ["Forewarning"]

_WINDOW_S = 5.0
"""What the rate is measured over; only the last so many seconds, for cached inputs come first and cost nothing."""


@dataclass(eq=False)
class Forewarning:
    """A progress that hands everything on, and says once when what is tracked will not be done within the budget.

    Attributes
    ----------
    consequence
        What becomes of the fit then, in a sentence.
    """

    progress: Progress
    budget: Budget
    consequence: str
    _is_told: bool = field(default=False, init=False)

    def say(self, line: str) -> None:
        """Hand the line on."""
        self.progress.say(line)

    @contextmanager
    def track(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Hand the count on, and look at the rate whenever some seconds have passed."""
        done, mark, since_s = 0, 0, float("nan")

        def advance(n: int) -> None:
            nonlocal done, mark, since_s
            shown(n)
            done, now_s = done + n, self.budget.clock()
            if since_s != since_s:  # the first result had to wait for the network to be ready
                mark, since_s = done, now_s
            elif now_s - since_s >= _WINDOW_S and done > mark:
                self._look(title, (total - done) * (now_s - since_s) / (done - mark))
                mark, since_s = done, now_s

        with self.progress.track(title, total, unit) as shown:
            yield advance

    def _look(self, title: str, left_s: float) -> None:
        has_s = self.budget.remaining_s()
        if self._is_told or left_s <= has_s:
            return
        self._is_told = True
        needs, has = (duration(one).replace("\u00a0", " ") for one in (left_s, max(0.0, has_s)))
        self.progress.say(
            f"Note: {title} takes about {needs} more, and {has} of the budget are left. {self.consequence}"
        )
