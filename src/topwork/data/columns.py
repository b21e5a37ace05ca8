"""Columns that are in memory already: a mapping of names to values, or texts and their labels.

It makes a table of them; what its columns mean is found in `table_texts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from topwork.contracts import Array, Dataset
from topwork.data.tables import Table, table_of
from topwork.errors import DataError

__all__ = ["IN_MEMORY", "LABEL", "TEXT", "Column", "Columns", "table_of_columns"]

Column: TypeAlias = Sequence[object] | Array
"""Values of one column: a list, an array, or anything else with a length that can be gone through."""

Columns: TypeAlias = Mapping[str, Column] | tuple[Column, Column] | Dataset
"""Columns of texts by name; texts or other inputs and their labels; or a data set that somebody has made."""

IN_MEMORY = "in-memory"
"""What such data are called where others have the name of a file."""

TEXT, LABEL = "text", "label"
"""Names of the columns of a pair."""


def table_of_columns(columns: Mapping[str, Column] | tuple[Column, Column]) -> Table:
    """Return columns as a table of text; None and NaN are missing values.

    Raises
    ------
    DataError
        There is no column or no row, something is no column, or the lengths differ.
    """
    if isinstance(columns, tuple) and len(columns) != 2:
        raise DataError(f"Received a tuple of {len(columns)}; expected a pair: texts and their labels.")
    named = dict(columns) if isinstance(columns, Mapping) else dict(zip((TEXT, LABEL), columns, strict=True))
    lengths = {name: _length(name, values) for name, values in named.items()}
    if not any(lengths.values()):
        raise DataError("The columns are empty.", next_step='Expected {"text": [...], "label": [...]}.')
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r} has {length:,}" for name, length in lengths.items())
        raise DataError(
            f"The columns differ in length: {told}.", next_step="Give one value of each column per row."
        )
    return table_of(named)


def _length(name: object, values: object) -> int:
    if not isinstance(name, str):
        raise DataError(f"A column is called {name!r}; expected its name as a string.")
    is_one = isinstance(values, str | bytes | Mapping)
    if is_one or not hasattr(values, "__len__") or not hasattr(values, "__iter__"):
        raise DataError(
            f"Column {name!r} is {type(values).__name__}; expected a list with one value per row."
        )
    return len(values)
