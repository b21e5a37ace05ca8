"""Tables: every file format, which column is taken for what, and how file names are found."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from pictures import file_of, photo
from topwork.data import ReadOptions, read
from topwork.data.split_tables import sides_by_name
from topwork.data.tables import parse_table
from topwork.errors import DataError

PICTURE = file_of(photo(), "JPEG")
ROWS = [("1.jpg", "cat"), ("2.jpg", "dog"), ("3.jpg", "cat"), ("4.jpg", "dog")]


def pictures(root: Path, *names: str) -> Path:
    for name in names or [name for name, _ in ROWS]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PICTURE)
    return root


def table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str = ",") -> Path:
    text = "\n".join(delimiter.join(row) for row in (header, *rows))
    path.write_text(text + "\n", encoding="utf-8")
    return path


# --- file formats -----------------------------------------------------------------------------------------


def write_as(kind: str, path: Path) -> Path:
    if kind == "jsonl":
        lines = [json.dumps({"file": name, "label": label}) for name, label in ROWS]
        path.write_text("\n".join(lines), encoding="utf-8")
    elif kind == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        import pyarrow.parquet as parquet

        columns = {"file": [name for name, _ in ROWS], "label": [label for _, label in ROWS]}
        parquet.write_table(pyarrow.table(columns), path)
    else:
        table(path, ("file", "label"), ROWS, {"csv": ",", "tsv": "\t"}[kind])
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("where", ["the table", "its folder", "an archive"])
def test_every_kind_of_table_is_read_everywhere(tmp_path: Path, kind: str, where: str) -> None:
    root = pictures(tmp_path / "d", *[f"images/{name}" for name, _ in ROWS])
    path = write_as(kind, root / f"labels.{kind}")
    if where == "an archive":
        with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
            for file in sorted(root.rglob("*.*")):
                archive.write(file, file.relative_to(tmp_path).as_posix())
    dataset = read({"the table": path, "its folder": root, "an archive": tmp_path / "d.zip"}[where])
    assert dataset.keys == tuple(name for name, _ in ROWS)
    assert dataset.targets == {"label": tuple(label for _, label in ROWS)}
    assert [dataset.read(row) for row in range(4)] == [PICTURE] * 4
    assert dataset.rejected == ()
    assert "4 of 4 rows" in dataset.layout


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_of_a_csv_is_found(tmp_path: Path, delimiter: str) -> None:
    pictures(tmp_path)
    path = table(
        tmp_path / "x.csv",
        ("file", "label"),
        [(n, f'"{label}, or so; perhaps"') for n, label in ROWS],
        delimiter,
    )
    assert set(read(path).targets["label"]) == {"cat, or so; perhaps", "dog, or so; perhaps"}


@pytest.mark.parametrize(
    ("encoding", "is_reported"), [("utf-8", False), ("utf-8-sig", False), ("utf-16", False), ("cp1252", True)]
)
def test_encodings_are_recognised_and_a_guess_is_reported(
    tmp_path: Path, encoding: str, is_reported: bool
) -> None:
    pictures(tmp_path, "Größe.jpg", "2.jpg")
    (tmp_path / "x.csv").write_bytes("file,label\nGröße.jpg,Kätzchen\n2.jpg,Hund\n".encode(encoding))
    dataset = read(tmp_path / "x.csv")
    assert dataset.targets["label"] == ("Kätzchen", "Hund")
    assert any("Windows" in line for line in dataset.understood) == is_reported


def test_rows_with_too_many_values_are_rejected_and_short_ones_padded() -> None:
    found = parse_table("t.csv", b"a,b,c\n1,2,3\n1,2,3,4\n1\n\n1,2,3,\n")
    assert found.rows == (("1", "2", "3"), ("1", "", ""), ("1", "2", "3"))
    assert found.numbers == (2, 4, 6)
    assert [(one.key, one.reason) for one in found.rejected] == [
        ("t.csv, line 3", "it has 4 values for 3 columns")
    ]


def test_repeated_and_empty_headers_get_names_of_their_own() -> None:
    assert parse_table("t.csv", b"a,,a\n1,2,3\n").columns == ("a", "column 2", "a (2)")


def test_values_of_json_and_parquet_become_what_a_person_would_write() -> None:
    found = parse_table(
        "t.jsonl", b'{"a": 1, "b": null}\n{"a": 2.0, "c": [1, "x"]}\n{"a": true, "b": NaN, "c": 1.5}\n'
    )
    assert found.columns == ("a", "b", "c")
    assert found.rows == (("1", "", ""), ("2", "", '[1, "x"]'), ("True", "", "1.5"))


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("t.csv", b"", "empty"),
        ("t.csv", b"file,label\n", "no rows"),
        (
            "t.csv",
            b"file,label\na,b,c\n",
            "no rows that can be used: t.csv, line 2: it has 3 values for 2 columns",
        ),
        ("t.csv", b'a,b\n"open,1\n', "line"),
        ("t.jsonl", b'{"a": 1}\nnot json\n', "line 2 is no JSON"),
        ("t.jsonl", b"[1, 2]\n", "line 1 is list"),
        ("t.parquet", b"PAR1 not really", "as Parquet"),
    ],
)
def test_a_broken_table_says_where(name: str, content: bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        parse_table(name, content)


# --- which column is which --------------------------------------------------------------------------------


def test_columns_are_found_by_content_whatever_they_are_called(tmp_path: Path) -> None:
    pictures(tmp_path)
    rows = [(str(i), name, label) for i, (name, label) in enumerate(ROWS)]
    dataset = read(
        table(tmp_path / "x.csv", ("row", "Bild", "Tierart"), rows), ReadOptions(target=("Tierart",))
    )
    assert dataset.keys[0] == "1.jpg"
    assert dataset.columns == {"row": ("0", "1", "2", "3")}
    assert any("'Bild'" in line and "--input" in line for line in dataset.understood)


def test_labels_that_could_be_files_are_not_taken_for_files(tmp_path: Path) -> None:
    pictures(tmp_path, *[f"{i}.jpg" for i in range(8)])
    rows = [(str(i % 2), f"{i}") for i in range(8)]
    dataset = read(table(tmp_path / "x.csv", ("label", "photo_number"), rows))
    assert dataset.keys == tuple(str(i) for i in range(8))
    assert dataset.targets["label"] == ("0", "1") * 4


def test_a_table_without_a_header_is_noticed(tmp_path: Path) -> None:
    pictures(tmp_path)
    dataset = read(table(tmp_path / "x.csv", ROWS[0], ROWS[1:]))
    assert list(dataset.targets.values()) == [("cat", "dog", "cat", "dog")]
    assert any("no header" in line for line in dataset.understood)


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (("file", "colour", "shape"), "colour, shape could all hold the labels"),
        (("file", "width", "height"), "not clear which column"),
    ],
)
def test_an_ambiguous_label_names_the_columns_and_the_option(
    tmp_path: Path, header: tuple[str, ...], complaint: str
) -> None:
    pictures(tmp_path)
    rows = [(name, label, label[::-1]) for name, label in ROWS]
    with pytest.raises(DataError, match=complaint) as caught:
        read(table(tmp_path / "x.csv", header, rows))
    assert ", ".join(header) in caught.value.problem
    assert "--target COLUMN" in caught.value.next_step


def test_a_table_whose_files_are_not_there_names_its_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"its columns are: file, label.*'file' could name them") as caught:
        read(table(tmp_path / "x.csv", ("file", "label"), ROWS))
    assert "--input COLUMN" in caught.value.next_step


@pytest.mark.parametrize("option", ["input", "target", "group", "time"])
def test_a_column_that_is_not_there_is_refused(tmp_path: Path, option: str) -> None:
    pictures(tmp_path)
    options = {
        "input": ReadOptions(input="nope"), "target": ReadOptions(target=("label", "nope")),
        "group": ReadOptions(group="nope"), "time": ReadOptions(time="nope"),
    }  # fmt: skip
    with pytest.raises(DataError, match="no column 'nope'; the table has: file, label"):
        read(table(tmp_path / "x.csv", ("file", "label"), ROWS), options[option])


def test_columns_cannot_be_asked_of_folders(tmp_path: Path) -> None:
    pictures(tmp_path, "a/1.jpg", "b/1.jpg")
    with pytest.raises(DataError, match="A table was asked for"):
        read(tmp_path, ReadOptions(group="patient"))
    table(tmp_path / "x.csv", ("file", "label"), [("a/1.jpg", "a")])
    with pytest.raises(DataError, match="'folders' was asked for"):
        read(tmp_path / "x.csv", ReadOptions(layout="folders"))


def test_several_targets_keep_rows_with_a_gap_and_one_target_does_not(tmp_path: Path) -> None:
    pictures(tmp_path)
    rows = [("1.jpg", "cat", "red"), ("2.jpg", "", "blue"), ("3.jpg", "dog", "nan"), ("4.jpg", "", "")]
    path = table(tmp_path / "x.csv", ("file", "animal", "colour"), rows)
    several = read(path, ReadOptions(target=("animal", "colour")))
    assert several.targets == {"animal": ("cat", None, "dog"), "colour": ("red", "blue", None)}
    one = read(path, ReadOptions(target=("animal",)))
    assert one.targets == {"animal": ("cat", "dog")}
    assert [(r.key, r.reason) for r in one.rejected] == [
        ("line 3 (2.jpg)", "it has no label"), ("line 5 (4.jpg)", "it has no label"),
    ]  # fmt: skip
    assert one.columns["colour"] == ("red", "nan")


def test_a_split_column_gives_sides(tmp_path: Path) -> None:
    pictures(tmp_path)
    rows = [(*row, side) for row, side in zip(ROWS, ("train", "Validation", "TEST", ""), strict=True)]
    dataset = read(table(tmp_path / "x.csv", ("file", "label", "split"), rows))
    assert dataset.given == ("train", "valid", "test", None)
    assert any("'split'" in line for line in dataset.understood)


# --- how files are found ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["images/deep/x 1.jpg", "./images/deep/x 1.jpg", "images\\deep\\x 1.jpg", "deep/x 1.jpg", "x 1.jpg", "x 1",
              "deep/x 1"],
)  # fmt: skip
def test_a_file_is_found_by_its_path_or_the_end_of_it(tmp_path: Path, value: str) -> None:
    pictures(tmp_path, "images/deep/x 1.jpg", "images/other.jpg")
    dataset = read(table(tmp_path / "x.csv", ("file", "label"), [(value, "a"), ("other", "b")]))
    assert dataset.keys == (value, "other")
    assert dataset.read(0) == PICTURE


def test_bad_rows_are_rejected_with_their_line_and_reason(tmp_path: Path) -> None:
    pictures(tmp_path, "a/1.jpg", "b/1.jpg", "2.jpg", "3.jpg")
    rows = [("2.jpg", "x"), ("1.jpg", "y"), ("gone.jpg", "x"), ("", "x"), ("3.jpg", "y")]
    dataset = read(table(tmp_path / "x.csv", ("file", "label"), rows))
    assert dataset.keys == ("2.jpg", "3.jpg")
    assert {one.key: one.reason.split(",")[0] for one in dataset.rejected} == {
        "line 3 (1.jpg)": "its file name fits 2 files",
        "line 4 (gone.jpg)": "there is no such file",
        "line 5": "it has no file name",
    }


def test_a_file_listed_twice_has_two_keys(tmp_path: Path) -> None:
    pictures(tmp_path)
    dataset = read(table(tmp_path / "x.csv", ("file", "label"), [*ROWS, ("1.jpg", "dog")]))
    assert dataset.keys[-1] == "1.jpg (line 6)"
    assert len(set(dataset.keys)) == 5


def test_a_local_table_may_lead_outside_its_folder(tmp_path: Path) -> None:
    pictures(tmp_path / "photos", "1.jpg", "2.jpg")
    (tmp_path / "tables").mkdir()
    rows = [("../photos/1.jpg", "a"), (str(tmp_path / "photos" / "2.jpg"), "b")]
    dataset = read(table(tmp_path / "tables" / "x.csv", ("file", "label"), rows))
    assert [dataset.read(row) for row in range(2)] == [PICTURE] * 2


def test_a_table_in_an_archive_may_not(tmp_path: Path) -> None:
    pictures(tmp_path, "secret.jpg")
    outside = str(tmp_path / "secret.jpg")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("1.jpg", PICTURE)
        archive.writestr("2.jpg", PICTURE)
        rows = [("1.jpg", "a"), ("2.jpg", "b"), (outside, "a"), ("../secret.jpg", "b")]
        archive.writestr("t.csv", "file,label\n" + "\n".join(",".join(row) for row in rows))
    dataset = read(tmp_path / "x.zip")
    assert dataset.keys == ("1.jpg", "2.jpg")
    assert {one.reason for one in dataset.rejected} == {"its file name leads out of the archive"}


def test_class_folders_with_some_other_table_remain_class_folders(tmp_path: Path) -> None:
    pictures(tmp_path, "cat/1.jpg", "dog/2.jpg")
    table(tmp_path / "sizes.csv", ("camera", "price"), [("a", "10"), ("b", "20")])
    dataset = read(tmp_path)
    assert dataset.targets == {"label": ("cat", "dog")}
    assert any("sizes.csv was not used" in line and "--layout table" in line for line in dataset.understood)
    with pytest.raises(DataError, match=r"No column of sizes\.csv names files"):
        read(tmp_path, ReadOptions(layout="table"))


def test_a_table_for_each_side_is_one_table(tmp_path: Path) -> None:
    pictures(tmp_path, *(f"{name}.png" for name in "12345"))
    (tmp_path / "train.csv").write_text("file,label\n1.png,a\n2.png,b\n3.png,a\n")
    (tmp_path / "pieces-test.csv").write_text("id,file,label\n7,4.png,b\n8,5.png,\n")
    found = read(tmp_path)
    assert found.keys == ("1.png", "2.png", "3.png", "4.png")
    assert found.given == ("train", "train", "train", "test")
    assert found.targets == {"label": ("a", "b", "a", "b")}
    assert found.columns["id"] == ("", "", "", "7")
    assert [one.key for one in found.rejected] == ["row 5 (5.png)"]
    assert any("train.csv" in line and "pieces-test.csv" in line for line in found.understood)
    assert read(tmp_path / "train.csv").given is None


def test_tables_of_sides_may_be_in_parts_and_hold_texts(tmp_path: Path) -> None:
    rows = [f"the parcel number {n} came late again" for n in range(6)]
    for n, name in enumerate(("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001")):
        lines = "".join(f'{{"text": "{one}", "label": "{"ab"[n % 2]}"}}\n' for one in rows[2 * n : 2 * n + 2])
        (tmp_path / f"{name}.jsonl").write_text(lines)
    found = read(tmp_path)
    assert found.modality == "text"
    assert found.given == ("train",) * 4 + ("valid",) * 2


@pytest.mark.parametrize(
    "names", [("train", "labels"), ("test", "valid"), ("train", "train_test"), ("train-1", "train-2")]
)
def test_other_tables_are_not_taken_together(names: tuple[str, ...]) -> None:
    assert sides_by_name([f"{name}.csv" for name in names]) is None


def test_several_tables_ask_for_one(tmp_path: Path) -> None:
    pictures(tmp_path)
    for name in ("a.csv", "b.csv"):
        table(tmp_path / name, ("file", "label"), ROWS)
    with pytest.raises(DataError, match=r"several: a\.csv, b\.csv"):
        read(tmp_path, ReadOptions(target=("label",)))
    assert len(read(tmp_path / "b.csv")) == 4
