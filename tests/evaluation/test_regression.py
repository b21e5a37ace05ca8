"""Metrics of numbers: those of scikit-learn, with intervals that cover, and paired differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from topwork.contracts import Array
from topwork.errors import UsageError
from topwork.evaluation.regression import compare_regression, interval_metrics, regression_metrics

DRAW = np.random.default_rng(0)
TRUTH = DRAW.normal(50, 10, 60)
SAID = TRUTH + DRAW.normal(1, 4, 60)
OTHER = TRUTH + DRAW.normal(0, 6, 60)
THEIRS: dict[str, Callable[[Array, Array], float]] = {
    "r2": r2_score,
    "rmse": root_mean_squared_error,
    "mae": mean_absolute_error,
}


@pytest.mark.parametrize("metric", THEIRS)
def test_values_are_those_of_scikit_learn(metric: str) -> None:
    found = regression_metrics(TRUTH, SAID)[metric]
    assert found.value == pytest.approx(THEIRS[metric](TRUTH, SAID))
    assert found.low < found.value < found.high


@pytest.mark.parametrize("metric", THEIRS)
def test_differences_are_those_of_the_metrics_and_turn_with_the_order(metric: str) -> None:
    found, turned = (
        compare_regression(TRUTH, SAID, OTHER)[metric],
        compare_regression(TRUTH, OTHER, SAID)[metric],
    )
    assert found.value == pytest.approx(THEIRS[metric](TRUTH, SAID) - THEIRS[metric](TRUTH, OTHER))
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_a_unit_scales_errors_and_no_r2() -> None:
    one, ten = regression_metrics(TRUTH, SAID), regression_metrics(TRUTH / 10, SAID / 10, unit=10.0)
    for metric in THEIRS:
        assert (ten[metric].value, ten[metric].low) == pytest.approx((one[metric].value, one[metric].low))


def test_rows_without_a_truth_do_not_count() -> None:
    truth = np.where(np.arange(60) < 10, np.nan, TRUTH)
    assert regression_metrics(truth, SAID) == regression_metrics(TRUTH[10:], SAID[10:])
    assert compare_regression(truth, SAID, OTHER) == compare_regression(TRUTH[10:], SAID[10:], OTHER[10:])


def test_the_order_of_the_rows_does_not_matter() -> None:
    assert regression_metrics(TRUTH[::-1], SAID[::-1]) == regression_metrics(TRUTH, SAID)


def test_coverage_counts_what_lies_inside() -> None:
    truth, said = np.array([0.0, 1.0, 2.0, np.nan]), np.array([0.5, 3.0, 2.0, 0.0])
    found = interval_metrics(truth, said, 0.5, unit=4.0)
    assert found["coverage"].value == pytest.approx(2 / 3)
    assert found["interval_width"].value == pytest.approx(4)


def test_where_nothing_is_known_everything_is_possible() -> None:
    nothing = regression_metrics(np.full(3, np.nan), np.zeros(3))
    assert all(np.isnan(one.value) for one in nothing.values())
    alone = regression_metrics(np.ones(1), np.zeros(1))
    assert np.isnan(alone["r2"].value)
    assert (alone["mae"].value, alone["mae"].high) == (1.0, float("inf"))
    perfect = regression_metrics(TRUTH, TRUTH)
    assert (perfect["r2"].value, perfect["rmse"].value, perfect["mae"].value) == (1, 0, 0)
    same = compare_regression(TRUTH, TRUTH, TRUTH)
    assert all((one.low, one.value, one.high) == (0, 0, 0) for one in same.values())
    constant = regression_metrics(np.ones(5), np.arange(5.0))
    assert np.isnan(constant["r2"].value)


def test_predictions_that_are_not_finite_are_refused() -> None:
    with pytest.raises(UsageError, match="finite predictions"):
        regression_metrics(np.zeros(2), np.array([1.0, np.nan]))
    with pytest.raises(UsageError, match="expected one for each"):
        regression_metrics(np.zeros(2), np.zeros(3))


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 200])
def test_intervals_cover_about_what_they_say(n: int) -> None:
    """With normal errors; what is true of all rows is known, for the noise is made."""
    draw, hits = np.random.default_rng(1), dict.fromkeys(THEIRS, 0)
    true = {"r2": 0.75, "rmse": 0.5, "mae": 0.5 * (2 / np.pi) ** 0.5}
    for _ in range(500):
        truth = draw.normal(size=n)
        found = regression_metrics(truth, truth + 0.5 * draw.normal(size=n))
        for metric, value in true.items():
            hits[metric] += found[metric].low <= value <= found[metric].high
    assert all(0.89 < hit / 500 < 0.98 for hit in hits.values()), hits
