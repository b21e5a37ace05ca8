"""Tokens come back with time, never more than a minute's, and memory is bounded."""

from __future__ import annotations

import pytest

from doors import Clock
from topwork.serving.http.rates import Buckets


def test_a_minutes_worth_may_be_used_at_once_and_comes_back_with_time() -> None:
    clock = Clock()
    buckets = Buckets(clock)
    assert [buckets.take("a", 3) for _ in range(3)] == [0.0] * 3
    assert buckets.take("a", 3) == pytest.approx(20)
    clock.now_s = 15
    assert buckets.take("a", 3) == pytest.approx(5)
    clock.now_s = 20.001
    assert buckets.take("a", 3) == 0
    assert buckets.take("a", 3) > 0
    clock.now_s = 1e6
    assert [buckets.take("a", 3) == 0 for _ in range(4)] == [True, True, True, False]


def test_over_an_hour_no_more_come_than_are_allowed() -> None:
    clock = Clock()
    buckets = Buckets(clock)
    n_let_in = 0
    while clock.now_s < 3600:
        n_let_in += buckets.take("a", 10) == 0
        clock.now_s += 0.7
    assert 600 <= n_let_in <= 610


def test_names_do_not_share_a_bucket() -> None:
    buckets = Buckets(Clock())
    assert buckets.take("a", 1) == 0
    assert buckets.take("b", 1) == 0
    assert buckets.take("a", 1) == pytest.approx(60)


def test_a_lower_limit_holds_at_once() -> None:
    buckets = Buckets(Clock())
    assert buckets.take("a", 100) == 0
    assert buckets.take("a", 1) == 0
    assert buckets.take("a", 1) > 0


def test_the_bucket_used_the_longest_ago_is_forgotten() -> None:
    buckets = Buckets(Clock(), most=2)
    for name in ("a", "b", "a", "c"):
        buckets.take(name, 1)
    assert len(buckets) == 2
    assert buckets.take("a", 1) > 0, "a was used after b"
    assert buckets.take("b", 1) == 0
