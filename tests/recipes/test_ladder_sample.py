"""The ladder begins with a sample: probe on what has features, rungs on all rows, and more rows for want of rungs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_material import tiny_job
from topwork.contracts import Afterwards, Array, Budget, FitJob, Fitted, Fold, Sample, Workplace
from topwork.errors import UsageError
from topwork.recipes.ladder import LADDER, LadderSettings
from topwork.recipes.probe import PROBE
from topwork.training.fingerprint import digest
from topwork.training.selection import folds_of, selected, validated

N = 240
LEARNING = 160


@dataclass(eq=False)
class Reserve:
    """Features that a job does not have yet; each time it is asked it gives ``n_more`` rows from the lowest up."""

    whole: Array
    given: Array
    n_more: int = 0
    row_s: float | None = 0.1
    until_s: list[float] = field(default_factory=list)
    reads: Callable[[], None] = lambda: None

    def sample(self, known: Array) -> Sample:
        def more(until_s: float) -> Sample:
            self.until_s.append(until_s)
            self.reads()
            further = np.setdiff1d(np.arange(len(self.whole)), known)[: self.n_more]
            self.given[further] = self.whole[further]
            return self.sample(np.union1d(known, further))

        return Sample(known, more, Afterwards(10, self.row_s, 1.0))


def sampled(job: FitJob, n_more: int = 0, n_known: int = 90, seed: int = 0) -> tuple[FitJob, Reserve]:
    """Return the job as it is when only some rows have features, and what has the others."""
    known = np.sort(np.random.default_rng(seed).permutation(len(job.features))[:n_known])
    given = np.zeros_like(job.features)
    given[known] = job.features[known]
    reserve = Reserve(job.features, given, n_more)
    return replace(job, features=given, sample=reserve.sample(known)), reserve


def known_of(job: FitJob) -> Array:
    assert job.sample is not None
    return job.sample.known


def in_place(job: FitJob, folder: Path, *, resume: bool = False, n_asked: int = 10**6) -> FitJob:
    """Give the job a workplace that wants to stop once it was asked so often."""
    left = [n_asked]

    def should_stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    return replace(job, workplace=Workplace(folder, resume, should_stop))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """What the tiny network says differs in the last bit with the number of threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def climbed() -> Fitted:
    return LADDER(sampled(tiny_job(N, n_steps=LEARNING))[0])


# --- selection ------------------------------------------------------------------------------------------


def test_a_job_of_some_rows_has_their_features_labels_and_folds() -> None:
    job = tiny_job(30)
    places = np.array([1, 2, 5, 7, 29])
    few = selected(job, places)
    assert np.array_equal(few.features, job.features[places])
    assert np.array_equal(few.goals["pattern"].truth, job.goals["pattern"].truth[places])
    for fold, whole in zip(few.folds, job.folds, strict=True):
        assert np.array_equal(places[fold.valid], np.intersect1d(whole.valid, places))
        assert np.array_equal(places[fold.train], np.intersect1d(whole.train, places))


def test_folds_without_a_side_are_left_out() -> None:
    fold = Fold(np.array([0, 1]), np.array([2, 3]))
    assert len(folds_of([fold], np.array([0, 2]), 4)) == 1
    assert folds_of([fold], np.array([0, 1]), 4) == ()


def test_a_job_that_is_validated_by_some_rows_trains_on_the_same() -> None:
    job, places = tiny_job(30), np.arange(10)
    found = validated(job, places)
    assert np.array_equal(found.folds[0].train, job.folds[0].train)
    assert np.array_equal(found.folds[0].valid, np.intersect1d(job.folds[0].valid, places))


# --- the way up -----------------------------------------------------------------------------------------


def test_the_first_rung_is_the_probe_of_the_sample(climbed: Fitted) -> None:
    job, _ = sampled(tiny_job(N, n_steps=LEARNING))
    part = selected(job, known_of(job))
    held = PROBE(part).held_out["pattern"][part.folds[0].valid]
    loss = climbed.rungs[0].log_loss
    assert loss is not None
    truth = part.goals["pattern"].truth[part.folds[0].valid]
    odds = held - np.log(np.exp(held).sum(1, keepdims=True))
    assert loss.value == pytest.approx(-odds[np.arange(len(truth)), truth].mean())
    assert "fitted on 90 of 240 inputs" in climbed.rungs[0].notes


def test_history_begins_with_the_sample(climbed: Fitted) -> None:
    first, loss = climbed.history[0], climbed.rungs[0].log_loss
    assert loss is not None
    assert (first.rung, first.n_steps) == ("probe", 0)
    assert (first.log_loss, first.score) == (loss.value, climbed.rungs[0].validation)
    assert {moment.rung for moment in climbed.history[1:]} == {"top", "all"}


def test_rungs_are_trained_on_all_rows_and_compared_on_those_of_the_sample(climbed: Fitted) -> None:
    job, _ = sampled(tiny_job(N, n_steps=LEARNING))
    assert [rung.chosen for rung in climbed.rungs] == [False, False, True]
    assert climbed.weights
    assert climbed.fitted_on is None
    compared = np.intersect1d(job.folds[0].valid, known_of(job))
    assert np.array_equal(np.flatnonzero(~np.isnan(climbed.held_out["pattern"][:, 0])), compared)
    top, deep = climbed.rungs[1:]
    assert top.n_steps == 64
    assert deep.n_steps == 96
    assert deep.gain is not None
    assert deep.gain.value > 0


def test_what_has_no_features_has_no_say(climbed: Fitted) -> None:
    """Whatever stands where a feature is not known, the model is the same."""
    job, _ = sampled(tiny_job(N, n_steps=LEARNING))
    unknown = np.setdiff1d(np.arange(N), known_of(job))
    job.features[unknown] = 7.0
    again = LADDER(job)
    assert all(np.array_equal(again.weights[name], climbed.weights[name]) for name in climbed.weights)
    assert np.array_equal(again.heads["pattern"].weight, climbed.heads["pattern"].weight)


# --- for want of rungs ----------------------------------------------------------------------------------


def short(job: FitJob, left_s: float, **afterwards: float) -> FitJob:
    """Return the job with so much time, and a clock that stands."""
    return replace(
        job, n_steps=None, budget=Budget(lambda: 0.0, left_s), afterwards=Afterwards(200, 1.0, **afterwards)
    )


def test_without_time_for_a_rung_the_probe_is_fitted_on_what_is_read_on() -> None:
    job, reserve = sampled(tiny_job(N), n_more=60)
    fitted = LADDER(short(job, 100.0))
    assert [(rung.name, rung.chosen) for rung in fitted.rungs] == [("probe", False), ("probe", True)]
    assert not fitted.weights
    assert not fitted.plan  # no network was even made ready
    assert fitted.fitted_on is not None
    assert len(fitted.fitted_on) == 150
    part = replace(
        selected(replace(job, features=reserve.whole), fitted.fitted_on), budget=Budget(lambda: 0.0)
    )
    expected = PROBE(part)
    assert np.array_equal(fitted.heads["pattern"].weight, expected.heads["pattern"].weight)
    held_out = fitted.held_out["pattern"]
    assert np.array_equal(held_out[fitted.fitted_on], expected.held_out["pattern"], equal_nan=True)
    assert np.isnan(np.delete(held_out, fitted.fitted_on, axis=0)).all()
    assert "fitted on 150 of 240 inputs" in fitted.rungs[1].notes
    assert [moment.rung for moment in fitted.history] == ["probe", "probe"]
    assert len(fitted.notes) == 1


def test_time_is_kept_back_for_what_follows_and_for_the_fit_itself() -> None:
    """Of 100 s ten rows of the test and the delivery take two, and one is a reserve."""
    job, reserve = sampled(tiny_job(N), n_more=60)
    LADDER(short(job, 100.0))
    assert reserve.until_s == [pytest.approx(97.0)]  # the clock stands: fitting takes no time
    reserve.until_s.clear()
    now_s = [0.0]

    def tick() -> float:
        now_s[0] += 1.0
        return now_s[0]

    LADDER(replace(short(job, 100.0), budget=Budget(tick, 100.0)))
    (until_s,) = reserve.until_s
    assert until_s < 80.0


def test_a_probe_on_more_rows_leaves_time_for_what_follows() -> None:
    """Reading on has taken too long: two seconds are still needed, and one and a half are left."""
    for left_s, is_cut in ((1.5, True), (2.5, False)):
        job, reserve = sampled(tiny_job(N), n_more=60)
        now_s = [0.0]
        reserve.reads = partial(now_s.__setitem__, 0, 100.0 - left_s)
        budget, untimed = Budget(partial(now_s.__getitem__, 0), 100.0), Afterwards(delivery_s=200.0)
        fitted = LADDER(replace(job, n_steps=None, budget=budget, afterwards=untimed))
        assert ("cut short" in fitted.notes[0]) == is_cut


def test_where_time_is_up_or_the_user_stops_it_the_model_is_fitted_on_the_sample() -> None:
    for late in (True, False):
        job, reserve = sampled(tiny_job(N, n_steps=None), n_more=60)
        job = short(job, -1.0) if late else in_place(short(job, 100.0), Path("nowhere"), n_asked=0)
        fitted = LADDER(job)
        assert [(rung.name, rung.chosen) for rung in fitted.rungs] == [("probe", True)]
        assert fitted.fitted_on is not None
        assert not reserve.until_s
        assert np.array_equal(fitted.fitted_on, known_of(job))


def test_where_no_rung_was_a_gain_more_rows_are_read() -> None:
    """Two steps of training gain nothing that is more than a standard error."""
    job, _ = sampled(tiny_job(N, n_steps=2), n_more=60)
    fitted = LADDER(job)
    assert [rung.name for rung in fitted.rungs] in (
        ["probe", "top", "probe"],
        ["probe", "top", "all", "probe"],
    )
    assert [rung.chosen for rung in fitted.rungs] == [False] * (len(fitted.rungs) - 1) + [True]
    assert fitted.fitted_on is not None
    assert len(fitted.fitted_on) == 150


# --- going on -------------------------------------------------------------------------------------------


def test_the_digest_is_that_of_the_sample_alone() -> None:
    job, _ = sampled(tiny_job(N))
    other = replace(job, features=job.features.copy())
    other.features[np.setdiff1d(np.arange(N), known_of(job))] = 3.0
    assert digest(other) == digest(job)
    other.features[known_of(job)[0]] = 3.0
    assert digest(other) != digest(job)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_run_that_was_killed_goes_on_to_the_same_model(
    share: float, climbed: Fitted, tmp_path: Path
) -> None:
    class Killed(Exception):  # noqa: N818 - it is an event
        """Stands for a kill: nothing catches it."""

    job, n_asked = sampled(tiny_job(N, n_steps=LEARNING))[0], [0]

    def kill() -> bool:
        n_asked[0] += 1
        if n_asked[0] > share * LEARNING:
            raise Killed
        return False

    with pytest.raises(Killed):
        LADDER(replace(job, workplace=Workplace(tmp_path, should_stop=kill)))
    again = LADDER(in_place(job, tmp_path, resume=True))
    assert all(np.array_equal(again.weights[name], climbed.weights[name]) for name in climbed.weights)
    assert [moment.rung for moment in again.history] == [moment.rung for moment in climbed.history]


def test_a_run_with_another_sample_is_another_one(tmp_path: Path) -> None:
    LADDER(in_place(sampled(tiny_job(N, n_steps=4))[0], tmp_path, n_asked=3))
    for other in (sampled(tiny_job(N, n_steps=4), n_known=91)[0], tiny_job(N, n_steps=4)):
        with pytest.raises(UsageError, match="n_known was 90"):
            LADDER(in_place(other, tmp_path, resume=True))
    with pytest.raises(UsageError, match="data was"):
        LADDER(in_place(sampled(tiny_job(N, n_steps=4), seed=1)[0], tmp_path, resume=True))


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in ({"sample": 0}, {"quick": -0.1}, {"quick": 1.5}):
        with pytest.raises(UsageError, match="expected 1 or more, and a share"):
            LadderSettings(**wrong)
