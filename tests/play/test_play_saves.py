"""Stories in files: written whole, read back the same, and refused with a reason where they are damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from topwork.errors import DataError, StorageError, UsageError
from topwork.play.saves import Saves, read_story, written_story
from topwork.play.settings import Settings
from topwork.play.starts import Start
from topwork.play.story import Story, Turn

STORY = Story(
    Start("fantasy", "You are Ada.", "It “rains”."),
    12,
    (Turn("do", "You run.", "You fall.\n\nYou sleep."), Turn("continue", "", "You wake.")),
    5,
    ("The key is brass.",),
    Settings(temperature=0.9, length=40, filter="retell"),
)


def test_a_story_is_read_as_it_was_written(tmp_path: Path) -> None:
    saves = Saves(tmp_path / "new" / "folder")
    assert saves.names() == []
    path = saves.write("The hill 1", STORY)
    assert path == tmp_path / "new" / "folder" / "The hill 1.json"
    assert saves.read("The hill 1") == STORY
    assert saves.names() == ["The hill 1"]


@pytest.mark.parametrize(
    "name", ["../up", "a/b", "/etc/passwd", "", ".hidden", "a\nb", "x" * 81, "end.", "C:\\a"]
)
def test_a_name_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no name for a story"):
        Saves(tmp_path).write(name, STORY)
    assert list(tmp_path.iterdir()) == []


def test_a_path_is_a_name_where_that_is_wanted(tmp_path: Path) -> None:
    saves = Saves(tmp_path / "saves", takes_paths=True)
    saves.write(str(tmp_path / "mine.json"), STORY)
    assert Saves(tmp_path).read("mine") == STORY


def test_a_story_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    Saves(tmp_path).write("here", STORY)
    with pytest.raises(UsageError, match="Stories here: here"):
        Saves(tmp_path).read("there")


def changed(**keys: Any) -> bytes:
    return json.dumps({**json.loads(written_story(STORY)), **keys}).encode()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (written_story(STORY)[:-9], "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"{}", "it is no topwork story"),
        (changed(version=2), "has the version 2; this topwork reads 1"),
        (changed(seed="x"), "'seed' is 'x'"),
        (changed(seed=True), "'seed' is True"),
        (changed(turns=[3]), "turn 1 is none"),
        (changed(turns=[{"kind": "fly"}]), "turn 1 is of the kind 'fly'"),
        (changed(turns=[{"kind": "do", "action": "You run."}]), "'result' is None"),
        (changed(remembered=[1]), "no list of texts"),
        (changed(settings={"temperature": 99}), "temperature is 99; expected 0 to 5"),
        (changed(settings={"temperature": "hot"}), "the setting 'temperature' is 'hot'"),
        (changed(settings={"hue": 1}), "the setting 'hue' makes no sense"),
        (changed(start={"genre": "own"}), "'context' is None"),
    ],
)
def test_what_is_damaged_is_refused_with_a_reason(content: bytes, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read_story("a.json", content)


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        Saves(tmp_path / "file").write("a", STORY)
