"""Survival: scores become risks, bands and shares that are left, by what held-out rows say."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest

from topwork.contracts import Array, Chart, Estimate, Table
from topwork.errors import BundleError, DataError
from topwork.tasks.survival import SURVIVAL, SurvivalTarget

RAW = ["10", "20+", "30", "40.5", None]
TARGET = SURVIVAL.learn(RAW)


def made(n: int, seed: int = 0) -> tuple[Array, Array]:
    """Return truth with a hazard of exp(score) in 100 days, and the scores ``[n, 1]``."""
    draw = np.random.default_rng(seed)
    scores = draw.normal(size=(n, 1))
    time, end = draw.exponential(100 * np.exp(-scores[:, 0])), draw.uniform(0, 300, n)
    return np.stack([np.minimum(time, end), (time <= end).astype(float)], axis=1), scores


def calibrated(n: int = 3000) -> SurvivalTarget:
    return TARGET.calibrated(*made(n))


def test_truth_is_time_and_event() -> None:
    truth = TARGET.encode(RAW)
    assert truth[:4].tolist() == [[10, 1], [20, 0], [30, 1], [40.5, 1]]
    assert np.isnan(truth[4]).all()
    assert [TARGET.spell(one) for one in truth[1:4]] == ["no event until 20", "event at 30", "event at 40.5"]
    assert TARGET.understood == (
        "Times from 10 to 40.5, of which 3 are events and 1 are not; so few say little of what makes it likely.",
    )


def test_an_answer_before_anything_was_held_out_is_a_risk_alone() -> None:
    assert TARGET.answer(np.array([log(2.0)])) == {"risk": pytest.approx(2), "band": None, "survival": []}
    assert TARGET.said(np.zeros((2, 1))).tolist() == [[0, 0], [0, 0]]
    assert TARGET.calibrated(np.full((3, 2), np.nan), np.zeros((3, 1))) == TARGET
    assert TARGET.calibrated(np.array([[1.0, 0], [2.0, 0]]), np.zeros((2, 1))) == TARGET


def test_bands_are_thirds_and_what_is_left_is_what_the_hazard_says() -> None:
    target = calibrated()
    bands = [target.answer(np.array([score]))["band"] for score in (-1.0, 0.0, 1.0)]
    assert bands == ["low", "medium", "high"]
    assert target.cuts == pytest.approx([-0.43, 0.43], abs=0.08)
    for score in (-1.0, 0.0, 1.0):
        left = target.answer(np.array([score]))["survival"]
        assert len(left) == 4  # type: ignore[arg-type]
        for one in left:  # type: ignore[union-attr]
            time, share = one["time"], one["probability"]  # type: ignore[index, call-overload]
            assert share == pytest.approx(exp(-time / 100 * exp(score)), abs=0.05)  # type: ignore[operator]
    assert all(time == float(f"{time:.2g}") for time in target.horizons)


def test_scores_come_to_the_time_by_which_half_have_had_it() -> None:
    said = calibrated().said(np.array([[0.0], [1.0], [-3.0]]))
    assert said[0] == pytest.approx([100 * log(2), 1], rel=0.1)
    assert said[1] == pytest.approx([100 * log(2) / exp(1), 1], rel=0.15)
    assert said[2, 1] == 0


def test_scores_of_another_scale_are_taken_over_by_the_hazard_that_they_mean() -> None:
    """The other's 0 is a hazard three times as high."""
    target, (truth, scores) = calibrated(), made(3000, 1)
    other = TARGET.calibrated(truth, scores - log(3))
    found = target.joint(other).adopt(other, np.zeros((2, 1)))
    assert found[:, 0] == pytest.approx(log(3), abs=0.1)
    assert TARGET.adopt(other, scores) == pytest.approx(scores)


def test_baselines_give_every_input_the_same_risk() -> None:
    truth, scores = made(60)
    found = TARGET.baselines(truth, truth, 0)["same risk"]
    assert found["concordance"] == Estimate(0.5, 0.5, 0.5)
    assert found["cox_loss"].value > TARGET.evaluate(truth, scores, 0)["cox_loss"].value


def test_the_rows_with_the_most_pairs_out_of_order_come_first() -> None:
    truth = np.array([[1.0, 1], [2.0, 1], [3.0, 1], [4.0, 0], [np.nan, np.nan]])
    scores = np.array([[-3.0], [1.0], [0.0], [-1.0], [5.0]])
    found = calibrated().mistakes(truth, scores, 5)
    assert found[0].row == 0
    assert found[0].caption == "event at 1; low risk, 100% of its 3 pairs in the wrong order"
    assert (found[0].truth, found[0].predicted, found[0].probability) == ("event at 1", "low risk", None)
    assert {one.row for one in found} == {0, 1, 2, 3}
    assert TARGET.errors(truth, scores)[:4] == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3])
    assert np.isnan(TARGET.errors(truth, scores)[4])
    assert not TARGET.mistakes(truth[:4], -truth[:4, :1], 5)


def test_the_sections_show_the_bands_over_time_and_what_became_of_predictions() -> None:
    target, (truth, scores) = calibrated(), made(400, 2)
    curves, bands, against = target.sections(truth, scores, 0)
    assert isinstance(curves, Chart)
    assert [one.name for one in curves.series] == ["low risk", "medium risk", "high risk"]
    ends = [one.points[-1].y for one in curves.series]
    assert ends == sorted(ends, reverse=True)
    for one in curves.series:
        assert len(one.points) < 200
        assert [p.x for p in one.points] == sorted(p.x for p in one.points)
        assert [p.y for p in one.points] == sorted((p.y for p in one.points), reverse=True)
        assert all((p.low or 0) <= p.y <= (p.high or 0) for p in one.points)
    assert isinstance(bands, Table)
    assert sum(int(str(row[1])) for row in bands.rows) == 400
    assert sum(int(str(row[2])) for row in bands.rows) == truth[:, 1].sum()
    assert "the event happens" in bands.caption
    assert isinstance(against, Chart)
    assert len(against.series[1].points) == 5
    assert all(abs(p.x - p.y) < 0.2 for p in against.series[1].points)
    assert target.sections(np.full((3, 2), np.nan), np.zeros((3, 1)), 0) == ()
    few = target.sections(truth[:4], scores[:4], 0)
    assert [type(one) for one in few] == [Chart, Table]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ([], "no events in 0 rows"),
        (["1+", "2+", None], "no events in 2 rows"),
        (["1", "2+"], "1 event in 2 rows"),
        (["5", "5", "5+"], "All 3 times are 5"),
        (["5", "five"], "that is no time"),
    ],
)
def test_what_teaches_nothing_is_refused(raw: list[str | None], told: str) -> None:
    with pytest.raises(DataError, match=told):
        SURVIVAL.learn(raw)


def test_a_target_comes_back_as_it_was() -> None:
    for target in (TARGET, calibrated(200)):
        assert SURVIVAL.restore(target.state()) == target
    assert calibrated(200) != TARGET


@pytest.mark.parametrize(
    "change",
    [
        {"n_events": None},
        {"n_censored": -1},
        {"first": "1"},
        {"first": 99.0},
        {"cuts": [1.0]},
        {"cuts": [2.0, 1.0]},
        {"times": [1.0]},
        {"hazards": None},
        {"horizons": [1.25]},
        {"horizons": [float("nan")]},
        {"last": True},
    ],
)
def test_a_damaged_state_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="survival target needs"):
        SURVIVAL.restore({**calibrated(200).state(), **change})  # type: ignore[dict-item]


def test_a_target_knows_no_labels() -> None:
    assert TARGET.labels == ()
    assert (TARGET.n_outputs, TARGET.link, TARGET.main_metric) == (1, "hazard", "concordance")
