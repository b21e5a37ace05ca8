"""The rule of how many worker processes there are to be: Cortex's examples, properties, and simulated arrivals."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topwork.errors import UsageError
from topwork.serving.replicas.autoscaling import Moment, Past, Policy, decided, recommended, tick_s


def policy(**fields: Any) -> Policy:
    return Policy(**{"max_replicas": 100, **fields}).completed(1)


# --- what is recommended --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "n_now", "expected"),
    [
        (3.0, 3, 3),
        (2.86, 3, 3),  # within 5 % below
        (3.14, 3, 3),  # within 5 % above
        (2.84, 3, 3),  # beyond, but no whole process fewer
        (3.16, 3, 4),
        (1.9, 3, 2),
        (0.0, 4, 3),  # one fewer is always allowed, and three quarters are three
        (0.0, 10, 8),  # three quarters of ten, rounded up
        (0.0, 1, 0),
        (100.0, 10, 15),
        (100.0, 1, 2),  # one more is always allowed
        (100.0, 3, 5),  # one and a half times three, rounded up
        (0.2, 0, 1),
        (5.0, 0, 1),
        (0.0, 0, 0),
    ],
)
def test_a_load_asks_for_so_many(raw: float, n_now: int, expected: int) -> None:
    assert recommended(policy(min_replicas=0), raw, n_now) == expected


def test_what_is_asked_for_stays_within_the_bounds() -> None:
    assert recommended(policy(min_replicas=2), 0.0, 2) == 2
    assert recommended(policy(max_replicas=3), 100.0, 3) == 3
    assert recommended(policy(min_replicas=5, max_replicas=8), 1.0, 2) == 5


def test_a_share_that_is_nothing_lets_all_go_at_once() -> None:
    assert recommended(policy(min_replicas=0, max_downscale_factor=0.0), 0.0, 50) == 0
    assert recommended(policy(max_upscale_factor=100.0), 70.0, 1) == 70


policies = st.builds(
    lambda low, more, up, down, slack: Policy(
        min_replicas=low,
        max_replicas=max(1, low + more),
        max_upscale_factor=up,
        max_downscale_factor=down,
        upscale_tolerance=slack,
        downscale_tolerance=slack,
    ).completed(1),
    low=st.integers(0, 20),
    more=st.integers(0, 40),
    up=st.floats(1, 5),
    down=st.floats(0, 1),
    slack=st.floats(0, 1),
)


@given(policies, st.floats(0, 1000), st.integers(0, 60))
def test_a_recommendation_is_bounded_and_never_more_than_a_step(rule: Policy, raw: float, n_now: int) -> None:
    n = recommended(rule, raw, n_now)
    assert rule.min_replicas <= n <= rule.n_most
    if rule.min_replicas <= n_now <= rule.n_most:
        assert min(n_now - 1, math.ceil(n_now * rule.max_downscale_factor)) <= n
        assert n <= max(n_now + 1, math.ceil(n_now * rule.max_upscale_factor))
        if n_now * (1 - rule.downscale_tolerance) < raw < n_now * (1 + rule.upscale_tolerance):
            assert n == n_now


@given(policies, st.floats(0, 1000), st.floats(0, 1000), st.integers(0, 60))
def test_more_load_never_asks_for_less(rule: Policy, one: float, other: float, n_now: int) -> None:
    low, high = sorted((one, other))
    assert recommended(rule, low, n_now) <= recommended(rule, high, n_now)


# --- what is decided, over time -------------------------------------------------------------------------


def run(rule: Policy, load: Callable[[float], float], until_s: float, n: int | None = None) -> list[int]:
    """Let ``load`` (requests in flight at a time) go on, and return how many processes there were at each tick."""
    n_now = rule.n_first if n is None else n
    past, request_s, at_s, found = Past(0.0), 0.0, 0.0, []
    step = tick_s(rule)
    while at_s <= until_s:
        n_now, past = decided(rule, past, now=Moment(at_s, request_s, n_now))
        found.append(n_now)
        request_s += load(at_s) * step
        at_s += step
    return found


def test_a_step_is_followed_after_the_period_and_held() -> None:
    found = run(policy(), lambda at_s: 8.0 if at_s >= 100 else 0.0, 900)
    assert set(found[:11]) == {1}
    assert found[-1] == 8
    assert sorted(found) == found, "on its way up it never went down"
    # A minute's lowest recommendation is above 1 a minute after the first that was.
    assert found.index(2) * 10 >= 160


def test_an_idle_model_comes_down_only_after_the_period() -> None:
    found = run(policy(), lambda at_s: 8.0 if at_s < 500 else 0.0, 3000, n=8)
    assert set(found[:80]) == {8}, "five minutes' highest recommendation is 8 for five minutes"
    assert found[-1] == 1
    assert sorted(found, reverse=True) == found
    assert all(before - after <= max(1, before // 4) for before, after in pairwise(found))


def test_a_spike_shorter_than_the_period_changes_nothing() -> None:
    found = run(policy(window_s=10.0), lambda at_s: 50.0 if 200 <= at_s < 240 else 1.0, 900)
    assert set(found) == {1}


def test_a_pause_shorter_than_the_period_changes_nothing() -> None:
    found = run(policy(window_s=10.0), lambda at_s: 0.0 if 600 <= at_s < 840 else 6.0, 1500, n=6)
    assert set(found) == {6}


def test_a_ramp_is_followed_closely() -> None:
    found = run(policy(), lambda at_s: at_s / 60, 3600)
    assert sorted(found) == found
    # It lags by half the window, the period and the tolerance, and is rounded up.
    assert all(
        abs(n - at_s / 60) <= 3.5 + 0.05 * at_s / 60
        for at_s, n in zip(range(0, 3610, 10), found, strict=True)
    )


def test_to_zero_and_only_with_leave() -> None:
    idle: Callable[[float], float] = lambda at_s: 1.0 if at_s < 60 else 0.0  # noqa: E731
    assert run(policy(), idle, 2000)[-1] == 1
    found = run(policy(min_replicas=0), idle, 2000)
    assert found[-1] == 0
    # The last request at 60, its window, the period; and a tick at either end.
    assert 410 <= found.index(0) * 10 <= 430


def test_a_request_too_short_for_a_tick_counts() -> None:
    # One request of five milliseconds in each 50 s: nobody who looks now and then would see one.
    found = run(policy(min_replicas=0), lambda at_s: 0.0005 if at_s % 50 == 0 else 0.0, 4000)
    assert set(found) == {1}


def test_who_was_woken_stays_for_the_period() -> None:
    rule = policy(min_replicas=0)
    past = Past(-1000.0).woken(0.0)
    n, found = 1, []
    for at_s in range(0, 400, 10):
        n, past = decided(rule, past, now=Moment(float(at_s), 0.0, n))
        found.append(n)
    assert found[:30] == [1] * 30
    assert found[-1] == 0


@given(policies, st.lists(st.floats(0, 200), min_size=2, max_size=60), st.integers(1, 20))
def test_no_decision_breaks_a_bound(rule: Policy, loads: list[float], n_now: int) -> None:
    past, request_s = Past(0.0), 0.0
    n_now = min(max(n_now, rule.min_replicas), rule.n_most)
    for tick, load in enumerate(loads):
        before = n_now
        n_now, past = decided(rule, past, now=Moment(tick * 10.0, request_s, n_now))
        assert rule.min_replicas <= n_now <= rule.n_most
        assert n_now >= min(before - 1, math.ceil(before * rule.max_downscale_factor))
        assert n_now <= max(before + 1, math.ceil(before * rule.max_upscale_factor))
        request_s += load * 10.0
    assert len(past.sums) <= 60 / 10 + 2
    assert len(past.advice) <= 300 / 10 + 1


# --- what a policy may say ------------------------------------------------------------------------------


def test_what_is_left_open_is_filled_by_the_engine() -> None:
    rule = Policy(max_replicas=4).completed(3)
    assert (rule.max_concurrency, rule.target_in_flight, rule.n_first, rule.n_line) == (3, 3.0, 1, None)
    rule = Policy(max_replicas=4, min_replicas=0, max_queue_length=5, max_concurrency=2).completed(3)
    assert (rule.max_concurrency, rule.target_in_flight, rule.n_first, rule.n_line) == (2, 2.0, 1, 20)
    assert Policy(max_replicas=4, target_in_flight=1.5).completed(3).target_in_flight == 1.5
    assert Policy(max_replicas=128).completed(1000).max_concurrency == 32
    assert Policy().n_most == 0


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"min_replicas": 2}, "min_replicas is given, and max_replicas is not"),
        ({"window_s": 5.0}, "window is given, and max_replicas is not"),
        ({"max_replicas": 2, "min_replicas": 3}, "min_replicas is 3, init_replicas 3 and max_replicas 2"),
        ({"max_replicas": 2, "init_replicas": 3}, "init_replicas 3"),
        ({"max_replicas": 4, "init_replicas": 1, "min_replicas": 2}, "expected none of them below"),
        ({"max_replicas": 128, "max_concurrency": 1024}, "max_replicas times max_concurrency is 131072"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        Policy(**fields)
    assert told in caught.value.problem
    assert caught.value.next_step


def test_a_tick_is_at_most_ten_seconds_and_a_sixth_of_a_window() -> None:
    assert tick_s(policy()) == 10.0
    assert tick_s(policy(window_s=600.0)) == 10.0
    assert tick_s(policy(window_s=6.0)) == 1.0
