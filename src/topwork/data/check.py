"""The check of the data: what can be used, what is double, what contradicts itself, what leaks.

It is given what reading each row showed and which rows look the same; it knows no pixel and no model, and
judges nothing that a person would have to decide: it says what it found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from topwork.contracts import Array, Dataset, Inspection, Rejected, Remark
from topwork.data.units import components, group_pairs, members
from topwork.errors import DataError

__all__ = ["Findings", "examine", "require_enough", "require_possible"]

_MIN_ROWS = 10
_FEW = (5, 10)
_IMBALANCE = 5.0
_N_NAMED = 3
_N_REASONS = 4


@dataclass(frozen=True, slots=True)
class Findings:
    """What the check found; rows are numbers in the data set.

    Attributes
    ----------
    usable
        ``int64``, ascending: rows that could be decoded and have at least one label.
    rejected
        What was left out when listing and when decoding, with reasons.
    exact
        Groups of usable rows with the same bytes.
    units
        ``int64 [n]``: connected components over exact and near duplicates.
    conflicts
        Groups of duplicates whose labels contradict each other.
    leaks
        Groups of duplicates that the layout put on different sides.
    lines
        All of this in plain sentences.
    class_counts
        Target to label to number of usable rows, labels sorted; without the targets that are numbers.
    """

    usable: Array
    rejected: tuple[Rejected, ...]
    exact: tuple[tuple[int, ...], ...]
    units: Array
    conflicts: tuple[tuple[int, ...], ...]
    leaks: tuple[tuple[int, ...], ...]
    lines: tuple[str, ...]
    class_counts: Mapping[str, Mapping[str, int]]


def examine(
    dataset: Dataset,
    inspections: Sequence[Inspection],
    near: Array,
    numeric: Collection[str] = (),
    *,
    remarks: Sequence[Remark] = (),
) -> Findings:
    """Put together what is wrong with a data set.

    Parameters
    ----------
    inspections
        One per row, in order.
    near
        ``int64 [p, 2]``: rows that show the same thing.
    numeric
        Targets whose values are no single labels but numbers or sets of labels: nothing is counted of them, and copies
        may differ in them.
    remarks
        What to tell of the facts of usable rows.
    """
    n = len(dataset)
    if len(inspections) != n:
        raise ValueError(f"received {len(inspections)} inspections for {n} rows")
    usable = np.array([i for i in range(n) if _is_usable(dataset, inspections[i], i)], dtype=np.int64)
    same = group_pairs(one.content for one in inspections)
    units = components(n, np.concatenate([same, near.reshape(-1, 2)]))
    exact = _groups(components(n, same), usable)
    doubles = _groups(units, usable)
    classed = {name: raw for name, raw in dataset.targets.items() if name not in numeric}
    conflicts = tuple(group for group in doubles if _contradicts(classed, group))
    leaks = tuple(group for group in doubles if _straddles(dataset, group))
    counts = {name: _count(raw, usable) for name, raw in classed.items()}
    rejected = (*dataset.rejected, *_unreadable(dataset, inspections))
    lines = (
        *_lines_on_rows(len(usable), rejected),
        *_lines_on_facts(dataset, inspections, usable, remarks),
        *_lines_on_missing(dataset, usable),
        *_lines_on_doubles(dataset, exact, doubles),
        *_lines_on_conflicts(dataset, classed, conflicts),
        *_lines_on_leaks(dataset, leaks),
        *_lines_on_classes(counts),
    )
    return Findings(usable, rejected, exact, units, conflicts, leaks, lines, counts)


def require_enough(findings: Findings, dataset: Dataset) -> None:
    """Refuse data that no model can be fitted and tested on.

    Raises
    ------
    DataError
        Fewer than 10 usable rows are left, or fewer than two classes with two rows each.
    """
    _require(dataset, len(findings.usable), findings.class_counts, findings.rejected)


def require_possible(dataset: Dataset, numeric: Collection[str] = ()) -> None:
    """Refuse, before any input is read, what would not be enough if all of them could be used.

    Raises
    ------
    DataError
        As by `require_enough`.
    """
    every = np.arange(len(dataset))
    labelled = [row for row in every.tolist() if _has_label(dataset, row)]
    counts = {name: _count(raw, every) for name, raw in dataset.targets.items() if name not in numeric}
    _require(dataset, len(labelled), counts, dataset.rejected)


def _require(
    dataset: Dataset,
    n_usable: int,
    class_counts: Mapping[str, Mapping[str, int]],
    rejected: Sequence[Rejected],
) -> None:
    if n_usable < _MIN_ROWS:
        raise DataError(
            f"Only {n_usable} of {len(dataset) + len(dataset.rejected)} inputs can be used; "
            f"at least {_MIN_ROWS} are needed."
            f"{_eaten(rejected)}",
            next_step="Add examples, or repair those that were left out.",
        )
    for target, counts in class_counts.items():
        if sum(count >= 2 for count in counts.values()) < 2:
            raise DataError(
                f"Target {target!r} has fewer than two labels with at least two usable inputs each: "
                f"{_counted(counts)}.{_eaten(rejected)}",
                next_step="Add examples of at least two labels; check that the right column is taken for the label.",
            )


def _is_usable(dataset: Dataset, seen: Inspection, row: int) -> bool:
    return seen.problem is None and _has_label(dataset, row)


def _has_label(dataset: Dataset, row: int) -> bool:
    return any(raw[row] is not None for raw in dataset.targets.values())


def _unreadable(dataset: Dataset, inspections: Sequence[Inspection]) -> Iterator[Rejected]:
    for key, seen in zip(dataset.keys, inspections, strict=True):
        if seen.problem is not None:
            yield Rejected(key, seen.problem)


def _groups(labels: Array, usable: Array) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(part.tolist()) for part in members(labels, usable) if len(part) > 1)


def _contradicts(targets: Mapping[str, Sequence[str | None]], rows: tuple[int, ...]) -> bool:
    return any(len({raw[row] for row in rows} - {None}) > 1 for raw in targets.values())


def _straddles(dataset: Dataset, rows: tuple[int, ...]) -> bool:
    return dataset.given is not None and len({dataset.given[row] or "train" for row in rows}) > 1


def _count(raw: Sequence[str | None], usable: Array) -> dict[str, int]:
    counts = Counter(raw[row] for row in usable.tolist())
    return {label: counts[label] for label in sorted(label for label in counts if label is not None)}


# --- in words ---------------------------------------------------------------------------------------------


def _lines_on_rows(n_usable: int, rejected: Sequence[Rejected]) -> Iterator[str]:
    if not rejected:
        yield f"All {n_usable:,} inputs can be used."
        return
    yield f"{n_usable:,} inputs can be used, {len(rejected):,} {'was' if len(rejected) == 1 else 'were'} left out."
    yield from (f"Left out: {reason}." for reason in _reasons(rejected))


def _lines_on_facts(
    dataset: Dataset, inspections: Sequence[Inspection], usable: Array, remarks: Sequence[Remark]
) -> Iterator[str]:
    """Say of how many inputs each remark is true, and name one where it is truest."""
    for remark in remarks:
        facts = {row: inspections[row].facts.get(remark.fact, remark.above) for row in usable.tolist()}
        true = [row for row, value in facts.items() if value > remark.above]
        if true:
            n, most = len(true), max(true, key=facts.__getitem__)
            counted = f"{n:,} input{'' if n == 1 else 's'}"
            yield f"{remark.said.format(counted)}{', ' if n == 1 else ', such as '}{dataset.keys[most]}."


def _lines_on_missing(dataset: Dataset, usable: Array) -> Iterator[str]:
    """Say of how many inputs each of several targets is known."""
    n = len(usable)
    for name, raw in dataset.targets.items():
        n_known = sum(raw[row] is not None for row in usable.tolist())
        if n_known < n:
            yield f"{name!r} is known of {n_known:,} of {n:,} inputs; the others count for other targets alone."


def _lines_on_doubles(
    dataset: Dataset, exact: Sequence[tuple[int, ...]], doubles: Sequence[tuple[int, ...]]
) -> Iterator[str]:
    if exact:
        n_extra = sum(len(group) - 1 for group in exact)
        yield f"{n_extra:,} inputs are exact copies of others, such as {_names(dataset, exact[0])}."
    same = {frozenset(group) for group in exact}
    near = [group for group in doubles if frozenset(group) not in same]
    if near:
        n_rows = sum(len(group) for group in near)
        yield (
            f"{n_rows:,} inputs in {_groups_of(len(near))} are near duplicates, such as {_names(dataset, near[0])}."
        )
    if doubles and dataset.given is None:
        yield "Duplicates stay on one side of the split."


def _lines_on_conflicts(
    dataset: Dataset, targets: Mapping[str, Sequence[str | None]], conflicts: Sequence[tuple[int, ...]]
) -> Iterator[str]:
    if conflicts:
        raw = next(raw for raw in targets.values() if len({raw[r] for r in conflicts[0]} - {None}) > 1)
        shown = ", ".join(f"{dataset.keys[row]} ({raw[row]})" for row in conflicts[0][:_N_NAMED])
        yield f"{_groups_of(len(conflicts))} of duplicates {_have(len(conflicts))} different labels: {shown}."


def _lines_on_leaks(dataset: Dataset, leaks: Sequence[tuple[int, ...]]) -> Iterator[str]:
    if leaks:
        yield (
            f"Leak: {_groups_of(len(leaks))} of duplicates {_have(len(leaks))} members on different sides, such as "
            f"{_names(dataset, leaks[0])}; scores on those sides are too good to be true."
        )


def _lines_on_classes(class_counts: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    for target, counts in class_counts.items():
        of = f" of target {target!r}" if len(class_counts) > 1 else ""
        if len(counts) > 1 and max(counts.values()) >= _IMBALANCE * min(counts.values()):
            most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
            yield f"The classes{of} are uneven: {most!r} has {counts[most]:,} inputs, {least!r} has {counts[least]:,}."
        yield from _lines_on_small(counts, of)


def _lines_on_small(counts: Mapping[str, int], of: str) -> Iterator[str]:
    lowest = 0
    for limit in _FEW:
        few = {label: count for label, count in counts.items() if lowest <= count < limit}
        if few:
            noun = "class has" if len(few) == 1 else "classes have"
            yield f"{len(few):,} {noun}{of} fewer than {limit} inputs: {_counted(few)}."
        lowest = limit


def _eaten(rejected: Sequence[Rejected]) -> str:
    """Return which reasons ate how many as a sentence with a blank in front."""
    return f" Left out: {'; '.join(_reasons(rejected))}." if rejected else ""


def _reasons(rejected: Sequence[Rejected]) -> Iterator[str]:
    """Yield which reasons ate how many, the greediest first."""
    reasons = Counter(one.reason.split("\n")[0].rstrip(".") for one in rejected).most_common()
    yield from (f"{count:,} × {reason}" for reason, count in reasons[:_N_REASONS])
    if n_others := sum(count for _, count in reasons[_N_REASONS:]):
        yield f"{n_others:,} for other reasons"


def _counted(counts: Mapping[str, int]) -> str:
    listed = [f"{label!r} {count:,}" for label, count in counts.items()]
    more = f" and {len(listed) - 10:,} more" if len(listed) > 10 else ""
    return (", ".join(listed[:10]) or "none") + more


def _names(dataset: Dataset, rows: tuple[int, ...]) -> str:
    return " = ".join(dataset.keys[row] for row in rows[:_N_NAMED])


def _groups_of(n: int) -> str:
    return "1 group" if n == 1 else f"{n:,} groups"


def _have(n: int) -> str:
    return "has" if n == 1 else "have"
