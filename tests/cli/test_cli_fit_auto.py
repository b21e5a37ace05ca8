"""`topwork fit` and `estimate` with ``--trunk auto``: what they print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from commands import Told
from quick import PROBE_WORDS
from tiny_trunk import write_tiny_trunk
from topwork import load

Command = Callable[..., Told]


def test_a_fit_tells_what_it_tried_and_why_it_chose(
    topwork: Command, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    word = f"auto:{tiny_trunk},{write_tiny_trunk(tmp_path / 'other', seed=1)}"
    told = topwork("fit", photos, "--trunk", word, *PROBE_WORDS)
    assert told.status == 0, told.err
    (head,) = [line for line in told.out.splitlines() if line.startswith("  trunk, on 48 inputs")]
    assert head.split()[-5:] == ["score", "LogME", "H-score", "inputs/s", "seconds"]
    assert {line.split()[0] for line in told.out.splitlines() if line} >= {"tiny", "other"}
    record = load(tmp_path / "colours.topwork").record
    assert record.trunk_choice is not None
    assert record.trunk_choice.why in told.out
    assert f"--trunk {word}" in record.command
    assert not (tmp_path / "colours.unfinished").exists()


def test_json_has_the_choice_only_where_there_was_one(
    topwork: Command, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    told = topwork("fit", photos, "--trunk", f"auto:{tiny_trunk}", *PROBE_WORDS, "--json")
    choice = told.json["trunk_choice"]
    assert (choice["chosen"], choice["tried"]) == (told.json["trunk"], [])
    assert "no other one is here" in choice["why"]
    assert "trunk_choice" not in topwork("fit", photos, "--trunk", tiny_trunk, *PROBE_WORDS, "--json").json


def test_an_estimate_says_what_it_reckoned_with(
    topwork: Command, photos: Path, tiny_trunk: Path, tmp_path: Path
) -> None:
    word = f"auto:{tiny_trunk},{write_tiny_trunk(tmp_path / 'other', seed=1)}"
    told = topwork("estimate", photos, "--trunk", word)
    assert told.status == 0, told.err
    assert "  choice of trunk" in told.out
    assert "Note: Reckoned with the trunk" in told.out
