"""Commands on numbers: fit, data check, bundle compare and what they print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from commands import Told
from quick import PROBE_WORDS
from toy_photos import write_measured

Command = Callable[..., Told]
NUMBERS = ("--task", "regression", "--target", "price")


def test_a_fit_tells_its_metrics_and_the_same_as_json(
    topwork: Command, tiny_trunk: Path, tmp_path: Path
) -> None:
    table = write_measured(tmp_path / "data", 60)
    words = ("fit", table, "--trunk", tiny_trunk, *PROBE_WORDS, *NUMBERS)
    told = topwork(*words, "--out", "a.topwork")
    assert told.status == 0, told.err
    assert "price: regression, measured on 12 inputs of the test split" in told.out
    rows = {line[2:].split("  ")[0] for line in told.out.splitlines() if line.startswith("  ")}
    assert {"R²", "RMSE", "MAE", "coverage of the intervals", "width of the intervals"} <= rows
    found = topwork(*words, "--seed", 1, "--out", "b.topwork", "--json").json["targets"]["price"]
    assert set(found) == {"task", "validation", "test", "baselines", "comparisons"}
    assert set(found["test"]["r2"]) == {"value", "low", "high"}
    fresh = write_measured(tmp_path / "fresh", 30, seed=5)
    told = topwork("bundle", "compare", "a.topwork", "b.topwork", fresh, "--target", "price")
    assert told.status == 0, told.err
    assert "Both right" not in told.out
    assert "RMSE" in told.out
    assert "they disagree on" in told.out


def test_a_look_at_numbers_finds_no_obstacle(topwork: Command, tmp_path: Path) -> None:
    table = write_measured(tmp_path / "data", 30)
    assert topwork("data", "check", table, *NUMBERS).status == 0
    refused = topwork("data", "check", table, "--target", "price")
    assert refused.status == 1


def test_labels_are_no_numbers(topwork: Command, photos: Path, tiny_trunk: Path) -> None:
    told = topwork("fit", photos, "--trunk", tiny_trunk, *PROBE_WORDS, "--task", "regression")
    assert told.status == 1
    assert "such as 'blue', 'green', 'red': labels" in told.err
