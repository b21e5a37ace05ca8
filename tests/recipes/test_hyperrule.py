"""Big Transfer's rule, number by number, and the recipe that follows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tiny_material import tiny_job
from topwork.contracts import Budget
from topwork.errors import UsageError
from topwork.recipes.hyperrule import (
    HYPERRULE,
    HyperruleRecipe,
    HyperruleSettings,
    Schedule,
    schedule_for,
    sizes_for,
)
from topwork.recipes.stretch import stretch_of, zero_heads
from topwork.training.schedules import stepped


@pytest.mark.parametrize(
    ("n_examples", "expected"),
    [
        (1, Schedule(500, 100, (200, 300, 400), 0.0)),
        (19_999, Schedule(500, 100, (200, 300, 400), 0.0)),
        (20_000, Schedule(10_000, 500, (3_000, 6_000, 9_000), 0.1)),
        (499_999, Schedule(10_000, 500, (3_000, 6_000, 9_000), 0.1)),
        (500_000, Schedule(20_000, 500, (6_000, 12_000, 18_000), 0.1)),
    ],
)
def test_the_rule_follows_from_the_number_of_examples(n_examples: int, expected: Schedule) -> None:
    assert schedule_for(n_examples) == expected


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(95, 96, (160, 128)), (96, 96, (512, 480)), (32, 32, (160, 128)), (50, 400, (512, 480))],
)
def test_sizes_follow_from_the_area(height: int, width: int, expected: tuple[int, int]) -> None:
    assert sizes_for(height, width) == expected


def test_pictures_are_brought_to_the_size_that_the_rule_crops_them_to() -> None:
    rule = HyperruleRecipe(HyperruleSettings(resize="rule"))
    assert (rule.side_px(64, 80), rule.side_px(300, 200)) == (128, 480)
    assert rule.side_px(0, 0) is None, "none could be read"
    assert HYPERRULE.side_px(300, 200) is None
    with pytest.raises(UsageError, match="resize is 'big'; expected rule or own"):
        HyperruleSettings(resize="big")


def test_the_rate_rises_along_a_line_and_falls_to_tenths() -> None:
    rule = schedule_for(100)
    milestones = (rule.warmup, *rule.falls)
    shares = {step: stepped(step, milestones) for step in (0, 50, 99, 100, 200, 201, 300, 301, 400, 401, 499)}
    assert shares == pytest.approx(
        {
            0: 0,
            50: 0.5,
            99: 0.99,
            100: 1,
            200: 1,
            201: 0.1,
            300: 0.1,
            301: 0.01,
            400: 0.01,
            401: 1e-3,
            499: 1e-3,
        }
    )


def test_a_shorter_course_keeps_its_shape() -> None:
    assert schedule_for(100).within(50) == Schedule(50, 10, (20, 30, 40), 0.0)
    assert schedule_for(100).within(500) == schedule_for(100)
    assert schedule_for(100).within(2).warmup == 1


def test_it_trains_every_layer_from_a_head_of_zeros() -> None:
    fitted = HyperruleRecipe(HyperruleSettings(rate=0.3))(tiny_job(n_steps=60))
    [rung] = fitted.rungs
    assert (rung.name, rung.n_steps, rung.chosen) == ("hyperrule", 60, True)
    assert {name.split(".")[1] for name in fitted.weights} == {"0", "1", "2", "3"}
    assert rung.log_loss is not None
    assert rung.log_loss.value < np.log(3) - 0.1
    assert [one.n_steps for one in fitted.history] == [60]
    assert fitted.notes[0] == "Not the rule itself: its 500 steps are scaled to 60."
    assert fitted.notes[1].startswith("Pictures stay at the network's own 8 × 8")
    assert fitted.notes[1].endswith(
        "under 96 × 96 pixels to 160 → 128, others to 512 → 480; --set resize=rule does."
    )


def test_the_rate_is_in_proportion_to_the_batch() -> None:
    """159 training rows are less than a batch of 512."""
    job = tiny_job()
    stretch = stretch_of(job, zero_heads(job))
    whole, _ = HYPERRULE._plan(stretch, schedule_for(159))
    small, _ = HyperruleRecipe(HyperruleSettings(batch=16))._plan(stretch, schedule_for(159))
    assert whole.batch == 159
    assert whole.rates == pytest.approx((0.003 * 159 / 512,) * 5)
    assert small.rates == pytest.approx((0.003 * 16 / 512,) * 5)
    assert (whole.optimiser, whole.weight_decay, whole.smoothing) == ("sgd", 0.0, 0.0)
    assert (whole.average_decay, whole.largest_gradient) == (0.0, 0.0)


def test_without_time_the_probe_is_the_model() -> None:
    fitted = HYPERRULE(replace(tiny_job(n_steps=None), budget=Budget(lambda: 0.0, 0.5)))
    assert (fitted.rungs[0].name, fitted.rungs[0].chosen) == ("probe", True)
    assert fitted.notes[-1].endswith("the model is the probe.")


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="expected more than 0 and 1 or more"):
        HyperruleSettings(batch=0)
