"""Which engine a bundle is made for: the rule for eight bits, and what being faster must be worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from topwork.contracts import Estimate, Precision
from topwork.engines.choice import EngineName
from topwork.engines.pace import Pace
from topwork.evaluation.intervals import paired_difference
from topwork.steps.contenders import Contender, Tried
from topwork.steps.election import elect, objections
from topwork.steps.standings import COLUMNS, rows_of


def tried(
    engine: EngineName,
    precision: Precision,
    speed: float,
    *,
    sooner: float | None = None,
    difference: Estimate | None = None,
) -> Tried:
    rounds = np.linspace(0.9, 1.1, 9)  # a machine that changes, the same for all
    pace = Pace(rounds / (sooner or speed), speed / rounds)
    found: Mapping[str, Mapping[str, Estimate]] = (
        {} if difference is None else {"label": {"accuracy": difference, "log_loss": Estimate(0, 0, 0)}}
    )
    metrics = {"label": {"accuracy": Estimate(0.9, 0.88, 0.92)}}
    return Tried(Contender(engine, precision), pace, 0.1, 8, metrics, found)


REFERENCE = tried("openvino", "fp32", 100.0)
NOTHING = Estimate(0.0, -0.004, 0.004)


def chosen(*others: Tried, aim: str = "throughput") -> tuple[str, tuple[str, ...]]:
    every = (REFERENCE, *others)
    found = elect(every, aim)  # type: ignore[arg-type]
    assert len(found.reasons) == len(every)
    assert found.reasons[found.place] == "chosen"
    return every[found.place].contender.name, found.reasons


# --- the rule for eight bits ----------------------------------------------------------------------------


def test_eight_bits_that_lose_nothing_are_chosen_where_they_are_faster() -> None:
    name, reasons = chosen(tried("openvino", "int8", 180.0, difference=NOTHING))
    assert name == "openvino int8"
    assert reasons[0] == "not chosen: openvino int8 is 1.80 times as fast"


@pytest.mark.parametrize(
    ("difference", "reason"),
    [
        (Estimate(-0.0051, -0.009, 0.0), "it loses 0.51 points of accuracy, more than 0.5"),
        (Estimate(-0.03, -0.05, -0.01), "it loses 3.00 points of accuracy, more than 0.5"),
        (
            Estimate(0.0, -0.0101, 0.01),
            "it may lose 1.01 points of accuracy by the 95 % interval, more than 1",
        ),
        (Estimate(0.02, -0.033, 0.05), "it may lose 3.30 points of accuracy by the 95 % interval"),
        (Estimate(float("nan"), -1.0, 1.0), "nothing is known of its accuracy"),
    ],
)
def test_eight_bits_that_lose_too_much_or_might_are_not(difference: Estimate, reason: str) -> None:
    name, reasons = chosen(tried("openvino", "int8", 900.0, difference=difference))
    assert name == "openvino fp32"
    assert reason in reasons[1]


@pytest.mark.parametrize(
    "difference", [Estimate(-0.005, -0.0099, 0.0), Estimate(0.0, -0.01, 0.01), Estimate(0.05, 0.01, 0.09)]
)
def test_at_the_limits_they_still_are(difference: Estimate) -> None:
    assert chosen(tried("openvino", "int8", 900.0, difference=difference))[0] == "openvino int8"


def test_without_labelled_rows_they_are_not_chosen() -> None:
    name, reasons = chosen(tried("openvino", "int8", 900.0))
    assert name == "openvino fp32"
    assert reasons[1] == "not chosen: without labelled data (--data) nothing shows what it loses"


def test_some_400_rows_are_needed_even_where_the_two_never_disagree() -> None:
    """The interval of no disagreement among n reaches to 3.84 / (n + 3.84)."""
    few, enough = (paired_difference(0, 0, n) for n in (370, 390))
    assert chosen(tried("openvino", "int8", 900.0, difference=few))[0] == "openvino fp32"
    assert chosen(tried("openvino", "int8", 900.0, difference=enough))[0] == "openvino int8"


def test_a_loss_of_what_is_no_share_is_a_part_of_its_value() -> None:
    reference = {"price": {"rmse": Estimate(20.0, 18.0, 22.0)}}

    def said(value: float, high: float) -> list[str]:
        return list(objections({"price": {"rmse": Estimate(value, -1.0, high)}}, reference))

    assert said(0.09, 0.19) == []
    assert said(0.11, 0.19) == ["it loses 0.55 % of RMSE, more than 0.5"]
    assert said(0.0, 0.21)[0].startswith("it may lose 1.05 % of RMSE")
    assert said(-0.5, -0.2) == []  # less is better


def test_each_of_several_targets_counts() -> None:
    bad = Estimate(-0.2, -0.3, -0.1)
    difference = {"a": {"accuracy": NOTHING}, "b": {"accuracy": bad}}
    reference = {name: {"accuracy": Estimate(0.9, 0.8, 1.0)} for name in difference}
    assert list(objections(difference, reference)) == ["b: it loses 20.00 points of accuracy, more than 0.5"]


# --- speed ----------------------------------------------------------------------------------------------


def test_a_little_faster_is_not_worth_being_less_exact() -> None:
    name, reasons = chosen(tried("openvino", "bf16", 104.0))
    assert name == "openvino fp32"
    assert reasons[1] == "not chosen: 1.04 times as fast, which is not worth being less exact"
    assert chosen(tried("openvino", "bf16", 106.0))[0] == "openvino bf16"


def test_the_less_exact_must_beat_the_best_before_it() -> None:
    half = tried("openvino", "bf16", 200.0)
    assert chosen(half, tried("openvino", "int8", 205.0, difference=NOTHING))[0] == "openvino bf16"
    assert chosen(half, tried("openvino", "int8", 220.0, difference=NOTHING))[0] == "openvino int8"


def test_faster_in_half_of_the_rounds_alone_is_not_faster() -> None:
    rounds = np.array([0.5, 0.6, 0.7, 0.8, 1.4, 1.5, 1.6, 1.7, 1.8])
    fickle = replace(tried("openvino", "bf16", 1.0), pace=Pace(1 / rounds, 100 * rounds))
    steady = replace(REFERENCE, pace=Pace(np.ones(9), np.full(9, 100.0)))
    found = elect((steady, fickle), "throughput")
    assert (found.place, found.reasons[1]) == (
        0,
        "not chosen: 1.40 times as fast, but not in three of four rounds",
    )
    assert elect((steady, replace(fickle, pace=Pace(1 / rounds, 300 * rounds))), "throughput").place == 1


def test_the_aim_decides_what_fast_means() -> None:
    one = tried("openvino", "bf16", 150.0, sooner=50.0)
    assert chosen(one, aim="throughput")[0] == "openvino bf16"
    assert chosen(one, aim="latency")[0] == "openvino fp32"


def test_for_size_eight_bits_are_taken_though_they_are_slower() -> None:
    small = tried("openvino", "int8", 60.0, difference=NOTHING)
    quicker = tried("onnxruntime", "int8", 90.0, difference=NOTHING)
    assert chosen(small, aim="throughput")[0] == "openvino fp32"
    name, reasons = chosen(small, quicker, aim="size")
    assert name == "onnxruntime int8"
    assert reasons[0] == "not chosen: onnxruntime int8 is smaller"
    lossy = tried("openvino", "int8", 60.0, difference=Estimate(-0.1, -0.2, 0.0))
    assert chosen(lossy, aim="size")[0] == "openvino fp32"


def test_what_cannot_be_served_or_did_not_run_is_not_chosen() -> None:
    torch = tried("torch", "fp32", 900.0)
    broken = Tried(Contender("onnxruntime", "int8"), problem="not made: no examples")
    name, reasons = chosen(torch, broken)
    assert name == "openvino fp32"
    assert reasons[1] == "for comparison alone: it runs modules, and a bundle holds a graph"
    assert reasons[2] == "not made: no examples"


# --- as a table -----------------------------------------------------------------------------------------


def test_rows_say_what_was_measured_and_leave_the_rest_empty() -> None:
    every = (
        REFERENCE,
        tried("openvino", "int8", 200.0, difference=Estimate(-0.002, -0.006, 0.002)),
        Tried(Contender("onnxruntime", "int8"), problem="not made"),
    )
    first, short, none = rows_of(every, ("a", "b", "c"))
    assert len(first) == len(COLUMNS)
    assert first[0] == "openvino fp32"
    assert first[3] == "1.00 (1.00 to 1.00)"
    assert short[1].startswith("5 (")  # milliseconds
    assert short[3] == "2.00 (2.00 to 2.00)"
    assert short[4:] == ("0.1", "8", "accuracy -0.2 points (-0.6 to +0.2)", "b")
    assert none == ("onnxruntime int8", "", "", "", "", "", "", "c")
