"""Inputs one after the other: every kind of file, bad rows among good ones, and never all of them in memory."""

from __future__ import annotations

import base64
import json
import tracemalloc
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from topwork.data.streams import Row, Stream, open_stream
from topwork.errors import DataError, DecodeError
from topwork.inputs import IMAGE, TEXT, VECTOR

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

TEXTS = ("the parcel came late", "quick and friendly people", 'größer, "better"; and\nlonger')


def contents(stream: Stream) -> list[bytes | str]:
    found: list[bytes | str] = []
    for row in stream.rows():
        try:
            found.append(row.content())
        except DecodeError as error:
            found.append(error.problem)
    return found


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def table(folder: Path, name: str) -> Path:
    """Write the texts as a table with a number beside each."""
    rows = [{"id": i, "text": text} for i, text in enumerate(TEXTS)]
    if name.endswith(".parquet"):
        parquet.write_table(pyarrow.Table.from_pylist(rows), folder / name)
        return folder / name
    if name.endswith(".jsonl"):
        return write(folder, name, "".join(json.dumps(row, ensure_ascii=False) + "\n\n" for row in rows))
    sign = "\t" if name.endswith(".tsv") else ";"
    quoted = ['"' + text.replace('"', '""') + '"' for text in TEXTS]
    return write(folder, name, f"id{sign}text\n" + "".join(f"{i}{sign}{q}\n" for i, q in enumerate(quoted)))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.ndjson", "a.parquet"])
def test_every_kind_of_table_gives_its_texts(tmp_path: Path, name: str) -> None:
    path = table(tmp_path, name.replace("ndjson", "jsonl"))
    path = path.rename(tmp_path / name)
    stream = open_stream(path, TEXT)
    assert (stream.column, stream.count()) == ("text", 3)
    assert contents(stream) == [text.encode() for text in TEXTS]
    assert [row.number for row in stream.rows()] == [1, 2, 3]
    assert contents(open_stream(path, TEXT, "id")) == [b"0", b"1", b"2"]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.txt"])
def test_rows_can_be_skipped(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, "a\nb\nc\n") if name == "a.txt" else table(tmp_path, name)
    stream = open_stream(path, TEXT)
    every = list(stream.rows())
    for n in range(5):
        assert list(stream.rows(n)) == every[n:]


def test_a_list_has_an_input_in_each_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "\ufefffirst text\r\n\n  second text\nlast")
    assert contents(open_stream(path, TEXT)) == [b"first text", b"second text", b"last"]
    assert [row.place for row in open_stream(path, TEXT).rows()] == ["line 1", "line 3", "line 4"]


def test_of_photos_a_cell_is_a_path_from_the_tables_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in", "a.jpg", b"AAA")
    path = write(tmp_path, "a.csv", f"n,image\n1,in/a.jpg\n2,{tmp_path}/in/a.jpg\n3,gone.jpg\n4,\n")
    stream = open_stream(path, IMAGE)
    assert stream.column == "image"
    first, second, gone, empty = contents(stream)
    assert (first, second) == (b"AAA", b"AAA")
    assert "no such file" in str(gone)
    assert "cell is empty" in str(empty)
    assert [row.name for row in stream.rows()][:3] == ["in/a.jpg", f"{tmp_path}/in/a.jpg", "gone.jpg"]


def test_photos_may_stand_in_the_table_itself(tmp_path: Path) -> None:
    url = f"data:image/png;base64,{base64.b64encode(b'PNG').decode()}"
    lines = [{"x": url}, {"x": "data:,no base64!"}, {"x": 3}]
    found = contents(open_stream(write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, lines))), IMAGE))
    assert found[0] == b"PNG"
    assert "not base64" in str(found[1])
    assert "the cell is int" in str(found[2])
    rows = [
        {"image": {"bytes": b"JPG", "path": None}, "label": 1},
        {"image": {"bytes": None, "path": "b"}, "label": 0},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    write(tmp_path, "b", b"BBB")
    assert contents(open_stream(tmp_path / "a.parquet", IMAGE)) == [b"JPG", b"BBB"]


def test_numbers_stand_in_a_cell(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"vector": [1, 2.5], "id": 3}\n{"vector": "3,4", "id": 4}\n')
    assert contents(open_stream(path, VECTOR)) == [b"[1, 2.5]", b"3,4"]


def test_a_folder_is_listed_in_order(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", "deep/c.PNG", "note.md", ".hidden.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, name, name)
    stream = open_stream(tmp_path, IMAGE)
    assert (stream.count(), contents(stream)) == (3, [b"a.jpg", b"b.jpg", b"deep/c.PNG"])
    assert list(stream.rows(2)) == [
        Row(3, "deep/c.PNG", str(tmp_path / "deep/c.PNG"), tmp_path / "deep/c.PNG")
    ]


def test_bad_rows_cost_nothing_but_themselves(tmp_path: Path) -> None:
    lines = [
        '{"text": "one two three"}',
        "no json",
        "[1]",
        '{"text": "four five six"}',
        '{"other": 1}',
        '{"text": null}',
    ]
    first, no_json, no_object, fourth, missing, null = contents(
        open_stream(write(tmp_path, "a.jsonl", "\n".join(lines)), TEXT)
    )
    assert (first, fourth) == (b"one two three", b"four five six")
    assert "no JSON:" in str(no_json)
    assert "no JSON object" in str(no_object)
    assert "cell is empty" in str(missing)
    assert "cell is empty" in str(null)
    csv = write(tmp_path, "a.csv", "text,n\none two three,1\na,b,c,d\nfour five six\n")
    good, wide, short = contents(open_stream(csv, TEXT))
    assert (good, short) == (b"one two three", b"four five six")
    assert "4 values for 2 columns" in str(wide)


def test_a_table_in_the_encoding_of_windows_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "text,n\nwie schön das ist,1\n".encode("cp1252"))
    assert contents(open_stream(path, TEXT)) == ["wie schön das ist".encode()]
    wide = write(tmp_path, "b.csv", "text,n\nwie schön das ist,1\n".encode("utf-16"))
    assert contents(open_stream(wide, TEXT)) == ["wie schön das ist".encode()]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "", "has no rows"),
        ("a.csv", "text,n\n", "has no rows"),
        ("a.csv", "x,y\n1,2\n", "not clear which column"),
        ("a.csv", 'text,n\n"one two" three,1\n', "line 2"),
        ("a.parquet", "PAR1", "as Parquet"),
        ("a.jsonl", "{}", "has no rows"),
        ("a.jsonl", '{"a": 1}'.encode("utf-16").decode("latin-1"), "UTF-16"),
        ("a.xlsx", "", "nothing that holds many inputs"),
    ],
)
def test_what_cannot_be_read_at_all_is_refused(tmp_path: Path, name: str, content: str, told: str) -> None:
    path = write(tmp_path, name, content.encode("latin-1"))
    with pytest.raises(DataError, match=told):
        open_stream(path, TEXT).count()


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        open_stream(tmp_path / "none", TEXT)
    with pytest.raises(DataError, match="holds no photo"):
        open_stream(tmp_path, IMAGE)
    with pytest.raises(DataError, match="no column 'b'"):
        open_stream(table(tmp_path, "a.csv"), TEXT, "b")


def test_a_change_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "one\n")
    marks = {open_stream(path, TEXT).mark}
    write(tmp_path, "a.txt", "one\ntwo\n")
    marks.add(open_stream(path, TEXT).mark)
    (tmp_path / "b.jpg").touch()
    marks.add(open_stream(tmp_path, IMAGE).mark)
    (tmp_path / "c.jpg").touch()
    marks.add(open_stream(tmp_path, IMAGE).mark)
    assert len(marks) == 4


@pytest.mark.parametrize(
    "suffix", ["csv", *(pytest.param(one, marks=pytest.mark.slow) for one in ("jsonl", "parquet"))]
)
def test_a_table_of_many_rows_is_not_held_in_memory(tmp_path: Path, suffix: str) -> None:
    """Twenty megabytes of texts, of which one or two are in memory at a time."""
    text, n_rows = "many words " * 100, 20_000
    path = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        with parquet.ParquetWriter(path, pyarrow.schema([("text", pyarrow.string())])) as writer:
            for at in range(0, n_rows, 1000):
                batch: Any = [f"{i} {text}" for i in range(at, at + 1000)]
                writer.write_batch(pyarrow.record_batch([batch], names=["text"]))
    else:
        with path.open("w") as stream:
            stream.write("text\n" if suffix == "csv" else "")
            for i in range(n_rows):
                stream.write(
                    f"{i} {text}\n" if suffix == "csv" else json.dumps({"text": f"{i} {text}"}) + "\n"
                )
    tracemalloc.start()
    try:
        stream_of = open_stream(path, TEXT)
        assert stream_of.count() == n_rows
        for row in stream_of.rows():
            row.content()
        last = next(islice(stream_of.rows(n_rows - 1), 1))
        assert last.name.startswith(f"{n_rows - 1} many")
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
