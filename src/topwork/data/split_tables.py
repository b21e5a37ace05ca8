"""One table for each side, such as ``train.csv`` beside ``test.csv``: they are taken together as one.

The name of each table says its side. It knows neither files nor what the columns mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from topwork.contracts import Side
from topwork.data.folders import side_of
from topwork.data.tables import Table, unique_names

__all__ = ["join", "sides_by_name"]

_BETWEEN = re.compile(r"[^a-z]+")
_ORDER: tuple[Side, ...] = ("train", "valid", "test")
SPLIT = "split"
"""Name of the column that says the side of each row."""


def sides_by_name(names: Sequence[str]) -> Mapping[str, Side] | None:
    """Return the side of each table, training first, by the only word of its name that names one.

    None where they are no such set: every table must name one side, training among them and another one as well.
    ``train-00000-of-00002.parquet`` and its fellows are parts of one side.
    """
    found: dict[str, Side] = {}
    for name in names:
        words = _BETWEEN.split(PurePosixPath(name).stem.lower())
        named = {side for word in words if (side := side_of(word)) is not None}
        if len(named) != 1:
            return None
        found[name] = named.pop()
    if "train" not in found.values() or len(set(found.values())) < 2:
        return None
    return dict(sorted(found.items(), key=lambda one: _ORDER.index(one[1])))


def join(tables: Mapping[str, Table], sides: Mapping[str, Side]) -> Table:
    """Put tables under one another, with a column for their sides; a column that a table lacks is empty in its rows.

    A table without a single column of the training tables is left out, which a note says.
    """
    trained = {one for name, table in tables.items() if sides[name] == "train" for one in table.columns}
    kept = {name: table for name, table in tables.items() if trained & set(table.columns)}
    columns = tuple(dict.fromkeys(column for table in kept.values() for column in table.columns))
    *_, split = unique_names([*columns, SPLIT])
    rows = [
        (*(row.get(column, "") for column in columns), sides[name])
        for name, table in kept.items()
        for row in (dict(zip(table.columns, values, strict=True)) for values in table.rows)
    ]
    return Table(
        columns=(*columns, split),
        rows=tuple(rows),
        numbers=tuple(range(1, len(rows) + 1)),
        notes=(
            f"Taken together, each for the side that its name says: {', '.join(kept)}; the path of one of them "
            "takes it alone.",
            *(
                f"{name} has no column of the training table, and was left out."
                for name in tables.keys() - kept
            ),
            *(note for table in kept.values() for note in table.notes),
        ),
        rejected=tuple(one for table in kept.values() for one in table.rejected),
        unit="row",
    )
