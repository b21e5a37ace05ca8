"""Several labels in one cell, as people write them into tables: separated by a sign, or as a JSON list.

The sign is recognised from all cells at once, and never guessed: where two signs occur, either may be part of a name.
It knows no column and no model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from topwork.errors import DataError

__all__ = ["JSON_LIST", "SEPARATORS", "recognised", "split"]

JSON_LIST: Final = "json"
"""Stands where a separator would, for cells that are JSON lists of names."""
SEPARATORS: Final = (";", "|", ",")


def recognised(cells: Sequence[str]) -> str:
    """Return what separates the labels of these cells: one of `SEPARATORS`, or `JSON_LIST`.

    Raises
    ------
    DataError
        No cell holds several labels, several signs occur, or only some cells are lists.
    """
    lists = [cell for cell in cells if _listed(cell) is not None]
    others = [cell for cell in cells if _listed(cell) is None]
    if lists and not others:
        return JSON_LIST
    # An empty list says that there is no label, beside cells of either form.
    if filled := [cell for cell in lists if _listed(cell)]:
        raise DataError(
            f"{len(filled):,} of {len(cells):,} cells are JSON lists, such as {filled[0]!r:.60}, and others are not, "
            f"such as {others[0]!r:.60}.",
            next_step='Write all cells in one way: as JSON lists such as ["red", "round"], or with one separator.',
        )
    found = [sign for sign in SEPARATORS if any(sign in cell for cell in others)]
    if len(found) == 1:
        return found[0]
    if not found:
        shown = f", such as {others[0]!r:.60}" if others else ""
        raise DataError(
            f"None of {len(cells):,} cells holds more than one label{shown}; labels of one input are separated by one "
            f"of {' '.join(SEPARATORS)} or stand in a JSON list.",
            next_step="Leave --task out where every input has one label, or name the right column with --target.",
        )
    examples = " and ".join(repr(next(cell for cell in others if sign in cell))[:60] for sign in found)
    raise DataError(
        f"What separates the labels is not clear: {' and '.join(map(repr, found))} occur, as in {examples}.",
        next_step='Use one sign throughout that is in no name, or JSON lists such as ["red", "round"].',
    )


def split(cell: str, separator: str) -> tuple[str, ...]:
    """Return the different labels of a cell, in their order; none of ``[]`` and of a separator that stands alone.

    Raises
    ------
    DataError
        Labels stand in JSON lists, and this cell is none.
    """
    listed = _listed(cell)
    if listed is None and separator == JSON_LIST:
        raise DataError(
            f"The cell {cell!r:.80} is no JSON list of names, as the labels of this target are.",
            next_step='Write it as in ["red", "round"], or [] where it has none of the labels.',
        )
    # A cell of another form that happens to read as a list is none: only the empty one means the same in both.
    parts = listed if listed is not None and (separator == JSON_LIST or not listed) else cell.split(separator)
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _listed(cell: str) -> list[str] | None:
    """Return the names of a JSON list of texts; None of anything else."""
    if not cell.strip().startswith("["):
        return None
    try:
        found = json.loads(cell)
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else None
