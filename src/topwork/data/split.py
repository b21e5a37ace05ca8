"""Splits: who is trained on, who is held out, and never the two of one kind.

Seeded, stratified by the targets, and whole units at a time: near duplicates and the rows of one group
(a patient, a user) stay together. Sides that the layout gives are honoured. It knows no pixel and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from topwork.contracts import Array, Dataset, Fold, Side, Split, row_numbers, strata_of
from topwork.data.check import Findings
from topwork.data.units import components, group_pairs, members
from topwork.errors import DataError, UsageError

__all__ = ["SplitOptions", "make_folds", "make_split"]

_TEST_KEY, _FOLD_KEY = 1, 2  # so that test and folds draw independent numbers from one seed


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """How to split.

    Attributes
    ----------
    seed
        Any integer from 0.
    group
        Column whose equal values stay on one side.
    time
        Column by which the last rows are the test.
    test_fraction
        Part of the rows that is held out, from 0, for no test at all, to below 1.
    n_folds
        Folds of cross-validation, from 2.
    """

    seed: int = 0
    group: str | None = None
    time: str | None = None
    test_fraction: float = 0.2
    n_folds: int = 5

    def __post_init__(self) -> None:
        if not 0 <= self.test_fraction < 1:
            raise UsageError(f"test_fraction is {self.test_fraction}; expected a number from 0 to below 1.")
        if not self.test_fraction and self.time is not None:
            raise UsageError(
                f"test_fraction is 0, and column {self.time!r} is to say which rows are the test.",
                next_step="Leave one of them out.",
            )
        if self.n_folds < 2:
            raise UsageError(f"n_folds is {self.n_folds}; expected 2 or more.")
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}; expected 0 or more.")


def make_split(dataset: Dataset, findings: Findings, y: Array | None, options: SplitOptions) -> Split:
    """Split the usable rows.

    Parameters
    ----------
    y
        What to stratify by: the truth of a single target as `Target.encode` gives it, ``int64 [n]`` by label,
        ``int8 [n, k]`` by the rarest label of a row, ``float64 [n, 2]`` by whether there was an event (`strata_of`); of
        several targets their `joint_strata`. None, ``float64 [n]`` or a single stratum where there is nothing to
        stratify by.

    Raises
    ------
    DataError
        A column is missing or unreadable, or one side would be empty.
    """
    units, grouped = _units(dataset, findings, options)
    if dataset.given is not None and any(dataset.given):
        return _given(dataset, findings.usable, units, options)
    if not options.test_fraction:
        method = f"No test: every row is fitted on, and validation is by folds, seed {options.seed}{grouped}."
        return Split(findings.usable, _no_rows(), _no_rows(), units, method, options.seed)
    if options.time is not None:
        return _by_time(dataset, findings.usable, units, options)
    strata = _strata(y, len(dataset))
    rng = np.random.default_rng([options.seed, _TEST_KEY])
    test = _hold_out(findings.usable, units, strata, options.test_fraction, rng)
    train = np.setdiff1d(findings.usable, test)
    _require_both(train, test, "Too few units that may be separated.")
    how = "stratified" if _is_stratified(y) else "at random"
    method = f"Split {how}, {len(test) / len(findings.usable):.0%} held out as the test, seed {options.seed}{grouped}."
    return Split(train, _no_rows(), test, units, method, options.seed)


def make_folds(split: Split, y: Array | None, options: SplitOptions) -> tuple[Fold, ...]:
    """Make folds of the training rows; one fold where the split has a validation side.

    The only unit of a class is never held out, and a class with few units appears in fewer folds.

    Raises
    ------
    DataError
        There are not two units to tell apart.
    """
    if len(split.valid):
        return (Fold(split.train, split.valid),)
    strata = _strata(y, len(split.units))
    rng = np.random.default_rng([options.seed, _FOLD_KEY])
    fold_of = _deal(split.train, split.units, strata, options.n_folds, rng)
    folds = [
        Fold(split.train[fold_of != number], split.train[fold_of == number])
        for number in range(options.n_folds)
    ]
    useful = tuple(fold for fold in folds if len(fold.valid) and len(fold.train))
    if not useful:
        raise DataError(
            f"The {len(split.train)} training rows cannot be divided into folds: no class has two units.",
            next_step="Add examples that are neither duplicates nor of the same group.",
        )
    return useful


# --- units and strata -------------------------------------------------------------------------------------


def _units(dataset: Dataset, findings: Findings, options: SplitOptions) -> tuple[Array, str]:
    """Return the units, and what to say of them."""
    if options.group is None:
        return findings.units, "; duplicates stay together"
    groups = group_pairs(_column(dataset, options.group))
    n = len(dataset)
    units = components(n, np.concatenate([group_pairs((findings.units + 1).tolist()), groups]))
    return units, f"; duplicates and equal values of {options.group!r} stay together"


def _column(dataset: Dataset, name: str) -> Sequence[str | None]:
    if name in dataset.columns:
        return dataset.columns[name]
    if name in dataset.targets:
        return dataset.targets[name]
    found = ", ".join(dataset.columns) or "none: only tables have columns"
    raise DataError(
        f"There is no column {name!r}; there are: {found}.", next_step="Give one of these, or a table."
    )


def _is_stratified(y: Array | None) -> bool:
    return y is not None and (y.dtype.kind in "iu" or y.ndim > 1) and len(np.unique(strata_of(y))) > 1


def _strata(y: Array | None, n: int) -> Array:
    """Return ``int64 [n]``, numbers from 0; all 0 where there is nothing to stratify by."""
    if y is None or not _is_stratified(y):
        return np.zeros(n, dtype=np.int64)
    found: Array = np.unique(strata_of(y), return_inverse=True)[1].astype(np.int64).reshape(-1)
    return found


def _by_stratum(rows: Array, units: Array, strata: Array) -> list[list[Array]]:
    """Return the units of each stratum as arrays of rows; a unit of several belongs to its most frequent one."""
    parts = members(units, rows)
    sorted_parts: dict[int, list[Array]] = {}
    for part in parts:
        stratum = int(strata[part[0]]) if len(part) == 1 else int(np.bincount(strata[part]).argmax())
        sorted_parts.setdefault(stratum, []).append(part)
    return [sorted_parts[stratum] for stratum in sorted(sorted_parts)]


# --- a test side ------------------------------------------------------------------------------------------


def _hold_out(rows: Array, units: Array, strata: Array, fraction: float, rng: np.random.Generator) -> Array:
    """Choose about ``fraction`` of every stratum, whole units, at least one unit of each left behind."""
    classes = _by_stratum(rows, units, strata)
    quotas = _quotas([sum(map(len, parts)) for parts in classes], fraction, rng)
    chosen = [part for parts, quota in zip(classes, quotas, strict=True) for part in _fill(parts, quota, rng)]
    if not chosen:  # every unit is larger than its class may give; the smallest is the least harm
        chosen = sorted((part for parts in classes if len(parts) > 1 for part in parts), key=len)[:1]
    return np.sort(np.concatenate(chosen)) if chosen else _no_rows()


def _quotas(sizes: Sequence[int], fraction: float, rng: np.random.Generator) -> list[int]:
    """Round ``fraction`` of each size so that the sum is right, too (largest remainders, ties at random)."""
    exact = np.array(sizes) * fraction
    quotas = np.floor(exact).astype(int)
    n_missing = round(float(exact.sum())) - int(quotas.sum())
    order = np.lexsort((rng.random(len(sizes)), -(exact - quotas)))
    quotas[order[:n_missing]] += 1
    return [int(quota) for quota in quotas]


def _fill(parts: list[Array], quota: int, rng: np.random.Generator) -> list[Array]:
    """Take units in random order until ``quota`` rows are reached, skipping those that would overshoot."""
    chosen: list[Array] = []
    n_rows, skipped = 0, []
    for i in rng.permutation(len(parts)).tolist():
        if n_rows >= quota or len(chosen) == len(parts) - 1:
            break
        if n_rows + len(parts[i]) <= quota:
            chosen.append(parts[i])
            n_rows += len(parts[i])
        else:
            skipped.append(parts[i])
    smallest = min(skipped, key=len, default=None)
    # A large unit is taken after all where that misses the quota by less than leaving it out.
    if smallest is not None and len(chosen) < len(parts) - 1 and len(smallest) < 2 * (quota - n_rows):
        chosen.append(smallest)
    return chosen


# --- folds ------------------------------------------------------------------------------------------------


def _deal(rows: Array, units: Array, strata: Array, n_folds: int, rng: np.random.Generator) -> Array:
    """Return the fold of each row, ``int64``; -1 for the only unit of a class, which is never held out."""
    fold_of = np.full(len(units), -1, dtype=np.int64)
    totals = [0] * n_folds
    for parts in _by_stratum(rows, units, strata):
        counts = [0] * n_folds
        if len(parts) < 2:
            continue
        # Large units first, so that small ones even out what they leave.
        for i in sorted(rng.permutation(len(parts)).tolist(), key=lambda i: -len(parts[i])):
            fold = min(range(n_folds), key=lambda f: (counts[f], totals[f]))
            fold_of[parts[i]] = fold
            counts[fold] += len(parts[i])
            totals[fold] += len(parts[i])
    return fold_of[rows]


# --- sides that the layout gives --------------------------------------------------------------------------


def _given(dataset: Dataset, usable: Array, units: Array, options: SplitOptions) -> Split:
    sides = _sides(dataset, usable)
    train, valid, test = (usable[sides == side] for side in ("train", "valid", "test"))
    notes = list(_leak_notes(sides, usable, units))
    if options.time is not None:
        notes.append(f"The data come with sides, so column {options.time!r} was not split by.")
    if not len(test):
        test, valid = valid, _no_rows()
        notes.append(
            "There is no test side: the validation side is the test, and nothing was chosen on it. "
            "Choices were made by cross-validation on the training side."
        )
    _require_both(train, test, "The data set's own sides leave one of them empty.")
    return Split(
        train, valid, test, units, "The sides that the data set comes with.", options.seed, tuple(notes)
    )


def _sides(dataset: Dataset, usable: Array) -> Array:
    given: Sequence[Side | None] = dataset.given or ()
    return np.array([given[row] or "train" for row in usable.tolist()], dtype="<U5")


def _leak_notes(sides: Array, usable: Array, units: Array) -> Sequence[str]:
    place = {int(row): i for i, row in enumerate(usable)}
    n_leaks = sum(
        len({sides[place[row]] for row in part.tolist()}) > 1
        for part in members(units, usable)
        if len(part) > 1
    )
    if not n_leaks:
        return ()
    return (
        f"{n_leaks:,} unit{'s' if n_leaks > 1 else ''} (duplicates, or rows of one group) stand on more than one "
        "given side; they were left there, and scores may be too good.",
    )


# --- time -------------------------------------------------------------------------------------------------


def _by_time(dataset: Dataset, usable: Array, units: Array, options: SplitOptions) -> Split:
    column = options.time or ""
    times = _times(dataset, usable, column)
    # A unit counts as early as its first row: nothing of it may be known before the test begins.
    first = np.full(int(units.max()) + 1, np.inf)
    np.minimum.at(first, units[usable], times)
    began = first[units[usable]]
    is_test = _last_part(began, options.test_fraction, column)
    rest = usable[~is_test]
    is_valid = _last_part(began[~is_test], 1 / options.n_folds, column)
    method = f"Split by time: the last {np.mean(is_test):.0%} by {column!r} are the test, what comes before validates."
    return Split(rest[~is_valid], rest[is_valid], usable[is_test], units, method, options.seed)


def _last_part(began: Array, fraction: float, column: str) -> Array:
    """Mark about the last ``fraction``; rows of one moment are never separated."""
    ordered = np.sort(began)
    cut = ordered[min(len(ordered) - 1, round(len(ordered) * (1 - fraction)))]
    marked: Array = began >= cut
    if marked.all():
        marked = began > cut
    if not marked.any():
        raise DataError(
            f"Column {column!r} has too few different times to split by: all are the same where the cut should be.",
            next_step="Use a finer time, or split without it.",
        )
    return marked


def _times(dataset: Dataset, usable: Array, column: str) -> Array:
    """Return ``float64``: numbers as they are, dates as seconds since 1970."""
    values = [(dataset.keys[row], str(_column(dataset, column)[row] or "")) for row in usable.tolist()]
    as_numbers = [_number(value) for _, value in values]
    if all(number is not None for number in as_numbers):
        return np.array(as_numbers, dtype=np.float64)
    return np.array([_seconds(key, value, column) for key, value in values])


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _seconds(key: str, value: str, column: str) -> float:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise DataError(
            f"{key} has {value!r} in the time column {column!r}; expected ISO dates such as 2024-05-17 (or "
            "2024-05-17T09:30), or numbers throughout.",
            next_step="Repair the value, or leave the row out.",
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# --- small things -----------------------------------------------------------------------------------------


def _no_rows() -> Array:
    return row_numbers(np.zeros(0, dtype=bool))


def _require_both(train: Array, test: Array, why: str) -> None:
    if not len(train) or not len(test):
        raise DataError(
            f"The split leaves {len(train)} rows to train on and {len(test)} to test on. {why}",
            next_step="Add examples, or use a larger test fraction or other groups.",
        )
