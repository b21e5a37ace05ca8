"""Believing probabilities: bins, abstention and the cheapest threshold, on ties, on little and on nothing."""

from __future__ import annotations

from math import inf, isnan
from typing import TYPE_CHECKING

import numpy as np
import pytest

from topwork.errors import UsageError
from topwork.evaluation.calibration import (
    abstention,
    cheapest_threshold,
    cost_at_threshold,
    reliability,
)
from topwork.evaluation.intervals import wilson

if TYPE_CHECKING:
    from topwork.contracts import Array


def told(tops: list[float], rights: list[int]) -> tuple[Array, Array]:
    """Make two-class rows of these top probabilities, right or wrong."""
    p = np.stack([tops, 1 - np.array(tops)], axis=1)
    return 1 - np.array(rights, np.int64), p


def believable(n: int, *, seed: int, overconfident: float = 0.0) -> tuple[Array, Array]:
    """Make rows whose top probability is the chance of being right, or above it."""
    rng = np.random.default_rng(seed)
    tops = rng.uniform(0.55, 0.95, n)
    right = rng.random(n) < tops - overconfident
    return (~right).astype(np.int64), np.stack([tops, 1 - tops], axis=1)


# --- reliability ----------------------------------------------------------------------------------------


def test_bins_hold_every_labelled_row_in_about_equal_parts() -> None:
    truth, p = believable(310, seed=0)
    truth[:10] = -1
    bins = reliability(truth, p)
    assert sum(b.n for b in bins) == 300
    assert len(bins) == 15
    assert max(b.n for b in bins) - min(b.n for b in bins) <= 2
    assert [b.confidence for b in bins] == sorted(b.confidence for b in bins)
    top = p[10:].max(1)
    assert sum(b.n * b.confidence for b in bins) == pytest.approx(top.sum())
    assert sum(b.n * b.right.value for b in bins) == pytest.approx((truth[10:] == 0).sum())


def test_a_believable_model_lies_within_its_bins_and_a_boaster_does_not() -> None:
    def share_held(overconfident: float) -> float:
        every = [
            b for s in range(40) for b in reliability(*believable(300, seed=s, overconfident=overconfident))
        ]
        return float(np.mean([b.right.low <= b.confidence <= b.right.high for b in every]))

    assert 0.92 <= share_held(0.0) <= 0.99
    assert share_held(0.2) < 0.6


def test_rows_of_one_probability_share_a_bin() -> None:
    bins = reliability(*told([0.9] * 50 + [0.6] * 50, [1] * 45 + [0] * 5 + [1] * 30 + [0] * 20))
    assert [b.n for b in bins] == [50, 50]
    assert [b.confidence for b in bins] == pytest.approx([0.6, 0.9])
    assert bins[1].right == wilson(45, 50)


def test_without_labels_there_is_no_bin_no_point_and_no_area() -> None:
    nothing = np.array([-1, -1]), np.array([[0.5, 0.5], [0.9, 0.1]])
    assert reliability(*nothing) == ()
    assert abstention(*nothing).points == ()
    assert isnan(abstention(*nothing).area)


# --- abstention -----------------------------------------------------------------------------------------


def test_the_curve_counts_the_most_confident_first() -> None:
    curve = abstention(*told([0.9, 0.6, 0.8, 0.7], [1, 0, 1, 0]))
    assert [(p.threshold, p.coverage, p.accuracy.value) for p in curve.points] == [
        (0.9, 0.25, 1.0),
        (0.8, 0.5, 1.0),
        (0.7, 0.75, pytest.approx(2 / 3)),
        (0.6, 1.0, 0.5),
    ]
    assert curve.area == pytest.approx((1 + 1 + 2 / 3 + 1 / 2) / 4)
    assert curve.points[-1].accuracy == wilson(2, 4)


def test_equally_confident_rows_are_answered_together_in_any_order() -> None:
    truth, p = told([0.9, 0.7, 0.7, 0.7, 0.5], [1, 1, 0, 0, 1])
    curve = abstention(truth, p)
    assert [pt.coverage for pt in curve.points] == [0.2, 0.8, 1.0]
    assert curve.area == pytest.approx((1 + 3 * 0.5 + 0.6) / 5)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(5)
        assert abstention(truth[order], p[order]) == curve
    flat = abstention(*told([0.8] * 10, [1] * 7 + [0] * 3))
    assert [(pt.coverage, pt.accuracy) for pt in flat.points] == [(1.0, wilson(7, 10))]
    assert flat.area == pytest.approx(0.7)


def test_many_rows_make_twenty_points_that_reach_their_step() -> None:
    curve = abstention(*believable(1000, seed=0))
    assert [pt.coverage for pt in curve.points] == pytest.approx([i / 20 for i in range(1, 21)])
    assert curve.points[0].accuracy.value > curve.points[-1].accuracy.value + 0.1
    assert curve.points[-1].accuracy.value < curve.area < 1


# --- costs ----------------------------------------------------------------------------------------------


def test_the_cheapest_threshold_is_found_by_trying_all() -> None:
    truth, p = believable(80, seed=3)
    right, top = truth == 0, p.max(1)
    for of_error, of_abstaining in [(10, 2), (1, 1), (100, 1), (5, 2)]:
        found = cheapest_threshold(truth, p, of_error, of_abstaining)
        tried = [np.mean(np.where(top >= t, of_error * ~right, of_abstaining)) for t in [*top.tolist(), inf]]
        assert found.cost.value == pytest.approx(min(tried))
        assert found == cost_at_threshold(truth, p, found.value, of_error, of_abstaining)


def test_silence_that_costs_as_much_as_an_error_is_never_worth_it() -> None:
    truth, p = believable(60, seed=1)
    found = cheapest_threshold(truth, p, 1, 1)
    assert found.share_answered.value > 0.95
    free = cheapest_threshold(truth, p, 0, 1)
    assert (free.share_answered.value, free.cost.value) == (1, 0)


def test_where_all_answers_are_wrong_nothing_is_answered() -> None:
    found = cheapest_threshold(*told([0.9, 0.8, 0.7], [0, 0, 0]), 10, 1)
    assert found.value == inf
    assert (found.cost.value, found.share_answered.value) == (1, 0)
    assert isnan(found.accuracy.value)


def test_between_equals_more_is_answered() -> None:
    found = cheapest_threshold(*told([0.9, 0.8, 0.7], [1, 1, 0]), 1, 1)  # the last costs 1 in any case
    assert found.value == pytest.approx(0.7)
    assert found.share_answered.value == 1
    assert found.accuracy == wilson(2, 3)


def test_a_cost_without_an_error_is_no_point() -> None:
    found = cost_at_threshold(*told([0.9] * 30, [1] * 30), 0.5, 10, 1)
    assert found.cost.value == 0
    assert found.cost.low == 0
    assert 0.5 < found.cost.high < 2
    unknown = cost_at_threshold(np.array([-1]), np.array([[0.9, 0.1]]), 0.5, 10, 1)
    assert isnan(unknown.cost.value)
    assert (unknown.cost.low, unknown.cost.high) == (0, 10)


@pytest.mark.parametrize("costs", [(10, 1), (4, 2), (1, 0)])
def test_costs_cover_the_truth(costs: tuple[float, float]) -> None:
    truth, p = believable(400_000, seed=99)
    true = cost_at_threshold(truth, p, 0.75, *costs).cost.value
    found = [cost_at_threshold(*believable(100, seed=s), 0.75, *costs).cost for s in range(800)]
    assert 0.92 <= np.mean([e.low <= true <= e.high for e in found]) <= 0.99


def test_costs_and_probabilities_that_are_none_are_refused() -> None:
    truth, p = believable(5, seed=0)
    with pytest.raises(UsageError, match="costs -1 of an error"):
        cheapest_threshold(truth, p, -1, 1)
    with pytest.raises(UsageError, match="of abstaining"):
        cost_at_threshold(truth, p, 0.5, 1, inf)
    with pytest.raises(UsageError, match="no labelled row"):
        cheapest_threshold(np.full(5, -1), p, 1, 1)
    with pytest.raises(UsageError, match="expected one for each"):
        reliability(truth[:3], p)
    with pytest.raises(UsageError, match="not finite"):
        abstention(truth, p * np.nan)
