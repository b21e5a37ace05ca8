"""Tables of files: which column names them, and where each of them is.

Options decide where they are given; otherwise names and content do, and where those leave a doubt the error
names the columns and the option. It knows no file format of a table (see `tables`) and no disk (see `trees`);
labels and sides are in `table_roles`, tables that hold texts themselves in `table_texts`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from topwork.contracts import Dataset, Modality, Rejected
from topwork.data.kinds import by_suffix
from topwork.data.table_roles import (
    Roles,
    label_of,
    labelled,
    require_columns,
    sides_of,
    split_column,
    target_column,
    understood_roles,
)
from topwork.data.tables import Table
from topwork.data.trees import Tree, read_path
from topwork.errors import DataError
from topwork.inputs import IMAGE
from topwork.inputs import modality as modality_named

__all__ = ["FILE_NAMES", "names_files", "table_dataset"]

FILE_NAMES = (
    "file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path", "image_name",
    "image_file", "image_id", "img", "img_path", "photo", "picture", "name", "id",
)  # fmt: skip
"""Names of columns that name files, lower case, the most telling first."""

_N_SAMPLED = 500


@dataclass(frozen=True, slots=True)
class _Files:
    """Finds the file that a cell names: exactly, by the end of its path, or without its suffix."""

    exact: Mapping[str, str]
    by_last_part: Mapping[str, tuple[str, ...]]
    folder: str
    root: Path | None

    def find(self, value: str) -> tuple[str, ...]:
        """Return the names of the tree's files that ``value`` may mean."""
        wanted = _normal(value)
        if beside := self.exact.get(self.folder + wanted):
            return (beside,)
        last = wanted.rsplit("/", 1)[-1]
        return tuple(name for name in self.by_last_part.get(last, ()) if _ends_with(_normal(name), wanted))

    def outside(self, value: str) -> Path | None:
        """Return a file outside the tree that ``value`` leads to; never for an archive."""
        if self.root is None or not value:
            return None
        path = self.root / self.folder / value
        try:
            return path if path.is_file() else None
        except (OSError, ValueError):  # a text that can be no path: too long, or with a NUL
            return None


@dataclass(frozen=True, slots=True)
class _Cells:
    """The rows that are kept: where each one's bytes are, and its place in the table."""

    places: tuple[str | Path, ...]
    rows: tuple[int, ...]
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True, slots=True)
class _CellReader:
    places: tuple[str | Path, ...]
    read: Callable[[str], bytes]

    def __call__(self, row: int) -> bytes:
        place = self.places[row]
        return read_path(place) if isinstance(place, Path) else self.read(place)


def names_files(table: Table, name: str, tree: Tree, roles: Roles, modality: Modality) -> bool:
    """Return whether a column names files that are there; of the column that was asked for, where one was."""
    files = _files(tree, name, modality)
    table, _ = _with_header(table, files)
    columns = (roles.input,) if roles.input in table.columns else table.columns
    return any(_n_found(table.column(column), files) for column in columns if column is not None)


def table_dataset(
    table: Table, name: str, tree: Tree, roles: Roles, modality: Modality | None = None
) -> Dataset:
    """Turn a table and the files around it into a data set.

    Parameters
    ----------
    name
        The table's own path in the tree; file names in it are relative to its folder.
    modality
        What the files are; None to tell by their suffixes, or else pictures.

    Raises
    ------
    DataError
        A column is missing, or it is not clear which one is meant.
    """
    files = _files(tree, name, modality or IMAGE)
    if modality is None and not names_files(table, name, tree, roles, IMAGE):
        files = _files(tree, name, modality_named("text"))
    table, notes = _with_header(table, files)
    require_columns(table, roles)
    file_column = roles.input or _file_column(table, files, roles, name)
    sides = split_column(table, {file_column, *roles.target})
    taken = {file_column, sides, roles.group, roles.time}
    targets = roles.target or (target_column(table, taken, name),)
    cells = _locate(table, table.column(file_column), labelled(table, targets), files)
    if not cells.rows:
        raise _nothing_found(table.column(file_column), file_column, name, cells)
    understood = (
        *table.notes,
        *notes,
        f"Column {file_column!r} names the files; `--input COLUMN` overrides.",
        *understood_roles(targets, sides, is_guess=not roles.target),
    )
    modality = modality or by_suffix(str(place) for place in cells.places) or IMAGE
    return _dataset(table, cells, tree, (file_column, targets, sides), understood, name, modality)


def _dataset(
    table: Table,
    cells: _Cells,
    tree: Tree,
    columns: tuple[str, tuple[str, ...], str | None],
    understood: tuple[str, ...],
    name: str,
    modality: Modality,
) -> Dataset:
    file_column, targets, sides = columns
    kept = Table(table.columns, tuple(table.rows[row] for row in cells.rows), ())
    others = [column for column in table.columns if column not in (file_column, *targets)]
    return Dataset(
        modality=modality.name,
        keys=_unique_keys(kept.column(file_column), [table.numbers[row] for row in cells.rows]),
        read=_CellReader(cells.places, tree.read),
        targets={target: tuple(label_of(value) for value in kept.column(target)) for target in targets},
        given=sides_of(kept, sides),
        columns={column: kept.column(column) for column in others},
        layout=f"Table {name}: {len(cells.rows):,} of {len(table.rows):,} rows can be used.",
        understood=understood,
        rejected=(*tree.rejected, *table.rejected, *cells.rejected),
    )


# --- which column is which ------------------------------------------------------------------------------


def _with_header(table: Table, files: _Files) -> tuple[Table, tuple[str, ...]]:
    """Notice a table without a header: a file that exists stands where a column's name should."""
    if not any(_is_file(cell, files) for cell in table.columns):
        return table, ()
    return table.with_header_as_row(), ("The first line names a file, so the table has no header.",)


def _file_column(table: Table, files: _Files, roles: Roles, name: str) -> str:
    free = [c for c in table.columns if c not in (*roles.target, roles.group, roles.time)]
    # The number of different files decides: labels 0 and 1 may well be files 0.jpg and 1.jpg, too.
    found = {column: _n_found(table.column(column), files) for column in free}
    best = max(free, key=lambda column: (found[column], _is_named(column, FILE_NAMES)), default=None)
    if best is not None and found[best]:
        return best
    named = [column for column in FILE_NAMES for c in free if c.lower() == column]
    hint = f" Column {named[0]!r} could name them, but no such file was found." if named else ""
    raise DataError(
        f"No column of {name} names files that are there; its columns are: {', '.join(table.columns)}.{hint}",
        next_step="Say which one does with `--input COLUMN`; names are relative to the table's folder.",
    )


def _n_found(values: Sequence[str], files: _Files) -> int:
    different = list(dict.fromkeys(value for value in values if value))[:_N_SAMPLED]
    n_found = sum(_is_file(value, files) for value in different)
    return n_found if 2 * n_found >= len(different) or n_found >= 10 else 0


def _is_file(value: str, files: _Files) -> bool:
    return len(files.find(value)) == 1 or files.outside(value) is not None


def _is_named(column: str, names: Sequence[str]) -> int:
    return len(names) - names.index(column.lower()) if column.lower() in names else 0


# --- which rows can be used -----------------------------------------------------------------------------


def _locate(table: Table, values: Sequence[str], labels: Sequence[bool], files: _Files) -> _Cells:
    places: list[str | Path] = []
    rows: list[int] = []
    rejected: list[Rejected] = []
    for row, value in enumerate(values):
        place = _place(value, files) if labels[row] else _Refused("it has no label")
        if isinstance(place, _Refused):
            key = f"{table.unit} {table.numbers[row]}" + (f" ({value})" if value else "")
            rejected.append(Rejected(key, place.reason))
        else:
            places.append(place)
            rows.append(row)
    return _Cells(tuple(places), tuple(rows), tuple(rejected))


@dataclass(frozen=True, slots=True)
class _Refused:
    reason: str


def _place(value: str, files: _Files) -> str | Path | _Refused:
    if not value:
        return _Refused("it has no file name")
    found = files.find(value)
    if len(found) == 1:
        return found[0]
    if found:
        return _Refused(f"its file name fits {len(found)} files, such as {found[0]} and {found[1]}")
    if files.root is None and (value.startswith(("/", "\\")) or ".." in PurePosixPath(_normal(value)).parts):
        return _Refused("its file name leads out of the archive")
    return files.outside(value) or _Refused("there is no such file")


def _unique_keys(values: Sequence[str], numbers: Sequence[int]) -> tuple[str, ...]:
    seen: set[str] = set()
    keys = []
    for value, number in zip(values, numbers, strict=True):
        key = value if value not in seen else f"{value} (line {number})"
        seen.add(key)
        keys.append(key)
    return tuple(keys)


def _nothing_found(values: Sequence[str], column: str, name: str, cells: _Cells) -> DataError:
    reason = cells.rejected[0].reason if cells.rejected else "it is empty"
    example = next((value for value in values if value), "")
    return DataError(
        f"No row of {name} can be used; of the first, {example!r} in column {column!r}: {reason}.",
        next_step="File names are relative to the table's folder; `--input` and `--target` name the columns.",
    )


# --- names of files ---------------------------------------------------------------------------------------


def _files(tree: Tree, table_name: str, modality: Modality) -> _Files:
    exact: dict[str, str] = {}
    by_last: dict[str, list[str]] = {}
    for name in tree.names:
        if name == table_name:
            continue
        normal = _normal(name)
        exact[normal] = name
        last = normal.rsplit("/", 1)[-1]
        by_last.setdefault(last, []).append(name)
        stem = PurePosixPath(last)
        if stem.suffix.lower() in modality.suffixes:
            by_last.setdefault(stem.stem, []).append(name)
    folder = _normal(table_name).rpartition("/")[0]
    ends = {last: tuple(names) for last, names in by_last.items()}
    return _Files(exact, ends, f"{folder}/" if folder else "", tree.root)


def _normal(name: str) -> str:
    """Return a name with ``/``, in composed Unicode, without ``./`` in front."""
    return unicodedata.normalize("NFC", name.replace("\\", "/")).removeprefix("./")


def _ends_with(name: str, wanted: str) -> bool:
    """Return whether a path ends in the parts of ``wanted``, with or without its suffix."""
    stem = str(PurePosixPath(name).with_suffix(""))
    return any(full == wanted or full.endswith(f"/{wanted}") for full in (name, stem))
