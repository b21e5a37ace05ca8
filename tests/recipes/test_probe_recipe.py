"""The probe recipe: chooses by held-out loss, stops with the budget, handles imbalance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from topwork.contracts import Afterwards, Array, Budget, FitJob, Fold, Goal
from topwork.progress import Quiet
from topwork.recipes.probe import PROBE


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
