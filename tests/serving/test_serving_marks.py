"""A file is another one when it was replaced, written or is gone; a folder, when one below it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from topwork.serving.traffic.marks import mark_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "below").mkdir()
    (tmp_path / "a").write_text("a")
    (tmp_path / "below" / "b").write_text("b")
    return tmp_path


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: replaced(folder / "a"),
        lambda folder: (folder / "a").write_text("longer"),
        lambda folder: (folder / "a").unlink(),
    ],
)
def test_another_file_has_another_mark(folder: Path, change: Callable[[Path], object]) -> None:
    before = mark_of([folder / "a"])
    assert before == mark_of([folder / "a"])
    change(folder)
    assert mark_of([folder / "a"]) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: replaced(folder / "below" / "b"),
        lambda folder: (folder / "below" / "b").write_text("longer"),
        lambda folder: (folder / "below" / "c").write_text("new"),
        lambda folder: (folder / "below" / "b").unlink(),
    ],
)
def test_a_folder_is_another_one_when_a_file_below_it_is(
    folder: Path, change: Callable[[Path], object]
) -> None:
    before, of_a = mark_of([folder]), mark_of([folder / "a"])
    change(folder)
    assert mark_of([folder]) != before
    assert mark_of([folder / "a"]) == of_a


def test_what_is_not_there_has_no_mark(tmp_path: Path) -> None:
    assert mark_of([tmp_path / "gone"]) == mark_of([]) == ()
