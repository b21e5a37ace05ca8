"""Times until an event as people write them: `12.5` for an event at 12.5, `12.5+` where none was seen until then.

That is how R prints its ``Surv``. Where time and event stand in two columns, `joined` makes one of them. Nothing is
guessed: what could mean either is an error. It knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from topwork.contracts import Array, Dataset
from topwork.errors import DataError
from topwork.tasks.numbers import is_number

__all__ = ["CENSORED", "joined", "parse"]

CENSORED: Final = "+"
"""Follows a time at which an input was last looked at, without an event."""
_HAPPENED: Final = frozenset(
    {"true", "t", "yes", "y", "event", "observed", "dead", "died", "death", "deceased"}
    | {"failed", "failure", "relapse", "relapsed", "recurred", "progressed"}
)
_DID_NOT: Final = frozenset(
    {
        "false",
        "f",
        "no",
        "n",
        "censored",
        "none",
        "no event",
        "alive",
        "living",
        "lost",
        "survived",
        "healthy",
    }
)
_MISSING: Final = frozenset({"", "nan"})
_N_SHOWN: Final = 3


def parse(raw: Sequence[str | None]) -> Array:
    """Return ``float64 [n, 2]``: the time, and 1 where the event happened then, 0 where not; NaN where it is missing.

    A time may be 0: the event was there from the start.

    Raises
    ------
    DataError
        A value is no time, or lies before 0.
    """
    found, wrong = np.full((len(raw), 2), np.nan), []
    for i, one in enumerate(raw):
        cell = "" if one is None else one.strip()
        if cell.lower() in _MISSING:
            continue
        time = cell.removesuffix(CENSORED).rstrip()
        if is_number(time) and float(time) >= 0:
            found[i] = float(time), float(time == cell)
        else:
            wrong.append(cell)
    if wrong:
        raise _refusal(wrong, len(raw))
    return found


def _refusal(wrong: Sequence[str], n: int) -> DataError:
    different = list(dict.fromkeys(wrong))
    shown = ", ".join(repr(one[:40]) for one in different[:_N_SHOWN])
    more = " …" if len(different) > _N_SHOWN else ""
    is_negative = is_number(different[0].removesuffix(CENSORED))
    what = "it lies before 0, where watching began" if is_negative else "that is no time"
    return DataError(
        f"Survival needs times from 0 on; {len(wrong):,} of {n:,} values are none, such as {shown}{more}: {what}.",
        next_step="Write plain numbers in one unit, such as 12.5, and 12.5+ where no event was seen until then; or "
        "name the column that says where there was one with --event.",
    )


def joined(dataset: Dataset, event: str, target: str) -> Dataset:
    """Return the data set with a target of times and a column that says whether the event happened as one.

    Rows without a time or without an event have no label.

    Raises
    ------
    DataError
        There is no such column, a value of it is unclear, or the times say themselves where an event was seen.
    """
    times = dataset.targets[target]
    if event not in dataset.columns:
        raise _no_column(dataset, target, event)
    if any(one is not None and one.strip().endswith(CENSORED) for one in times):
        raise DataError(
            f"Column {target!r} says itself, by a {CENSORED!r}, where no event was seen, and column {event!r} "
            "says it again.",
            next_step=f"Leave --event out, or take the {CENSORED!r} out of the times.",
        )
    cells = [_is_event(dataset, row, event) for row in range(len(dataset))]
    labels = tuple(_label(time, happened) for time, happened in zip(times, cells, strict=True))
    n_lost = sum(one is not None and label is None for one, label in zip(times, labels, strict=True))
    told = f"Column {event!r} says whether the event happened at {target!r}" + (
        f"; {n_lost:,} {'row' if n_lost == 1 else 'rows'} without a word of it have no label."
        if n_lost
        else "."
    )
    others = {column: values for column, values in dataset.columns.items() if column != event}
    return replace(
        dataset,
        targets={**dataset.targets, target: labels},
        columns=others,
        understood=(*dataset.understood, told),
    )


def _no_column(dataset: Dataset, target: str, event: str) -> DataError:
    if event == target:
        return DataError(
            f"Column {event!r} was taken for the times.",
            next_step="Name the column of times with --target, and that of events with --event.",
        )
    there = ", ".join(dataset.columns) or "no other columns"
    return DataError(
        f"There is no column {event!r} of events; there are: {there}.",
        next_step="Give one of these names, spelt the same.",
    )


def _is_event(dataset: Dataset, row: int, event: str) -> bool | None:
    """Read one cell; None where it is empty."""
    cell = dataset.columns[event][row].strip()
    word = cell.lower()
    if word in _MISSING:
        return None
    if word in _HAPPENED or (is_number(cell) and float(cell) == 1):
        return True
    if word in _DID_NOT or (is_number(cell) and float(cell) == 0):
        return False
    raise DataError(
        f"{dataset.keys[row]} has {cell[:40]!r} in the column {event!r}; whether that is an event is not clear.",
        next_step="Write 1 where the event happened at the time of the row, and 0 where none was seen until then.",
    )


def _label(time: str | None, happened: bool | None) -> str | None:
    if time is None or happened is None:
        return None
    return time if happened else f"{time.rstrip()}{CENSORED}"
