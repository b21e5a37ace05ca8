"""Commands on times and events: fit, evaluate, data check, bundle compare and what they print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from commands import Told
from quick import PROBE_WORDS
from toy_photos import write_followed

Command = Callable[..., Told]
TIMES = ("--target", "days", "--event", "broke")


def test_events_are_named_once_and_remembered(topwork: Command, tiny_trunk: Path, tmp_path: Path) -> None:
    table = write_followed(tmp_path / "data", 120)
    words = ("fit", table, "--trunk", tiny_trunk, *PROBE_WORDS, "--task", "survival", *TIMES)
    told = topwork(*words, "--out", "a.topwork")
    assert told.status == 0, told.err
    assert "days: survival, measured on 24 inputs of the test split" in told.out
    rows = {line[2:].split("  ")[0] for line in told.out.splitlines() if line.startswith("  ")}
    assert {"concordance", "Cox loss"} <= rows
    found = topwork(*words, "--seed", 1, "--out", "b.topwork", "--json").json["targets"]["days"]
    assert set(found["test"]) == {"concordance", "cox_loss"}
    fresh = write_followed(tmp_path / "fresh", 60, seed=5)
    named = topwork("evaluate", "a.topwork", fresh, *TIMES, "--json").json["targets"]
    assert named == topwork("evaluate", "a.topwork", fresh, "--target", "days", "--json").json["targets"]
    assert named == topwork("evaluate", "a.topwork", fresh, "--target", "until", "--json").json["targets"]
    for words_of_events in (TIMES, TIMES[:2]):
        told = topwork("bundle", "compare", "a.topwork", "b.topwork", fresh, *words_of_events)
        assert told.status == 0, told.err
        assert "concordance" in told.out
        assert "no event until" in told.out
        assert "Both right" not in told.out


def test_a_look_at_times_finds_no_obstacle(topwork: Command, tmp_path: Path) -> None:
    table = write_followed(tmp_path / "data", 40)
    told = topwork("data", "check", table, "--task", "survival", *TIMES)
    assert told.status == 0, told.err
    assert "are events and" in told.out


def test_unclear_events_are_refused(topwork: Command, tmp_path: Path) -> None:
    table = write_followed(tmp_path / "data", 40, told=("1", "2"))
    told = topwork("data", "check", table, "--task", "survival", *TIMES)
    assert told.status == 1
    assert "has '2' in the column 'broke'; whether that is an event is not clear" in told.err
    told = topwork("data", "check", table, *TIMES)
    assert told.status == 1
    assert "--task survival" in told.err
