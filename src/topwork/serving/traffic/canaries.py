"""Whether a new version may have all of the traffic: a decision from counts, the same for the same counts.

It is promoted once it is shown to be no worse than is allowed, rolled back once it is shown to be worse, and waited for
until one of them is shown. Both are shown by `sequences`, whose bounds hold at every moment at once: three comparisons
(the share of failed requests, the median and the 95 % quantile of the time to the answer), two versions each, a sixth
of the allowed error for each. So looking after every request costs nothing, and the chance that a trial ever ends
wrongly is at most `ERROR_RATE`, as long as requests are drawn independently. It knows no server and no clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from math import floor, inf, log
from typing import Final, Literal

from topwork.serving.traffic.sequences import proportion_bounds, quantile_ranks

__all__ = ["ERROR_RATE", "QUANTILES", "Rules", "Tally", "Verdict", "decided"]

ERROR_RATE: Final = 0.05
QUANTILES: Final = (0.5, 0.95)
N_BOUNDS: Final = 2 * (1 + len(QUANTILES))
STEP: Final = 1.02
"""Times are counted in steps, each 2 % above the one before; bounds are taken outwards."""
SHORTEST_S: Final = 1e-6

Word = Literal["wait", "promote", "roll back"]


@dataclass(frozen=True, slots=True)
class Rules:
    """When a trial ends.

    Attributes
    ----------
    promote_after
        Fewest requests of the new version before it is promoted.
    watch_s
        Shortest time before it is promoted, in seconds.
    most_errors
        By how much its share of failed requests may exceed that of the old one; 0.01 is one more in a hundred.
    most_slower
        By which share of the old one's time its own may exceed it; 0.25 is a quarter.
    """

    promote_after: int = 1000
    watch_s: float = 0.0
    most_errors: float = 0.01
    most_slower: float = 0.25


@dataclass(slots=True)
class Tally:
    """The requests that one version has had during a trial."""

    n: int = 0
    n_failed: int = 0
    times: Counter[int] = field(default_factory=Counter)

    def add(self, *, failed: bool, seconds: float | None) -> None:
        """Count a request; ``seconds`` is None where it was not answered."""
        self.n += 1
        self.n_failed += failed
        if seconds is not None:
            self.times[floor(log(max(seconds, SHORTEST_S) / SHORTEST_S) / log(STEP))] += 1

    def failures(self, alpha: float) -> tuple[float, float]:
        """Return bounds of the share of failed requests."""
        return proportion_bounds(self.n_failed, self.n, alpha)

    def quantile(self, p: float, alpha: float) -> tuple[float, float]:
        """Return bounds of a quantile of the times, in seconds."""
        steps = sorted(self.times)
        reached = list(accumulate(self.times[step] for step in steps))
        n = reached[-1] if reached else 0
        low, high = quantile_ranks(p, n, alpha)
        lower = 0.0 if low == 0 else SHORTEST_S * STEP ** steps[bisect_left(reached, low)]
        upper = inf if high > n else SHORTEST_S * STEP ** (steps[bisect_left(reached, high)] + 1)
        return lower, upper


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done with a new version, and why, in a sentence."""

    word: Word
    reason: str


def decided(rules: Rules, old: Tally, new: Tally, age_s: float) -> Verdict:
    """Return what is to be done after ``age_s`` seconds of a trial."""
    alpha = ERROR_RATE / N_BOUNDS
    compared = [_errors(rules, old, new, alpha), *(_times(rules, old, new, p, alpha) for p in QUANTILES)]
    worse = [one.text for one in compared if one.is_worse]
    if worse:
        return Verdict("roll back", " ".join(worse))
    if open_questions := [one.text for one in compared if not one.is_good]:
        return Verdict("wait", " ".join(open_questions))
    if new.n < rules.promote_after or age_s < rules.watch_s:
        return Verdict("wait", f"It has had {new.n:,} of {rules.promote_after:,} requests in {age_s:.0f} s.")
    return Verdict("promote", " ".join(one.text for one in compared))


@dataclass(frozen=True, slots=True)
class _Compared:
    """One comparison: shown to be good, shown to be worse, or neither yet."""

    is_good: bool
    is_worse: bool
    text: str


def _errors(rules: Rules, old: Tally, new: Tally, alpha: float) -> _Compared:
    (old_low, old_high), (new_low, new_high) = old.failures(alpha), new.failures(alpha)
    low, high = new_low - old_high, new_high - old_low
    text = (
        f"{new.n_failed:,} of {new.n:,} requests failed, of the old one {old.n_failed:,} of {old.n:,}: a difference of "
        f"{low:+.2%} to {high:+.2%}, where {rules.most_errors:+.2%} is allowed."
    )
    return _Compared(high <= rules.most_errors, low > rules.most_errors, text)


def _times(rules: Rules, old: Tally, new: Tally, p: float, alpha: float) -> _Compared:
    (old_low, old_high), (new_low, new_high) = old.quantile(p, alpha), new.quantile(p, alpha)
    allowed = 1 + rules.most_slower
    text = (
        f"The {p:.0%} quantile is {_ms(new_low)} to {_ms(new_high)} ms, of the old one "
        f"{_ms(old_low)} to {_ms(old_high)} ms, where {rules.most_slower:.0%} more is allowed."
    )
    return _Compared(new_high <= allowed * old_low, new_low > allowed * old_high, text)


def _ms(seconds: float) -> str:
    return "any number of" if seconds == inf else f"{1000 * seconds:.3g}"
