"""Ridge regression along the axes finds what scikit-learn finds, and leaves out what has no truth."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from topwork.contracts import Array, Fold, Goal
from topwork.training.axes import Axes
from topwork.training.links import solver_of
from topwork.training.probe import cross_validate_by
from topwork.training.ridge import mean_squared_error, solve_ridge


def problem(n: int, d: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    features = (5 + 3 * rng.normal(size=(n, d))).astype(np.float32)
    features[:, 0] = 7.0  # a constant feature says nothing and must do no harm
    truth = features[:, 1:6] @ np.array([1.0, -2.0, 0.5, 0.0, 1.0]) + rng.normal(size=n)
    return features, (truth - truth.mean()) / truth.std()


def standardised(features: Array) -> Array:
    deviation = features.std(0)
    return np.asarray((features - features.mean(0)) / np.where(deviation > 1e-6, deviation, 1))


@pytest.mark.parametrize(("n", "d"), [(60, 200), (300, 40), (9000, 12)])
@pytest.mark.parametrize("strength", [1e-3, 1e-1])
def test_the_solution_is_that_of_scikit_learn(n: int, d: int, strength: float) -> None:
    features, truth = problem(n, d)
    head = solver_of("identity").head(Axes.of(features), Goal(truth, "identity", 1), strength)
    z = standardised(features)
    expected = Ridge(alpha=1 / strength).fit(z, truth).predict(z)
    assert np.abs((features @ head.weight.T + head.bias)[:, 0] - expected).max() < 5e-3


def test_folds_solved_together_are_those_solved_alone() -> None:
    features, truth = problem(90, 30)
    rows = np.arange(90)
    folds = tuple(Fold(rows[rows % 4 != j], rows[rows % 4 == j]) for j in range(4))
    axes = Axes.of(features)
    scores, _ = cross_validate_by(solve_ridge, axes, truth, folds, 0.01)
    for fold in folds:
        weights = np.zeros((90, 1), np.float32)
        weights[fold.train] = 1
        alone = solve_ridge(axes, truth, weights, 0.01)
        head = axes.head(alone.weight[:, 0], alone.bias[0])
        assert scores[fold.valid] == pytest.approx(features[fold.valid] @ head.weight.T + head.bias, abs=5e-3)


def test_rows_without_a_truth_are_left_out() -> None:
    features, truth = problem(100, 8)
    missing = np.arange(100) % 7 == 0
    axes = Axes.of(features)
    head = solver_of("identity").head(axes, Goal(np.where(missing, np.nan, truth), "identity", 1), 0.1)
    weights = (~missing).astype(np.float32)[:, None]
    alone = solve_ridge(axes, np.where(missing, 1e6, truth), weights, 0.1)
    expected = axes.head(alone.weight[:, 0], alone.bias[0])
    assert head.weight == pytest.approx(expected.weight, abs=1e-5)
    assert head.bias == pytest.approx(expected.bias, abs=1e-5)


def test_the_error_is_that_of_the_rows_that_are_known() -> None:
    truth, scores = np.array([0.0, 1.0, np.nan, 2.0]), np.array([[1.0], [1.0], [9.0], [np.nan]])
    assert mean_squared_error(truth, scores) == pytest.approx(0.5)
    assert np.isnan(mean_squared_error(truth[2:3], scores[2:3]))
