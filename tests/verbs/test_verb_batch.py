"""`batch` in this process: the answers of `predict`, each once, and what is kept when it breaks off."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from topwork import Model, Surroundings
from topwork.errors import DataError, TopworkError, UsageError
from topwork.verbs.batching import BatchOptions, batch, rehearse


@pytest.fixture
def table(photos: Path, tmp_path: Path) -> Path:
    """Return a table of 60 photos, and two rows that are none."""
    lines = ["n,file,label", *(f"0,{path},x" for path in sorted(photos.rglob("*.jpg")))]
    lines[10:10] = ["0,gone.jpg,x"]
    path = tmp_path / "photos.csv"
    path.write_text("\n".join([*lines, "0,photos.csv,x"]))
    return path


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_gives_what_predict_gives(
    fitted: Model, photos: Path, table: Path, around: Surroundings, tmp_path: Path
) -> None:
    out = tmp_path / "answers.jsonl"
    found = batch(fitted.path, table, out, around=around)
    assert (found.n_rows, found.n_failed, found.n_resumed, found.was_done) == (62, 2, 0, False)
    rows, failed = lines_of(out), lines_of(tmp_path / "answers.failed.jsonl")
    predicted = {one.input: one.answer for one in fitted.predict(sorted(photos.rglob("*.jpg")))}
    assert [row["input"] for row in rows] == list(predicted)
    assert [row["answer"] for row in rows] == list(predicted.values())
    assert [row["row"] for row in rows] == [n for n in range(1, 62) if n != 10]
    assert [(one["row"], one["place"], one["input"]) for one in failed] == [
        (10, "line 11", "gone.jpg"),
        (62, "line 63", "photos.csv"),
    ]
    assert "no such file" in failed[0]["reason"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "photos.csv",
        "answers.jsonl",
        "answers.failed.jsonl",
    }


def test_folders_and_tables_as_results(
    fitted: Model, photos: Path, around: Surroundings, tmp_path: Path
) -> None:
    for suffix in ("csv", "parquet"):
        found = batch(fitted.path, photos, tmp_path / f"answers.{suffix}", around=around)
        assert (found.n_rows, found.failed) == (60, None)
    first = (tmp_path / "answers.csv").read_text().splitlines()[0]
    assert sorted(first.split(",")) == [
        "in_domain",
        "input",
        "label",
        "probabilities.blue",
        "probabilities.green",
        "probabilities.red",
        "row",
    ]
    pyarrow = pytest.importorskip("pyarrow.parquet")
    assert pyarrow.read_table(tmp_path / "answers.parquet").num_rows == 60


class Broken:
    """Progress that breaks the work off after so many rows."""

    def __init__(self, n_rows: int) -> None:
        self.n_rows = n_rows
        self.told: list[str] = []

    def say(self, line: str) -> None:
        self.told.append(line)

    @contextmanager
    def track(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        left = iter(range(self.n_rows - 1))

        def advance(n: int) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        yield advance


def test_what_breaks_off_is_gone_on_with(
    fitted: Model, table: Path, around: Surroundings, tmp_path: Path
) -> None:
    batch(fitted.path, table, tmp_path / "whole.jsonl", around=around)
    out, resume = tmp_path / "answers.jsonl", BatchOptions(resume=True)
    for n_done in (7, 27):
        broken = Broken(7 if n_done == 7 else 20)
        with pytest.raises(KeyboardInterrupt):
            batch(fitted.path, table, out, options=resume, around=replace(around, progress=broken))
        assert broken.told == [f"{n_done} of 62 rows are kept; the same command with --resume goes on."]
        assert not out.exists()
    with pytest.raises(UsageError, match="There is unfinished work"):
        batch(fitted.path, table, out, around=around)
    found = batch(fitted.path, table, out, options=resume, around=around)
    assert (found.n_rows, found.n_resumed, found.n_failed) == (62, 27, 2)
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert (tmp_path / "answers.failed.jsonl").read_bytes() == (tmp_path / "whole.failed.jsonl").read_bytes()
    again = batch(fitted.path, table, out, options=resume, around=around)
    assert again.was_done
    with pytest.raises(UsageError, match="is there already"):
        batch(fitted.path, table, out, around=around)


def test_other_inputs_are_not_gone_on_with(
    fitted: Model, table: Path, around: Surroundings, tmp_path: Path
) -> None:
    out = tmp_path / "answers.jsonl"
    with pytest.raises(KeyboardInterrupt):
        batch(fitted.path, table, out, around=replace(around, progress=Broken(7)))
    table.write_text(table.read_text() + "\n0,other.jpg,x")
    with pytest.raises(UsageError, match="input_mark was"):
        batch(fitted.path, table, out, options=BatchOptions(resume=True), around=around)


def test_a_rehearsal_writes_nothing(fitted: Model, table: Path, around: Surroundings, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    found = rehearse(fitted.path, table, tmp_path / "answers.csv", around=around)
    assert (found.n_rows, found.n_tried, found.n_failed, found.column) == (62, 62, 2, "file")
    assert found.seconds == pytest.approx(62 * found.seconds_per_row)
    assert found.seconds_per_row > 0
    assert found.example is not None
    assert set(found.example) == {"row", "input", "answer"}
    assert set(tmp_path.iterdir()) == before


def test_mistakes_are_told_before_anything_is_done(
    fitted: Model, table: Path, around: Surroundings, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="says no format"):
        batch(fitted.path, table, tmp_path / "answers.xlsx", around=around)
    with pytest.raises(DataError, match="no column 'b'"):
        batch(fitted.path, table, tmp_path / "a.csv", options=BatchOptions(column="b"), around=around)
    with pytest.raises(UsageError, match="Leave out --only"):
        batch(
            "http://127.0.0.1:9", table, tmp_path / "a.csv", options=BatchOptions(only=("x",)), around=around
        )
    with pytest.raises(TopworkError, match="gives no reply"):
        batch("http://127.0.0.1:9", table, tmp_path / "a.csv", around=around)
    assert [path.name for path in tmp_path.iterdir()] == ["photos.csv"]
