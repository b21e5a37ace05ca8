"""Tuning on pairs: what is held out stays unseen, the model is tuned on all rows, and without time it is the probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_material import TinyMaterial, accuracy, features_of, tiny_job
from tiny_text_material import TinyTextMaterial, tiny_text_job
from topwork.contracts import Budget, FitJob, Fitted, Fold, Goal, Workplace, padded
from topwork.errors import UsageError
from topwork.recipes.contrast import ContrastRecipe, ContrastSettings, sides_of
from topwork.training.probe import log_loss

QUICK = ContrastRecipe(ContrastSettings(rate=3e-3))


def assert_same_model(one: Fitted, other: Fitted) -> None:
    assert one.weights.keys() == other.weights.keys()
    assert all(np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)
    for name, head in one.heads.items():
        assert np.array_equal(head.weight, other.heads[name].weight)
        assert np.array_equal(one.held_out[name], other.held_out[name], equal_nan=True)


def guessing(job: FitJob) -> FitJob:
    """Return the job with labels that have nothing to do with the inputs."""
    [(name, goal)] = job.goals.items()
    truth = np.random.default_rng(1).permutation(goal.truth)
    return replace(job, goals={name: replace(goal, truth=truth)})


def unlike(job: FitJob, n: int = 300) -> tuple[TinyMaterial, np.ndarray]:
    """Return pictures of the same kind that the job does not have, and their classes."""
    other = tiny_job(n, seed=9)
    assert isinstance(other.material, TinyMaterial)
    return other.material, other.goals["pattern"].truth


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    torch.set_num_threads(1)
    return QUICK(tiny_job(60, n_steps=40))


def test_the_upper_stages_are_tuned_and_others_gain_by_it(fitted: Fitted) -> None:
    job = tiny_job(60)
    assert {name.split(".")[1] for name in fitted.weights} == {"2", "3"}
    material, truth = unlike(job)
    frozen = QUICK(replace(job, n_steps=None, budget=Budget(lambda: 0.0, 0.0)))
    losses = [
        log_loss(truth, one.heads["pattern"].scores(features_of(material, one.weights)))
        for one in (frozen, fitted)
    ]
    assert losses[1] < losses[0] - 0.1
    probe, contrast = fitted.rungs
    assert (probe.name, contrast.name, contrast.n_steps, contrast.chosen) == ("probe", "contrast", 40, True)
    assert contrast.trained_share == pytest.approx(0.66, abs=0.01)
    assert contrast.gain is not None


def test_probabilities_are_those_of_rows_that_were_not_seen(fitted: Fitted) -> None:
    """Held-out scores say of new rows what comes; features that have seen the labels would be sure of everything."""
    job = tiny_job(60)
    material, truth = unlike(job)
    new = log_loss(truth, fitted.heads["pattern"].scores(features_of(material, fitted.weights)))
    held = log_loss(job.goals["pattern"].truth, fitted.held_out["pattern"])
    assert held == pytest.approx(new, abs=0.25)


@pytest.mark.parametrize("make", [tiny_job, tiny_text_job])
def test_of_labels_by_chance_nothing_is_learnt(make: Callable[..., FitJob]) -> None:
    """A row that had a part in tuning the network that judges it would be known."""
    job = guessing(make(60, n_steps=40))
    [(name, goal)] = job.goals.items()
    found = QUICK(job)
    chance = np.log(goal.n_outputs)
    assert log_loss(goal.truth, found.held_out[name]) > chance - 0.05
    assert accuracy(goal.truth, found.held_out[name]) < 1 / goal.n_outputs + 0.15
    material = job.material
    assert isinstance(material, TinyMaterial | TinyTextMaterial)
    answers = np.exp(found.heads[name].scores(job.features if not found.weights else tuned(job, found)))
    assert (
        np.mean((answers / answers.sum(1, keepdims=True)).max(1)) < 0.75
    )  # sure of nothing, not even of what it saw


def tuned(job: FitJob, found: Fitted) -> np.ndarray:
    """Return the features of the rows of a job by the network that was fitted."""
    if isinstance(job.material, TinyMaterial):
        return features_of(job.material, found.weights)
    assert isinstance(job.material, TinyTextMaterial)
    network = job.material.network()
    changed = {name: torch.from_numpy(value) for name, value in found.weights.items()}
    network.load_state_dict({**network.state_dict(), **changed})
    with torch.no_grad():
        return np.asarray(network(torch.from_numpy(padded(job.material.texts))).numpy())


def test_the_model_is_tuned_on_all_rows_from_where_the_network_began(fitted: Fitted) -> None:
    """What was tuned for the folds before leaves nothing behind."""
    job = tiny_job(60, n_steps=40)
    alone = QUICK(replace(job, folds=job.folds[1:2]))
    assert all(np.array_equal(alone.weights[name], fitted.weights[name]) for name in fitted.weights)
    without = QUICK(tiny_job(57, n_steps=40))
    assert any(not np.array_equal(without.weights[name], fitted.weights[name]) for name in fitted.weights)


def test_of_more_than_three_folds_every_row_is_still_held_out() -> None:
    rows = np.arange(60)
    folds = tuple(Fold(rows[rows % 5 != j], rows[rows % 5 == j]) for j in range(5))
    found = QUICK(replace(tiny_job(60, n_steps=5), folds=folds))
    assert not np.isnan(found.held_out["pattern"]).any()


def test_the_same_job_gives_the_same_model_and_another_seed_other_turns(fitted: Fitted) -> None:
    assert_same_model(QUICK(tiny_job(60, n_steps=40)), fitted)
    small = ContrastRecipe(ContrastSettings(rate=3e-3, batch=16))
    one, other = (small(replace(tiny_job(60, n_steps=10), seed=seed)) for seed in (0, 1))
    assert any(not np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_texts_go_the_same_way() -> None:
    job = tiny_text_job(60, n_steps=20)
    found = QUICK(job)
    assert {name.split(".")[3] for name in found.weights if ".layer." in name} == {"1", "2"}
    truth, scores = job.goals["more"].truth, found.heads["more"].scores(tuned(job, found))
    assert accuracy(truth, scores) > 0.9
    assert not np.isnan(found.held_out["more"]).any()


def test_a_row_without_a_label_has_no_say() -> None:
    job = tiny_job(60, n_steps=10)
    truth = np.where(np.arange(60) < 3, -1, job.goals["pattern"].truth)
    found = QUICK(replace(job, goals={"pattern": replace(job.goals["pattern"], truth=truth)}))
    assert np.isfinite(found.held_out["pattern"]).all()
    assert np.isfinite(found.heads["pattern"].weight).all()
    alone = QUICK(tiny_job(60, n_steps=10))
    assert any(not np.array_equal(found.weights[name], alone.weights[name]) for name in alone.weights)


class Clock:
    """Moves on by a second whenever it is asked."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1
        return self.now_s


@pytest.mark.parametrize(("deadline_s", "name"), [(0.5, "probe"), (30.0, "probe"), (2000.0, "contrast")])
def test_without_time_for_all_folds_the_probe_is_the_model(deadline_s: float, name: str) -> None:
    clock = Clock()
    found = QUICK(replace(tiny_job(60, n_steps=None), budget=Budget(clock, deadline_s)))
    assert [rung.name for rung in found.rungs if rung.chosen] == [name]
    assert bool(found.weights) == (name == "contrast")
    if name == "probe":
        assert found.notes[-1].endswith("the model is the probe.")
        assert clock.now_s < 60


def test_the_first_fold_shows_that_there_is_no_time_for_the_others() -> None:
    n_asked: list[float] = []
    for share in (float("inf"), 0.6):
        clock = Clock()
        deadline_s = share * n_asked[0] if n_asked else share
        found = QUICK(replace(tiny_job(60, n_steps=None), budget=Budget(clock, deadline_s)))
        n_asked.append(clock.now_s)
    assert not found.weights
    assert n_asked[1] < 0.5 * n_asked[0]


def test_told_to_stop_the_probe_is_the_model() -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 15

    found = QUICK(replace(tiny_job(60, n_steps=10), workplace=Workplace(None, should_stop=stop)))
    assert [rung.name for rung in found.rungs] == ["probe"]
    assert len(asked) == 16


def test_what_it_cannot_do_it_refuses() -> None:
    job = tiny_job(60)
    with pytest.raises(UsageError, match="keeps no state"):
        QUICK(replace(job, workplace=Workplace(Path("nowhere"), resume=True)))
    with pytest.raises(UsageError, match="holds only its features"):
        QUICK(replace(job, material=None))
    numbers = Goal(np.arange(60.0), "identity", 1)
    with pytest.raises(UsageError, match="of a single target"):
        QUICK(replace(job, goals={"pattern": numbers}))
    with pytest.raises(UsageError, match="pattern, other"):
        QUICK(replace(job, goals={**job.goals, "other": job.goals["pattern"]}))


@pytest.mark.parametrize(
    "wrong", [{"rows_per_step": 0}, {"batch": 1}, {"rate": 0.0}, {"warmup": 1.0}, {"weight_decay": -1.0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"The setting {next(iter(wrong))} is"):
        ContrastSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rows_per_step", "n_steps"), [(8, 8), (20, 3), (60, 2)])
def test_steps_go_by_the_rows_where_none_are_asked_for(rows_per_step: int, n_steps: int) -> None:
    found = ContrastRecipe(ContrastSettings(rows_per_step=rows_per_step))(tiny_job(60, n_steps=None))
    assert found.rungs[1].n_steps == n_steps


@pytest.mark.parametrize(("n_rows", "n_sides"), [(30, 3), (36, 4)])
def test_very_few_rows_are_held_out_by_halves_and_more_by_thirds(n_rows: int, n_sides: int) -> None:
    rows = np.arange(n_rows)
    folds = tuple(Fold(rows[rows % 5 != j], rows[rows % 5 == j]) for j in range(5))
    job = replace(tiny_job(n_rows, n_steps=5), folds=folds)
    sides = sides_of(job, job.goals["pattern"])
    assert len(sides) == n_sides
    held_out = np.concatenate([np.setdiff1d(rows, side) for side in sides])
    assert np.array_equal(np.sort(held_out), rows)
