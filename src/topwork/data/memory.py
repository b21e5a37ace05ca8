"""Inputs that are in memory already, with their labels: texts, paths of files, pictures, or rows of numbers.

What they are is told by the first of them and, of strings, by how all of them end. It reads no file and no pixel;
how an input is encoded is the modality's business. What columns of texts mean is found in `columns`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from topwork.contracts import Array, Dataset, Modality
from topwork.data.kinds import by_suffix
from topwork.data.table_roles import label_of
from topwork.data.tables import table_of
from topwork.errors import DataError
from topwork.inputs import modality

__all__ = ["dataset_of", "dataset_of_pair", "items_of", "kind_of_items", "rows_of"]


@dataclass(frozen=True, slots=True)
class _ItemReader:
    """Encodes an item when it is its turn."""

    items: Sequence[object] | Array
    modality: Modality

    def __call__(self, row: int) -> bytes:
        return self.modality.encode(self.items[row])


def items_of(inputs: Any) -> Sequence[object] | None:
    """Return inputs one by one where each stands for itself; None where they are rows of numbers, or there are none.

    Parameters
    ----------
    inputs
        A list, an array or a pandas Series of texts, of paths, or of pictures (PIL's, or arrays ``[h, w]`` or
        ``[h, w, 3]``); or an array of pictures ``[n, h, w]`` or ``[n, h, w, 3]``.
    """
    n_axes = getattr(inputs, "ndim", 1)
    if n_axes == 2 or not _is_listed(inputs):
        return None
    items = list(inputs)
    return items if n_axes > 2 or _stands_alone(items[0]) else None


def rows_of(inputs: Any) -> Array | None:
    """Return rows of numbers as ``float64 [n, d]``; None where inputs are something else.

    Raises
    ------
    DataError
        The rows differ in length, or hold something else than numbers.
    """
    if not _is_listed(inputs):
        return None
    is_table = getattr(inputs, "ndim", 1) == 2
    if (
        not is_table
        and not isinstance(first := next(iter(inputs)), list | tuple)
        and getattr(first, "ndim", 0) != 1
    ):
        return None
    try:
        return np.asarray(inputs, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"The rows are no table of numbers: {error}.",
            next_step="Give rows of one length that hold nothing but numbers; texts are given one string per input.",
        ) from error


def kind_of_items(items: Sequence[object]) -> Modality:
    """Return what kind of inputs these are.

    A string is a text, unless all of them end as the names of pictures do; then they are paths. A `Path` is a file, its
    kind that of most suffixes.

    Raises
    ------
    DataError
        Nothing says what files or bytes hold.
    """
    first = items[0]
    if isinstance(first, str) and not all(map(_names_picture, items)):
        return modality("text")
    if isinstance(first, str | PurePath):
        if (found := by_suffix(str(one) for one in items)) is not None:
            return found
        raise DataError(
            f"Nothing says what files such as {first} hold: no suffix is that of a photo, a text or a vector.",
            next_step="Give the texts themselves as strings, or files with the usual suffixes.",
        )
    if isinstance(first, bytes | bytearray | memoryview):
        raise DataError(
            "Received bytes, which may be a photo, a text or anything else.",
            next_step="Give a text as a string, a photo as a path, a PIL image or an array.",
        )
    return modality("image")


def dataset_of(
    items: Sequence[object] | Array, targets: Mapping[str, Sequence[str | None]], kind: Modality
) -> Dataset:
    """Make a data set of inputs and raw labels, all in the same order.

    Raises
    ------
    DataError
        There are more or fewer labels than inputs.
    """
    for name, raw in targets.items():
        if len(raw) != len(items):
            raise DataError(
                f"There are {len(items):,} inputs and {len(raw):,} values of {name!r}.",
                next_step="Give one value per input.",
            )
    return Dataset(
        modality=kind.name,
        keys=_keys(items),
        read=_ItemReader(items, kind),
        targets={name: tuple(raw) for name, raw in targets.items()},
        layout=f"{len(items):,} {kind.wire.noun}s in memory.",
    )


def dataset_of_pair(inputs: object, labels: Sequence[object] | Array, target: str) -> Dataset | None:
    """Make a data set of inputs that are no texts, and their labels; None for texts, which make a table.

    Raises
    ------
    DataError
        It is not clear what the inputs are, or there are more or fewer labels.
    """
    alone = items_of(inputs)
    kind = modality("vector") if alone is None else kind_of_items(alone)
    items = rows_of(inputs) if alone is None else alone
    if items is None or (kind.name == "text" and isinstance(items[0], str)):
        return None
    raw = [label_of(value) for value in table_of({target: labels}).column(target)]
    return dataset_of(items, {target: raw}, kind)


def _is_listed(inputs: Any) -> bool:
    has_rows = (
        hasattr(inputs, "__len__") and hasattr(inputs, "__iter__") and not isinstance(inputs, str | Mapping)
    )
    return has_rows and len(inputs) > 0


def _stands_alone(item: Any) -> bool:
    is_picture = getattr(item, "ndim", 0) > 1 or type(item).__module__.split(".")[0] == "PIL"
    return is_picture or isinstance(item, str | PurePath | bytes | bytearray | memoryview)


def _names_picture(item: object) -> bool:
    return isinstance(item, str | PurePath) and PurePath(item).suffix.lower() in modality("image").suffixes


def _keys(items: Sequence[object] | Array) -> tuple[str, ...]:
    """Return paths where all inputs are files of their own, and else the numbers of the rows."""
    if all(isinstance(one, PurePath) or _names_picture(one) for one in items):
        names = [str(one) for one in items]
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(f"row {number}" for number in range(1, len(items) + 1))
