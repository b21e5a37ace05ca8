"""Corrections of labels: a table of doubtful rows goes out, a person edits it, and it comes back.

The table is a CSV file that spreadsheets open and save. Only rows with an action change anything, and they are applied
to the data set as it was listed: files stay where they are. It knows no model and not why a row is doubtful.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar, cast, get_args

from topwork.contracts import Dataset, Rejected
from topwork.errors import DataError, StorageError
from topwork.storage import explain, write_atomically

__all__ = [
    "Action",
    "Correction",
    "Corrections",
    "Suspect",
    "apply",
    "free_name",
    "read_corrections",
    "write_suspects",
]

Action: TypeAlias = Literal["keep", "relabel", "drop"]
"""What a person decided of a row: it is right, it gets ``new_label``, or it is left out."""

_Value = TypeVar("_Value")

_COLUMNS = ("key", "label", "suggested", "reason", "score", "action", "new_label")
_NEEDED = ("key", "action")
_TARGET = "target"
_DELIMITERS = ",;\t|"
_N_NAMED = 3

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""A spreadsheet takes a cell that begins so for a formula, or for text where it is ours: the apostrophe."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A row that a person should look at.

    Attributes
    ----------
    key
        Its key in the data set.
    label, suggested
        The label that stands there, and the one that perhaps should; empty where there is none.
    reason
        Why it is here, in words.
    score
        How doubtful it is, on the scale of the reason.
    target
        Which target the labels belong to; empty where the data set has only one.
    """

    key: str
    label: str
    suggested: str
    reason: str
    score: float
    target: str = ""


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person decided of one row.

    ``label`` is the one that stood there when the table was written; None where the table does not say. ``line`` is
    where the decision stands in its file.
    """

    key: str
    action: Action
    new_label: str
    label: str | None
    target: str
    line: int


@dataclass(frozen=True, slots=True)
class Corrections:
    """Decisions, each row and target decided once; ``notes`` is what a reader should know of the file."""

    name: str
    decisions: tuple[Correction, ...]
    notes: tuple[str, ...] = ()


# --- out ----------------------------------------------------------------------------------------------


def write_suspects(path: Path, rows: Iterable[Suspect]) -> None:
    """Write doubtful rows as a table for a person to edit, whole or not at all.

    The column ``action`` is empty, ``new_label`` holds the suggestion. The file is UTF-8 with the mark that Excel knows
    it by. Cells that a spreadsheet would run as a formula get an apostrophe; `read_corrections` takes it away.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    suspects = tuple(rows)
    has_target = any(one.target for one in suspects)
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow((*_COLUMNS, _TARGET) if has_target else _COLUMNS)
    for one in suspects:
        cells = (one.key, one.label, one.suggested, one.reason, f"{one.score:.4g}", "", one.suggested)
        writer.writerow([_harmless(cell) for cell in ((*cells, one.target) if has_target else cells)])
    # A file name that is no text cannot be told in UTF-8; its row shows what it is and cannot be handed back.
    write_atomically(path, codecs.BOM_UTF8 + stream.getvalue().encode("utf-8", errors="backslashreplace"))


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _as_meant(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(_FORMULA) else cell


def free_name(path: Path) -> Path:
    """Return a path to write suspects to: ``path``, or a numbered one beside it where a person has decided something.

    A file of ours that nobody has touched may be replaced; any other keeps its name.
    """
    number = 1
    found = path
    while found.exists() and not _is_untouched(found):
        number += 1
        found = path.with_name(f"{path.stem}.{number}{path.suffix}")
    return found


def _is_untouched(path: Path) -> bool:
    try:
        return not read_corrections(path).decisions
    except (DataError, StorageError):
        return False


# --- in -----------------------------------------------------------------------------------------------


def read_corrections(path: Path) -> Corrections:
    """Read a table of corrections, as `write_suspects` wrote it and a person or a spreadsheet changed it.

    Columns are found by name, in any order, others are ignored; needed are ``key`` and ``action``. Commas, semicolons,
    tabs and bars are recognised as delimiters, UTF-8, UTF-16 and Windows text as encodings. Rows without an action
    decide nothing.

    Raises
    ------
    DataError
        A column is missing, an action is unknown, a row to relabel has no new label, or a row is decided twice in
        different ways.
    StorageError
        It cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise explain(error, path, doing="read") from error
    text, notes = _decoded(path.name, content)
    columns, lines = _lines(path.name, text)
    decided = [one for line, cells in lines if (one := _decision(path.name, line, _row(columns, cells)))]
    unique, doubled = _each_once(path.name, decided)
    return Corrections(path.name, unique, (*notes, *doubled))


def _decoded(name: str, content: bytes) -> tuple[str, tuple[str, ...]]:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace"), ()
    try:
        return content.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        # What Excel writes unless it is asked for UTF-8; five of its bytes stand for nothing.
        return content.decode("cp1252", errors="replace"), (
            f"{name} is not UTF-8; it was read as Windows text.",
        )


def _lines(name: str, text: str) -> tuple[tuple[str, ...], list[tuple[int, list[str]]]]:
    """Return the names of the columns, and each row's line number and cells."""
    headers = {delimiter: _header(text, delimiter) for delimiter in _DELIMITERS}
    fitting = [delimiter for delimiter, found in headers.items() if set(_NEEDED) <= set(found)]
    if not fitting:
        found = max(headers.values(), key=len)
        raise DataError(
            f"{name} has the columns {', '.join(found) or '(none)'}; expected {', '.join(_COLUMNS)}, "
            f"of which {' and '.join(_NEEDED)} must be there.",
            next_step="Edit the file that topwork wrote, and keep its first line.",
        )
    columns = headers[fitting[0]]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=fitting[0], strict=True)
    try:
        rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)][1:]
    except csv.Error as error:
        raise DataError(
            f"Cannot read {name}, line {reader.line_num}: {error}.",
            next_step="Repair the line, or save it again.",
        ) from error
    return columns, rows


def _header(text: str, delimiter: str) -> tuple[str, ...]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        first = next((cells for cells in reader if any(cell.strip() for cell in cells)), [])
    except csv.Error:
        first = []
    return tuple(cell.strip().lower() for cell in first)


def _row(columns: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """Return a row's cells by column: empty where there is none, under ``""`` what stands behind the columns."""
    named = {column: _as_meant(cell) for column, cell in zip(columns, cells, strict=False)}
    behind = "".join(cells[len(columns) :]).strip()
    return {**dict.fromkeys(columns, ""), **named, **({"": behind} if behind else {})}


def _decision(name: str, line: int, row: Mapping[str, str]) -> Correction | None:
    at = f"{name}, line {line}"
    if row.get(""):
        raise DataError(
            f"{at} has more cells than there are columns.", next_step="Put cells with delimiters in quotes."
        )
    action = row["action"].strip().lower()
    if not action:
        return None
    if action not in get_args(Action):
        raise DataError(
            f"{at}: the action is {row['action'].strip()!r}; expected {', '.join(get_args(Action))} or nothing.",
            next_step="Correct the action.",
        )
    new_label = row.get("new_label", "").strip()
    if action == "relabel" and not new_label:
        raise DataError(
            f"{at}: the action is relabel, and there is no new_label.",
            next_step="Write the right label into the column new_label, or choose drop.",
        )
    target = row.get(_TARGET, "").strip()
    label = row["label"].strip() if "label" in row else None
    return Correction(row["key"], cast("Action", action), new_label, label, target, line)


def _each_once(name: str, decided: Sequence[Correction]) -> tuple[tuple[Correction, ...], tuple[str, ...]]:
    """Drop decisions that stand there twice, and refuse those that contradict each other."""
    first: dict[tuple[str, str], Correction] = {}
    dropped = {one.key: one for one in decided if one.action == "drop"}
    for one in decided:
        earlier = first.setdefault((one.key, one.target), one)
        for rival in (earlier, dropped.get(one.key, one)):
            if _effect(rival) != _effect(one):
                raise _contradiction(name, rival, one)
    n_doubled = len(decided) - len(first)
    counted = "1 row" if n_doubled == 1 else f"{n_doubled:,} rows"
    verb = "repeats" if n_doubled == 1 else "repeat"
    note = f"{counted} of {name} {verb} the decision of another."
    return tuple(first.values()), (note,) if n_doubled else ()


def _effect(one: Correction) -> tuple[str, str]:
    return one.action, one.new_label if one.action == "relabel" else ""


def _contradiction(name: str, one: Correction, other: Correction) -> DataError:
    said = [
        f"line {a.line} says {' '.join(_effect(a)).strip()}"
        for a in sorted((one, other), key=lambda a: a.line)
    ]
    return DataError(
        f"{name} decides {one.key!r} twice: {' and '.join(said)}.", next_step="Keep one of the two."
    )


# --- applying -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Selected:
    """Reads the rows that are left."""

    read: Callable[[int], bytes]
    rows: tuple[int, ...]

    def __call__(self, row: int) -> bytes:
        return self.read(self.rows[row])


def apply(dataset: Dataset, corrections: Corrections) -> Dataset:
    """Return the data set with labels changed and rows dropped; dropped rows stand among the rejected ones.

    What was done is said in `Dataset.understood`: how many rows of which action, labels that are new to the data, rows
    whose label is no longer the one that the corrections were made for.

    Raises
    ------
    DataError
        A row to change is not in the data set, or it is not clear which target is meant.
    """
    row_of = {key: row for row, key in enumerate(dataset.keys)}
    _require_known(corrections, row_of)
    labels = {target: list(raw) for target, raw in dataset.targets.items()}
    changes = [one for one in corrections.decisions if one.action == "relabel"]
    for one in changes:
        labels[_target_of(dataset, corrections, one)][row_of[one.key]] = one.new_label
    dropped = {row_of[one.key] for one in corrections.decisions if one.action == "drop"}
    kept = tuple(row for row in range(len(dataset)) if row not in dropped)
    reason = f"dropped by the corrections in {corrections.name}"
    return replace(
        dataset,
        keys=_take(dataset.keys, kept),
        read=_Selected(dataset.read, kept),
        targets={target: _take(raw, kept) for target, raw in labels.items()},
        given=None if dataset.given is None else _take(dataset.given, kept),
        columns={column: _take(values, kept) for column, values in dataset.columns.items()},
        understood=(*dataset.understood, *_said(dataset, corrections, row_of)),
        rejected=(*dataset.rejected, *(Rejected(dataset.keys[row], reason) for row in sorted(dropped))),
    )


def _take(values: Sequence[_Value], rows: Iterable[int]) -> tuple[_Value, ...]:
    return tuple(values[row] for row in rows)


def _require_known(corrections: Corrections, row_of: Mapping[str, int]) -> None:
    """Refuse to change rows that are not there; one to keep may be gone."""
    unknown = [one for one in corrections.decisions if one.action != "keep" and one.key not in row_of]
    if unknown:
        raise DataError(
            f"{corrections.name} changes {_inputs(len(unknown))} that the data set does not have: {_named(unknown)}.",
            next_step="Give the data that the table was written for; remove the lines of inputs that are gone.",
        )


def _target_of(dataset: Dataset, corrections: Corrections, one: Correction) -> str:
    if one.target in dataset.targets:
        return one.target
    if not one.target and len(dataset.targets) == 1:
        return next(iter(dataset.targets))
    known = ", ".join(dataset.targets)
    raise DataError(
        f"{corrections.name}, line {one.line}: the target is {one.target!r}; expected one of {known}.",
        next_step=f"Write one of them into the column {_TARGET}.",
    )


def _said(dataset: Dataset, corrections: Corrections, row_of: Mapping[str, int]) -> Iterator[str]:
    """Yield what a reader of the result must know of the corrections."""
    decisions, name = corrections.decisions, corrections.name
    counts = Counter(one.action for one in decisions)
    yield (
        f"Corrections from {name}: {_inputs(counts['relabel'])} relabelled, {counts['drop']:,} dropped, "
        f"{counts['keep']:,} looked at and kept."
    )
    yield from corrections.notes
    changes = [(one, _target_of(dataset, corrections, one)) for one in decisions if one.action == "relabel"]
    for target, raw in dataset.targets.items():
        new = Counter(one.new_label for one, of in changes if of == target)
        for label in sorted(new.keys() - set(raw)):
            yield f"No input had the label {label!r} before; {name} gives it to {_inputs(new[label])}."
    before = {one: dataset.targets[of][row_of[one.key]] for one, of in changes}
    if same := [one for one, label in before.items() if label == one.new_label]:
        yield f"{_inputs(len(same))} had the label that {name} gives already: {_named(same)}."
    if stale := [one for one, label in before.items() if _is_stale(one, label)]:
        yield f"{_inputs(len(stale))} had another label than {name} says, and got the new one: {_named(stale)}."
    if gone := [one for one in decisions if one.key not in row_of]:
        yield f"{name} keeps {_inputs(len(gone))} that the data set does not have: {_named(gone)}."


def _is_stale(one: Correction, label: str | None) -> bool:
    return one.label is not None and (label or "").strip() not in (one.label, one.new_label)


def _inputs(n: int) -> str:
    return "1 input" if n == 1 else f"{n:,} inputs"


def _named(decisions: Sequence[Correction]) -> str:
    more = ", …" if len(decisions) > _N_NAMED else ""
    return ", ".join(one.key for one in decisions[:_N_NAMED]) + more
