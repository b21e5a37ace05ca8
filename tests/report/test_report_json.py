"""JSON: everything in the record, under its own names, and nothing that JSON does not hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from records import chess_record, evaluation_record, hostile_record, unmeasured_record
from topwork.contracts import Estimate, FitRecord, Table
from topwork.report.json import FORMAT, render_json


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is no JSON")


def parsed(record: FitRecord) -> Any:
    return json.loads(render_json(record), parse_constant=refuse)


@pytest.mark.parametrize("make", [chess_record, evaluation_record, hostile_record, unmeasured_record])
def test_every_field_of_the_record_is_there_and_every_number_finite(make: Callable[[], FitRecord]) -> None:
    found = parsed(make())
    assert found.pop("format") == FORMAT == 1
    assert list(found) == [one.name for one in fields(FitRecord)]
    assert render_json(make()).isascii()
    assert render_json(make()) == render_json(make())
    assert render_json(make()).endswith("}\n")


def test_values_stand_under_the_names_of_their_fields() -> None:
    found, record = parsed(chess_record()), chess_record()
    target, result = found["targets"]["label"], record.targets["label"]
    assert target["test"]["accuracy"] == {"value": 90 / 111, "low": 0.728, "high": 0.8728}
    assert target["comparisons"][0]["difference"]["accuracy"]["value"] == 0.2973
    assert target["growth"]["doubled"]["low"] == 0.7911
    assert target["growth"]["chart"]["kind"] == "chart"
    assert target["growth"]["chart"]["x_log"] is True
    assert [s["kind"] for s in target["sections"]] == [type(s).__name__.lower() for s in result.sections]
    assert target["sections"][0]["counts"][1] == [1, 9, 0, 0, 5, 0]
    assert target["sections"][1]["rows"][0][1]["high"] == 0.92
    assert target["sections"][2]["pictures"][0]["probability"] == 0.97
    assert found["rungs"][1]["chosen"] is True
    assert found["rungs"][0]["gain"] is None
    assert found["forecasts"][2]["actual"] is None
    assert found["trunk"]["offers"] == ["pooled"]
    assert found["sections"][0]["kind"] == "chart"
    assert found["command"] == record.command


def test_what_is_not_finite_is_null() -> None:
    test = parsed(unmeasured_record())["targets"]["label"]["test"]
    assert test["accuracy"] == {"value": None, "low": 0.0, "high": 1.0}
    assert test["log_loss"]["high"] is None


def test_labels_called_nan_stay_text() -> None:
    record = chess_record()
    table = Table("t", ("nan",), (("nan",), (Estimate(float("nan"), 0.0, 1.0),)))
    result = replace(record.targets["label"], sections=(table,), labels=("nan", "inf"))
    found = parsed(replace(record, targets={"nan": result}))["targets"]["nan"]
    assert found["labels"] == ["nan", "inf"]
    assert found["sections"][0]["rows"] == [["nan"], [{"value": None, "low": 0.0, "high": 1.0}]]


def test_scalars_of_numpy_are_numbers() -> None:
    record = replace(chess_record(), seconds=np.float32(2.5), n_cached=np.int64(7))  # type: ignore[arg-type]
    found = parsed(record)
    assert (found["seconds"], found["n_cached"]) == (2.5, 7)
    with pytest.raises(TypeError, match="expected text or a number"):
        render_json(replace(record, name=object()))  # type: ignore[arg-type]
