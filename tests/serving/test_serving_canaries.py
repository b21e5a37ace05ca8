"""The decision over a new version: what it says of plain cases, and how often it is wrong in simulations."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from topwork.serving.traffic.canaries import ERROR_RATE, Rules, Tally, decided

RULES = Rules(promote_after=500, most_errors=0.05, most_slower=0.25)


def tally(n: int, n_failed: int = 0, seconds: float = 0.1, spread: float = 0.2, seed: int = 0) -> Tally:
    found, random = Tally(), Random(seed)
    for index in range(n):
        found.add(
            failed=index < n_failed,
            seconds=None if index < n_failed else seconds * random.uniform(1 - spread, 1 + spread),
        )
    return found


def test_without_requests_it_waits() -> None:
    assert decided(RULES, Tally(), Tally(), 0.0).word == "wait"
    assert decided(RULES, tally(10_000), Tally(), 1e6).word == "wait"
    assert decided(RULES, Tally(), tally(10_000), 1e6).word == "wait", "there is nothing to compare with"


def test_one_that_is_as_good_is_promoted_once_it_had_enough() -> None:
    old, new = tally(4000), tally(1000, seed=1)
    verdict = decided(RULES, old, new, 60.0)
    assert verdict.word == "promote"
    assert "0 of 1,000 requests failed" in verdict.reason
    assert decided(replace(RULES, promote_after=1001), old, new, 60.0).word == "wait"
    assert decided(replace(RULES, watch_s=61.0), old, new, 60.0).word == "wait"
    assert decided(replace(RULES, most_errors=0.0001), old, new, 60.0).word == "wait", "that is not shown"


def test_one_that_fails_is_rolled_back_within_a_few_requests() -> None:
    verdict = decided(RULES, tally(1000), tally(15, 15), 1.0)
    assert verdict.word == "roll back"
    assert "15 of 15 requests failed" in verdict.reason
    assert decided(RULES, tally(1000), tally(1, 1), 1.0).word == "wait", "one failure shows nothing"
    assert decided(RULES, tally(1000, 1000), tally(200, 200), 1.0).word == "wait", "the old one fails as well"


@pytest.mark.parametrize(("seconds", "expected"), [(0.05, "promote"), (0.11, "promote"), (0.2, "roll back")])
def test_one_that_is_slower_than_allowed_is_rolled_back(seconds: float, expected: str) -> None:
    assert decided(RULES, tally(5000), tally(2000, seconds=seconds, seed=1), 60.0).word == expected


def test_a_slow_tail_is_seen_though_the_median_is_the_same() -> None:
    new = tally(2000, seed=1)
    for _ in range(300):
        new.add(failed=False, seconds=1.0)
    verdict = decided(RULES, tally(5000), new, 60.0)
    assert verdict.word == "roll back"
    assert "The 95% quantile" in verdict.reason
    assert "The 50% quantile" not in verdict.reason


def ends(old_rate: float, new_rate: float, *, slower: float = 1.0, n_trials: int, n: int) -> Counter[str]:
    """Run trials, looking as the server does, and count how they end."""
    found: Counter[str] = Counter()
    for seed in range(n_trials):
        random, old, new, look, word = Random(seed), Tally(), Tally(), 1, "wait"
        for _ in range(n):
            for one, rate, factor in ((old, old_rate, 1.0), (new, new_rate, slower)):
                failed = random.random() < rate
                one.add(failed=failed, seconds=None if failed else factor * 0.1 * random.uniform(0.9, 1.1))
            if new.n >= look:
                look = new.n + max(1, new.n // 20)
                word = decided(RULES, old, new, 0.0).word
            if word != "wait":
                break
        found[word] += 1
    return found


def test_one_that_is_the_same_is_promoted_and_hardly_ever_rolled_back() -> None:
    found = ends(0.05, 0.05, n_trials=20, n=3000)
    assert found["roll back"] <= 1
    assert found["promote"] >= 15


def test_one_that_is_exactly_as_bad_as_allowed_is_seldom_judged_either_way() -> None:
    """At the edge each verdict is a mistake; of 40 trials with a chance of 5 %, more than 6 are wrong once in 70."""
    found = ends(0.05, 0.10, n_trials=40, n=1000)
    assert found["promote"] + found["roll back"] <= 40 * ERROR_RATE + 4


def test_one_that_is_far_worse_never_gets_the_traffic() -> None:
    assert ends(0.02, 0.3, n_trials=20, n=1000) == {"roll back": 20}
    assert ends(0.0, 0.0, slower=1.6, n_trials=10, n=1000) == {"roll back": 10}
