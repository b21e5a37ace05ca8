"""Two-sample tests: as many false alarms as they say, real shifts found, whatever the values look like."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, chi2_contingency, kstwobign

from topwork.evaluation.drift import difference, holm, shift_of_labels, shift_of_shares, shift_of_values
from topwork.evaluation.quantiles import chi_square_share

QUANTILES = np.linspace(0, 1, 101)


@pytest.mark.parametrize(("value", "freedom"), [(0.5, 1), (3.84, 1), (20.0, 5), (80.0, 60)])
def test_the_chi_square_share_is_scipys(value: float, freedom: float) -> None:
    assert chi_square_share(value, freedom) == pytest.approx(float(chi2.cdf(value, freedom)), abs=1e-12)


def test_the_p_value_of_values_is_kolmogorovs() -> None:
    found = shift_of_values(np.quantile(np.arange(10_000.0), QUANTILES), 10_000, np.arange(2_000.0, 10_000.0))
    assert found.distance == pytest.approx(0.2 - 0.01, abs=0.001)
    mild = shift_of_values(np.quantile(np.arange(1000.0), QUANTILES), 1000, np.arange(50.0, 1000.0, 2))
    n = 1000 * 475 / 1475
    assert mild.p_value == pytest.approx(float(kstwobign.sf(mild.distance * np.sqrt(n))), abs=0.02)


@pytest.mark.parametrize("discrete", [False, True])
def test_values_that_did_not_change_are_seldom_called_so(discrete: bool) -> None:
    rng = np.random.default_rng(0)
    n_false = 0
    for _ in range(400):
        then, now = rng.normal(size=300), rng.normal(size=200)
        if discrete:
            then, now = np.round(then), np.round(now)
        n_false += shift_of_values(np.quantile(then, QUANTILES), 300, now).p_value < 0.05
    assert n_false / 400 < 0.07


def test_values_that_moved_or_spread_are_found() -> None:
    rng = np.random.default_rng(1)
    percentiles = np.quantile(rng.normal(size=1000), QUANTILES)
    assert shift_of_values(percentiles, 1000, rng.normal(0.4, 1, 500)).p_value < 1e-6
    assert shift_of_values(percentiles, 1000, rng.normal(0, 2, 500)).p_value < 1e-6
    assert shift_of_values(percentiles, 1000, np.zeros(0)).p_value == 1


def test_shares_are_compared_as_scipy_does() -> None:
    then, now = {"a": 50, "b": 30, "c": 20}, {"a": 20, "b": 30, "c": 30}
    found = shift_of_shares(then, now)
    expected = chi2_contingency(np.array([[50, 30, 20], [20, 30, 30]]), correction=False).pvalue
    assert found.p_value == pytest.approx(float(expected), rel=1e-9)
    assert found.distance == pytest.approx((0.25 + 0.075 + 0.175) / 2)


def test_rare_labels_and_new_ones_are_counted_together() -> None:
    rng = np.random.default_rng(2)
    names, often = [f"label {i}" for i in range(300)], 1 / np.arange(1, 301)
    n_false = 0
    for _ in range(200):
        drawn = [rng.choice(names, n, p=often / often.sum()) for n in (600, 50)]
        then, now = (dict(zip(*np.unique(one, return_counts=True), strict=True)) for one in drawn)
        n_false += shift_of_shares(then, now).p_value < 0.05
    assert n_false / 200 < 0.09
    assert shift_of_shares({"a": 100}, {"new": 100}).p_value < 1e-9
    assert shift_of_shares({"a": 100}, {}).p_value == 1
    assert shift_of_shares({"a": 100}, {"a": 50}).p_value == 1


def test_of_several_labels_the_one_that_moved_counts() -> None:
    then = dict.fromkeys("abcdefghij", 300)
    found = shift_of_labels(then, 1000, {**dict.fromkeys("abcdefghij", 150), "c": 250}, 500)
    assert found.distance == pytest.approx(0.2)
    assert found.p_value < 1e-6
    assert shift_of_labels(then, 1000, dict.fromkeys("abcdefghij", 150), 500).p_value == 1


def test_holm_keeps_the_chance_of_any_false_alarm() -> None:
    assert holm([0.001, 0.2, 0.004], 0.01) == [True, False, True]
    assert holm([0.004, 0.2, 0.2], 0.01) == [False, False, False]
    assert holm([], 0.01) == []
    rng = np.random.default_rng(3)
    n_false = sum(any(holm(rng.random(12).tolist(), 0.05)) for _ in range(2000))
    assert n_false / 2000 == pytest.approx(0.05, abs=0.015)


def test_a_difference_has_its_interval() -> None:
    found = difference((50, 100), (80, 100))
    assert found.value == pytest.approx(0.3)
    assert 0.15 < found.low < 0.3 < found.high < 0.45
