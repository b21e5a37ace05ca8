"""Reading a data set: from a path and a few options to a `Dataset`, by recognising what is there.

It decides between layouts and explains what it took the data for; the layouts themselves are in `folders`,
`table_layout` and `table_texts`, what holds the files in `trees` and `archives`. It knows no pixel and no network.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from topwork.contracts import Dataset, Modality
from topwork.data.archives import zip_tree
from topwork.data.columns import IN_MEMORY, LABEL, TEXT, Columns, table_of_columns
from topwork.data.folders import class_folders, looks_split, split_folders, unwrap
from topwork.data.kinds import by_suffix, kind_of, left_aside
from topwork.data.memory import dataset_of_pair
from topwork.data.queries import QUERY_SUFFIX, run_query
from topwork.data.split_tables import join, sides_by_name
from topwork.data.table_layout import names_files, table_dataset
from topwork.data.table_roles import Roles
from topwork.data.table_texts import find_texts, text_dataset
from topwork.data.tables import TABLE_SUFFIXES, Table, parse_table
from topwork.data.trees import Tree, folder_tree, read_path
from topwork.errors import DataError, DecodeError
from topwork.inputs import modalities

__all__ = ["Layout", "ReadOptions", "name_of", "read", "spelled"]

Layout: TypeAlias = Literal["auto", "folders", "split-folders", "table"]
"""What kind of data set it is; ``auto`` finds out."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How data are to be read.

    Attributes
    ----------
    input
        Column of a table that names the files or holds the texts; None to find it.
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

    def roles(self) -> Roles:
        """Return the columns as readers of tables take them."""
        return Roles(self.input, self.target, self.group, self.time)

    def columns(self) -> tuple[str, ...]:
        """Return the columns that were asked for."""
        return tuple(c for c in (self.input, *self.target, self.group, self.time) if c is not None)


def read(
    data: str | Path | Columns, options: ReadOptions | None = None, *, modality: Modality | None = None
) -> Dataset:
    """List the labelled inputs of a data set.

    Parameters
    ----------
    data
        A path: a folder, a table, a zip archive of either, or a file of SQL. Or what is in memory: a mapping of
        names to columns, a pair of inputs and labels, or a data set, which comes back as it is.
    modality
        What the inputs are; None to find it.

    Raises
    ------
    DataError
        There is nothing there, or it is not clear what is meant.
    MissingExtraError
        The table is Parquet and pyarrow is not installed, or it is a query and DuckDB is not.
    """
    options = options or ReadOptions()
    if not isinstance(data, str | Path):
        return _from_columns(data, options)
    path = Path(data)
    if not path.exists():
        raise DataError(
            f"{path} does not exist.",
            next_step="Give a folder, a table (CSV, TSV, JSONL, Parquet), a zip archive or a query (.sql).",
        )
    if path.is_dir():
        return _from_tree(folder_tree(path), options, modality)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return _from_table_file(path, options, modality)
    if path.suffix.lower() == QUERY_SUFFIX:
        _refuse_folders(options)
        return _of_table(run_query(path), path.name, partial(folder_tree, path.parent), options, modality)
    if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        return _from_tree(zip_tree(path), options, modality)
    raise _not_a_data_set(path)


def name_of(data: str | Path | Columns) -> Path:
    """Return the path of a data set; one in memory is called ``in-memory``."""
    return Path(data) if isinstance(data, str | Path) else Path(IN_MEMORY)


def spelled(data: str | Path | Columns) -> str:
    """Return a data set as it stands in a call: its path, or what holds it in memory, but not the data."""
    if isinstance(data, str | Path):
        return repr(str(data))
    if isinstance(data, Dataset):
        return "dataset"
    return (
        "(inputs, labels)"
        if isinstance(data, tuple)
        else "{" + ", ".join(f"{name!r}: …" for name in data) + "}"
    )


def _from_columns(columns: Columns, options: ReadOptions) -> Dataset:
    if isinstance(columns, Dataset):
        return columns
    roles = options.roles()
    if isinstance(columns, tuple) and len(columns) == 2:
        found = dataset_of_pair(*columns, (*options.target, LABEL)[0])
        if found is not None:
            return found
    if isinstance(columns, tuple):
        roles = replace(roles, input=roles.input or TEXT, target=roles.target or (LABEL,))
    return text_dataset(table_of_columns(columns), "the data in memory", roles, roles.input)


# --- folders and archives -------------------------------------------------------------------------------


def _from_tree(tree: Tree, options: ReadOptions, modality: Modality | None) -> Dataset:
    kind = modality or kind_of(tree)
    prefix = unwrap(tree, kind)
    tables = _tables(tree)
    is_meant = options.layout == "table" or bool(options.columns())
    if is_meant or (options.layout == "auto" and len(tables) > 1 and sides_by_name(tables)):
        _refuse_folders(options)
        return _of_table(_together(tree, tables), _title(tables), lambda: tree, options, modality)
    if options.layout == "auto" and len(tables) == 1 and not looks_split(tree, prefix, kind):
        return _table_or_folders(tree, tables[0], prefix, modality)
    return _from_folders(tree, prefix, options.layout, kind)


def _table_or_folders(tree: Tree, name: str, prefix: str, modality: Modality | None) -> Dataset:
    """Prefer a table of files; where it is none, class folders; where those are none, a table of texts."""
    texts: str | None = None
    try:
        table = parse_table(name, _content(name, tree.read))
        texts = _text_column(table, name, lambda: tree, Roles(), modality)
        if texts is None:
            return table_dataset(table, name, tree, Roles(), modality)
        of_table = DataError("it names no files")
    except DataError as error:
        of_table = error
    try:
        dataset = _from_folders(tree, prefix, "auto", modality or kind_of(tree))
    except DataError:
        if texts is None:
            raise of_table from None
        return text_dataset(table, name, Roles(), texts)
    note = f"The table {name} was not used ({of_table.problem}); `--layout table` insists on it."
    return replace(dataset, understood=(*dataset.understood, note))


def _from_folders(tree: Tree, prefix: str, layout: Layout, modality: Modality) -> Dataset:
    is_split = layout == "split-folders" or (layout == "auto" and looks_split(tree, prefix, modality))
    dataset = (split_folders if is_split else class_folders)(tree, prefix, modality)
    return replace(dataset, understood=(*dataset.understood, *left_aside(tree, modality)))


# --- tables ---------------------------------------------------------------------------------------------


def _together(tree: Tree, names: list[str]) -> Table:
    """Return the only table, or all of them as one where each is a side."""
    sides = sides_by_name(names)
    wanted = [_only_table(tree, names)] if sides is None else list(sides)
    tables = {name: parse_table(name, _content(name, tree.read)) for name in wanted}
    return tables[wanted[0]] if sides is None else join(tables, sides)


def _title(names: list[str]) -> str:
    """Return the name of a table, or of several that are one, below the folder that they all stand in."""
    folder = names[0].rpartition("/")[0] if names else ""
    return "/".join(part for part in (folder, " + ".join(PurePosixPath(one).name for one in names)) if part)


def _from_table_file(path: Path, options: ReadOptions, modality: Modality | None) -> Dataset:
    _refuse_folders(options)
    table = parse_table(path.name, _content(path.name, lambda _: read_path(path)))
    return _of_table(table, path.name, partial(folder_tree, path.parent), options, modality)


def _of_table(
    table: Table, name: str, tree: Callable[[], Tree], options: ReadOptions, modality: Modality | None
) -> Dataset:
    """Take a table for one of texts or of files; the files around it are listed only where that depends on them."""
    roles = options.roles()
    texts = _text_column(table, name, tree, roles, modality)
    if texts is not None:
        return text_dataset(table, name, roles, texts)
    return table_dataset(table, name, tree(), roles, modality)


def _text_column(
    table: Table, name: str, tree: Callable[[], Tree], roles: Roles, modality: Modality | None
) -> str | None:
    """Return the column that holds texts; None where the table is one of files."""
    if modality is not None and modality.name != "text":
        return None
    found = find_texts(table, roles)
    if found.is_certain or found.column is None:
        return found.column
    return None if _names_files(table, name, tree(), roles) else found.column


def _names_files(table: Table, name: str, tree: Tree, roles: Roles) -> bool:
    return any(names_files(table, name, tree, roles, one) for one in modalities())


def _refuse_folders(options: ReadOptions) -> None:
    if options.layout in ("folders", "split-folders"):
        raise DataError(
            f"Layout {options.layout!r} was asked for, but columns of a table or a table itself were given.",
            next_step="Give the folder without columns, or leave the layout out.",
        )


def _content(name: str, read: Callable[[str], bytes]) -> bytes:
    try:
        return read(name)
    except DecodeError as error:
        raise DataError(f"Cannot read {name}: {error.problem}", next_step="Check the file.") from error


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


def _not_a_data_set(path: Path) -> DataError:
    if kind := by_suffix([path.name]):
        noun = kind.wire.noun
        to_write_like = (
            " To have a language model write like it, `topwork fit` or topwork.fit_writer takes it."
        )
        return DataError(
            f"{path.name} is a single {noun}; expected a data set.",
            next_step=f"Give a folder with one sub-folder of {noun}s per label."
            + (to_write_like if kind.name == "text" else ""),
        )
    return DataError(
        f"{path.name} is no data set that can be read; expected a folder, a table "
        f"({', '.join(sorted(TABLE_SUFFIXES))}), a zip archive or a query ({QUERY_SUFFIX}).",
        next_step="Unpack other archives and give the folder.",
    )
