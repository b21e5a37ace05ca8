"""Queries: files of SQL over the files beside them, and what they cannot reach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from topwork.contracts import Dataset
from topwork.data import ReadOptions, read
from topwork.errors import DataError
from toy_texts import toy_texts, write_text_table

pytest.importorskip("duckdb")


def query(folder: Path, sql: str) -> Path:
    path = folder / "ask.sql"
    path.write_text(sql, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of data, with a table in it, one in a folder below, and one outside."""
    inner = tmp_path / "it's data"
    (inner / "more").mkdir(parents=True)
    write_text_table(inner / "a.csv", 12, seed=1)
    write_text_table(inner / "more" / "b.csv", 6, seed=2)
    write_text_table(tmp_path / "outside.csv", 5)
    return inner


def texts(dataset: Dataset) -> list[str]:
    return [dataset.read(row).decode() for row in range(len(dataset))]


def test_a_query_is_a_table(folder: Path) -> None:
    sql = "select text, label as mood, length(text) as n from 'a.csv' where label = 'praise' or text like '%Order 2.'"
    dataset = read(query(folder, sql), ReadOptions(target=("mood",)))
    expected = [
        t for i, (t, label) in enumerate(zip(*toy_texts(12, 1), strict=True)) if label == "praise" or i == 2
    ]
    assert (dataset.modality, texts(dataset)) == ("text", expected)
    assert dataset.columns["n"][0] == str(len(expected[0]))
    assert dataset.keys[0] == "row 1"
    assert "ask.sql" in dataset.layout


def test_a_query_may_join_files_and_use_patterns(folder: Path) -> None:
    sql = "-- both\nwith every as (from read_csv('**/*.csv', union_by_name = true)) select * from every;"
    assert sorted(texts(read(query(folder, sql)))) == sorted([*toy_texts(12, 1)[0], *toy_texts(6, 2)[0]])


def test_a_query_is_relative_to_its_file_and_not_to_the_process(folder: Path) -> None:
    path = query(folder, "select * from 'more/b.csv'")
    code = f"from topwork.data import read\nprint(len(read({str(path)!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder.parent, check=True
    )
    assert done.stdout == "6\n"


def test_a_module_beside_the_query_is_not_run(folder: Path) -> None:
    (folder / "json.py").write_text("raise SystemExit('taken over')", encoding="utf-8")
    (folder / "duckdb.py").write_text("raise SystemExit('taken over')", encoding="utf-8")
    assert len(read(query(folder, "select * from 'a.csv'"))) == 12


def test_a_query_may_name_files_of_pictures(folder: Path) -> None:
    from pictures import file_of, photo

    for i in range(4):
        (folder / f"{i}.jpg").write_bytes(file_of(photo(), "JPEG"))
    sql = "select i || '.jpg' as file, i % 2 as label from range(4) t(i)"
    dataset = read(query(folder, sql))
    assert (dataset.modality, dataset.keys) == ("image", ("0.jpg", "1.jpg", "2.jpg", "3.jpg"))


def test_rows_of_a_query_keep_the_order_of_the_files(folder: Path) -> None:
    path = query(folder, "select * from 'a.csv'")
    assert texts(read(path)) == texts(read(path)) == toy_texts(12, 1)[0]


ESCAPES = {
    "a path": "select * from '{outside}'",
    "a way up": "select * from '../outside.csv'",
    "a way down and up": "select * from 'more/../../outside.csv'",
    "a pattern": "select * from '../*.csv'",
    "a link": "select * from 'link.csv'",
    "a folder that begins alike": "select * from '{folder}x/c.csv'",
    "a function": "select content as text, 1 as label from read_text('{outside}')",
    "a listing": "select file as text, 1 as label from glob('../*')",
    "a network": "select * from 'https://example.org/a.csv'",
    "another database": "select * from sqlite_scan('{outside}', 't')",
}


@pytest.mark.parametrize("sql", ESCAPES.values(), ids=ESCAPES)
def test_a_query_reaches_nothing_outside_its_folder(folder: Path, sql: str) -> None:
    (folder / "link.csv").symlink_to(folder.parent / "outside.csv")
    beside = Path(f"{folder}x")
    beside.mkdir()
    write_text_table(beside / "c.csv", 5)
    filled = sql.format(outside=folder.parent / "outside.csv", folder=folder).replace("it's", "it''s")
    with pytest.raises(DataError, match=r"The query ask\.sql cannot be run") as caught:
        read(query(folder, filled))
    assert "Parser" not in str(caught.value)
    assert "in " + str(folder) in caught.value.next_step


@pytest.mark.parametrize(
    "sql",
    [
        "copy (select 1) to 'written.csv'",
        "create table t as select 1",
        "attach 'written.db'",
        "install httpfs",
        "set enable_external_access = true; select * from '../outside.csv'",
        "select 1; select 2",
        "explain select 1",
        "-- nothing",
    ],
)
def test_a_query_is_one_select(folder: Path, sql: str) -> None:
    before = sorted(folder.rglob("*"))
    with pytest.raises(DataError, match="expected one, and that a SELECT"):
        read(query(folder, sql))
    assert sorted(folder.rglob("*")) == sorted([*before, folder / "ask.sql"])


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("selct text from 'a.csv'", "syntax error"),
        ("select gone from 'a.csv'", "gone"),
        ("select * from 'gone.csv'", "gone.csv"),
        ("select * from 'a.csv' where false", "gives no rows"),
        ("select 1 as a, 2 as b", "No column of ask.sql names files"),
    ],
)
def test_a_query_that_is_wrong_says_what_is_wrong(folder: Path, sql: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read(query(folder, sql))
