"""What one side of a training benchmark learned, and two sides compared on the same photos.

It knows no library and no file: only moments, answers and truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.figures import Spread
from topwork.contracts import Estimate
from topwork.evaluation.intervals import stratified_bootstrap, wilson

__all__ = [
    "Learned",
    "Moment",
    "Pair",
    "difference",
    "discordant",
    "faster",
    "gains",
    "pooled",
    "share_right",
]

NEVER = float("inf")
_ROUNDING = 1e-6
"""Accuracies nearer than this are equal: some sides compute them in single precision."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Validation accuracy, 0 to 1, so many seconds after the process was started."""

    seconds: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Learned:
    """One fit.

    Attributes
    ----------
    moments
        What validation said on the way, in the order of time; at least one. Seconds that finding a learning rate
        took do not count.
    answers
        Label given to each photo of the test, by its path.
    truth
        Right label of the same photos.
    before_s
        Seconds from the start of the process to the start of training.
    search_s
        Seconds that finding the learning rate took, in this process or in an earlier one.
    rate
        Peak learning rate, where there was one.
    """

    moments: tuple[Moment, ...]
    answers: Mapping[str, str]
    truth: Mapping[str, str]
    before_s: float = 0.0
    search_s: float = 0.0
    rate: float = 0.0

    @property
    def best(self) -> Moment:
        """The first moment of the highest validation accuracy."""
        return max(self.moments, key=lambda moment: (round(moment.accuracy, 6), -moment.seconds))

    def best_s(self, *, searched: bool) -> float:
        """Return the seconds to the best moment, with or without those that finding the learning rate took."""
        return self.best.seconds + (self.search_s if searched else 0.0)

    def seconds_to(self, accuracy: float) -> float:
        """Return when validation first was at least that good; `NEVER` where it never was."""
        enough = accuracy - _ROUNDING
        return min((m.seconds for m in self.moments if m.accuracy >= enough), default=NEVER)

    def rights(self) -> dict[str, bool]:
        """Return whether each photo of the test was answered right."""
        return {path: self.answers[path] == label for path, label in self.truth.items()}


Pair = tuple[Learned, Learned]
"""Ours and theirs on one split."""


def share_right(learned: Learned) -> float:
    """Return the share of the test's photos that were answered right, 0 to 1."""
    rights = learned.rights()
    return sum(rights.values()) / len(rights)


def pooled(fits: Sequence[Learned]) -> Estimate:
    """Estimate the accuracy over the tests of all fits together, with Wilson's interval."""
    rights = [right for fit in fits for right in fit.rights().values()]
    return wilson(sum(rights), len(rights))


def faster(pairs: Sequence[Pair], *, searched: bool) -> Spread:
    """Divide the seconds of theirs to its best validation by ours to one at least as good, pair by pair.

    It is 0 where ours never was as good.
    """
    return Spread(
        tuple(
            theirs.best_s(searched=searched) / ours.seconds_to(theirs.best.accuracy) for ours, theirs in pairs
        )
    )


def gains(pairs: Sequence[Pair]) -> Spread:
    """Subtract their share of right answers from ours, pair by pair, in points."""
    return Spread(tuple(100 * (share_right(ours) - share_right(theirs)) for ours, theirs in pairs))


def difference(pairs: Sequence[Pair], *, seed: int = 0) -> Estimate:
    """Estimate our accuracy minus theirs over all pairs, -1 to 1, paired photo by photo.

    The bootstrap draws photos, not answers: a photo that stands in the test of several splits is drawn with all of
    its answers, which are not independent of one another.
    """
    gain, count = _by_photo(pairs)
    labels = {path: label for ours, _ in pairs for path, label in ours.truth.items()}
    paths = sorted(gain, key=lambda path: (labels[path], path))
    _, strata = np.unique([labels[path] for path in paths], return_inverse=True)
    g = np.array([gain[path] for path in paths], dtype=np.float64)
    n = np.array([count[path] for path in paths], dtype=np.float64)
    return stratified_bootstrap(strata, lambda weights: (weights @ g) / (weights @ n), seed=seed)


def _by_photo(pairs: Sequence[Pair]) -> tuple[dict[str, int], dict[str, int]]:
    """Return, by photo, how often only ours was right less how often only theirs, and how many tests it is in."""
    gain: dict[str, int] = {}
    count: dict[str, int] = {}
    for ours, theirs in pairs:
        right = theirs.rights()
        for path, ours_right in ours.rights().items():
            gain[path] = gain.get(path, 0) + ours_right - right[path]
            count[path] = count.get(path, 0) + 1
    return gain, count


def discordant(pairs: Sequence[Pair]) -> tuple[int, int]:
    """Count the answers that only ours, and that only theirs got right: what McNemar's test looks at."""
    found = [
        (right, theirs.rights()[path]) for ours, theirs in pairs for path, right in ours.rights().items()
    ]
    return sum(a and not b for a, b in found), sum(b and not a for a, b in found)
