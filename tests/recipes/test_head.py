"""A head with hidden layers: what was trained is what is handed on, and the trunk stays as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tiny_material import tiny_job
from topwork.contracts import Budget, FitJob, Goal
from topwork.errors import UsageError
from topwork.recipes.head import HEAD, HeadRecipe, HeadSettings


def rings(n: int = 240) -> FitJob:
    """Return a job that no linear head can do: two classes, one around the other in the first two features."""

    def change(job: FitJob) -> FitJob:
        draw = np.random.default_rng(0)
        truth = np.arange(n) % 2
        angle, radius = draw.uniform(0, 2 * np.pi, n), 1 + 2 * truth + draw.normal(0, 0.2, n)
        features = np.stack([radius * np.cos(angle), 7 + 50 * radius * np.sin(angle), np.ones(n)], axis=1)
        return replace(job, features=features.astype(np.float32), goals={"ring": Goal(truth, "softmax", 2)})

    return tiny_job(n, n_steps=300, change=change)


def right(scores: np.ndarray, job: FitJob, rows: np.ndarray) -> float:
    return float(np.mean(scores[rows].argmax(1) == job.goals["ring"].truth[rows]))


@pytest.mark.parametrize("hidden", [(16,), (16, 8)])
def test_hidden_layers_learn_what_a_linear_head_cannot(hidden: tuple[int, ...]) -> None:
    job = rings()
    fitted = HeadRecipe(HeadSettings(hidden, dropout=0.1, rate=1e-2))(job)
    head, valid = fitted.heads["ring"], job.folds[0].valid
    assert [layer.weight.shape[0] for layer in head.hidden] == list(hidden)
    assert not head.is_linear
    assert right(head.scores(job.features), job, valid) > 0.9
    assert fitted.rungs[0].name == "probe"
    assert fitted.rungs[0].log_loss is not None
    assert fitted.rungs[0].log_loss.value > 0.6
    assert dict(fitted.weights) == {}
    assert (fitted.rungs[1].trained_share, fitted.rungs[1].chosen) == (0.0, True)


def test_held_out_scores_are_those_of_the_head_up_to_calibration() -> None:
    """Both calibrations are a scale and shifts, so differences between two rows keep their ratios only roughly."""
    job = rings()
    fitted = HeadRecipe(HeadSettings((16,), dropout=0.0, rate=1e-2))(job)
    valid = job.folds[0].valid
    own, held = fitted.heads["ring"].scores(job.features)[valid], fitted.held_out["ring"][valid]
    assert np.corrcoef(own[:, 0] - own[:, 1], held[:, 0] - held[:, 1])[0, 1] > 0.99
    assert np.isnan(np.delete(fitted.held_out["ring"], valid, axis=0)).all()


def test_without_hidden_layers_it_is_linear() -> None:
    head = HeadRecipe(HeadSettings(()))(rings()).heads["ring"]
    assert head.is_linear
    assert head.weight.shape == (2, 3)


def test_dropout_is_drawn_by_the_seed_and_leaves_the_random_state() -> None:
    import torch

    job, state = tiny_job(n_steps=30), torch.get_rng_state()
    first, again, other = (HEAD(one).heads["pattern"].weight for one in (job, job, replace(job, seed=1)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.get_rng_state().equal(state)


def test_without_time_the_probe_is_the_model() -> None:
    fitted = HEAD(replace(tiny_job(n_steps=None), budget=Budget(lambda: 1.0, 0.5)))
    assert fitted.rungs[0].name == "probe"
    assert fitted.heads["pattern"].is_linear
    assert fitted.notes[-1].endswith("the model is the probe.")


@pytest.mark.parametrize("hidden", [(1, 2, 3), (0,)])
def test_more_than_two_layers_and_empty_ones_are_refused(hidden: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"The setting hidden is .*; expected at most 2 widths of 1 or more"):
        HeadSettings(hidden)
