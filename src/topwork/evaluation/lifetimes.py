"""What is left of a group over time: Kaplan-Meier curves, Breslow's baseline hazard, the ratio of two hazards.

Truth is ``float [n, 2]`` as in `survival.py`, a time and whether the event happened then; rows with a NaN are left out.
It knows no unit of time and no group by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, nan
from statistics import NormalDist

import numpy as np

from topwork.contracts import Array, Estimate, known_rows
from topwork.evaluation.survival import RiskSets

__all__ = ["Survival", "baseline_hazard", "hazard_ratio", "slope", "survival"]

_MOST_STEPS = 60
_SETTLED = 1e-9
_LONGEST_STEP = 2.0
_STEP = 1e-4
_OUTSIDE = 0.025
"""Of either side of a 95 % interval."""


@dataclass(frozen=True, slots=True, eq=False)
class Survival:
    """Share of a group without the event after each time at which one had it, with its 95 % interval; ``[g]`` each.

    ``followed`` are the times of all rows, ascending: nothing is known beyond the latest.
    """

    times: Array
    shares: Array
    low: Array
    high: Array
    followed: Array

    @property
    def last(self) -> float:
        """Return the latest time of any row, 0 without rows."""
        return float(self.followed[-1]) if len(self.followed) else 0.0

    def at(self, time: float) -> Estimate:
        """Return the share at a time; NaN where nobody was looked at for so long.

        Before the first event the interval is Clopper and Pearson's, over the rows that were looked at for so long.
        """
        if not time <= self.last:
            return Estimate(nan, 0.0, 1.0)
        i = int(np.searchsorted(self.times, time, side="right")) - 1
        if i < 0:
            n = len(self.followed) - int(np.searchsorted(self.followed, time))
            return Estimate(1.0, _OUTSIDE ** (1 / n), 1.0)
        return Estimate(float(self.shares[i]), float(self.low[i]), float(self.high[i]))


def survival(truth: Array) -> Survival:
    """Estimate how many are left without the event (Kaplan and Meier, *Nonparametric Estimation*, 1958).

    The interval is Greenwood's on the scale of log(−log), which stays between 0 and 1. Where none is left its upper
    bound is that of the time before.
    """
    times, n_events, n_at_risk = _table(truth)
    shares = np.cumprod(1 - n_events / np.maximum(n_at_risk, 1))
    left = shares > 0
    spread = np.cumsum(np.where(left, n_events / np.maximum(n_at_risk * (n_at_risk - n_events), 1), 0.0))
    logs = np.log(np.where(left, shares, 0.5))
    half = NormalDist().inv_cdf(0.975) * np.sqrt(spread) / -logs
    low, high = shares ** np.exp(np.minimum(half, 700)), np.where(left, shares, 0.5) ** np.exp(-half)
    if len(times) and not left[-1]:
        low[-1], high[-1] = 0.0, high[-2] if len(times) > 1 else 1.0
    return Survival(times, shares, low, high, np.sort(truth[known_rows(truth), 0]))


def _table(truth: Array) -> tuple[Array, Array, Array]:
    """Return the times of events, how many there are at each, and how many rows have no earlier time; ``[g]``."""
    rows = truth[known_rows(truth)]
    times, n_events = np.unique(rows[rows[:, 1] > 0, 0], return_counts=True)
    n_at_risk = len(rows) - np.searchsorted(np.sort(rows[:, 0]), times)
    return times, n_events, n_at_risk


def baseline_hazard(truth: Array, scores: Array) -> tuple[Array, Array]:
    """Return the times of events and the cumulative hazard at each of a row whose score is 0; ``float64 [g]``.

    Breslow's estimate (in the discussion of Cox, 1972): at each time its events over the sum of the hazards of those
    who could have had one.

    Parameters
    ----------
    truth, scores
        ``[n, 2]`` and ``[n]``, log hazards.
    """
    known = known_rows(truth)
    times, n_events, _ = _table(truth)
    order = np.argsort(truth[known, 0], kind="stable")
    hazards = np.exp(np.minimum(np.asarray(scores, np.float64)[known][order], 700.0))
    at_risk = np.append(np.cumsum(hazards[::-1])[::-1], 0.0)
    first = np.searchsorted(truth[known, 0][order], times)
    return times, np.cumsum(n_events / at_risk[first])


def slope(truth: Array, column: Array) -> tuple[float, float]:
    """Return the coefficient of one column ``[n]`` in a Cox regression, and its standard error.

    NaN and infinite where the rows do not bound it: without any event, or where the column puts all events in order.
    """
    sets, values = RiskSets.of(truth), np.asarray(column, np.float64)[:, None]

    def slope_at(beta: float) -> float:
        return float((sets.costs(beta * values)[1] * values).sum())

    beta = 0.0
    for _ in range(_MOST_STEPS):
        bend = (slope_at(beta + _STEP) - slope_at(beta - _STEP)) / (2 * _STEP)
        if not bend > 0:
            break
        step = slope_at(beta) / bend
        beta -= max(-_LONGEST_STEP, min(_LONGEST_STEP, step))
        if abs(step) < _SETTLED:
            break
    bend = (slope_at(beta + _STEP) - slope_at(beta - _STEP)) / (2 * _STEP)
    return (beta, bend**-0.5) if bend > _SETTLED else (nan, inf)


def hazard_ratio(truth: Array, is_first: Array) -> Estimate:
    """Estimate how many times the hazard of the others that of the marked rows is, ``bool [n]``; Wald's interval.

    Without an event on either side it is NaN and anything.
    """
    known = known_rows(truth)
    rows, marked = truth[known], np.asarray(is_first, bool)[known]
    if not ((rows[marked, 1] > 0).any() and (rows[~marked, 1] > 0).any()):
        return Estimate(nan, 0.0, inf)
    beta, error = slope(rows, marked.astype(np.float64))
    if not np.isfinite(error):
        return Estimate(nan, 0.0, inf)
    half = NormalDist().inv_cdf(0.975) * error
    return Estimate(exp(beta), exp(beta - half), exp(min(beta + half, 700.0)))
