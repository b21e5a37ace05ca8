"""Intervals: what the literature says, what they cover in simulation, and what they do at the edges."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

import numpy as np
import pytest

from topwork.errors import UsageError
from topwork.evaluation.intervals import (
    independent_difference,
    interval_of_draws,
    mean_of_independent,
    paired_difference,
    resample,
    stratified_bootstrap,
    wilson,
)

if TYPE_CHECKING:
    from topwork.contracts import Array, Estimate


def holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


# --- Wilson -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n"), [(0, 1), (1, 1), (0, 10), (7, 10), (10, 10), (83, 110), (9_999, 10_000)]
)
@pytest.mark.parametrize(("level", "z"), [(0.8, 1.2815515655), (0.95, 1.9599639845), (0.99, 2.5758293035)])
def test_wilson_bounds_are_where_the_score_test_turns(successes: int, n: int, level: float, z: float) -> None:
    e = wilson(successes, n, level)
    assert e.value == successes / n
    for bound in (e.low, e.high):
        assert (e.value - bound) ** 2 == pytest.approx(z * z * bound * (1 - bound) / n, abs=1e-9)
    assert e.low < e.value or successes == 0
    assert e.high > e.value or successes == n


def test_wilson_gives_the_published_example() -> None:
    e = wilson(81, 263)  # Newcombe 1998, table I
    assert (round(e.low, 4), round(e.high, 4)) == (0.2553, 0.3662)


def test_wilson_of_nothing_knows_nothing() -> None:
    estimate = wilson(0, 0)
    assert isnan(estimate.value)
    assert (estimate.low, estimate.high) == (0.0, 1.0)


def test_wilson_never_leaves_0_to_1_and_always_holds_its_value() -> None:
    for n in range(1, 60):
        for successes in range(n + 1):
            e = wilson(successes, n)
            assert 0 <= e.low <= e.value <= e.high <= 1
            assert e.high - e.low > 0.03, "an interval of a few rows is never a point"


def test_wilson_covers_what_it_promises() -> None:
    rng = np.random.default_rng(0)
    for n, share in [(20, 0.5), (50, 0.9), (110, 0.75)]:
        hits = [holds(wilson(int(s), n), share) for s in rng.binomial(n, share, size=4000)]
        assert 0.92 <= np.mean(hits) <= 0.985, (n, share)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (1, 0)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(UsageError, match=f"{successes} successes out of {n}"):
        wilson(successes, n)


# --- means of independent estimates --------------------------------------------------------------------


def test_a_mean_of_one_is_that_one() -> None:
    one = wilson(7, 10)
    mean = mean_of_independent([one])
    assert (mean.value, mean.low, mean.high) == pytest.approx((one.value, one.low, one.high))


def test_a_mean_of_equals_narrows_with_the_root_of_their_number() -> None:
    one = wilson(7, 10)
    mean = mean_of_independent([one] * 4)
    assert mean.value == pytest.approx(one.value)
    assert mean.value - mean.low == pytest.approx((one.value - one.low) / 2)
    assert mean.high - mean.value == pytest.approx((one.high - one.low) / 4), "half the width at least"


def test_unknown_parts_are_left_out_of_a_mean() -> None:
    one = wilson(7, 10)
    assert mean_of_independent([one, wilson(0, 0)]) == mean_of_independent([one])
    nothing = mean_of_independent([wilson(0, 0)])
    assert isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0.0, 1.0)


def test_a_mean_of_perfect_parts_stays_within_1_and_is_no_point() -> None:
    mean = mean_of_independent([wilson(10, 10)] * 6)
    assert mean.value == mean.high == 1.0
    assert mean.low < 0.95


@pytest.mark.parametrize(("k", "n"), [(4, 38), (20, 8)])
@pytest.mark.parametrize("share", [0.8, 0.93, 0.98])
def test_a_mean_of_proportions_covers_what_it_promises(k: int, n: int, share: float) -> None:
    counts = np.random.default_rng(0).binomial(n, share, size=(400, k))
    hits = [holds(mean_of_independent(wilson(int(c), n) for c in row), share) for row in counts]
    # Near 1 there is all but no room above, and Wilson's bounds below add up to too much: up to 100 %.
    assert np.mean(hits) >= 0.92


# --- bootstrap ------------------------------------------------------------------------------------------


def rows_drawn(weights: Array) -> Array:
    return weights


def test_resamples_keep_the_size_of_each_stratum() -> None:
    strata = np.array([2, 0, 2, 1, 0, 2, 1, 2])
    weights = resample(strata, rows_drawn, seed=0, n_resamples=300)
    assert weights.shape == (300, 8)
    for stratum in range(3):
        assert weights[:, strata == stratum].sum(1) == pytest.approx((strata == stratum).sum(), rel=1e-6)


def test_the_order_of_the_rows_does_not_matter_to_the_draws() -> None:
    rng = np.random.default_rng(0)
    strata, values = rng.integers(0, 3, 60), rng.normal(size=60)
    order = np.argsort(strata, kind="stable")
    shuffled = stratified_bootstrap(strata, lambda w: w @ values / w.sum(1), seed=1)
    neighbours = stratified_bootstrap(strata[order], lambda w: w @ values[order] / w.sum(1), seed=1)
    assert (shuffled.low, shuffled.high) == pytest.approx((neighbours.low, neighbours.high))


def test_the_variance_of_a_mean_is_unbiased_even_in_tiny_strata() -> None:
    values = np.array([0.0, 1.0, 5.0, 2.0, 2.0, 7.0])
    strata = np.array([0, 0, 0, 1, 1, 1])
    means = resample(strata, lambda w: w @ values / 6, seed=0, n_resamples=40_000)
    expected = sum(values[strata == s].var(ddof=1) / 3 for s in (0, 1)) / 4
    assert means.var() == pytest.approx(expected, rel=0.05)


def test_rows_alone_in_their_stratum_vary_together() -> None:
    weights = resample(np.arange(5), rows_drawn, seed=0, n_resamples=200)
    assert weights.sum(1) == pytest.approx(5)
    assert weights.std(0).min() > 0.5
    assert (resample(np.array([3]), rows_drawn, seed=0) == 1).all()


def test_the_same_seed_gives_the_same_interval_and_another_seed_nearly_the_same() -> None:
    rng = np.random.default_rng(0)
    values, strata = rng.normal(size=400), rng.integers(0, 4, 400)
    first, again, other = (
        stratified_bootstrap(strata, lambda w: w @ values / w.sum(1), seed=s) for s in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert (first.low, first.high) == pytest.approx((other.low, other.high), abs=0.02)


def test_the_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(3, 2, size=2000)
    e = stratified_bootstrap(np.zeros(2000, np.int64), lambda w: w @ values / w.sum(1), seed=0)
    half = 1.96 * values.std(ddof=1) / 2000**0.5
    assert e.value == pytest.approx(values.mean(), rel=1e-6)
    assert (e.low, e.high) == pytest.approx((e.value - half, e.value + half), abs=0.15 * half)


def test_a_bootstrap_of_nothing_knows_nothing() -> None:
    e = stratified_bootstrap(np.empty(0, np.int64), lambda w: w.sum(1), seed=0)
    assert isnan(e.value)
    assert (e.low, e.high) == (float("-inf"), float("inf"))


def test_many_rows_get_fewer_resamples_and_little_memory_at_a_time() -> None:
    sizes = []

    def statistic(weights: Array) -> Array:
        sizes.append(weights.size)
        return np.asarray(weights.sum(1))

    draws = resample(np.zeros(120_000, np.int64), statistic, seed=0)
    assert len(draws) == 200
    assert max(sizes) <= 2_000_000
    assert sum(sizes) == 200 * 120_000


def test_an_interval_always_holds_its_value() -> None:
    assert interval_of_draws(2.0, np.array([0.0, 1.0])).high == 2.0
    assert interval_of_draws(-1.0, np.array([0.0, 1.0])).low == -1.0
    assert interval_of_draws(50.0, np.arange(101.0), 0.9).low == pytest.approx(5.0)


# --- differences ------------------------------------------------------------------------------------------


def test_a_paired_difference_gives_the_published_examples() -> None:
    e = paired_difference(6, 16, 161)  # Fagerland, Lydersen & Laake 2017, table 8.3: complete response
    assert (round(e.value, 4), round(e.low, 4), round(e.high, 4)) == (-0.0621, -0.1240, -0.0054)
    e = paired_difference(3, 0, 3)
    assert (e.value, round(e.low, 4), e.high) == (1.0, -0.1230, 1.0)


@pytest.mark.parametrize(("b", "c", "n"), [(0, 0, 20), (5, 0, 20), (7, 3, 40), (0, 12, 12), (1, 1, 500)])
def test_a_paired_difference_is_what_the_score_test_does_not_reject(b: int, c: int, n: int) -> None:
    """Find the likeliest shares under each bound by search, not by the formula."""
    e = paired_difference(b, c, n)
    for bound in (x for x in (e.low, e.high) if abs(x) < 1):
        only_b = np.linspace(max(0.0, -bound), (1 - bound) / 2, 200_001)[1:-1]
        only_a, both = only_b + bound, 1 - 2 * only_b - bound
        fit = b * np.log(only_a) + c * np.log(only_b) + (n - b - c) * np.log(both)
        best = int(fit.argmax())
        variance = n * (only_a[best] + only_b[best] - bound**2)
        assert (b - c - n * bound) ** 2 / variance == pytest.approx(1.959964**2, rel=0.01)


def test_a_paired_difference_turns_with_its_sides() -> None:
    there, back = paired_difference(7, 2, 30), paired_difference(2, 7, 30)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    nothing = paired_difference(0, 0, 0)
    assert isnan(nothing.value)
    assert (nothing.low, nothing.high) == (-1, 1)


def test_models_that_never_disagree_are_as_sure_as_wilson_is() -> None:
    assert paired_difference(0, 0, 50).high == pytest.approx(wilson(0, 50).high)


def test_a_paired_difference_covers_what_it_promises() -> None:
    rng = np.random.default_rng(0)
    for n, only_a, only_b in [(60, 0.1, 0.05), (100, 0.06, 0.02), (200, 0.15, 0.15)]:
        draws = rng.multinomial(n, [only_a, only_b, 1 - only_a - only_b], size=2000)
        hits = [holds(paired_difference(int(a), int(b), n), only_a - only_b) for a, b, _ in draws]
        assert 0.92 <= np.mean(hits) <= 0.99, (n, only_a, only_b)


@pytest.mark.parametrize(("b", "c", "n"), [(-1, 0, 5), (3, 3, 5)])
def test_a_paired_difference_refuses_impossible_counts(b: int, c: int, n: int) -> None:
    with pytest.raises(UsageError, match=f"{b} and {c} rows of disagreement out of {n}"):
        paired_difference(b, c, n)


def test_a_difference_of_groups_gives_the_published_example() -> None:
    e = independent_difference(wilson(7, 34), wilson(1, 34))  # Perondi et al. 2004, in Fagerland et al. 2017
    assert (round(e.value, 4), round(e.low, 4), round(e.high, 4)) == (0.1765, 0.0189, 0.3404)


def test_a_difference_from_nothing_knows_nothing() -> None:
    e = independent_difference(wilson(5, 10), wilson(0, 0))
    assert isnan(e.value)
    assert e.low < -0.7
    assert e.high > 0.7


def test_a_difference_of_groups_covers_what_it_promises() -> None:
    rng = np.random.default_rng(0)
    for n, m, p, q in [(20, 90, 0.8, 0.9), (7, 200, 0.6, 0.9), (50, 50, 0.95, 0.95)]:
        pairs = zip(rng.binomial(n, p, 2000), rng.binomial(m, q, 2000), strict=True)
        hits = [holds(independent_difference(wilson(int(a), n), wilson(int(b), m)), p - q) for a, b in pairs]
        assert 0.92 <= np.mean(hits) <= 0.99, (n, m)
