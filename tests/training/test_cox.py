"""Cox regression along the axes finds what lifelines finds, and its scores can stand side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from lifelines import CoxPHFitter

from topwork.contracts import Array, Fold, Goal
from topwork.evaluation.survival import cox_losses
from topwork.training.axes import Axes
from topwork.training.cox import (
    calibrate_hazards,
    mean_cox_loss,
    solve_cox,
    weights_of_columns,
)
from topwork.training.links import solver_of
from topwork.training.losses import loss_of
from topwork.training.probe import cross_validate_by
from topwork.training.sparse import fit_sparse

pytestmark = pytest.mark.filterwarnings("ignore:Starting with pandas version 4")  # lifelines asks for it


def problem(n: int, d: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    features = (5 + 3 * rng.normal(size=(n, d))).astype(np.float32)
    features[:, 0] = 7.0  # a constant feature says nothing and must do no harm
    score = (features[:, 1:4] - 5) @ np.array([0.3, -0.2, 0.1])
    time, end = rng.exponential(np.exp(-score)), rng.exponential(3.0, n)
    return features, np.stack([np.ceil(20 * np.minimum(time, end)), (time <= end).astype(float)], axis=1)


@pytest.mark.parametrize(("n", "d"), [(60, 20), (400, 8)])
@pytest.mark.parametrize("strength", [1e-2, 1.0])
def test_the_solution_is_that_of_lifelines(n: int, d: int, strength: float) -> None:
    features, truth = problem(n, d)
    head = solver_of("hazard").head(Axes.of(features), Goal(truth, "hazard", 1), strength)
    z = features[:, 1:].astype(np.float64)
    z = (z - z.mean(0)) / z.std(0)
    table = pd.DataFrame(z, columns=[f"x{i}" for i in range(d - 1)])
    table["time"], table["event"] = truth[:, 0], truth[:, 1]
    # lifelines divides by the deviation with n - 1, and its penalty by row.
    penalty = 1 / (strength * n) * (n - 1) / n
    theirs = CoxPHFitter(penalizer=penalty).fit(table, "time", "event", fit_options={"precision": 1e-9})
    expected = z @ theirs.params_.to_numpy()
    found = (features @ head.weight.T + head.bias)[:, 0]
    assert np.abs(found - expected).max() < 5e-3 * max(1, np.abs(expected).max())
    assert found.mean() == pytest.approx(0, abs=1e-4)


def test_folds_solved_together_are_those_solved_alone() -> None:
    features, truth = problem(90, 30)
    rows = np.arange(90)
    folds = tuple(Fold(rows[rows % 4 != j], rows[rows % 4 == j]) for j in range(4))
    axes = Axes.of(features)
    scores, _ = cross_validate_by(solve_cox, axes, truth, folds, 0.01)
    for fold in folds:
        weights = np.zeros((90, 1), np.float32)
        weights[fold.train] = 1
        alone = solve_cox(axes, truth, weights, 0.01)
        head = axes.head(alone.weight[:, 0], alone.bias[0])
        found = features @ head.weight.T + head.bias
        assert scores[fold.valid] == pytest.approx(found[fold.valid], abs=5e-3)
        assert found[fold.train].mean() == pytest.approx(0, abs=1e-4)


def test_rows_without_a_truth_are_left_out() -> None:
    features, truth = problem(100, 8)
    missing = np.arange(100) % 7 == 0
    hidden = np.where(missing[:, None], np.nan, truth)
    axes = Axes.of(features)
    head = solver_of("hazard").head(axes, Goal(hidden, "hazard", 1), 0.1)
    alone = solve_cox(axes, truth, (~missing).astype(np.float32)[:, None], 0.1)
    expected = axes.head(alone.weight[:, 0], alone.bias[0])
    assert head.weight == pytest.approx(expected.weight, abs=1e-5)
    assert head.bias == pytest.approx(expected.bias, abs=1e-5)


def test_rows_without_an_event_teach_nothing() -> None:
    features, truth = problem(40, 6)
    head = solver_of("hazard").head(Axes.of(features), Goal(truth * [1, 0], "hazard", 1), 0.1)
    assert (head.weight == 0).all()
    assert (head.bias == 0).all()


def test_a_calibration_undoes_what_is_exaggerated_and_shifted() -> None:
    rng = np.random.default_rng(0)
    score = rng.normal(size=(3000, 1))
    truth = np.stack([rng.exponential(np.exp(-score[:, 0])), np.ones(3000)], axis=1)
    found = calibrate_hazards(truth, 4 * score + 7)
    assert found.scale == pytest.approx(0.25, rel=0.05)
    assert found.apply(4 * score + 7).mean() == pytest.approx(0, abs=1e-9)
    assert mean_cox_loss(truth, found.apply(4 * score)) <= mean_cox_loss(truth, score) + 1e-6
    nothing = calibrate_hazards(truth, np.full((3000, 1), np.nan))
    assert (nothing.scale, nothing.shift.tolist()) == (1, [0])


def test_a_row_has_no_say_in_its_own_calibration() -> None:
    _, truth = problem(60, 5)
    scores = np.random.default_rng(1).normal(size=(60, 1))
    solver = solver_of("hazard")
    before = solver.cross_calibrate(truth, scores, seed=0)
    row = int(np.flatnonzero(truth[:, 1])[0])
    truth[row, 0] += 50
    after = solver.cross_calibrate(truth, scores, seed=0)
    assert after[row] == pytest.approx(before[row])
    assert not np.allclose(after, before)
    shifted = solver.cross_calibrate(truth, scores + 100, seed=0)
    assert shifted == pytest.approx(after)


def test_what_training_minimises_is_that_loss_with_its_slopes() -> None:
    _, truth = problem(50, 5)
    truth[3] = np.nan
    scores = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 1))).requires_grad_()
    loss = loss_of("hazard", scores, torch.from_numpy(truth), 0.1)
    known = np.arange(50) != 3
    assert loss.item() == pytest.approx(cox_losses(truth[known], scores.detach().numpy()[known]).mean())
    assert torch.autograd.gradcheck(
        lambda one: loss_of("hazard", one, torch.from_numpy(truth), 0.0), (scores,), eps=1e-6, atol=1e-6
    )


def test_a_batch_without_events_pulls_nowhere() -> None:
    for truth in (np.array([[1.0, 0], [2.0, 0]]), np.full((2, 2), np.nan)):
        scores = torch.ones((2, 1), requires_grad=True)
        loss = loss_of("hazard", scores, torch.from_numpy(truth), 0.0)
        loss.backward()  # type: ignore[no-untyped-call]
        assert loss.item() == 0
        assert scores.grad is not None
        assert (scores.grad == 0).all()


def test_columns_as_they_come_have_the_weights_of_standardised_ones() -> None:
    from scipy.sparse import csr_matrix

    features, truth = problem(200, 6)
    z = (features[:, 1:] - features[:, 1:].mean(0)) / features[:, 1:].std(0)
    axes = Axes.of(features)
    head = solver_of("hazard").head(axes, Goal(truth, "hazard", 1), 0.1)
    weights = weights_of_columns(csr_matrix(z), truth, 0.1)
    assert z @ weights == pytest.approx((features @ head.weight.T + head.bias)[:, 0], abs=5e-3)
    rows = np.arange(200)
    folds = (Fold(rows[rows % 4 > 0], rows[rows % 4 == 0]),)
    truth[5] = np.nan
    scores = fit_sparse(csr_matrix(z), Goal(truth, "hazard", 1), folds)(csr_matrix(z))
    assert scores.shape == (200, 1)
    assert mean_cox_loss(truth, scores) < mean_cox_loss(truth, np.zeros((200, 1)))
