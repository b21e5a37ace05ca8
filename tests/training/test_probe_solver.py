"""The probe's solver finds what scikit-learn finds, by a quicker way."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from topwork.contracts import Array, Fold
from topwork.training.axes import Axes
from topwork.training.calibration import calibrate, cross_calibrate
from topwork.training.probe import class_weights, cross_validate, log_loss, solve, strengths


def problem(n: int, d: int, k: int = 3, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    centres = rng.normal(size=(k, d))
    features = (5 + centres[truth] + 2 * rng.normal(size=(n, d))).astype(np.float32)
    features[:, 0] = 7.0  # a constant feature says nothing and must do no harm
    return features, truth


def standardised(features: Array) -> Array:
    deviation = features.std(0)
    return np.asarray((features - features.mean(0)) / np.where(deviation > 1e-6, deviation, 1))


def centred(scores: Array) -> Array:
    return np.asarray(scores - scores.mean(1, keepdims=True))


@pytest.mark.parametrize(("n", "d"), [(60, 200), (300, 40), (9000, 12)])
@pytest.mark.parametrize("strength", [1e-3, 1e-1])
def test_the_solution_is_that_of_scikit_learn(n: int, d: int, strength: float) -> None:
    features, truth = problem(n, d)
    weights = class_weights(truth, 3)
    axes = Axes.of(features)
    assert axes.reduced == (n < d)
    found = solve(axes, truth, weights[:, None], 3, strength)
    head = axes.head(found.weight[:, 0], found.bias[0])
    theirs = LogisticRegression(C=strength, tol=1e-8, max_iter=5000)
    theirs.fit(standardised(features), truth, sample_weight=weights)
    ours = features @ head.weight.T + head.bias
    expected = theirs.decision_function(standardised(features))
    assert np.abs(centred(ours) - centred(expected)).max() < 0.01 * np.abs(expected).max()


@pytest.mark.parametrize(("n", "d"), [(60, 200), (300, 40)])
def test_features_of_a_unit_in_common_keep_half_of_what_they_differ_by(n: int, d: int) -> None:
    features, truth = problem(n, d)
    features = (features * np.geomspace(0.01, 10, d)).astype(np.float32)
    axes = Axes.of(features, own_units=False)
    found = solve(axes, truth, np.ones((n, 1), np.float32), 3, 0.1)
    head = axes.head(found.weight[:, 0], found.bias[0])
    deviation = features[:, 1:].std(0)
    z = (features[:, 1:] - features[:, 1:].mean(0)) / np.sqrt(deviation * deviation.mean())
    assert z.var(0).mean() == pytest.approx(1, rel=1e-4)
    expected = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(z, truth).decision_function(z)
    ours = features @ head.weight.T + head.bias
    assert np.abs(centred(ours) - centred(expected)).max() < 0.01 * np.abs(expected).max()


def test_features_that_never_change_have_no_scale() -> None:
    axes = Axes.of(np.full((5, 8), 3.0, np.float32), own_units=False)
    assert not axes.project.any()


def test_folds_solved_together_are_those_solved_alone() -> None:
    features, truth = problem(80, 30)
    rows = np.arange(80)
    folds = tuple(Fold(rows[rows % 4 != j], rows[rows % 4 == j]) for j in range(4))
    axes = Axes.of(features)
    together, _ = cross_validate(axes, truth, folds, 3, 0.01)
    for fold in folds:
        alone, _ = cross_validate(axes, truth, [fold], 3, 0.01)
        assert np.isnan(alone[fold.train]).all()
        assert np.abs(centred(alone[fold.valid]) - centred(together[fold.valid])).max() < 0.02


def test_a_held_out_row_has_no_part_in_its_own_score() -> None:
    features, truth = problem(40, 10)
    fold = Fold(np.arange(30), np.arange(30, 40))
    axes = Axes.of(features)
    before, _ = cross_validate(axes, truth, [fold], 3, 1.0)
    changed = truth.copy()
    changed[30:] = (truth[30:] + 1) % 3
    base = class_weights(truth, 3)
    assert base.shape == (40,)
    after = solve(axes, changed, _only(base, fold.train)[:, None], 3, 1.0)
    again = solve(axes, truth, _only(base, fold.train)[:, None], 3, 1.0)
    assert np.array_equal(after.weight, again.weight)
    assert not np.isnan(before[30:]).any()


def _only(weights: Array, rows: Array) -> Array:
    out = np.zeros_like(weights)
    out[rows] = weights[rows]
    return out


def test_class_weights_have_mean_one_and_favour_the_rare() -> None:
    truth = np.array([0] * 90 + [1] * 10 + [-1] * 5)
    weights = class_weights(truth, 2)
    assert weights[truth >= 0].mean() == pytest.approx(1)
    assert weights[95] / weights[0] == pytest.approx(3)
    assert (weights[truth < 0] == 0).all()


def test_calibration_recovers_temperature_and_shifts() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20000, 3)) * 2
    probabilities = np.exp(scores + np.array([0, 1.0, -1.0]))
    probabilities /= probabilities.sum(1, keepdims=True)
    truth = np.array([rng.choice(3, p=p) for p in probabilities])
    found = calibrate(truth, scores * 4)
    assert found.scale == pytest.approx(0.25, rel=0.05)
    assert found.shift - found.shift.mean() == pytest.approx([0, 1, -1], abs=0.1)


def test_calibration_brings_the_natural_shares_back() -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random(4000) < 0.1).astype(int)
    features = (truth[:, None] + 2 * rng.normal(size=(4000, 3))).astype(np.float32)
    rows = np.arange(4000)
    folds = [Fold(rows[rows % 5 != j], rows[rows % 5 == j]) for j in range(5)]
    scores, _ = cross_validate(Axes.of(features), truth, folds, 2, 0.1)
    calibrated = calibrate(truth, scores).apply(scores)
    share = np.mean(1 / (1 + np.exp(calibrated[:, 0] - calibrated[:, 1])))
    assert share == pytest.approx(truth.mean(), abs=0.005)
    assert log_loss(truth, calibrated) < log_loss(truth, scores)


def test_a_few_rows_that_are_right_by_chance_do_not_make_it_sure() -> None:
    """Labels have nothing to do with the scores, so the best any calibration can say is one half."""
    rng = np.random.default_rng(0)
    drawn = [(rng.integers(0, 2, 16), rng.normal(size=(16, 2))) for _ in range(200)]
    other = rng.normal(size=(500, 2))
    truth = rng.integers(0, 2, 500)
    lost = [log_loss(truth, calibrate(*one).apply(other)) - np.log(2) for one in drawn]
    assert np.mean(lost) < 0.06


def test_folding_the_calibration_into_the_head_changes_nothing() -> None:
    features, truth = problem(50, 20)
    axes = Axes.of(features)
    found = solve(axes, truth, class_weights(truth, 3)[:, None], 3, 0.01)
    head = axes.head(found.weight[:, 0], found.bias[0])
    scores = features @ head.weight.T + head.bias
    calibration = calibrate(truth, scores)
    folded = calibration.fold_into(head)
    assert features @ folded.weight.T + folded.bias == pytest.approx(calibration.apply(scores), abs=1e-3)


def test_a_row_has_no_part_in_its_own_calibration() -> None:
    """Another score moves its own row as far as the scale says, leaves its fifth alone, and moves all others."""
    rng = np.random.default_rng(0)
    truth = np.arange(60) % 3
    scores = rng.normal(size=(60, 3)) + 2 * np.eye(3)[truth]
    before, changed = cross_calibrate(truth, scores, seed=1), scores.copy()
    changed[7] *= 3
    after = cross_calibrate(truth, changed, seed=1)
    same = np.flatnonzero((before == after).all(axis=1))
    assert len(same) == 60 // 5 - 1
    scale = (after[7] - before[7]) / (changed[7] - scores[7])
    assert scale == pytest.approx([scale[0]] * 3)
    assert [int((truth[[7, *same]] == label).sum()) for label in range(3)] == [4, 4, 4]


def test_what_calibrates_is_drawn_by_the_seed() -> None:
    truth, scores = np.arange(40) % 2, np.random.default_rng(0).normal(size=(40, 2))
    one, again, other = (cross_calibrate(truth, scores, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_rows_without_a_label_are_calibrated_and_calibrate_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = np.where(np.arange(60) % 6 == 0, -1, np.arange(60) % 2)
    scores = 5 * rng.normal(size=(60, 2))
    scores[3] = np.nan
    found = cross_calibrate(truth, scores, seed=0)
    assert np.isnan(found[3]).all()
    assert np.isfinite(np.delete(found, 3, axis=0)).all()
    hidden = truth < 0
    assert np.allclose(found[hidden], calibrate(truth, scores).apply(scores[hidden]))
    changed = np.where(hidden[:, None], 1e3, scores)
    assert np.array_equal(cross_calibrate(truth, changed, seed=0)[~hidden], found[~hidden], equal_nan=True)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_rows_are_calibrated_all_the_same(n: int) -> None:
    scores = np.ones((n, 2)) * [1.0, -1.0]
    assert np.isfinite(cross_calibrate(np.arange(n), scores, seed=0)).all()


def test_nothing_held_out_means_no_calibration() -> None:
    found = calibrate(np.array([0, 1]), np.full((2, 2), np.nan))
    assert (found.scale, list(found.shift)) == (1.0, [0, 0])


def test_strengths_rise_and_move_with_the_number_of_rows() -> None:
    few, many = strengths(100), strengths(10_000)
    assert list(few) == sorted(few)
    assert few[0] == pytest.approx(100 * many[0])


def test_scores_of_any_size_are_calibrated_without_an_overflow() -> None:
    """Heavy tails make the minimiser's first steps much too long; warnings are errors here."""
    for seed in (7, 41, 131):
        rng = np.random.default_rng(seed)
        n, k, size = int(rng.integers(6, 90)), int(rng.integers(2, 6)), 10 ** rng.uniform(-2, 4)
        truth = rng.integers(0, k, n)
        scores = (rng.standard_t(2, size=(n, k)) + rng.uniform(0, 5) * np.eye(k)[truth]) * size
        calibration = calibrate(truth, scores)
        assert np.isfinite(calibration.apply(scores)).all()
        assert log_loss(truth, calibration.apply(scores)) < np.log(k) + 0.1
