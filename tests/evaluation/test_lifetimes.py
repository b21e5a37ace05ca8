"""Kaplan-Meier curves, Breslow's baseline and the ratio of two hazards are those of lifelines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter

from topwork.contracts import Array
from topwork.evaluation.lifetimes import baseline_hazard, hazard_ratio, slope, survival

pytestmark = pytest.mark.filterwarnings("ignore:Starting with pandas version 4")  # lifelines asks for it


def made(n: int = 150, seed: int = 0) -> tuple[Array, Array]:
    draw = np.random.default_rng(seed)
    score = draw.normal(size=n)
    time, end = draw.exponential(np.exp(-score)), draw.exponential(2.0, n)
    seen = np.ceil(8 * np.minimum(time, end)) / 8
    return np.stack([seen, (time <= end).astype(float)], axis=1), score


TRUTH, SCORE = made()


def table(truth: Array, column: Array) -> pd.DataFrame:
    return pd.DataFrame({"time": truth[:, 0], "event": truth[:, 1], "x": column})


def test_a_curve_and_its_interval_are_those_of_lifelines() -> None:
    found = survival(TRUTH)
    theirs = KaplanMeierFitter().fit(TRUTH[:, 0], TRUTH[:, 1])
    at = theirs.survival_function_.loc[found.times].iloc[:, 0].to_numpy()
    bounds = theirs.confidence_interval_.loc[found.times].to_numpy()
    assert found.shares == pytest.approx(at)
    inside = found.shares > 0
    assert found.low[inside] == pytest.approx(bounds[inside, 0])
    assert found.high[inside] == pytest.approx(bounds[inside, 1])
    assert found.last == TRUTH[:, 0].max()


def test_a_curve_is_read_between_its_steps_and_not_beyond_its_end() -> None:
    truth = np.array([[1.0, 1], [2.0, 0], [3.0, 1], [4.0, 0], [np.nan, np.nan]])
    found = survival(truth)
    assert [found.at(time).value for time in (0.5, 1, 2.9, 3, 4)] == pytest.approx(
        [1, 0.75, 0.75, 0.375, 0.375]
    )
    assert np.isnan(found.at(4.1).value)
    assert np.isnan(survival(truth[4:]).at(1).value)


def test_where_none_is_left_the_bound_is_that_of_the_time_before() -> None:
    found = survival(np.array([[1.0, 1], [2.0, 1]]))
    assert found.shares.tolist() == [0.5, 0]
    assert (found.low[1], found.high[1]) == (0, found.high[0])
    assert survival(np.array([[1.0, 1]])).at(1).high == 1


def test_the_baseline_is_that_of_lifelines() -> None:
    fitted = CoxPHFitter().fit(table(TRUTH, SCORE), "time", "event")
    scores = fitted.predict_log_partial_hazard(table(TRUTH, SCORE)).to_numpy()
    times, hazards = baseline_hazard(TRUTH, scores)
    theirs = fitted.baseline_cumulative_hazard_.loc[times].iloc[:, 0].to_numpy()
    assert hazards == pytest.approx(theirs)


def test_a_slope_and_its_error_are_those_of_lifelines() -> None:
    for column in (SCORE, 100 * SCORE, (SCORE > 0).astype(float)):
        fitted = CoxPHFitter().fit(table(TRUTH, column), "time", "event", fit_options={"precision": 1e-10})
        beta, error = slope(TRUTH, column)
        assert beta == pytest.approx(float(fitted.params_["x"]), rel=1e-5)
        assert error == pytest.approx(float(fitted.standard_errors_["x"]), rel=1e-3)


def test_a_ratio_of_hazards_has_walds_interval() -> None:
    fitted = CoxPHFitter().fit(table(TRUTH, (SCORE > 0).astype(float)), "time", "event")
    found = hazard_ratio(TRUTH, SCORE > 0)
    low, high = np.exp(fitted.confidence_intervals_.to_numpy()[0])
    assert (found.value, found.low, found.high) == pytest.approx(
        (fitted.hazard_ratios_["x"], low, high), rel=1e-3
    )


def test_a_ratio_that_the_rows_do_not_bound_is_not_told() -> None:
    truth = np.array([[1.0, 1], [2.0, 1], [3.0, 1], [4.0, 1]])
    first = np.array([True, True, False, False])
    for rows, marked in ((truth, first), (truth, np.ones(4, bool)), (truth * [1, 0], first)):
        found = hazard_ratio(rows, marked)
        assert np.isnan(found.value)
        assert (found.low, found.high) == (0, np.inf)


def test_a_group_without_an_event_yet_is_not_sure_to_have_none() -> None:
    """Of 13 rows that were looked at for so long none had the event: 75 % without it would do that once in forty."""
    found = survival(np.array([[float(time), 0.0] for time in range(1, 14)] + [[20.0, 1.0]]))
    early = found.at(1.0)
    assert (early.value, early.high) == (1.0, 1.0)
    assert early.low**14 == pytest.approx(0.025)
    assert found.at(13.0).low ** 2 == pytest.approx(0.025)
