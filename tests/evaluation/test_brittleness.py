"""Spreads over seeds: what scipy says, and what they cover."""

from __future__ import annotations

from math import inf, isnan

import numpy as np
import pytest
from scipy import stats

from topwork.errors import UsageError
from topwork.evaluation.brittleness import spread, variance_ratio


def test_a_spread_is_that_of_the_textbook() -> None:
    values = np.array([0.81, 0.84, 0.79, 0.88, 0.82])
    found = spread(values)
    assert found.n == 5
    assert found.mean.value == pytest.approx(values.mean())
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (found.mean.low, found.mean.high) == pytest.approx((low, high))
    assert found.deviation.value == pytest.approx(values.std(ddof=1))
    bounds = np.sqrt(4 * values.var(ddof=1) / stats.chi2.ppf([0.975, 0.025], 4))
    assert (found.deviation.low, found.deviation.high) == pytest.approx(tuple(bounds))


def test_equal_runs_may_differ_by_what_the_metric_cannot_show() -> None:
    same = np.full(4, 0.9)
    assert spread(same).deviation.high == pytest.approx(0)
    found = spread(same, step=1 / 110)
    assert found.deviation.value == pytest.approx(0)
    assert 0.005 < found.deviation.high < 0.03
    wide = np.array([0.5, 0.7, 0.9])
    assert spread(wide, step=0.01) == spread(wide)


def test_spreads_cover_the_truth() -> None:
    rng = np.random.default_rng(0)
    found = [spread(rng.normal(0.8, 0.02, 5)) for _ in range(400)]
    assert 0.92 <= np.mean([f.mean.low <= 0.8 <= f.mean.high for f in found]) <= 0.99
    assert 0.92 <= np.mean([f.deviation.low <= 0.02 <= f.deviation.high for f in found]) <= 0.99


def test_ratios_cover_the_truth() -> None:
    rng = np.random.default_rng(0)
    found = [variance_ratio(rng.normal(0, 3, 8), rng.normal(0, 1, 5)) for _ in range(400)]
    assert 0.92 <= np.mean([e.low <= 9 <= e.high for e in found]) <= 0.99


def test_a_ratio_turns_with_its_sides() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=6), 2 * rng.normal(size=9)
    there, back = variance_ratio(a, b), variance_ratio(b, a)
    assert (there.value, there.low, there.high) == pytest.approx(
        (1 / back.value, 1 / back.high, 1 / back.low)
    )
    assert there.low < there.value < there.high


def test_a_ratio_to_nothing_says_nothing() -> None:
    some, none = np.array([1.0, 2.0]), np.array([1.0, 1.0])
    assert variance_ratio(some, none).value == inf
    assert isnan(variance_ratio(none, none).value)
    for e in (variance_ratio(some, none), variance_ratio(none, none)):
        assert (e.low, e.high) == (0, inf)
    assert variance_ratio(none, some).value == 0


def test_runs_that_look_equal_do_not_make_a_ratio_sure() -> None:
    same, other = np.full(3, 0.9), np.array([0.8, 0.85, 0.9])
    found = variance_ratio(same, other, step=1 / 20)
    assert (found.value, found.low) == (0, 0)
    assert found.high > 0.5
    wide = np.array([0.5, 0.7, 0.9])
    assert variance_ratio(wide, other, step=0.01) == variance_ratio(wide, other)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_what_has_no_spread_is_refused(values: list[float]) -> None:
    with pytest.raises(UsageError, match="two or more numbers"):
        spread(np.array(values))
    with pytest.raises(UsageError, match="two or more numbers"):
        variance_ratio(np.array([1.0, 2.0]), np.array(values))
