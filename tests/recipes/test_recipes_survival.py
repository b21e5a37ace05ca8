"""Built-in recipes fit what takes time: the redder a picture is, the sooner it breaks."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tiny_material import TinyMaterial, features_of, reds
from topwork import plugins
from topwork.contracts import Budget, FitJob, Fold, Goal, known_rows
from topwork.evaluation.survival import survival_metrics
from topwork.progress import Quiet


@pytest.mark.parametrize("name", ["probe", "ladder", "scratch", "full", "head"])
def test_a_built_in_recipe_fits_risks(name: str) -> None:
    draw, rows = np.random.default_rng(0), np.arange(80)
    pictures, red = reds(80, draw)
    breaks, end = draw.exponential(np.exp(-2 * red)), draw.exponential(3.0, 80)
    truth = np.stack([np.minimum(breaks, end), breaks <= end], axis=1)
    truth[5] = np.nan
    folds = tuple(Fold(rows[rows % 4 != j], rows[rows % 4 == j]) for j in range(4))
    material = TinyMaterial(pictures)
    goals, budget = {"a": Goal(truth, "hazard", 1)}, Budget(time.perf_counter)
    job = FitJob(features_of(material), goals, folds, 0, budget, Quiet(), material, n_steps=80)
    fitted = plugins.recipe(name)(job)
    scores = fitted.heads["a"].scores(features_of(material, fitted.weights))
    true = survival_metrics(truth, red[:, None])["concordance"].value
    assert survival_metrics(truth, scores)["concordance"].value > true - 0.08
    held_out = known_rows(truth) & ~np.isnan(fitted.held_out["a"][:, 0])
    assert held_out.sum() >= len(folds[0].valid) - 1
    held = fitted.held_out["a"][held_out]
    assert survival_metrics(truth[held_out], held)["concordance"].value > true - 0.15
    assert abs(held.mean()) < 0.5
    assert {rung.loss_name for rung in fitted.rungs} <= {"Cox loss"}
