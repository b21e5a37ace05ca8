"""Metrics of ordered classes are those of scikit-learn, and their intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from topwork.contracts import Array
from topwork.errors import UsageError
from topwork.evaluation.ordinal import (
    Doubt,
    compare_ordinal,
    exceeded,
    median_ranks,
    ordinal_metrics,
    rank_probabilities,
)


def drawn(n: int, seed: int = 0, noise: float = 1.5) -> tuple[Array, Array]:
    """Return ranks of four classes, and the log odds of being above each of the first three."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, size=n, p=[0.4, 0.3, 0.2, 0.1])
    found = truth + rng.normal(0, noise, n)
    return truth, 2 * (found[:, None] - np.array([0.5, 1.5, 2.5])) + rng.normal(0, 0.5, (n, 3))


@pytest.mark.parametrize("n", [12, 300])
def test_the_metrics_are_those_of_scikit_learn(n: int) -> None:
    truth, scores = drawn(n)
    said, shares = median_ranks(scores), rank_probabilities(scores)
    found = {metric: one.value for metric, one in ordinal_metrics(truth, scores, seed=0).items()}
    assert found == pytest.approx(
        {
            "rank_error": reference.mean_absolute_error(truth, said),
            "quadratic_weighted_kappa": reference.cohen_kappa_score(truth, said, weights="quadratic"),
            "accuracy": reference.accuracy_score(truth, said),
            "log_loss": reference.log_loss(truth, shares, labels=[0, 1, 2, 3]),
        }
    )


def test_probabilities_are_none_below_zero_where_the_odds_rise() -> None:
    shares = rank_probabilities(np.array([[0.0, 2.0, -1.0], [1e4, 1e4, -1e4]]))
    assert shares[0, 0] == pytest.approx(0.5)
    assert shares[0, 1] == 0
    assert shares.sum(axis=1) == pytest.approx(1)
    assert (shares >= 0).all()
    assert shares[1].tolist() == [0, 0, 1, 0]


def test_the_middle_rank_has_the_lowest_expected_distance() -> None:
    _, scores = drawn(200)
    shares, ranks = rank_probabilities(scores), np.arange(4)
    expected = shares @ np.abs(ranks[:, None] - ranks)
    chosen = np.take_along_axis(expected, median_ranks(scores)[:, None], axis=1)[:, 0]
    assert chosen == pytest.approx(expected.min(axis=1))
    assert (median_ranks(scores) != shares.argmax(axis=1)).any()


def test_a_rank_lies_above_the_thresholds_below_it() -> None:
    found = exceeded(np.array([0, 2, -1]), 2)
    assert found.dtype == np.int8
    assert found.tolist() == [[0, 0], [1, 1], [-1, -1]]


def test_doubt_deals_a_part_of_the_probability_by_the_shares_and_changes_no_answer() -> None:
    truth, scores = drawn(60)
    doubt = Doubt((0.4, 0.3, 0.2, 0.1), 0.25)
    plain = rank_probabilities(scores)
    assert rank_probabilities(scores, doubt) == pytest.approx(0.75 * plain + 0.25 * np.array(doubt.shares))
    sure, doubted = (
        ordinal_metrics(truth, scores, seed=0),
        ordinal_metrics(truth, scores, seed=0, doubt=doubt),
    )
    assert {metric for metric in sure if sure[metric] != doubted[metric]} == {"log_loss"}


def test_the_doubt_is_that_of_the_lowest_log_loss_with_one_row_more_that_had_no_chance() -> None:
    truth, scores = drawn(60)
    shares = tuple((np.bincount(truth, minlength=4) / 60).tolist())

    def cost(part: float) -> float:
        own = rank_probabilities(scores, Doubt(shares, part))[np.arange(60), truth]
        return float(-np.log(own).sum() - np.log(part * np.mean(shares)))

    grid = np.linspace(0.001, 0.999, 999)
    best = grid[np.argmin([cost(one) for one in grid])]
    assert Doubt.of(truth, scores, shares).part == pytest.approx(best, abs=2e-3)


def test_rows_without_a_truth_do_not_count_and_their_order_neither() -> None:
    truth, scores = drawn(60)
    wider, told = np.append(truth, [-1] * 5)[::-1], np.concatenate([scores, np.full((5, 3), 9.0)])[::-1]
    assert ordinal_metrics(wider, told, seed=0) == ordinal_metrics(truth, scores, seed=0)
    nothing = ordinal_metrics(wider[:5], told[:5], seed=0)
    assert all(np.isnan(one.value) for one in nothing.values())


def test_no_interval_of_ranks_is_a_point_because_no_mistake_was_seen() -> None:
    truth, _ = drawn(50)
    found = ordinal_metrics(truth, 9.0 * (2 * exceeded(truth, 3) - 1), seed=0)
    assert found["rank_error"].value == 0
    assert found["quadratic_weighted_kappa"].value == found["accuracy"].value == 1
    assert all(found[one].high - found[one].low > 0.01 for one in found if one != "log_loss")


def test_intervals_hold_the_truth_about_as_often_as_they_promise() -> None:
    exact = {metric: one.value for metric, one in ordinal_metrics(*drawn(50_000, seed=1), seed=0).items()}
    held = dict.fromkeys(exact, 0)
    for seed in range(100):
        for metric, one in ordinal_metrics(*drawn(60, seed=100 + seed), seed=0).items():
            held[metric] += one.low <= exact[metric] <= one.high
    assert all(n >= 87 for n in held.values()), held


def test_differences_are_those_of_the_metrics() -> None:
    truth, a = drawn(200)
    _, b = drawn(200, seed=3)
    found, turned = (compare_ordinal(truth, *pair, seed=0) for pair in ((a, b), (b, a)))
    of_a, of_b = (ordinal_metrics(truth, one, seed=0) for one in (a, b))
    for metric, one in found.items():
        assert one.value == pytest.approx(of_a[metric].value - of_b[metric].value)
        assert turned[metric].value == pytest.approx(-one.value)
        assert one.low <= one.value <= one.high
    assert found["rank_error"].high < 0
    assert found["quadratic_weighted_kappa"].low > 0


def test_what_always_says_the_same_has_no_skill_at_all() -> None:
    truth, _ = drawn(100)
    found = ordinal_metrics(truth, np.tile([1.0, -1.0, -2.0], (100, 1)), seed=0)
    assert found["quadratic_weighted_kappa"].value == 0


def test_ranks_that_have_no_score_are_refused() -> None:
    truth, scores = drawn(10)
    with pytest.raises(UsageError, match="ranks up to 9"):
        ordinal_metrics(np.full(10, 9), scores, seed=0)
    with pytest.raises(UsageError, match="not finite"):
        ordinal_metrics(truth, scores * np.nan, seed=0)
