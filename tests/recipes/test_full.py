"""Full fine-tuning: every layer moves, what validation liked is the model, and time is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tiny_material import tiny_job
from topwork.contracts import Budget, FitJob, Rates, Workplace
from topwork.errors import UsageError
from topwork.recipes.full import FULL, FullRecipe, FullSettings, full_rung


def test_every_stage_is_trained_and_it_beats_the_frozen_network() -> None:
    fitted = FULL(tiny_job(n_steps=120))
    assert {name.split(".")[1] for name in fitted.weights} == {"0", "1", "2", "3"}
    probe, full = fitted.rungs
    assert (probe.name, full.name, full.chosen, full.n_steps) == ("probe", "full", True, 120)
    assert probe.log_loss is not None
    assert full.log_loss is not None
    assert full.gain is not None
    assert full.log_loss.value < probe.log_loss.value - 0.05
    assert full.gain.value == pytest.approx(probe.log_loss.value - full.log_loss.value)


def test_validation_is_looked_at_on_the_way_and_the_same_job_gives_the_same_weights() -> None:
    fitted, again = FULL(tiny_job(n_steps=60)), FULL(tiny_job(n_steps=60))
    assert len(fitted.history) >= 5
    assert [one.n_steps for one in fitted.history] == sorted({one.n_steps for one in fitted.history})
    assert fitted.weights
    assert all(np.array_equal(fitted.weights[name], again.weights[name]) for name in fitted.weights)


def test_epochs_decide_the_length_where_nothing_else_does() -> None:
    """159 training rows in batches of 32 are four steps an epoch."""
    fitted = FullRecipe(FullSettings(epochs=2))(tiny_job(n_steps=None))
    assert fitted.rungs[1].n_steps == 8


def test_without_time_the_probe_is_the_model() -> None:
    job = replace(tiny_job(n_steps=None), budget=Budget(lambda: 0.0, 0.5))
    fitted = FULL(job)
    [rung] = fitted.rungs
    assert (rung.name, rung.chosen, dict(fitted.weights)) == ("probe", True, {})
    assert fitted.notes[-1].endswith("the model is the probe.")


def test_told_to_stop_it_gives_the_best_so_far() -> None:
    asked: list[int] = []

    def stop_after_seven() -> bool:
        asked.append(1)
        return len(asked) > 7

    def change(job: FitJob) -> FitJob:
        return replace(job, workplace=Workplace(None, should_stop=stop_after_seven))

    rung = FULL(tiny_job(n_steps=400, change=change)).rungs[1]
    assert (rung.n_steps, rung.notes) == (7, ("stopped after 7 steps",))


def test_it_refuses_to_train_without_a_network() -> None:
    with pytest.raises(UsageError, match="holds only its features"):
        FULL(replace(tiny_job(), material=None))


def test_a_rate_of_ones_own_moves_all_stages_alike() -> None:
    rates = Rates(1e-4, 1e-3, 3e-3)
    own = full_rung(FullSettings(), rates, 3, 32).rates
    assert own == pytest.approx((1e-4, 10**-3.5, 1e-3, 3e-3))
    assert full_rung(FullSettings(rate=3e-2), rates, 3, 32).rates == pytest.approx([10 * one for one in own])


def test_settings_reach_the_steps() -> None:
    settings = FullSettings(warmup=0.5, weight_decay=0.3, smoothing=0.0)
    rung = full_rung(settings, Rates(1e-4, 1e-3, 3e-3), 2, 8)
    assert (rung.warmup, rung.weight_decay, rung.smoothing, rung.batch) == (0.5, 0.3, 0.0, 8)
    one, other = (FullRecipe(FullSettings(warmup=w))(tiny_job(n_steps=10)) for w in (0.2, 0.8))
    assert any(not np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)
