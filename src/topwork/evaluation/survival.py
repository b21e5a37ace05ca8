"""How good scores of risk are where the event has not been seen of every row: concordance and Cox loss.

Truth is ``float [n, 2]``: the time, and 1 where the event happened then, 0 where nothing is known beyond it
(*censored*). A row with a NaN is missing and left out everywhere. A score is a log hazard, the higher the sooner; only
differences between scores mean something. An event and a censoring at one time count as in that order. Nothing is
drawn at random. It knows no unit of time and no risk by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, inf, log, nan

import numpy as np

from topwork.contracts import Array, Estimate, known_rows
from topwork.errors import UsageError
from topwork.evaluation.intervals import wilson
from topwork.evaluation.quantiles import t_quantile

__all__ = [
    "RiskSets",
    "compare_survival",
    "cox_losses",
    "pairs_in_order",
    "survival_metrics",
]

_NOTHING = {"concordance": Estimate(nan, 0.0, 1.0), "cox_loss": Estimate(nan, 0.0, inf)}
"""What is known without a pair that can be compared."""
_SMALLEST = 1e-300
"""A first step of a solver may be far too long; what it leads to need only be finite to be refused."""
_CELLS_AT_ONCE = 4_000_000


# --- Cox's partial likelihood ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class RiskSets:
    """Who could still have had the event when one of them had it, for ``f`` sets of rows at once.

    Attributes
    ----------
    order
        ``int64 [n]``: rows by ascending time.
    starts
        ``int64 [g]``: where each different time begins in that order.
    moment
        ``int64 [n]``: the number of each ordered row's time.
    members
        ``float64 [n, f]``, ordered: 1 for the rows of a set.
    events
        ``float64 [n, f]``, ordered: 1 for the events among them.
    before
        ``float64 [n, f]``, ordered: the share of the events at its time that come before an event, by Efron's rule.
    """

    order: Array
    starts: Array
    moment: Array
    members: Array
    events: Array
    before: Array

    @classmethod
    def of(cls, truth: Array, members: Array | None = None) -> RiskSets:
        """Sort truth ``[n, 2]``; ``members bool [n, f]`` says who is in which set, None that all are in one."""
        known = known_rows(truth)[:, None]
        members = known if members is None else np.asarray(members, bool) & known
        times = np.where(known[:, 0], truth[:, 0], np.inf)
        order = np.argsort(times, kind="stable")
        is_first = np.ones(len(order), bool)
        is_first[1:] = times[order[1:]] != times[order[:-1]]
        starts, moment = np.flatnonzero(is_first), np.cumsum(is_first) - 1
        inside = members[order].astype(np.float64)
        events = inside * np.nan_to_num(truth[order, 1])[:, None]
        n_events = np.add.reduceat(events, starts, axis=0) if len(order) else events
        rank = np.cumsum(events, axis=0) - 1
        rank -= (np.cumsum(n_events, axis=0) - n_events)[moment]
        before = events * rank / np.maximum(n_events[moment], 1)
        return cls(order, starts, moment, inside, events, before)

    def costs(self, scores: Array) -> tuple[Array, Array]:
        """Return what each row's scores cost, and where they pull, both ``float64 [n, f]`` in the rows' own order.

        Parameters
        ----------
        scores
            ``[n, f]``.

        Returns
        -------
        costs
            In nats: of an event the mean over the events of its time of −log of Efron's partial likelihood (*The
            Efficiency of Cox's Likelihood Function for Censored Data*, 1977); 0 of others. They add up to minus the
            log partial likelihood of a set.
        pulls
            The slope of that sum by each row's score: the events that were expected of the row less the one that it
            had, which is minus its martingale residual. They add up to 0.
        """
        found = np.zeros((2, *self.members.shape))
        if len(self.order):
            with np.errstate(all="ignore"):  # scores that are no numbers make costs that are none
                found[:, self.order] = self._ordered(np.asarray(scores, np.float64)[self.order])
        return found[0], found[1]

    def _ordered(self, scores: Array) -> tuple[Array, Array]:
        highest = np.where(self.members > 0, scores, -np.inf).max(axis=0)
        highest = np.where(np.isneginf(highest), 0.0, highest)
        hazard = np.exp(np.where(self.members > 0, np.minimum(scores - highest, 0), -np.inf))
        at_risk = np.cumsum(hazard[::-1], axis=0)[::-1][self.starts]
        falling = np.add.reduceat(hazard * self.events, self.starts, axis=0)
        left = np.maximum(at_risk[self.moment] - self.before * falling[self.moment], _SMALLEST)
        n_events = np.maximum(np.add.reduceat(self.events, self.starts, axis=0), 1)
        own = np.add.reduceat(self.events * np.log(left), self.starts, axis=0) / n_events
        costs = self.events * (own[self.moment] + highest - np.where(self.events > 0, scores, 0.0))
        rate = self.events / left
        passed = np.cumsum(np.add.reduceat(rate, self.starts, axis=0), axis=0)[self.moment]
        spared = np.add.reduceat(rate * self.before, self.starts, axis=0)[self.moment]
        return costs, hazard * (passed - self.events * spared) - self.events


def cox_losses(truth: Array, scores: Array) -> Array:
    """Return what each row costs, ``float64 [n]`` in nats; every row must have a truth.

    They add up to minus the log partial likelihood (Cox, *Regression Models and Life-Tables*, 1972) with Efron's rule
    for ties. That is no sum of one term for each row, for a row stands in the terms of others too. Each row is told by
    how much the whole would change with its weight (Lin and Wei, *The Robust Inference for the Cox Proportional
    Hazards Model*, 1989): an event costs its term, and every row the events that were expected of it less those of the
    average row. So the spread of the rows says how sure their sum is.

    Parameters
    ----------
    truth, scores
        ``[n, 2]`` and ``[n, 1]``.
    """
    costs, pulls = RiskSets.of(truth).costs(scores)
    expected = pulls[:, 0] + truth[:, 1]
    return np.asarray(costs[:, 0] + expected - truth[:, 1].mean()) if len(truth) else np.zeros(0)


# --- concordance ----------------------------------------------------------------------------------------


def pairs_in_order(truth: Array, scores: Array) -> tuple[Array, Array]:
    """Count for each row the pairs whose order is known, and those of them that scores put in that order.

    Two rows can be compared where the earlier time is an event's (Harrell et al., *Multivariable Prognostic Models*,
    1996); of two at one time, where one is an event and the other is not, which then counts as the later. Equal scores
    count one half.

    Parameters
    ----------
    truth, scores
        ``[n, 2]`` and ``[n]``.

    Returns
    -------
    in_order, pairs
        ``float64 [n]``; 0 for rows without a truth. Every pair is counted with both of its rows.
    """
    known = np.flatnonzero(known_rows(truth))
    order = known[np.lexsort((1 - truth[known, 1], truth[known, 0]))]
    in_order, pairs = np.zeros(len(truth)), np.zeros(len(truth))
    in_order[order], pairs[order] = _counted(truth[order], np.asarray(scores, np.float64)[order])
    return in_order, pairs


def _counted(truth: Array, scores: Array) -> tuple[Array, Array]:
    """Count among rows sorted by time, events before what is censored at their time."""
    n, place = len(truth), np.arange(len(truth))
    changes = (truth[1:] != truth[:-1]).any(axis=1)
    run = np.concatenate([[0], np.cumsum(changes)]) if n else place
    later = np.searchsorted(run, run, side="right")  # the first row that comes after this one
    events = np.flatnonzero(truth[:, 1] > 0)
    pairs = np.searchsorted(later[events], place, side="right") + np.where(truth[:, 1] > 0, n - later, 0)
    halves = np.zeros(n, np.int64)
    for part in np.array_split(events, max(1, len(events) * n // _CELLS_AT_ONCE)):
        if len(part):
            begin = int(later[part[0]])
            one, others = scores[part, None], scores[None, begin:]
            right = 2 * (one > others).astype(np.int8) + (one == others)
            right *= place[begin:] >= later[part, None]
            halves[part] += right.sum(axis=1, dtype=np.int64)
            halves[begin:] += right.sum(axis=0, dtype=np.int64)
    return halves / 2, pairs.astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """A number, and how much each row moves it, ``float64 [n]``; ``n_events`` decide how sure their spread is."""

    value: float
    moved: Array
    n_events: int

    def error(self) -> float:
        """Return the standard error: the infinitesimal jackknife (Efron and Stein, *The Jackknife*, 1981)."""
        n = len(self.moved)
        return float(np.sqrt((self.moved**2).sum() * n / (n - 1))) if n > 1 else inf

    def half_width(self) -> float:
        """Return half of Student's interval, with a degree of freedom for every event but one."""
        return t_quantile(0.975, self.n_events - 1) * self.error() if self.n_events > 1 else inf

    def less(self, other: _Measured) -> Estimate:
        """Estimate the difference, paired row by row."""
        apart = _Measured(self.value - other.value, self.moved - other.moved, self.n_events)
        if np.isnan(apart.value):
            return Estimate(nan, -inf, inf)
        if apart.moved.any():
            half = apart.half_width()
        else:  # no row moves it: the two are the same, or one has every pair in order and the other none
            half = 1 - wilson(self.n_events, self.n_events).low if apart.value else 0.0
        return Estimate(apart.value, apart.value - half, apart.value + half)


def _concordance(truth: Array, scores: Array) -> _Measured:
    in_order, pairs = pairs_in_order(truth, scores)
    n_pairs = pairs.sum() / 2
    value = float(in_order.sum() / 2 / n_pairs) if n_pairs else nan
    moved = (in_order - value * pairs) / n_pairs if n_pairs else np.zeros(len(truth))
    return _Measured(value, moved, int((truth[pairs > 0, 1] > 0).sum()))


def _cox_loss(truth: Array, scores: Array) -> _Measured:
    """Measure minus the log partial likelihood per event."""
    losses, is_event = cox_losses(truth, scores[:, None]), truth[:, 1] > 0
    n_events = int(is_event.sum())
    value = float(losses.sum() / n_events) if n_events else nan
    moved = (losses - value * is_event) / n_events if n_events else np.zeros(len(truth))
    return _Measured(value, moved, n_events)


# --- metrics --------------------------------------------------------------------------------------------


def survival_metrics(truth: Array, scores: Array) -> Mapping[str, Estimate]:
    """Compare truth with scores; every metric with its 95 % interval.

    Parameters
    ----------
    truth, scores
        ``[n, 2]`` and ``[n, 1]``.

    Returns
    -------
    Mapping
        ``concordance``: of the pairs whose order is known, the share that the scores put in it; 0.5 is what equal
        scores have, NaN without such a pair. ``cox_loss``: minus the log partial likelihood per event, in nats; it
        grows with the logarithm of the number of rows, so that only values of the same rows can be compared. Both by
        Student's interval of how much each row moves them, concordance on the scale of its log odds.

    Raises
    ------
    UsageError
        The lengths differ, or a score is not finite.
    """
    truth, scores = _known(truth, scores)
    rank, loss = _concordance(truth, scores), _cox_loss(truth, scores)
    half = loss.half_width()
    return {
        "concordance": _within_bounds(rank),
        "cox_loss": _NOTHING["cox_loss"]
        if np.isnan(loss.value)
        else Estimate(loss.value, min(loss.value, max(0.0, loss.value - half)), loss.value + half),
    }


def compare_survival(truth: Array, scores_a: Array, scores_b: Array) -> Mapping[str, Estimate]:
    """Estimate how much more each metric of `survival_metrics` is for a than for b, on the same rows.

    Each has Student's interval of how much each row moves the difference.

    Raises
    ------
    UsageError
        The lengths differ, or a score is not finite.
    """
    truth, a, b = _known(truth, scores_a, scores_b)
    return {
        "concordance": _concordance(truth, a).less(_concordance(truth, b)),
        "cox_loss": _cox_loss(truth, a).less(_cox_loss(truth, b)),
    }


def _within_bounds(found: _Measured) -> Estimate:
    """Return the interval of a share on the scale of its log odds, where it stays between 0 and 1."""
    share = found.value
    if np.isnan(share):
        return _NOTHING["concordance"]
    if share in (0.0, 1.0):
        # No pair shows how the number might be moved; so many events went one way.
        bounds = wilson(round(share * found.n_events), found.n_events)
        return Estimate(share, bounds.low, bounds.high)
    odds, half = log(share / (1 - share)), found.half_width() / (share * (1 - share))
    low, high = (1 / (1 + exp(-max(-700.0, min(700.0, odds + side)))) for side in (-half, half))
    return Estimate(share, min(share, low), max(share, high))


def _known(truth: Array, *scores: Array) -> tuple[Array, ...]:
    """Return the rows that have a truth and their scores ``[n]``, in an order that does not depend on theirs."""
    for one in scores:
        if len(one) != len(truth) or one.ndim != 2 or one.shape[1] != 1 or not np.isfinite(one).all():
            raise UsageError(
                f"Got {len(truth)} truths and scores of shape {one.shape}, {int((~np.isfinite(one)).sum())} of them "
                "not finite; expected one finite score for each row.",
                next_step="Look for inputs that the network cannot handle, or for a fit that diverged.",
            )
    known = known_rows(truth)
    columns = [np.asarray(truth, np.float64)[known], *(np.asarray(one, np.float64)[known] for one in scores)]
    order = np.lexsort(np.concatenate(columns, axis=1).T[::-1])
    return (columns[0][order], *(one[order, 0] for one in columns[1:]))
