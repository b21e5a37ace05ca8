"""The ladder on texts: the upper layers on states that were kept, and the same weights however often it was killed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_text_material import TinyTextMaterial, tiny_text_job, with_memory
from topwork.contracts import FitJob, Fitted, Resources, Workplace, padded
from topwork.recipes.full import FULL
from topwork.recipes.ladder import LADDER
from topwork.training.plan import plan_from_json, plan_to_json

N_STEPS = 60


def assert_same_model(one: Fitted, other: Fitted) -> None:
    assert one.weights.keys() == other.weights.keys()
    assert all(np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)
    for name, head in one.heads.items():
        assert np.array_equal(head.weight, other.heads[name].weight)
        assert np.array_equal(one.held_out[name], other.held_out[name], equal_nan=True)
    assert [rung.log_loss for rung in one.rungs] == [rung.log_loss for rung in other.rungs]


def plan_of(folder: Path) -> list[dict[str, object]]:
    rungs: list[dict[str, object]] = json.loads((folder / "plan.json").read_text())["rungs"]
    return rungs


def going_on(job: FitJob, folder: Path, should_stop: Callable[[], bool] = bool) -> FitJob:
    """Return the same job with a plan of both rungs in its folder, as there is where time is short for `all`."""
    if not folder.exists():
        LADDER(replace(job, n_steps=2, workplace=Workplace(folder)))
        for left in folder.glob("*.safetensors"):
            left.unlink()
        plan = plan_from_json((folder / "plan.json").read_text())
        assert [rung.name for rung in plan.rungs] == ["all"], "by themselves the upper layers are not trained"
        [every] = plan.rungs
        top = replace(every, name="top", n_below=2, n_variants=1, rates=every.rates[2:])
        rungs = (
            replace(top, n_steps=N_STEPS * 2 // 5, check_every=4),
            replace(every, n_steps=N_STEPS * 3 // 5, check_every=4),
        )
        (folder / "plan.json").write_text(plan_to_json(replace(plan, rungs=rungs, steps=job.n_steps)))
    return replace(job, workplace=Workplace(folder, resume=True, should_stop=should_stop))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[FitJob, Fitted, Path]:
    folder = tmp_path_factory.mktemp("texts") / "whole"
    torch.set_num_threads(1)  # before the features are computed
    job = tiny_text_job(n_steps=N_STEPS)
    return job, LADDER(going_on(job, folder)), folder


def test_the_upper_layers_come_first_and_one_variant_of_each_text_is_kept(
    whole: tuple[FitJob, Fitted, Path],
) -> None:
    _, fitted, folder = whole
    assert [rung.name for rung in fitted.rungs] == ["probe", "top", "all"]
    top, every = plan_of(folder)
    assert (top["n_below"], every["n_below"]) == (2, 0)
    assert top["n_variants"] == 1
    assert fitted.rungs[1].gain is not None
    assert fitted.rungs[1].gain.value > 0.02
    assert [rung.chosen for rung in fitted.rungs] == [False, False, True]


def test_the_model_is_what_validation_saw(whole: tuple[FitJob, Fitted, Path]) -> None:
    job, fitted, _ = whole
    material = job.material
    assert isinstance(material, TinyTextMaterial)
    network = material.network()
    changed = {name: torch.from_numpy(value) for name, value in fitted.weights.items()}
    network.load_state_dict({**network.state_dict(), **changed})
    with torch.no_grad():
        features = network(torch.from_numpy(padded(material.texts))).numpy()
    valid = job.folds[0].valid
    scores = fitted.heads["more"].scores(features)[valid]
    assert np.mean(scores.argmax(1) == job.goals["more"].truth[valid]) == pytest.approx(
        fitted.rungs[-1].validation, abs=0.03
    )


def test_the_same_job_gives_the_same_model(whole: tuple[FitJob, Fitted, Path]) -> None:
    folder = whole[2].parent / "again"
    assert_same_model(LADDER(going_on(tiny_text_job(n_steps=N_STEPS), folder)), whole[1])


class Killed(Exception):  # noqa: N818 - it is an event
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
def test_a_run_that_was_killed_goes_on_to_the_same_model(
    share: float, whole: tuple[FitJob, Fitted, Path], tmp_path: Path
) -> None:
    asked, n_asked = 0, 0

    def count() -> bool:
        nonlocal n_asked
        n_asked += 1
        return False

    def kill() -> bool:
        nonlocal asked
        asked += 1
        if asked > share * n_asked:
            raise Killed
        return False

    job = tiny_text_job(n_steps=N_STEPS)
    LADDER(going_on(job, tmp_path / "counted", count))
    with pytest.raises(Killed):
        LADDER(going_on(job, tmp_path / "killed", kill))
    resumed = LADDER(going_on(job, tmp_path / "killed"))
    assert_same_model(resumed, whole[1])


def test_states_that_do_not_fit_into_memory_are_not_kept(tmp_path: Path) -> None:
    """What a step keeps of the longest text is counted before the first step."""
    job = with_memory(tiny_text_job(n_steps=10), 300_000)
    fitted = LADDER(replace(job, workplace=Workplace(tmp_path)))
    assert [rung.name for rung in fitted.rungs] == ["probe", "all"]
    (rung,) = plan_of(tmp_path)
    assert int(str(rung["n_parts"])) > 1


def test_every_layer_at_once_takes_texts_of_like_size_too() -> None:
    job = tiny_text_job(n_steps=40)
    one, other = FULL(job), FULL(tiny_text_job(n_steps=40))
    assert_same_model(one, other)
    assert one.rungs[-1].validation > 0.7


@dataclass(eq=False)
class InBf16(TinyTextMaterial):
    """The same on a processor that computes in bf16."""

    @property
    def resources(self) -> Resources:
        return Resources("cpu", 1, self.memory_bytes, has_fast_bf16=True)


def test_in_bf16_it_climbs_as_well_and_comes_out_the_same_again() -> None:
    fits: list[Fitted] = []
    for _ in range(2):
        job = tiny_text_job(n_steps=N_STEPS)
        assert isinstance(job.material, TinyTextMaterial)
        fits.append(LADDER(replace(job, material=InBf16(job.material.texts))))
    assert [rung.name for rung in fits[0].rungs] == ["probe", "all"]
    assert fits[0].rungs[-1].chosen
    assert_same_model(*fits)
