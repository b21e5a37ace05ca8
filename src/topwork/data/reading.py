"""Reading a data set: from a path and a few options to a `Dataset`, by recognising what is there.

It decides between layouts and explains what it took the data for; the layouts themselves are in `folders`
and `table_layout`, what holds the files in `trees` and `archives`. It knows no pixel and no network.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from topwork.contracts import Dataset, Modality
from topwork.data.archives import zip_tree
from topwork.data.folders import class_folders, looks_split, split_folders, unwrap
from topwork.data.table_layout import Roles, table_dataset
from topwork.data.tables import TABLE_SUFFIXES, parse_table
from topwork.data.trees import Tree, folder_tree
from topwork.errors import DataError, DecodeError
from topwork.inputs import modality as modality_named

__all__ = ["Layout", "ReadOptions", "read"]

Layout: TypeAlias = Literal["auto", "folders", "split-folders", "table"]
"""What kind of data set it is; ``auto`` finds out."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How data are to be read.

    Attributes
    ----------
    input
        Column of a table that names the files; None to find it.
    target
        Columns of a table that hold labels; empty to find one.
    group, time
        Columns that a split needs; here it is only checked that they exist.
    layout
        What kind of data set it is.
    """

    input: str | None = None
    target: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None
    layout: Layout = "auto"

    def columns(self) -> tuple[str, ...]:
        """Return the columns that were asked for."""
        return tuple(c for c in (self.input, *self.target, self.group, self.time) if c is not None)


def read(path: Path, options: ReadOptions | None = None, *, modality: Modality | None = None) -> Dataset:
    """List the labelled inputs at a path: a folder, a table, or a zip archive of either.

    Raises
    ------
    DataError
        There is nothing there, or it is not clear what is meant.
    MissingExtraError
        The table is Parquet and pyarrow is not installed.
    """
    options, modality = options or ReadOptions(), modality or modality_named("image")
    if not path.exists():
        raise DataError(
            f"{path} does not exist.",
            next_step="Give a folder, a table (CSV, TSV, JSONL, Parquet) or a zip archive.",
        )
    if path.is_dir():
        return _from_tree(folder_tree(path), options, modality)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return _from_table(folder_tree(path.parent), path.name, options, modality)
    if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        return _from_tree(zip_tree(path), options, modality)
    raise _not_a_data_set(path, modality)


def _from_tree(tree: Tree, options: ReadOptions, modality: Modality) -> Dataset:
    prefix = unwrap(tree, modality)
    tables = _tables(tree)
    if options.layout == "table" or options.columns():
        return _from_table(tree, _only_table(tree, tables), options, modality)
    if options.layout == "auto" and len(tables) == 1 and not looks_split(tree, prefix, modality):
        return _table_or_folders(tree, tables[0], prefix, modality)
    return _from_folders(tree, prefix, options.layout, modality)


def _table_or_folders(tree: Tree, table: str, prefix: str, modality: Modality) -> Dataset:
    """Prefer the table; where it cannot be used, a data set of class folders with some table in it remains."""
    try:
        return _from_table(tree, table, ReadOptions(), modality)
    except DataError as error:
        of_table = error
    try:
        dataset = _from_folders(tree, prefix, "auto", modality)
    except DataError:
        raise of_table from None
    note = f"The table {table} was not used ({of_table.problem}); `--layout table` insists on it."
    return replace(dataset, understood=(*dataset.understood, note))


def _from_folders(tree: Tree, prefix: str, layout: Layout, modality: Modality) -> Dataset:
    is_split = layout == "split-folders" or (layout == "auto" and looks_split(tree, prefix, modality))
    return (split_folders if is_split else class_folders)(tree, prefix, modality)


def _from_table(tree: Tree, name: str, options: ReadOptions, modality: Modality) -> Dataset:
    if options.layout in ("folders", "split-folders"):
        raise DataError(
            f"Layout {options.layout!r} was asked for, but columns of a table or a table itself were given.",
            next_step="Give the folder without columns, or leave the layout out.",
        )
    try:
        content = tree.read(name)
    except DecodeError as error:
        raise DataError(f"Cannot read {name}: {error.problem}", next_step="Check the file.") from error
    roles = Roles(options.input, options.target, options.group, options.time)
    return table_dataset(parse_table(name, content), name, tree, roles, modality)


def _tables(tree: Tree) -> list[str]:
    """Return the tables at the top, looking through one folder around everything."""
    tables = [name for name in tree.names if PurePosixPath(name).suffix.lower() in TABLE_SUFFIXES]
    top = min((name.count("/") for name in tables), default=0)
    is_inside_wrapper = top == 1 and len({name.split("/")[0] for name in tree.names}) == 1
    return [name for name in tables if name.count("/") == top] if top == 0 or is_inside_wrapper else []


def _only_table(tree: Tree, tables: list[str]) -> str:
    if len(tables) == 1:
        return tables[0]
    found = f"several: {', '.join(tables[:5])}" if tables else "none"
    raise DataError(
        f"A table was asked for, by layout or by naming columns; in {tree.title} there is {found}.",
        next_step="Give the path of the table itself."
        if tables
        else "Leave out the columns, or give a table.",
    )


def _not_a_data_set(path: Path, modality: Modality) -> DataError:
    noun = modality.wire.noun
    if path.suffix.lower() in modality.suffixes:
        return DataError(
            f"{path.name} is a single {noun}; expected a data set.",
            next_step=f"Give a folder with one sub-folder of {noun}s per label.",
        )
    return DataError(
        f"{path.name} is no data set that can be read; expected a folder, a table "
        f"({', '.join(sorted(TABLE_SUFFIXES))}) or a zip archive.",
        next_step="Unpack other archives and give the folder.",
    )
