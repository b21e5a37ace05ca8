"""Corrections: what goes out comes back the same, whatever a spreadsheet does to it, and is applied by key."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topwork.contracts import Dataset, Inspection, Rejected
from topwork.data.check import examine
from topwork.data.corrections import (
    Correction,
    Corrections,
    Suspect,
    apply,
    free_name,
    read_corrections,
    write_suspects,
)
from topwork.errors import DataError, StorageError

KEYS = ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg", "odd.jpg")
DATA = Dataset(
    modality="image",
    keys=KEYS,
    read=lambda row: KEYS[row].encode(),
    targets={"label": ("cat", "cat", "dog", "dog", None)},
    given=("train", "test", "train", "test", None),
    columns={"day": ("1", "2", "3", "4", "5")},
    understood=("Classes are folders.",),
    rejected=(Rejected("x.mov", "it is a video"),),
)
HEADER = "key,label,suggested,reason,score,action,new_label"


def corrections(tmp_path: Path, *lines: str, header: str = HEADER) -> Corrections:
    path = tmp_path / "suspects.csv"
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return read_corrections(path)


def cells(path: Path) -> list[dict[str, str]]:
    """Read a written table as any other program would."""
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))


def fill_in(path: Path, actions: dict[str, str]) -> None:
    """Write actions by key into a table that was written, as a person would."""
    rows = cells(path)
    for row in rows:
        row["action"] = actions.get(row["key"], "")
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(stream.getvalue().encode("utf-8"))


# --- out --------------------------------------------------------------------------------------------------


def test_suspects_stand_in_the_table_with_the_action_left_open(tmp_path: Path) -> None:
    path = tmp_path / "new" / "suspects.csv"
    write_suspects(path, [Suspect("cat/1.jpg", "cat", "dog", "a model says dog, at 97 %", 0.0123456)])
    assert path.read_bytes().startswith(b"\xef\xbb\xbf" + HEADER.encode() + b"\r\n")
    assert cells(path) == [
        {
            "key": "cat/1.jpg",
            "label": "cat",
            "suggested": "dog",
            "reason": "a model says dog, at 97 %",
            "score": "0.01235",
            "action": "",
            "new_label": "dog",
        }
    ]


def test_a_table_that_nobody_edited_or_without_rows_decides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "suspects.csv"
    for rows in ([], [Suspect("cat/1.jpg", "cat", "dog", "", 0.1)]):
        write_suspects(path, rows)
        found = read_corrections(path)
        assert (found.decisions, found.notes) == ((), ())
        assert apply(DATA, found).targets == DATA.targets


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''-", "'quoted'"])
def test_no_cell_begins_as_a_formula_and_each_comes_back(tmp_path: Path, text: str) -> None:
    path = tmp_path / "suspects.csv"
    write_suspects(path, [Suspect(text, text, text, text, 0.5)])
    (row,) = cells(path)
    assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    fill_in(path, {row["key"]: "relabel"})
    (found,) = read_corrections(path).decisions
    assert (found.key, found.new_label, found.label) == (text, text.strip(), text.strip())


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=5, unique_by=lambda pair: pair[0]))
def test_any_key_and_label_comes_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("any") / "suspects.csv"
    write_suspects(path, [Suspect(key, label, label, "", 0.5) for key, label in pairs])
    rows = cells(path)
    if rows:
        fill_in(path, {row["key"]: "keep" for row in rows})
    found = [(one.key, one.label) for one in read_corrections(path).decisions]
    assert found == [(key, label.strip()) for key, label in pairs]


def test_a_file_name_that_is_no_text_does_not_spoil_the_table(tmp_path: Path) -> None:
    path = tmp_path / "suspects.csv"
    write_suspects(
        path, [Suspect("caf\udce9.jpg", "a", "b", "", 0.1), Suspect("café.jpg", "a", "b", "", 0.1)]
    )
    assert [row["key"] for row in cells(path)] == [r"caf\udce9.jpg", "café.jpg"]


# --- in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_what_spreadsheets_save_is_read(tmp_path: Path, encoding: str, delimiter: str, ending: str) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=ending)
    writer.writerow(HEADER.split(","))
    writer.writerow(["größe/1.jpg", "groß", "klein", "sehr; sehr, ähnlich", "0,93", " Relabel ", " klein "])
    writer.writerow(["", "", "", "", "", "", ""])
    writer.writerow(["größe/2.jpg", "groß", "", "", "", "DROP", ""])
    path = tmp_path / "suspects.csv"
    path.write_bytes(stream.getvalue().encode(encoding))
    found = read_corrections(path)
    assert found.decisions == (
        Correction("größe/1.jpg", "relabel", "klein", "groß", "", 2),
        Correction("größe/2.jpg", "drop", "", "groß", "", 4),
    )
    assert [note for note in found.notes if "Windows text" in note] == (
        [f"{path.name} is not UTF-8; it was read as Windows text."] if encoding == "cp1252" else []
    )


def test_columns_are_found_by_name_in_any_order_and_others_are_ignored(tmp_path: Path) -> None:
    found = corrections(tmp_path, "drop,me,cat/1.jpg", "keep", header="Action,comment, KEY ")
    assert found.decisions[0] == Correction("cat/1.jpg", "drop", "", None, "", 2)
    assert [one.action for one in found.decisions] == ["drop", "keep"]


@pytest.mark.parametrize("header", ["key,label", "file;action", "", "nonsense"])
def test_missing_columns_are_named(tmp_path: Path, header: str) -> None:
    with pytest.raises(
        DataError, match=r"suspects\.csv has the columns .* of which key and action must be there"
    ):
        corrections(tmp_path, "a,b", header=header)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("cat/1.jpg,cat,dog,,0.1,delete,dog", "line 2: the action is 'delete'; expected keep, relabel, drop"),
        ("cat/1.jpg,cat,dog,,0.1,relabel,", "line 2: the action is relabel, and there is no new_label"),
        ("cat/1.jpg,cat,dog,a, b,0.1,relabel,dog", "line 2 has more cells than there are columns"),
        ('cat/1.jpg,cat,"dog', "Cannot read suspects.csv, line"),
    ],
)
def test_a_line_that_cannot_be_meant_is_named(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        corrections(tmp_path, line)


@pytest.mark.parametrize(
    "lines",
    [
        ("a,,,,,drop,", "a,,,,,keep,"),
        ("a,,,,,relabel,x", "a,,,,,relabel,y"),
        ("a,,,,,keep,", "a,,,,,relabel,y"),
    ],
)
def test_two_decisions_that_differ_are_refused(tmp_path: Path, lines: tuple[str, str]) -> None:
    with pytest.raises(DataError, match=r"decides 'a' twice: line 2 says .* and line 4 says"):
        corrections(tmp_path, lines[0], "b,,,,,keep,", lines[1])


def test_a_row_that_is_dropped_cannot_get_a_label_of_any_target(tmp_path: Path) -> None:
    header = "key,action,new_label,target"
    with pytest.raises(DataError, match="decides 'a' twice: line 2 says relabel x and line 3 says drop"):
        corrections(tmp_path, "a,relabel,x,size", "a,drop,,colour", header=header)


def test_a_decision_that_is_repeated_counts_once_and_is_said(tmp_path: Path) -> None:
    found = corrections(
        tmp_path, "cat/1.jpg,cat,,,,drop,", "cat/1.jpg,cat,,copy,,drop,dog", "cat/1.jpg,cat,,,,,"
    )
    assert [one.action for one in found.decisions] == ["drop"]
    assert found.notes == ("1 row of suspects.csv repeats the decision of another.",)
    assert "1 row of suspects.csv repeats the decision of another." in apply(DATA, found).understood


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"Cannot read .*gone\.csv"):
        read_corrections(tmp_path / "gone.csv")


# --- applying ---------------------------------------------------------------------------------------------


def test_labels_are_changed_and_rows_dropped_everywhere(tmp_path: Path) -> None:
    found = corrections(
        tmp_path,
        "cat/2.jpg,cat,dog,,0.1,relabel,dog",
        "cat/1.jpg,cat,dog,,0.2,drop,dog",
        "dog/2.jpg,dog,cat,,0.3,keep,",
    )
    after = apply(DATA, found)
    assert after.keys == KEYS[1:]
    assert after.targets == {"label": ("dog", "dog", "dog", None)}
    assert after.given == ("test", "train", "test", None)
    assert after.columns == {"day": ("2", "3", "4", "5")}
    assert [after.read(row) for row in range(4)] == [key.encode() for key in after.keys]
    assert after.rejected == (
        Rejected("x.mov", "it is a video"),
        Rejected("cat/1.jpg", "dropped by the corrections in suspects.csv"),
    )
    assert after.understood == (
        "Classes are folders.",
        "Corrections from suspects.csv: 1 input relabelled, 1 dropped, 1 looked at and kept.",
    )
    assert DATA.targets["label"][1] == "cat"


def test_dropped_rows_are_counted_by_the_check(tmp_path: Path) -> None:
    after = apply(DATA, corrections(tmp_path, "cat/1.jpg,cat,,,,drop,", "dog/1.jpg,dog,,,,drop,"))
    seen = [Inspection(key.encode().ljust(32), np.zeros(4, np.uint8), {}, None) for key in after.keys]
    findings = examine(after, seen, np.zeros((0, 2), np.int64))
    assert "Left out: 2 × dropped by the corrections in suspects.csv." in findings.lines


def test_data_without_sides_keeps_none(tmp_path: Path) -> None:
    after = apply(replace(DATA, given=None), corrections(tmp_path, "cat/1.jpg,cat,,,,drop,"))
    assert after.given is None


def test_what_goes_out_and_comes_back_corrects_the_data(tmp_path: Path) -> None:
    path = tmp_path / "suspects.csv"
    rows = [Suspect(key, DATA.targets["label"][row] or "", "bird", "", 0.1) for row, key in enumerate(KEYS)]
    write_suspects(path, rows)
    fill_in(path, {"cat/1.jpg": "relabel", "odd.jpg": "relabel", "dog/1.jpg": "drop"})
    after = apply(DATA, read_corrections(path))
    assert after.targets["label"] == ("bird", "cat", "dog", "bird")
    assert "No input had the label 'bird' before; suspects.csv gives it to 2 inputs." in after.understood
    assert not [line for line in after.understood if "another label" in line]


@pytest.mark.parametrize("action", ["relabel", "drop"])
def test_a_change_to_a_row_that_is_not_there_is_refused(tmp_path: Path, action: str) -> None:
    found = corrections(tmp_path, f"cat/9.jpg,cat,,,,{action},dog", "cat/1.jpg,cat,,,,keep,")
    with pytest.raises(DataError, match=r"changes 1 input that the data set does not have: cat/9\.jpg"):
        apply(DATA, found)


def test_a_row_to_keep_that_is_not_there_is_said(tmp_path: Path) -> None:
    after = apply(DATA, corrections(tmp_path, "cat/9.jpg,cat,,,,keep,"))
    assert "suspects.csv keeps 1 input that the data set does not have: cat/9.jpg." in after.understood


def test_labels_that_changed_since_are_said(tmp_path: Path) -> None:
    after = apply(
        DATA, corrections(tmp_path, "cat/1.jpg,horse,,,,relabel,dog", "dog/1.jpg,cat,,,,relabel,dog")
    )
    assert after.targets["label"][:3] == ("dog", "cat", "dog")
    assert "1 input had the label that suspects.csv gives already: dog/1.jpg." in after.understood
    assert (
        "1 input had another label than suspects.csv says, and got the new one: cat/1.jpg."
        in after.understood
    )


def test_without_a_column_of_labels_nothing_is_said_of_them(tmp_path: Path) -> None:
    after = apply(DATA, corrections(tmp_path, "cat/1.jpg,relabel,dog", header="key,action,new_label"))
    assert after.targets["label"][0] == "dog"
    assert not [line for line in after.understood if "another label" in line]


def test_an_apostrophe_that_a_person_typed_stays(tmp_path: Path) -> None:
    (found,) = corrections(tmp_path, "cat/1.jpg,cat,,,,relabel,'tis").decisions
    assert found.new_label == "'tis"


TWO = replace(DATA, targets={**DATA.targets, "size": ("big", "big", "small", "small", "big")})


def test_what_a_person_decided_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "m.labels.csv"
    suspect = Suspect("cat/1.jpg", "cat", "dog", "", 0.1)
    assert free_name(path) == path
    write_suspects(path, [suspect])
    assert free_name(path) == path, "nobody has decided anything in it yet"
    fill_in(path, {"cat/1.jpg": "relabel"})
    second = tmp_path / "m.labels.2.csv"
    assert free_name(path) == second
    write_suspects(second, [suspect])
    assert free_name(path) == second
    second.write_text("something of a user's own", encoding="utf-8")
    assert free_name(path) == tmp_path / "m.labels.3.csv"


def test_of_two_targets_the_table_says_which(tmp_path: Path) -> None:
    path = tmp_path / "suspects.csv"
    suspects = [
        Suspect("cat/1.jpg", "big", "small", "", 0.1, "size"),
        Suspect("cat/1.jpg", "cat", "dog", "", 0.1, "label"),
    ]
    write_suspects(path, suspects)
    fill_in(path, {"cat/1.jpg": "relabel"})
    after = apply(TWO, read_corrections(path))
    assert (after.targets["size"][0], after.targets["label"][0]) == ("small", "dog")
    assert not [line for line in after.understood if "before" in line]


@pytest.mark.parametrize("target", ["", "weight"])
def test_a_target_that_is_not_clear_is_refused(tmp_path: Path, target: str) -> None:
    found = corrections(tmp_path, f"cat/1.jpg,relabel,small,{target}", header="key,action,new_label,target")
    with pytest.raises(DataError, match=f"line 2: the target is '{target}'; expected one of label, size"):
        apply(TWO, found)
    if target:
        with pytest.raises(DataError, match="expected one of label"):
            apply(DATA, found)
