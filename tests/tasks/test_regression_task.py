"""Regression: standardised inside, told in the unit of the data, with an interval that holds what it promises."""

from __future__ import annotations

import numpy as np
import pytest

from topwork.contracts import Chart, Table
from topwork.errors import BundleError, DataError
from topwork.tasks.regression import REGRESSION, RegressionTarget

RAW = ["10", "20", "30", "40", None]
TARGET = REGRESSION.learn(RAW)


def test_truth_is_standardised_and_answers_are_not() -> None:
    truth = TARGET.encode(RAW)
    assert np.isnan(truth[4])
    assert truth[:4].mean() == pytest.approx(0)
    assert truth[:4].std() == pytest.approx(1)
    for number, one in zip((10, 20, 30, 40), truth, strict=False):
        assert TARGET.answer(np.array([one]))["value"] == pytest.approx(number)
        assert TARGET.spell(one) == f"{number}.0"


def test_metrics_are_in_the_unit_of_the_data() -> None:
    truth = TARGET.encode(RAW)
    off = np.array([1.0, -1.0, 3.0, -3.0, 0.0]) / TARGET.deviation
    found = TARGET.evaluate(truth, (np.nan_to_num(truth) + off)[:, None], 0)
    assert found["mae"].value == pytest.approx(2)
    assert found["rmse"].value == pytest.approx(5**0.5)
    assert found["r2"].value == pytest.approx(1 - 20 / 500)
    assert set(found) == {"r2", "rmse", "mae"}


def test_the_interval_is_as_wide_as_held_out_errors_call_for() -> None:
    draw = np.random.default_rng(0)
    truth, missing = draw.normal(size=200), np.arange(200) % 10 == 0
    held_out = truth[:, None] + draw.uniform(-0.5, 0.5, (200, 1))
    truth[missing], held_out[1] = np.nan, np.nan
    found = TARGET.calibrated(truth, held_out)
    assert found.half_width is not None
    assert found.half_width == pytest.approx(0.45 * TARGET.deviation, rel=0.1)
    answer = found.answer(np.array([0.0]))
    assert answer == {"value": 25.0, "low": 25.0 - found.half_width, "high": 25.0 + found.half_width}
    metrics = found.evaluate(truth, np.nan_to_num(held_out), 0)
    assert metrics["coverage"].value == pytest.approx(0.9, abs=0.02)
    assert metrics["interval_width"].value == pytest.approx(2 * found.half_width)


def test_too_few_held_out_rows_give_no_interval() -> None:
    found = TARGET.calibrated(np.zeros(8), np.ones((8, 1)))
    assert found.half_width is None
    assert found.answer(np.array([0.0])) == {"value": 25.0, "low": None, "high": None}
    assert TARGET.calibrated(np.zeros(9), np.ones((9, 1))).half_width == pytest.approx(TARGET.deviation)


def test_baselines_answer_mean_and_median() -> None:
    target = REGRESSION.learn(["0", "0", "9"])
    truth = target.encode(["0", "6"])
    found = target.baselines(truth, truth, 0)
    assert found["mean"]["mae"].value == pytest.approx(3)
    assert found["median"]["mae"].value == pytest.approx(3)
    assert found["mean"]["rmse"].value == pytest.approx(3)
    assert found["median"]["rmse"].value == pytest.approx(18**0.5)


def test_the_largest_mistakes_come_first() -> None:
    truth = TARGET.encode(["10", "20", "30", None])
    scores = TARGET.encode(["11", "40", "30", "99"])[:, None]
    found = TARGET.mistakes(truth, np.nan_to_num(scores), 5)
    assert [one.row for one in found] == [1, 0]
    assert found[0].caption == "is 20.0, said 40.0 (20.0 off)"
    assert found[0].probability is None


def test_errors_are_absolute_and_in_the_unit_of_the_data() -> None:
    truth = TARGET.encode(["10", "20", None])
    assert TARGET.errors(truth, TARGET.encode(["13", "18", "1"])[:, None])[:2] == pytest.approx([3, 2])


def test_scores_of_another_target_are_taken_over_in_ones_own_units() -> None:
    other = REGRESSION.learn(["100", "300"])
    scores = other.encode(["10", "40", "25"])[:, None].astype(np.float32)
    found = TARGET.joint(other).adopt(other, scores)
    assert found[:, 0] == pytest.approx(TARGET.encode(["10", "40", "25"]), abs=1e-5)


def test_the_sections_draw_what_was_said_and_what_is_true() -> None:
    target = TARGET.calibrated(np.zeros(99), np.linspace(-1, 1, 99)[:, None])
    truth = np.random.default_rng(0).normal(size=400)
    sections = target.sections(truth, truth[:, None] + 0.1, 0)
    assert [type(one) for one in sections] == [Chart, Chart, Chart, Table, Table]
    against, spread, _, far, held = sections
    assert isinstance(against, Chart)
    assert isinstance(spread, Chart)
    dots = against.series[1].points
    assert len(dots) == 200
    assert all(p.y - p.x == pytest.approx(0.1 * TARGET.deviation) for p in dots)
    assert sum(p.y for p in spread.series[0].points) == 400
    assert isinstance(far, Table)
    assert isinstance(held, Table)
    assert far.rows[-1] == ("all", "1.1")
    assert sum(int(str(row[2])) for row in held.rows[1:]) == int(str(held.rows[0][2])) == 400
    assert target.sections(np.full(3, np.nan), np.zeros((3, 1)), 0) == ()


@pytest.mark.parametrize("raw", [[], [None, None], ["5", "5.0", None]])
def test_what_does_not_vary_is_refused(raw: list[str | None]) -> None:
    with pytest.raises(DataError, match="does not vary"):
        REGRESSION.learn(raw)


def test_values_too_large_for_a_deviation_are_refused() -> None:
    with pytest.raises(DataError, match="no finite standard deviation"):
        REGRESSION.learn(["1e300", "-1e300"])


def test_a_target_comes_back_as_it_was() -> None:
    bounded = TARGET.calibrated(np.zeros(99), np.ones((99, 1)))
    for target in (TARGET, bounded):
        assert REGRESSION.restore(target.state()) == target
    assert bounded != TARGET


@pytest.mark.parametrize(
    "change",
    [
        {"mean": None},
        {"deviation": 0.0},
        {"median": "1"},
        {"level": 1.5},
        {"half_width": -1.0},
        {"mean": float("inf")},
        {"deviation": True},
    ],
)
def test_a_damaged_state_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="regression target needs"):
        REGRESSION.restore({**TARGET.state(), **change})  # type: ignore[dict-item]


def test_a_target_knows_no_labels() -> None:
    assert isinstance(TARGET, RegressionTarget)
    assert TARGET.labels == ()
    assert (TARGET.n_outputs, TARGET.link, TARGET.main_metric) == (1, "identity", "r2")
