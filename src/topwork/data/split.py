"""Which rows train and which ones test.

Whole units are dealt out, never rows: near duplicates, and rows of one group such as a patient, stay together.
The deal is stratified by class, seeded, and takes time proportional to the rows. It knows arrays, not files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from topwork.contracts import Array, Dataset, Fold, Split
from topwork.data.check import Findings
from topwork.errors import DataError

__all__ = ["SplitOptions", "make_folds", "make_split"]


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """How rows are dealt out.

    Attributes
    ----------
    seed
        Of the deal.
    group
        Column whose rows of one value stay on one side.
    time
        Column to split by: the last rows are the test.
    test_fraction
        Share of the rows, 0 to 1.
    n_folds
        Folds of cross-validation where there is no validation side.
    """

    seed: int = 0
    group: str | None = None
    time: str | None = None
    test_fraction: float = 0.2
    n_folds: int = 5


def make_split(dataset: Dataset, findings: Findings, y: Array, options: SplitOptions) -> Split:
    """Give every usable row a side.

    Parameters
    ----------
    dataset
        Sides that the layout gave are honoured.
    findings
        Which rows can be used and which belong together.
    y
        ``int64 [n]``: class of each row by which to stratify, -1 where it has none.

    Raises
    ------
    DataError
        A column is missing, a time cannot be read, or one side would be empty.
    """
    units = _units(dataset, findings, options.group)
    if dataset.given is not None:
        split = _given(dataset, findings, units, y, options)
    elif options.time is not None:
        split = _by_time(dataset, findings.usable, units, options)
    else:
        split = _dealt(findings.usable, units, y, options)
    if not len(split.train) or not len(split.test):
        empty = "training" if not len(split.train) else "test"
        raise DataError(
            f"The {empty} side would be empty: {len(findings.usable)} usable rows form "
            f"{len(np.unique(units[findings.usable]))} units that must not be separated.",
            next_step="Use another group column, or add data of further groups.",
        )
    return split


def make_folds(split: Split, y: Array, options: SplitOptions) -> tuple[Fold, ...]:
    """Return how validation holds rows out: the validation side where there is one, else folds of whole units."""
    if len(split.valid):
        return (Fold(split.train, split.valid),)
    part = _deal(split.train, split.units, y, options.n_folds, options.seed + 1)
    folds = (Fold(split.train[part != j], split.train[part == j]) for j in range(options.n_folds))
    return tuple(fold for fold in folds if len(fold.train) and len(fold.valid))


# --- the three ways -----------------------------------------------------------------------------------


def _dealt(usable: Array, units: Array, y: Array, options: SplitOptions) -> Split:
    n_parts = max(2, round(1 / options.test_fraction))
    part = _deal(usable, units, y, n_parts, options.seed)
    train, test = usable[part != 0], usable[part == 0]
    kept = " and whole groups" if options.group else ""
    method = f"stratified random split, near duplicates{kept} on one side, seed {options.seed}"
    return Split(train, _none(), test, units, method, options.seed)


def _by_time(dataset: Dataset, usable: Array, units: Array, options: SplitOptions) -> Split:
    assert options.time is not None
    moments = _moments(_column(dataset, options.time), usable, dataset, options.time)
    # A unit counts from its first moment, so that a later copy of a training row does not test it.
    first: dict[int, float] = {}
    for row, moment in zip(usable.tolist(), moments, strict=True):
        unit = int(units[row])
        first[unit] = min(moment, first.get(unit, moment))
    ranked = sorted(
        range(len(usable)), key=lambda i: (first[int(units[usable[i]])], int(units[usable[i]]), i)
    )
    ordered = usable[np.array(ranked, dtype=np.int64)]
    to_test = _cut_between_units(units[ordered], round(len(ordered) * (1 - options.test_fraction)))
    to_valid = _cut_between_units(units[ordered[:to_test]], round(to_test * (1 - options.test_fraction)))
    train, valid, test = (np.sort(part) for part in np.split(ordered, [to_valid, to_test]))
    method = (
        f"split by time: the last {len(test)} rows by {options.time!r} test, the {len(valid)} before validate"
    )
    return Split(train, valid, test, units, method, options.seed)


def _cut_between_units(units: Array, wanted: int) -> int:
    """Move a cut forward until it no longer divides a unit."""
    cut = min(max(1, wanted), len(units))
    while cut < len(units) and units[cut] == units[cut - 1]:
        cut += 1
    return cut


def _given(dataset: Dataset, findings: Findings, units: Array, y: Array, options: SplitOptions) -> Split:
    assert dataset.given is not None
    sides = np.array([dataset.given[row] or "train" for row in findings.usable.tolist()])
    train, valid, test = (findings.usable[sides == side] for side in ("train", "valid", "test"))
    notes = list(_straddling(findings))
    method = "the split that the data came with"
    if not len(test) and len(valid):
        test, valid = valid, _none()
        notes.append("There is a validation side and no test side: the validation side is the test split.")
    elif not len(test):
        part = _deal(train, units, y, max(2, round(1 / options.test_fraction)), options.seed)
        train, test = train[part != 0], train[part == 0]
        notes.append("The data came without a test side; it was drawn from the training side.")
        method = f"{method}, its test side drawn with seed {options.seed}"
    return Split(train, valid, test, units, method, options.seed, tuple(notes))


def _straddling(findings: Findings) -> tuple[str, ...]:
    if not findings.leaks:
        return ()
    n = len(findings.leaks)
    what = "group of duplicates stands" if n == 1 else "groups of duplicates stand"
    return (
        f"{n} {what} on more than one given side, and was left there: the test score is too good by that.",
    )


def _none() -> Array:
    return np.zeros(0, dtype=np.int64)


# --- units --------------------------------------------------------------------------------------------


def _units(dataset: Dataset, findings: Findings, group: str | None) -> Array:
    """Join the units of duplicates that share a group."""
    if group is None:
        return findings.units
    from topwork.data.check import components

    values = _column(dataset, group)
    first: dict[str, int] = {}
    rows = findings.usable.tolist()
    pairs = [(first.setdefault(values[row], row), row) for row in rows if values[row] != ""]
    own = np.stack([np.arange(len(dataset)), findings.units], axis=1)
    return components(len(dataset), np.concatenate([own, np.array(pairs, dtype=np.int64).reshape(-1, 2)]))


def _column(dataset: Dataset, name: str) -> Sequence[str]:
    if name not in dataset.columns:
        there = ", ".join(dataset.columns) or "none (folders have no columns; a table has)"
        raise DataError(
            f"There is no column {name!r}; there are: {there}.", next_step="Check the name of the column."
        )
    return dataset.columns[name]


def _moments(values: Sequence[str], usable: Array, dataset: Dataset, name: str) -> list[float]:
    return [_moment(values[row], dataset.keys[row], name) for row in usable.tolist()]


def _moment(text: str, key: str, column: str) -> float:
    """Read a number, or a date as ISO 8601; a date without a zone is taken as UTC."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise DataError(
            f"The row {key!r} has {text!r} in the column {column!r}; expected a number or a date such as 2026-01-31.",
            next_step="Correct the row, or leave it out.",
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _deal(rows: Array, units: Array, y: Array, n_parts: int, seed: int) -> Array:
    """Deal whole units into parts; return the part of each row, ``int64 [len(rows)]``.

    Units of several rows are dealt first, the largest at the head, each to the part that lacks most of its rows;
    the single ones then fill every class up evenly. A class with fewer units than parts leaves part 0, which may
    become a test, to the others as long as it can: what is not in the training data cannot be learnt.
    """
    rng = np.random.default_rng(seed)
    classes = y[rows] - min(0, int(y[rows].min(initial=0)))
    n_classes = int(classes.max(initial=0)) + 1
    _, unit, sizes = np.unique(units[rows], return_inverse=True, return_counts=True)
    part = np.full(len(rows), -1, dtype=np.int64)
    wanted = np.bincount(classes, minlength=n_classes)[None, :] / n_parts
    filled = np.zeros((n_parts, n_classes))
    order = rng.permutation(len(sizes))
    members = _members(unit, len(sizes))
    for u in order[np.argsort(-sizes[order], kind="stable")]:
        if sizes[u] == 1:
            break
        counts = np.bincount(classes[members[u]], minlength=n_classes)
        gain = ((wanted - filled) * counts).sum(axis=1)
        if not (filled[1:].sum(axis=0)[counts > 0] > 0).all():
            gain[0] = -np.inf  # the first of a class trains
        chosen = _best(gain, rng)
        part[members[u]] = chosen
        filled[chosen] += counts
    for c in range(n_classes):
        single = np.flatnonzero((part < 0) & (classes == c))
        part[rng.permutation(single)] = _fill(filled[:, c], len(single), rng)
    return part


def _members(unit: Array, n_units: int) -> list[Array]:
    order = np.argsort(unit, kind="stable")
    return np.split(order, np.cumsum(np.bincount(unit, minlength=n_units))[:-1])


def _best(gain: Array, rng: np.random.Generator) -> int:
    """Return one of the parts with the largest gain."""
    return int(rng.choice(np.flatnonzero(gain >= gain.max() - 1e-9)))


def _fill(filled: Array, n: int, rng: np.random.Generator) -> Array:
    """Return ``n`` parts that even out what is already in each, part 0 being the last to get one more."""
    n_parts = len(filled)
    goal = (filled.sum() + n) / n_parts
    room = np.maximum(0, goal - filled)
    share = np.floor(room * n / max(room.sum(), 1e-12)).astype(np.int64)
    rest = room * n / max(room.sum(), 1e-12) - share
    # A random part gets what is left over, but part 0 only where it lacks clearly more than the others.
    rest = rest + rng.random(n_parts) * 1e-3
    rest[0] -= 2e-3
    extra = np.argsort(-rest, kind="stable")[: n - share.sum()]
    share[extra] += 1
    return np.repeat(np.arange(n_parts), share)
