"""Texts: tables that hold them, folders of them, columns in memory, and what is told apart from tables of files."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pictures import file_of, photo
from topwork.contracts import Dataset
from topwork.data import ReadOptions, read
from topwork.data.columns import Columns
from topwork.data.corrections import apply, read_corrections
from topwork.data.table_roles import Roles
from topwork.data.table_texts import find_texts
from topwork.data.tables import Table, parse_table
from topwork.errors import DataError
from topwork.verbs.checking import check
from toy_texts import toy_texts, write_text_folders, write_text_table

TEXTS, LABELS = toy_texts(8)
ROWS = list(zip(TEXTS, LABELS, strict=True))
PICTURE = file_of(photo(), "JPEG")


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as stream:
        csv.writer(stream, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([header, *rows])
    return path


def contents(dataset: Dataset) -> list[str]:
    return [dataset.read(row).decode() for row in range(len(dataset))]


def labels(dataset: Dataset, target: str = "label") -> list[str | None]:
    return list(dataset.targets[target])


# --- tables -----------------------------------------------------------------------------------------------


def write_as(kind: str, path: Path) -> Path:
    if kind == "jsonl":
        lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
        path.write_text("\n".join(lines), encoding="utf-8")
    elif kind == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        import pyarrow.parquet as parquet

        parquet.write_table(pyarrow.table({"text": TEXTS, "label": LABELS}), path)
    else:
        write(path, ("text", "label"), ROWS)
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("where", ["the table", "its folder", "an archive"])
def test_every_kind_of_table_is_read_everywhere(tmp_path: Path, kind: str, where: str) -> None:
    path = write_as(kind, tmp_path / f"reviews.{kind}")
    if where == "an archive":
        with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
            archive.write(path, f"data/{path.name}")
    given = {"the table": path, "its folder": tmp_path, "an archive": tmp_path / "d.zip"}[where]
    dataset = read(given)
    assert (dataset.modality, contents(dataset), labels(dataset)) == ("text", TEXTS, LABELS)
    first = {"csv": "line 2", "tsv": "line 2", "jsonl": "line 1", "parquet": "row 1"}[kind]
    assert dataset.keys[0] == first
    assert len(set(dataset.keys)) == len(dataset)
    assert any(
        "Column 'text' holds the texts; `--input COLUMN` overrides" in one for one in dataset.understood
    )
    assert any("Labels: column 'label'; `--target COLUMN`" in one for one in dataset.understood)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_tables_are_read_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    rows = [(f"Schöne Grüße – {text}", label) for text, label in ROWS]
    dataset = read(write(tmp_path / "t.csv", ("text", "label"), rows, encoding))
    assert contents(dataset) == [text for text, _ in rows]


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        (("id", "title", "review", "label"), "review"),
        (("id", "title", "note", "label"), "title"),
        (("id", "short", "note", "label"), "note"),  # by content: the longest
        (("id", "description", "BODY", "label"), "BODY"),
    ],
)
def test_the_column_of_texts_is_found(tmp_path: Path, header: Sequence[str], taken: str) -> None:
    rows = [(f"x{i}", f"A small thing {i}", text, label) for i, (text, label) in enumerate(ROWS)]
    dataset = read(write(tmp_path / "t.csv", header, rows))
    at = header.index(taken)
    assert contents(dataset) == [row[at] for row in rows]
    assert dataset.keys[3] == "x3"
    assert set(dataset.columns) == {*header} - {taken, "label"}


def test_an_empty_column_with_a_telling_name_is_passed_over(tmp_path: Path) -> None:
    rows = [("" if i else "see below", text, label) for i, (text, label) in enumerate(ROWS)]
    assert contents(read(write(tmp_path / "t.csv", ("text", "note", "label"), rows))) == TEXTS


def test_options_override_what_is_found(tmp_path: Path) -> None:
    rows = [(text, f"word{i}", label, str(i % 2)) for i, (text, label) in enumerate(ROWS)]
    path = write(tmp_path / "t.csv", ("text", "other", "label", "odd"), rows)
    dataset = read(path, ReadOptions(input="other", target=("odd",)))
    assert (dataset.modality, contents(dataset)) == ("text", [f"word{i}" for i in range(8)])
    assert labels(dataset, "odd") == ["0", "1"] * 4
    with pytest.raises(DataError, match="no column 'gone'; the table has: text, other, label, odd"):
        read(path, ReadOptions(input="gone"))


def test_empty_texts_and_missing_labels_are_listed(tmp_path: Path) -> None:
    rows = [*ROWS, ("   ", "praise"), ("A text", ""), ("Another", "nan")]
    dataset = read(write(tmp_path / "t.csv", ("text", "label"), rows))
    assert len(dataset) == 8
    assert [(one.key, one.reason) for one in dataset.rejected] == [
        ("line 10", "it has no text"),
        ("line 11", "it has no label"),
        ("line 12", "it has no label"),
    ]
    assert "8 of 11 rows" in dataset.layout


def test_a_table_without_any_text_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No row of t\.csv can be used; of the first: it has no label"):
        read(write(tmp_path / "t.csv", ("text", "label"), [(text, "") for text in TEXTS]))


def test_sides_of_a_table_are_taken(tmp_path: Path) -> None:
    rows = [(text, label, "test" if i > 5 else "train") for i, (text, label) in enumerate(ROWS)]
    dataset = read(write(tmp_path / "t.csv", ("text", "label", "split"), rows))
    assert dataset.given == ("train",) * 6 + ("test",) * 2


def test_a_table_without_a_header_is_noticed(tmp_path: Path) -> None:
    dataset = read(write(tmp_path / "t.csv", (LABELS[0], TEXTS[0]), [(b, a) for a, b in ROWS[1:]]))
    assert (contents(dataset), labels(dataset, "column 1")) == (TEXTS, LABELS)
    assert any("no header" in line for line in dataset.understood)


def test_a_header_of_numbers_stays_one(tmp_path: Path) -> None:
    rows = [(text, str(i % 2)) for i, text in enumerate(TEXTS)]
    assert contents(read(write(tmp_path / "t.csv", ("0", "1"), rows))) == TEXTS


def test_a_header_that_is_repeated_stays_one(tmp_path: Path) -> None:
    rows = [*ROWS, ("text", "label"), ("text", "label")]
    assert labels(read(write(tmp_path / "t.csv", ("text", "label"), rows)))[:8] == LABELS


# --- what the rows are called -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "values", "is_taken"),
    [
        ("id", [f"r{i}" for i in range(8)], True),
        ("review_id", [str(i) for i in range(8)], True),
        ("id", ["r1"] * 8, False),
        ("id", ["", *(f"r{i}" for i in range(7))], False),
        ("id", [f"00{i}" for i in range(8)], False),  # a spreadsheet makes 1 of 001,
        ("id", [f"123456789012345{i}" for i in range(8)], False),  # 1.23457E+15 of this,
        ("id", [f"{i}.0" for i in range(8)], False),  # and 1 of 1.0
        ("number", [f"r{i}" for i in range(8)], False),
    ],
)
def test_rows_are_called_by_a_column_of_names(
    tmp_path: Path, column: str, values: list[str], is_taken: bool
) -> None:
    rows = [(value, *row) for value, row in zip(values, ROWS, strict=True)]
    dataset = read(write(tmp_path / "t.csv", (column, "text", "label"), rows))
    assert list(dataset.keys) == (values if is_taken else [f"line {i + 2}" for i in range(8)])
    assert any("Rows are called by column" in line for line in dataset.understood) == is_taken


def test_corrections_find_the_rows(tmp_path: Path) -> None:
    dataset = read(write_text_table(tmp_path / "t.csv", 8))
    (tmp_path / "fixed.csv").write_text(
        "key,label,action,new_label\nline 3,praise,relabel,complaint\nline 5,praise,drop,\n", encoding="utf-8"
    )
    corrected = apply(dataset, read_corrections(tmp_path / "fixed.csv"))
    assert len(corrected) == 7
    assert corrected.targets["label"][1] == "complaint"
    assert corrected.keys[3] == "line 6"


# --- texts or files? --------------------------------------------------------------------------------------


def test_a_table_of_pictures_with_descriptions_stays_one_of_pictures(tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.jpg").write_bytes(PICTURE)
    rows = [(f"{i}.jpg", TEXTS[i], LABELS[i]) for i in range(4)]
    path = write(tmp_path / "t.csv", ("image", "text", "label"), rows)
    assert read(path).modality == "image"
    as_texts = read(path, ReadOptions(input="text"))
    assert (as_texts.modality, contents(as_texts)) == ("text", TEXTS[:4])


def test_pictures_that_are_named_without_their_suffix_are_looked_for(tmp_path: Path) -> None:
    rows = [(f"p{i}", TEXTS[i], LABELS[i]) for i in range(4)]
    path = write(tmp_path / "t.csv", ("image_id", "description", "label"), rows)
    assert read(path).modality == "text"
    for i in range(4):
        (tmp_path / f"p{i}.jpg").write_bytes(PICTURE)
    assert read(path).modality == "image"


def test_pictures_that_are_gone_are_no_texts(tmp_path: Path) -> None:
    rows = [(f"{i}.jpg", TEXTS[i], LABELS[i]) for i in range(4)]
    with pytest.raises(DataError, match=r"No column of t\.csv names files that are there"):
        read(write(tmp_path / "t.csv", ("image", "text", "label"), rows))
    rows = [(f"p{i}", "taken by Anna Maria Smith", LABELS[i]) for i in range(4)]
    with pytest.raises(DataError, match="Column 'image_id' could name them"):
        read(write(tmp_path / "u.csv", ("image_id", "credit", "label"), rows))


def test_addresses_in_the_web_are_no_files(tmp_path: Path) -> None:
    rows = [(f"https://example.org/{i}.jpg", *row) for i, row in enumerate(ROWS)]
    assert contents(read(write(tmp_path / "t.csv", ("url", "text", "label"), rows))) == TEXTS


def test_a_table_may_name_files_of_texts(tmp_path: Path) -> None:
    for i, text in enumerate(TEXTS):
        (tmp_path / f"{i}.txt").write_text(text, encoding="utf-8")
    dataset = read(
        write(tmp_path / "t.csv", ("file", "label"), [(f"{i}.txt", label) for i, label in enumerate(LABELS)])
    )
    assert (dataset.modality, contents(dataset), labels(dataset)) == ("text", TEXTS, LABELS)


@pytest.mark.parametrize(
    ("header", "is_certain"),
    [
        (("text", "label"), True),
        (("note", "label"), True),
        (("text", "image_id"), False),
        (("text", "id"), True),
    ],
)
def test_the_files_around_a_table_are_listed_only_where_it_may_name_them(
    header: Sequence[str], is_certain: bool
) -> None:
    rows = tuple((text, f"p{i}") for i, text in enumerate(TEXTS))
    found = find_texts(Table(tuple(header), rows, tuple(range(8))), Roles())
    assert (found.column, found.is_certain) == (header[0], is_certain)


# --- folders ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_packed", [False, True])
def test_folders_of_texts_are_classes(tmp_path: Path, is_packed: bool) -> None:
    root = write_text_folders(tmp_path / "mail", 8)
    (root / "README.txt").write_text("About these data", encoding="utf-8")
    (root / "praise" / "LICENSE.txt").write_text("Do as you please", encoding="utf-8")
    if is_packed:
        with zipfile.ZipFile(tmp_path / "mail.zip", "w") as archive:
            for file in sorted(root.rglob("*.txt")):
                archive.write(file, file.relative_to(tmp_path).as_posix())
        root = tmp_path / "mail.zip"
    dataset = read(root)
    assert dataset.modality == "text"
    assert sorted(zip(contents(dataset), labels(dataset), strict=True)) == sorted(ROWS)
    assert dataset.rejected == ()


def test_split_folders_of_texts_keep_their_sides(tmp_path: Path) -> None:
    for side, n in (("train", 8), ("test", 4)):
        write_text_folders(tmp_path / side, n)
    dataset = read(tmp_path)
    assert dataset.given is not None
    assert (dataset.modality, dataset.given.count("train"), dataset.given.count("test")) == ("text", 8, 4)


def test_files_without_suffixes_are_looked_at(tmp_path: Path) -> None:
    for i, (text, label) in enumerate(ROWS):
        path = tmp_path / "news" / label / str(50_000 + i)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="latin-1")
    assert read(tmp_path / "news").modality == "text"
    (tmp_path / "news" / "praise" / "50001").write_bytes(PICTURE)
    assert read(tmp_path / "news").modality == "image"
    for path in (tmp_path / "news").rglob("5*"):
        path.write_bytes(PICTURE)
    assert read(tmp_path / "news").modality == "image"


@pytest.mark.parametrize(("n_texts", "taken", "left"), [(6, "text", "4 photos"), (3, "image", "3 texts")])
def test_mixed_folders_say_what_they_took(tmp_path: Path, n_texts: int, taken: str, left: str) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for i in range(2):
            (tmp_path / label / f"{i}.jpg").write_bytes(PICTURE)
    for i in range(n_texts):
        (tmp_path / "ab"[i % 2] / f"{i}.txt").write_text(TEXTS[i], encoding="utf-8")
    dataset = read(tmp_path)
    assert dataset.modality == taken
    assert any(f"were taken; {left} that lie among them were not" in line for line in dataset.understood)
    assert len(dataset) == (n_texts if taken == "text" else 4)


def test_photos_beside_the_folders_have_no_say(tmp_path: Path) -> None:
    write_text_folders(tmp_path, 2)
    for i in range(3):
        (tmp_path / f"{i}.jpg").write_bytes(PICTURE)
    dataset = read(tmp_path)
    assert (dataset.modality, len(dataset)) == ("text", 2)
    assert {one.reason for one in dataset.rejected} == {"a .jpg file is no text that can be read"}


def test_captions_beside_pictures_do_not_outvote_them(tmp_path: Path) -> None:
    for i in range(4):
        path = tmp_path / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(PICTURE)
        path.with_suffix(".txt").write_text(TEXTS[i], encoding="utf-8")
    assert read(tmp_path).modality == "image"


def test_folders_come_before_a_table_of_texts(tmp_path: Path) -> None:
    write_text_folders(tmp_path, 8)
    write_text_table(tmp_path / "index.csv", 12)
    dataset = read(tmp_path)
    assert len(dataset) == 8
    assert any("index.csv was not used (it names no files)" in line for line in dataset.understood)
    assert len(read(tmp_path, ReadOptions(layout="table"))) == 12


# --- columns in memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns",
    [
        {"text": TEXTS, "label": LABELS},
        {"label": np.array(LABELS), "words": np.array(TEXTS)},
        (TEXTS, LABELS),
        (tuple(TEXTS), np.array(LABELS)),
    ],
    ids=["mapping", "arrays", "pair", "mixed pair"],
)
def test_columns_in_memory_are_read(columns: Columns) -> None:
    dataset = read(columns)
    assert (dataset.modality, contents(dataset), labels(dataset)) == ("text", TEXTS, LABELS)
    assert dataset.keys[:2] == ("row 1", "row 2")


def test_values_in_memory_may_be_missing_or_numbers() -> None:
    dataset = read((["yes", "no", None, "maybe so"], [1, 0, 1, float("nan")]))
    assert (contents(dataset), labels(dataset)) == (["yes", "no"], ["1", "0"])
    assert [(one.key, one.reason) for one in dataset.rejected] == [
        ("row 3", "it has no text"),
        ("row 4", "it has no label"),
    ]


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"text": ["a", "b"], "label": ["x"]}, "'text' has 2, 'label' has 1"),
        ((["a"], ["x", "y"]), "'text' has 1, 'label' has 2"),
        ((["a"], ["b"], ["c"]), "a tuple of 3; expected a pair"),
        ({"text": "one text", "label": ["x"]}, "Column 'text' is str; expected a list"),
        ({"text": 7, "label": ["x"]}, "Column 'text' is int"),
        ({3: ["a"]}, "called 3"),
        ({}, "columns are empty"),
        ({"text": [], "label": []}, "columns are empty"),
        ({"a": ["x", "y"], "b": ["1", "2"]}, "No column holds texts in the data in memory; there are: a, b"),
        ({"file": ["a.jpg", "b.jpg"], "label": ["1", "2"]}, "No column holds texts"),
    ],
)
def test_columns_that_are_none_are_refused(columns: Columns, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read(columns)


# --- the values of tables ---------------------------------------------------------------------------------


def test_quotation_marks_that_do_not_pair_up_are_text_in_tables_with_tabs() -> None:
    content = b'text\tlabel\n"Great" they said\tgood\n"never again\tbad\n'
    table = parse_table("t.tsv", content)
    assert table.column("text") == ('"Great" they said', '"never again')
    assert "do not pair up" in table.notes[0]
    with pytest.raises(DataError, match=r"Cannot read t\.csv"):
        parse_table("t.csv", content.replace(b"\t", b","))


def test_a_value_may_be_longer_than_python_would_have_it() -> None:
    table = parse_table("t.csv", b'text,label\n"' + b"long text " * 50_000 + b'",a\n')
    assert len(table.column("text")[0]) == 499_999


# --- the check --------------------------------------------------------------------------------------------


def test_the_check_finds_what_is_wrong_with_texts(tmp_path: Path) -> None:
    texts, given = toy_texts(40)
    long = " ".join(texts[:4])
    rows = [
        *zip(texts, given, ["train"] * 20 + ["test"] * 20, strict=True),
        (texts[0], given[0], "test"),
        (long, "praise", "train"),
        (long.upper() + " !", "complaint", "train"),
        ("<br/> &nbsp;", "praise", "train"),
    ]
    result = check(write(tmp_path / "t.csv", ("text", "label", "split"), rows))
    said = "\n".join(result.findings.lines)
    assert "1 inputs are exact copies of others, such as line 2 = line 42" in said
    assert "2 inputs in 1 group are near duplicates, such as line 43 = line 44" in said
    assert "1 group of duplicates has different labels: line 43 (praise), line 44 (complaint)" in said
    assert "Leak: 1 group of duplicates has members on different sides, such as line 2 = line 42" in said
    assert result.findings.rejected[-1].key == "line 45"
    assert result.findings.class_counts["label"] == {"complaint": 22, "praise": 21}
    assert result.split is not None


def test_the_check_takes_columns_in_memory() -> None:
    result = check(toy_texts(30))
    assert result.obstacle is None
    assert len(result.findings.usable) == 30


def test_texts_without_a_label_are_kept_aside_unless_they_are_meant_to_test(tmp_path: Path) -> None:
    sides = ("train", "test", "", "valid")
    rows = [(text, "" if i >= 4 else label, sides[i % 4]) for i, (text, label) in enumerate(ROWS)]
    found = read(write(tmp_path / "t.csv", ("text", "label", "split"), [*rows, ("", "", "train")]))
    assert len(found) == 4
    assert [one.decode() for one in found.unlabelled] == [TEXTS[4], TEXTS[6]]
    without = read(write(tmp_path / "u.csv", ("text", "label"), [row[:2] for row in rows]))
    assert [one.decode() for one in without.unlabelled] == TEXTS[4:]


def test_a_single_text_is_no_data_set_and_may_be_written_like(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("One")
    with pytest.raises(DataError, match="is a single text; expected a data set") as caught:
        read(tmp_path / "note.txt")
    assert "topwork.fit_writer" in str(caught.value.next_step)
