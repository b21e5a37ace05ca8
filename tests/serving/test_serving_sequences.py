"""Bounds that hold however often one looks: against simulations, and against intervals that hold only once."""

from __future__ import annotations

from random import Random

import pytest

from topwork.evaluation.intervals import wilson
from topwork.serving.traffic.sequences import proportion_bounds, quantile_ranks

ALPHA = 0.1


def test_nothing_is_known_of_nothing() -> None:
    assert proportion_bounds(0, 0, ALPHA) == (0.0, 1.0)
    assert quantile_ranks(0.5, 0, ALPHA) == (0, 1)
    assert quantile_ranks(0.95, 20, ALPHA)[1] == 21, "20 values do not bound their 95 % quantile"


@pytest.mark.parametrize(("successes", "n"), [(0, 50), (50, 50), (1, 3), (20, 100), (999, 1000)])
def test_the_bounds_enclose_what_was_seen(successes: int, n: int) -> None:
    low, high = proportion_bounds(successes, n, ALPHA)
    assert 0 <= low <= successes / n <= high <= 1
    assert (low == 0, high == 1) == (successes == 0, successes == n)
    sure = proportion_bounds(successes, n, ALPHA / 100)
    assert sure[0] <= low
    assert sure[1] >= high


def test_they_close_in_on_the_truth() -> None:
    widths = [
        high - low for n in (10, 100, 1000, 10_000) for low, high in [proportion_bounds(n // 5, n, ALPHA)]
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.04
    low, high = quantile_ranks(0.5, 10_000, ALPHA)
    assert 4700 < low < 5000 < high < 5300


def test_a_stream_leaves_them_as_seldom_as_promised_though_one_looks_after_every_trial() -> None:
    random, p, n_streams, n = Random(0), 0.2, 120, 200
    left = naive = 0
    for _ in range(n_streams):
        successes, outside, outside_once = 0, False, False
        for trial in range(1, n + 1):
            successes += random.random() < p
            low, high = proportion_bounds(successes, trial, ALPHA)
            outside |= not low <= p <= high
            usual = wilson(successes, trial, 1 - ALPHA)
            outside_once |= not usual.low <= p <= usual.high
        left += outside
        naive += outside_once
    assert left / n_streams <= ALPHA
    assert naive / n_streams > 3 * ALPHA, "this stream is too easy: even an interval for one look holds"


def test_the_ranks_enclose_the_quantile_as_often_as_promised() -> None:
    random, p, n_streams, n = Random(1), 0.9, 120, 300
    left = 0
    for _ in range(n_streams):
        values: list[float] = []
        outside = False
        for _ in range(n):
            values.append(random.random())
            if len(values) % 10 == 0:
                ordered = [-1.0, *sorted(values), 2.0]
                low, high = quantile_ranks(p, len(values), ALPHA)
                outside |= not ordered[low] <= p <= ordered[high]
        left += outside
    assert left / n_streams <= ALPHA
