"""What differences, growth, rungs and forecasts mean in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from records import chess_record, comparisons, growth, rungs
from topwork.contracts import Estimate, Forecast
from topwork.report.verdicts import (
    about_growth,
    against,
    climb_rows,
    doubling_gain,
    forecast_rows,
    gain_verdict,
    headline,
    hits_and_misses,
    improvement,
    other_model,
    verdict,
)

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("metric", "difference", "standing", "words"),
    [
        ("accuracy", Estimate(0.081, 0.02, 0.142), "better", "better by 8.1 points, 2.0 to 14.2"),
        (
            "accuracy",
            Estimate(0.018, -0.027, 0.063),
            "undecided",
            "no difference shown: 1.8 points, −2.7 to 6.3",
        ),
        ("accuracy", Estimate(-0.03, -0.049, -0.012), "worse", "worse by 3.0 points, 1.2 to 4.9"),
        ("accuracy", Estimate(0.05, 0.0, 0.1), "undecided", "no difference shown: 5.0 points, 0.0 to 10.0"),
        ("log_loss", Estimate(-0.12, -0.19, -0.05), "better", "better by 0.120, 0.050 to 0.190"),
        ("log_loss", Estimate(0.12, 0.05, 0.19), "worse", "worse by 0.120, 0.050 to 0.190"),
        ("calibration_error", Estimate(-0.02, -0.03, -0.01), "better", "better by 2.0 points, 1.0 to 3.0"),
        ("accuracy", Estimate(0.0, 0.0, 0.0), "undecided", "no difference at all"),
        ("accuracy", Estimate(NAN, NAN, NAN), "unknown", "the difference is not known"),
        ("log_loss", Estimate(-1.0, -INF, -0.5), "better", "better by 1.000, 0.500 to unbounded"),
    ],
)
def test_a_difference_is_told_from_this_models_side(
    metric: str, difference: Estimate, standing: str, words: str
) -> None:
    found = verdict(metric, difference)
    assert found.standing == standing
    assert found.words.replace("\u00a0", " ") == words


def test_no_zero_has_a_sign() -> None:
    assert "−0.0" not in verdict("accuracy", Estimate(0.01, -0.0001, 0.02)).words


def test_an_improvement_keeps_its_ends_in_order() -> None:
    turned = improvement("log_loss", Estimate(-0.3, -0.5, -0.1))
    assert (turned.value, turned.low, turned.high) == (0.3, 0.1, 0.5)
    assert improvement("accuracy", turned) == turned


def test_models_are_compared_by_the_metric_that_leads() -> None:
    result = chess_record().targets["label"]
    first = comparisons()[0]
    found = against(result, first)
    assert found is not None
    assert (headline(result), found[0], found[1].standing) == ("accuracy", "accuracy", "better")
    only_loss = replace(first, difference={"log_loss": Estimate(0.1, 0.05, 0.15)})
    assert against(result, only_loss) is None
    found = against(replace(result, main_metric="log_loss"), only_loss)
    assert found is not None
    assert found[1].standing == "worse"


def test_other_models_are_named_as_a_sentence_needs_it() -> None:
    assert other_model("frozen network") == "the frozen network"
    assert other_model("classical_baseline") == "the classical baseline"
    assert other_model("from scratch") == "the same network trained from scratch"
    assert other_model("majority") == "always answering the most frequent class"
    assert other_model("mean") == "always answering the mean"
    assert len(other_model("W" * 500)) < 70


@pytest.mark.parametrize(
    ("doubled", "says"),
    [
        (Estimate(0.8346, 0.7911, 0.8752), "would help: a gain in accuracy of about 4.7 points (0.3 to 8.8)"),
        (
            Estimate(0.81, 0.77, 0.85),
            "may help, which is not shown: a gain in accuracy of about 2.2 points (−1.8 to 6.2)",
        ),
        (
            Estimate(0.79, 0.78, 0.794),
            "would hardly change anything: a gain in accuracy of about 0.2 points (−0.8 to 0.6)",
        ),
        (Estimate(0.79, 0.78, 0.80), "may help, which is not shown"),
        (Estimate(NAN, 0.0, 1.0), "what they would bring is not known"),
    ],
)
def test_what_doubling_brings_is_one_sentence_with_its_range(doubled: Estimate, says: str) -> None:
    sentence = about_growth(replace(growth(), doubled=doubled)).replace("\u00a0", " ")
    assert says in sentence
    assert "(880 instead of 440)" in sentence
    assert sentence.count(". ") == 0


def test_growth_of_a_loss_is_a_gain_where_it_falls() -> None:
    falling = replace(
        growth(), metric="log_loss", now=Estimate(0.6, 0.5, 0.7), doubled=Estimate(0.5, 0.45, 0.55)
    )
    gain = doubling_gain(falling)
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.1, 0.05, 0.15))
    assert "would help: a gain in log loss of about 0.100 (0.050 to 0.150)" in about_growth(falling)


def test_a_rung_is_a_gain_only_where_its_interval_says_so() -> None:
    first, second, third = rungs()
    assert gain_verdict(first) is None
    found = [gain_verdict(one) for one in (second, third)]
    assert [f.words for f in found if f] == [
        "better by 0.101, 0.052 to 0.150",
        "no gain shown: 0.007, −0.021 to 0.034",
    ]
    rows = climb_rows(rungs(), "accuracy")
    assert [row.chosen for row in rows] == [False, True, False]
    assert [row.steps for row in rows] == ["", "410", "220"]
    assert [row.trained.replace("\u00a0", " ") for row in rows] == ["0.0 %", "41.2 %", "100.0 %"]
    assert (rows[1].log_loss, rows[1].log_loss_interval) == ("0.620", "0.539 to 0.702")


def test_a_forecast_held_where_what_came_lies_in_its_range() -> None:
    forecasts = tuple(
        Forecast("time", "seconds", 10.0, 20.0, actual) for actual in (10.0, 20.0, 9.9, 20.1, None, NAN)
    )
    rows = forecast_rows(forecasts)
    assert [row.held for row in rows] == [True, True, False, False, None, None]
    assert [row.said for row in rows[2:5]] == ["less than expected", "more than expected", "not measured"]
    assert rows[0].expected.replace("\u00a0", " ") == "10.0 s to 20.0 s"
    assert hits_and_misses(forecasts) == "2 of 4 forecasts held what came."
    assert hits_and_misses(forecasts[4:]) == ""
