"""Tuning on pairs as a rung: of few rows and in time, nothing starts from it, and it may replace the probe."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_material import tiny_job
from tiny_text_material import TinyTextMaterial, tiny_text_job
from topwork.contracts import Budget, FitJob, Fitted, Fold, Goal, Sample, Workplace
from topwork.recipes.contrast import CONTRAST, ContrastSettings
from topwork.recipes.contrast_rung import is_few, is_preferred, seconds_of, worth_s
from topwork.recipes.ladder import LADDER
from topwork.training.plan import Speed

SETTINGS = ContrastSettings()


class Killed(Exception):  # noqa: N818 - it is an event
    """Stands for a kill: nothing catches it."""


class Watch:
    """Answers whether to stop, counts how often it was asked, and kills after so many times."""

    def __init__(self, most: float = float("inf")) -> None:
        self.n_asked, self.most = 0, most

    def __call__(self) -> bool:
        self.n_asked += 1
        if self.n_asked > self.most:
            raise Killed
        return False


def placed(folder: Path, *, resume: bool = False, watch: Watch | None = None) -> FitJob:
    return replace(tiny_job(60, n_steps=None), workplace=Workplace(folder, resume, watch or Watch()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Path, int]:
    torch.set_num_threads(1)
    folder, watch = tmp_path_factory.mktemp("whole"), Watch()
    return LADDER(placed(folder, watch=watch)), folder, watch.n_asked


def test_it_comes_after_the_probe_and_the_plan_says_so(whole: tuple[Fitted, Path, int]) -> None:
    fitted, folder, _ = whole
    assert [rung.name for rung in fitted.rungs][:4] == ["probe", "contrast", "top", "all"]
    contrast = fitted.rungs[1]
    assert contrast.n_steps == 8
    assert contrast.trained_share == pytest.approx(0.66, abs=0.01)
    assert sum(rung.chosen for rung in fitted.rungs) == 1
    assert json.loads((folder / "plan.json").read_text())["contrast"] is True


def test_in_bf16_and_with_memory_to_reckon_with_it_is_there_too() -> None:
    """As on every machine that has both: the ladder keeps states at the cut short."""
    job = tiny_text_job(40)
    assert isinstance(job.material, TinyTextMaterial)
    on_machine = replace(job.material, memory_bytes=1 << 33, has_fast_bf16=True)
    fitted = LADDER(replace(job, material=on_machine, n_steps=None))
    assert [rung.name for rung in fitted.rungs][:2] == ["probe", "contrast"]


def test_no_other_rung_starts_from_it(whole: tuple[Fitted, Path, int], tmp_path: Path) -> None:
    """It has seen the rows that validate."""
    with pytest.raises(Killed):
        LADDER(placed(tmp_path, watch=Watch(1)))
    plan = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps({**plan, "contrast": False}))
    without = LADDER(placed(tmp_path, resume=True))
    assert [rung.name for rung in without.rungs] == ["probe", *(r.name for r in whole[0].rungs[2:])]
    ours, theirs = whole[0].rungs[2:], without.rungs[1:]
    assert [rung.log_loss for rung in ours] == [rung.log_loss for rung in theirs]


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_a_run_that_was_killed_goes_on_to_the_same_model(
    share: float, whole: tuple[Fitted, Path, int], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        LADDER(placed(tmp_path, watch=Watch(share * whole[2])))
    resumed = LADDER(placed(tmp_path, resume=True))
    assert [rung.log_loss for rung in resumed.rungs] == [rung.log_loss for rung in whole[0].rungs]
    assert all(np.array_equal(resumed.weights[name], whole[0].weights[name]) for name in whole[0].weights)
    assert np.array_equal(resumed.held_out["pattern"], whole[0].held_out["pattern"], equal_nan=True)


def test_where_it_is_the_model_every_row_was_held_out_and_its_weights_are_those_of_all_rows() -> None:
    job = tiny_text_job(24, n_steps=None)
    fitted = LADDER(job)
    assert [rung.name for rung in fitted.rungs if rung.chosen] == ["contrast"]
    alone = CONTRAST(job)
    assert np.array_equal(fitted.held_out["more"], alone.held_out["more"])
    assert not np.isnan(fitted.held_out["more"]).any()
    assert np.array_equal(fitted.heads["more"].weight, alone.heads["more"].weight)
    assert fitted.weights.keys() == alone.weights.keys()
    assert all(np.array_equal(fitted.weights[name], alone.weights[name]) for name in alone.weights)


def test_with_steps_nothing_else_is_trained(tmp_path: Path) -> None:
    fitted = LADDER(replace(tiny_job(60, n_steps=10), workplace=Workplace(tmp_path)))
    assert [rung.name for rung in fitted.rungs][:2] == ["probe", "top"]
    assert json.loads((tmp_path / "plan.json").read_text())["contrast"] is False


# --- whether and how long -------------------------------------------------------------------------------


def sized(n: int, n_classes: int = 2, n_folds: int = 5) -> FitJob:
    rows = np.arange(n)
    folds = tuple(Fold(rows[rows % n_folds != j], rows[rows % n_folds == j]) for j in range(n_folds))
    goal = Goal(rows % n_classes, "softmax", n_classes)
    return replace(
        tiny_job(12, n_steps=None), features=np.zeros((n, 6), np.float32), goals={"a": goal}, folds=folds
    )


def test_rows_are_few_by_class_and_in_all() -> None:
    assert is_few(sized(200))
    assert not is_few(sized(201))
    assert is_few(sized(300, n_classes=3))
    assert is_few(sized(512, n_classes=6))
    assert not is_few(sized(513, n_classes=6))


def test_only_a_single_target_of_classes_has_pairs() -> None:
    job = sized(40)
    assert not is_few(replace(job, goals={"a": job.goals["a"], "b": job.goals["a"]}))
    assert not is_few(replace(job, goals={"a": Goal(np.zeros(40), "identity", 1)}))
    sample = Sample(np.arange(20), lambda _: sample, job.afterwards)
    assert not is_few(replace(job, sample=sample))


def test_seconds_are_those_of_all_tunings_and_all_looks() -> None:
    job, speed = sized(60), Speed(all_s=9.0, top_s=3.2, fill_s=4.8, check_s=9.0)
    row_s = 3.2 / 32
    # Three folds out of five hold out 24, 24 and 12 rows; a step for every eight of the others takes all of them.
    steps = (5 * 36 + 5 * 36 + 6 * 48 + 8 * 60) * row_s
    expected = steps + 4 * 60 * row_s + 4.8 * 60 / 48
    assert seconds_of(job, speed, SETTINGS) == pytest.approx(expected)


def test_a_step_takes_no_more_rows_than_a_batch() -> None:
    speed = Speed(all_s=9.0, top_s=3.2, fill_s=0.0, check_s=9.0)
    # 60, 60 and 80 rows are left of 100, in 8, 8, 10 and 13 steps; 64 fit into one.
    expected = (2 * 8 * 60 + 10 * 40 + 13 * 50 + 4 * 100) * 0.1
    assert seconds_of(sized(100), speed, SETTINGS) == pytest.approx(expected)


def test_it_takes_a_part_of_the_time_at_most() -> None:
    job, speed = sized(60), Speed(all_s=0.2, top_s=0.1, fill_s=0.1, check_s=0.1)
    needed_s = seconds_of(job, speed, SETTINGS)
    assert worth_s(job, speed, needed_s / 0.29, SETTINGS) == pytest.approx(needed_s)
    assert worth_s(job, speed, needed_s / 0.31, SETTINGS) == 0
    assert worth_s(replace(job, n_steps=10), speed, 1e9, SETTINGS) == 0
    assert worth_s(sized(400), speed, 1e9, SETTINGS) == 0


def test_without_time_for_it_there_is_no_such_rung() -> None:
    fitted = LADDER(replace(tiny_job(60, n_steps=None), budget=Budget(lambda: 0.0, 1.0001)))
    assert "contrast" not in [rung.name for rung in fitted.rungs]


@pytest.mark.parametrize(
    ("shift", "leans", "preferred"),
    [
        (1.0, True, True),
        (0.0, True, True),
        (-0.02, True, True),
        (-1.0, True, False),
        (1.0, False, True),
        (-0.05, False, False),
        (-1.0, False, False),
    ],
)
def test_of_texts_it_replaces_the_probe_unless_that_is_clearly_better_and_of_others_where_it_is(
    shift: float, *, leans: bool, preferred: bool
) -> None:
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 2, 40)
    goal = Goal(truth, "softmax", 2)
    probe = np.zeros((40, 2))
    own = np.zeros((40, 2))
    own[np.arange(40), truth] = shift + draw.normal(0, 0.1, 40)
    own[0] = np.nan  # a row that was not held out says nothing
    assert is_preferred(goal, own, probe, leans=leans) is preferred
