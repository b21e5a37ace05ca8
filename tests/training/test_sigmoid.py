"""Logistic regressions side by side along the axes find what scikit-learn finds one label against the rest."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from topwork.contracts import Array, Fold, Goal
from topwork.training.axes import Axes
from topwork.training.links import solver_of
from topwork.training.probe import cross_validate_by
from topwork.training.sigmoid import (
    binary_log_loss,
    calibrate_labels,
    label_odds,
    solve_labels,
)


def problem(n: int, d: int, k: int = 3, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    features = (5 + 3 * rng.normal(size=(n, d))).astype(np.float32)
    features[:, 0] = 7.0  # a constant feature says nothing and must do no harm
    z = (features - features.mean(0)) @ rng.normal(size=(d, k)) / d**0.5
    truth = z + rng.normal(size=(n, k)) > np.linspace(-1, 3, k)
    return features, truth.astype(np.int8)


def standardised(features: Array) -> Array:
    deviation = features.std(0)
    return np.asarray((features - features.mean(0)) / np.where(deviation > 1e-6, deviation, 1))


@pytest.mark.parametrize(("n", "d"), [(60, 200), (300, 40), (5000, 12)])
@pytest.mark.parametrize("strength", [1e-3, 1e-1])
def test_the_solution_is_that_of_scikit_learn(n: int, d: int, strength: float) -> None:
    features, truth = problem(n, d)
    head = solver_of("sigmoid").head(Axes.of(features), Goal(truth, "sigmoid", 3), strength)
    z = standardised(features)
    expected = OneVsRestClassifier(LogisticRegression(C=strength, tol=1e-8, max_iter=2000)).fit(z, truth)
    assert np.abs(features @ head.weight.T + head.bias - expected.decision_function(z)).max() < 2e-2


def test_folds_solved_together_are_those_solved_alone() -> None:
    features, truth = problem(90, 30)
    rows = np.arange(90)
    folds = tuple(Fold(rows[rows % 4 != j], rows[rows % 4 == j]) for j in range(4))
    axes = Axes.of(features)
    scores, _ = cross_validate_by(solve_labels, axes, truth, folds, 0.01)
    for fold in folds:
        weights = np.zeros((90, 1), np.float32)
        weights[fold.train] = 1
        alone = solve_labels(axes, truth, weights, 0.01)
        head = axes.head(alone.weight[:, 0], alone.bias[0])
        assert scores[fold.valid] == pytest.approx(features[fold.valid] @ head.weight.T + head.bias, abs=1e-2)


def test_rows_without_a_truth_are_left_out() -> None:
    features, truth = problem(100, 8)
    missing = np.arange(100) % 7 == 0
    axes = Axes.of(features)
    hidden = np.where(missing[:, None], -1, truth).astype(np.int8)
    head = solver_of("sigmoid").head(axes, Goal(hidden, "sigmoid", 3), 0.1)
    alone = solve_labels(axes, truth, (~missing).astype(np.float32)[:, None], 0.1)
    expected = axes.head(alone.weight[:, 0], alone.bias[0])
    assert head.weight == pytest.approx(expected.weight, abs=1e-5)
    assert head.bias == pytest.approx(expected.bias, abs=1e-5)
    assert label_odds(hidden) == pytest.approx(label_odds(truth[~missing]))


def test_each_label_has_its_own_calibration() -> None:
    """Scores that are too large, too small and shifted come back to the odds that they were made of."""
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 2, size=(4000, 3))
    truth = (rng.random((4000, 3)) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    scores = odds * [4.0, 0.5, 1.0] + [0.0, 0.0, 2.0]
    found = calibrate_labels(truth, scores)
    assert found.scale == pytest.approx([0.25, 2.0, 1.0], rel=0.12)
    assert found.shift == pytest.approx([0.0, 0.0, -2.0], abs=0.25)
    assert binary_log_loss(truth, found.apply(scores)) <= binary_log_loss(truth, odds) + 1e-4
    features, few = problem(50, 6)
    head = solver_of("sigmoid").head(Axes.of(features), Goal(few, "sigmoid", 3), 0.1)
    folded = found.fold_into(head)
    assert features @ folded.weight.T + folded.bias == pytest.approx(
        found.apply(features @ head.weight.T + head.bias), abs=1e-3
    )


def test_a_few_rows_that_are_right_by_chance_do_not_make_a_label_sure() -> None:
    """Labels have nothing to do with the scores, so the best any calibration can say is one half."""
    rng = np.random.default_rng(0)
    drawn = [(rng.integers(0, 2, (16, 1)).astype(np.int8), 2 * rng.normal(size=(16, 1))) for _ in range(200)]
    other, truth = 2 * rng.normal(size=(500, 1)), rng.integers(0, 2, (500, 1)).astype(np.int8)
    lost = [binary_log_loss(truth, calibrate_labels(*one).apply(other)) - np.log(2) for one in drawn]
    assert np.mean(lost) < 0.06


def test_a_row_has_no_say_in_its_own_calibration() -> None:
    _, truth = problem(60, 5)
    scores = np.random.default_rng(1).normal(size=(60, 3))
    solver = solver_of("sigmoid")
    before = solver.cross_calibrate(truth, scores, seed=0)
    # The rarest label of the row stays what it was, so that the parts are dealt as before.
    row = int(np.flatnonzero(truth[:, 2] == 1)[0])
    truth[row, 0] = 1 - truth[row, 0]
    after = solver.cross_calibrate(truth, scores, seed=0)
    assert after[row] == pytest.approx(before[row])
    assert not np.allclose(after, before)


def test_no_row_is_no_calibration() -> None:
    found = calibrate_labels(np.full((4, 2), -1, np.int8), np.zeros((4, 2)))
    assert (found.scale, list(found.shift)) == (1.0, [0, 0])
    assert np.isnan(binary_log_loss(np.full((4, 2), -1, np.int8), np.zeros((4, 2))))
