"""Conformal intervals hold as many new values as they promise, whatever the errors look like."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from topwork.contracts import Array, Budget, FitJob, Fold, Goal
from topwork.errors import UsageError
from topwork.evaluation.conformal import half_width
from topwork.progress import Quiet
from topwork.recipes.probe import PROBE
from topwork.tasks.regression import REGRESSION


def test_it_is_the_order_statistic_of_the_errors_sizes() -> None:
    errors = np.arange(1, 20) * np.where(np.arange(19) % 2, 1.0, -1.0)
    assert half_width(errors, 0.9) == 18
    assert half_width(errors[:9], 0.9) == 9
    assert half_width(errors[:8], 0.9) is None
    assert half_width(errors, 0.5) == 10


def test_levels_and_errors_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match=r"level 1\.0"):
        half_width(np.ones(5), 1.0)
    with pytest.raises(UsageError, match="1 errors that are no numbers"):
        half_width(np.array([1.0, np.nan]), 0.9)


@pytest.mark.parametrize("n", [9, 30, 100])
def test_new_errors_of_a_heavy_tail_lie_within_as_often_as_promised(n: int) -> None:
    """The chance is level to level + 1 / (n + 1), over calibration rows and new rows together."""
    draw = np.random.default_rng(0)
    errors = draw.standard_t(2, size=(4000, n + 1))
    held = [abs(row[n]) <= (half_width(row[:n], 0.9) or 0.0) for row in errors]
    assert 0.9 - 0.014 < np.mean(held) < 0.9 + 1 / (n + 1) + 0.014


def coverage(features: Array, truth: Array, seed: int) -> float:
    """Fit a probe on 70 % of the rows, and return what share of the others lies within its intervals."""
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(truth))
    n = round(0.7 * len(truth))
    fit, test = np.sort(order[:n]), order[n:]
    raw = [repr(float(one)) for one in truth]
    target = REGRESSION.learn([raw[row] for row in fit])
    encoded = target.encode(raw)
    fold_of = draw.permutation(n) % 5
    folds = tuple(Fold(np.flatnonzero(fold_of != j), np.flatnonzero(fold_of == j)) for j in range(5))
    goal = Goal(encoded[fit], "identity", 1)
    fitted = PROBE(FitJob(features[fit], {"a": goal}, folds, seed, Budget(time.perf_counter), Quiet()))
    head, told = fitted.heads["a"], target.calibrated(goal.truth, fitted.held_out["a"])
    scores = features[test] @ head.weight.T + head.bias
    return told.evaluate(encoded[test], scores, 0)["coverage"].value


def made(seed: int, n: int = 300) -> tuple[Array, Array]:
    """Return features, and a truth whose noise is skewed and grows with one of them."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(n, 12)).astype(np.float32)
    noise = draw.exponential(1.0, n) * (0.5 + np.abs(features[:, 1]))
    return features, features[:, 0] * 3 + noise


def test_a_probe_s_intervals_cover_about_what_they_promise() -> None:
    found = [coverage(*made(seed), seed) for seed in range(4)]
    assert 0.85 < np.mean(found) < 0.95


@pytest.mark.slow
def test_coverage_over_many_splits_is_within_two_points() -> None:
    """Made data with noise as above, and measurements of patients, whose noise nobody made."""
    made_ones = [coverage(*made(seed), seed) for seed in range(20)]
    assert np.mean(made_ones) == pytest.approx(0.9, abs=0.02)
    data = load_diabetes()
    real = [coverage(data.data.astype(np.float32), data.target, seed) for seed in range(20)]
    assert np.mean(real) == pytest.approx(0.9, abs=0.02)
