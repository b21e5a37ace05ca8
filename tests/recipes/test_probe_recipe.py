"""The probe recipe: chooses by held-out loss, stops with the budget, handles imbalance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from topwork.contracts import Afterwards, Array, Budget, FitJob, Fold, Goal
from topwork.errors import UsageError
from topwork.progress import Quiet
from topwork.recipes.probe import PROBE, ProbeRecipe, ProbeSettings


def job(
    features: Array, truth: Array, k: int, *, deadline_s: float = float("inf"), now_s: float = 0.0
) -> FitJob:
    rows = np.arange(len(truth))
    folds = tuple(Fold(rows[rows % 5 != j], rows[rows % 5 == j]) for j in range(5))
    budget = Budget(lambda: now_s, deadline_s)
    return FitJob(features, {"label": Goal(truth, "softmax", k)}, folds, 0, budget, Quiet())


def noisy(n: int, d: int, signal: float, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    features = rng.normal(size=(n, d)).astype(np.float32)
    features[:, 0] += signal * truth
    return features, truth


def test_pure_noise_gives_no_confidence() -> None:
    features, truth = noisy(100, 50, 0.0)
    scores = PROBE(job(features, truth, 2)).held_out["label"]
    probabilities = 1 / (1 + np.exp(-np.abs(scores[:, 0] - scores[:, 1])))
    assert probabilities.mean() < 0.62


def test_signal_is_found() -> None:
    features, truth = noisy(200, 10, 6.0)
    assert np.mean(PROBE(job(features, truth, 2)).held_out["label"].argmax(1) == truth) > 0.97


def test_an_overdrawn_budget_still_gives_a_model_and_says_so() -> None:
    features, truth = noisy(60, 10, 4.0)
    fitted = PROBE(job(features, truth, 2, deadline_s=0.0, now_s=1.0))
    assert "cut short by the budget" in fitted.notes[0]
    assert fitted.heads["label"].weight.shape == (2, 10)
    assert np.isfinite(fitted.held_out["label"]).all()


def test_after_a_long_reading_the_search_may_take_a_little_longer() -> None:
    """The clock stands still, so that a tenth of the time that reading took is never over."""
    features, truth = noisy(60, 10, 4.0)
    late = job(features, truth, 2, deadline_s=0.0, now_s=1.0)
    waited = replace(late, afterwards=Afterwards(n_rows=60, row_s=1.0))
    assert "cut short" not in PROBE(waited).notes[0]
    assert PROBE(waited).notes != PROBE(late).notes


def test_a_rare_class_is_found() -> None:
    rng = np.random.default_rng(0)
    truth = (np.arange(600) % 21 == 0).astype(int)
    features = (rng.normal(size=(600, 20)) + 4 * np.eye(20)[truth]).astype(np.float32)
    held_out = PROBE(job(features, truth, 2)).held_out["label"]
    assert np.mean(held_out.argmax(1)[truth == 1] == 1) > 0.8


def test_rows_without_a_label_are_left_out() -> None:
    features, truth = noisy(100, 5, 5.0)
    truth[::7] = -1
    features[::7] = 1e6  # would ruin the fit if it counted in the loss
    fitted = PROBE(job(features, truth, 2))
    known = truth >= 0
    assert np.isfinite(fitted.heads["label"].weight).all()
    assert fitted.held_out["label"][known].shape == (known.sum(), 2)


def sparse(n: int, seed: int) -> tuple[Array, Array]:
    """Return features as a network has them: some that always tell something, many that hardly any row moves."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 2
    telling = rng.normal(size=(n, 10)) + truth[:, None]
    rare = rng.normal(size=(n, 400)) * (rng.random((n, 400)) < 0.02)
    return np.concatenate([telling, rare], axis=1).astype(np.float32), truth


def right(seed: int, *, own_units: bool) -> float:
    features, truth = sparse(2016, seed)
    few = replace(job(features[:16], truth[:16], 2), own_units=own_units)
    answers = PROBE(few).heads["label"].scores(features[16:]).argmax(axis=1)
    return float(np.mean(answers == truth[16:]))


def test_with_few_rows_features_that_hardly_moved_do_not_drown_the_others() -> None:
    gains = [right(seed, own_units=False) - right(seed, own_units=True) for seed in range(20)]
    assert np.mean(gains) > 0.05


def test_columns_that_have_units_of_their_own_may_be_told_in_any() -> None:
    features, truth = noisy(60, 6, 3.0)
    units = np.array([1e-3, 1e3, 1, 10, 1, 0.1], np.float32)
    scores = [
        PROBE(replace(job(one, truth, 2), own_units=True)).held_out["label"]
        for one in (features, features * units)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)


def strength(given: FitJob, tolerance: float) -> float:
    return ProbeRecipe(ProbeSettings(tolerance=tolerance)).fit(given)[1]["label"]


def test_a_stronger_regularisation_that_is_hardly_worse_is_preferred() -> None:
    vague = [job(*noisy(40, 30, 1.5, seed), 2) for seed in range(10)]
    best, chosen, strongest = (
        [strength(one, tolerance) for one in vague] for tolerance in (0.0, 0.5, float("inf"))
    )
    assert all(s <= c <= b for s, c, b in zip(strongest, chosen, best, strict=True))
    assert sum(c < b for c, b in zip(chosen, best, strict=True)) >= 3
    assert sum(s < c for s, c in zip(strongest, chosen, strict=True)) >= 3
    assert set(strongest) == {strongest[0]}


def test_where_the_choice_is_clear_the_best_regularisation_is_kept() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2000, 20)).astype(np.float32)
    clear = job(features, (features.sum(axis=1) > 0).astype(int), 2)
    assert strength(clear, 0.5) == strength(clear, 0.0) > 10 * strength(clear, float("inf"))


def test_a_tolerance_below_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="tolerance is -1"):
        ProbeSettings(tolerance=-1)


def test_rows_of_which_none_was_held_out_still_give_a_model() -> None:
    features, truth = noisy(40, 5, 5.0)
    truth[:8] = -1
    given = replace(job(features, truth, 2), folds=(Fold(np.arange(8, 40), np.arange(8)),))
    assert np.isfinite(PROBE(given).heads["label"].weight).all()
