"""What is in a data set: what can be used, what cannot and why, what is there twice, what leaks.

It is given what a reading pass saw of each row, and knows neither how a row is decoded nor what a network is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from topwork.contracts import Array, Dataset, Inspection, Rejected, row_numbers
from topwork.errors import DataError

__all__ = ["Findings", "components", "examine", "require_enough"]

_FEWEST_ROWS = 10
_FEW = 5
_RATHER_FEW = 10
_UNBALANCED = 10
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Findings:
    """What `examine` found; rows are numbers within the data set.

    Attributes
    ----------
    usable
        ``int64``: rows that could be decoded and have a label for at least one target.
    rejected
        Everything that was left out, with the reason.
    exact
        Groups of rows with the same content, each ``int64``.
    units
        ``int64 [n]``: rows with the same number are duplicates or near duplicates of one another.
    conflicts
        Units whose rows have different labels, each ``int64``.
    leaks
        Units that stand on more than one given side, each ``int64``.
    class_counts
        Target to label to usable rows, the most frequent first.
    lines
        Plain sentences for a person.
    """

    usable: Array
    rejected: tuple[Rejected, ...]
    exact: tuple[Array, ...]
    units: Array
    conflicts: tuple[Array, ...]
    leaks: tuple[Array, ...]
    class_counts: Mapping[str, Mapping[str, int]]
    lines: tuple[str, ...]


def examine(dataset: Dataset, inspections: Sequence[Inspection], near: Array) -> Findings:
    """Look at a data set through what was seen of each row.

    Parameters
    ----------
    dataset
        ``n`` rows.
    inspections
        One per row.
    near
        ``int64 [p, 2]``: pairs of rows that show nearly the same.
    """
    readable = np.array([one.problem is None for one in inspections], dtype=bool)
    labelled = np.array(
        [any(raw[i] is not None for raw in dataset.targets.values()) for i in range(len(dataset))]
    )
    usable = row_numbers(readable & labelled)
    exact = _same_content(inspections, usable)
    pairs = [np.array([[group[0], other] for other in group[1:]]) for group in exact]
    units = components(len(dataset), np.concatenate([near.reshape(-1, 2), *pairs]).astype(np.int64))
    several = _groups(units, usable)
    rejected = (*dataset.rejected, *_unreadable(dataset, inspections))
    counts = {name: _counted(raw, usable) for name, raw in dataset.targets.items()}
    conflicts = tuple(g for g in several if any(_differ(raw, g) for raw in dataset.targets.values()))
    leaks = tuple(g for g in several if dataset.given is not None and _differ(dataset.given, g))
    found = Findings(usable, rejected, exact, units, conflicts, leaks, counts, ())
    return Findings(usable, rejected, exact, units, conflicts, leaks, counts, _lines(dataset, found, several))


def components(n: int, pairs: Array) -> Array:
    """Return ``int64 [n]``: the smallest row that each row is connected with through ``int64 [p, 2]`` pairs."""
    parent = list(range(n))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for one, other in pairs.tolist():
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    return np.array([root(row) for row in range(n)], dtype=np.int64)


def require_enough(findings: Findings, dataset: Dataset) -> None:
    """Refuse data with which nothing can be learnt and shown.

    Raises
    ------
    DataError
        Fewer than two labels have two usable rows each, or there are fewer than ten usable rows.
    """
    n, seen = len(findings.usable), len(dataset) + len(dataset.rejected)
    if n < _FEWEST_ROWS:
        raise DataError(
            f"Only {n} of {seen} rows can be used{_blame(findings)}; at least {_FEWEST_ROWS} are needed.",
            next_step="Add labelled examples; about 50 of each label make a good beginning.",
        )
    for target, counts in findings.class_counts.items():
        enough = [label for label, count in counts.items() if count >= 2]
        if len(enough) < 2:
            raise DataError(
                f"Telling apart needs two labels with at least 2 usable rows each; {target!r} has "
                f"{_named(counts)}{_blame(findings)}.",
                next_step="Add examples of a second label, or check which folder or column was taken for the label.",
            )


def _blame(findings: Findings) -> str:
    """Say which reasons ate how many rows."""
    reasons = Counter(one.reason.split("\n")[0] for one in findings.rejected)
    if not reasons:
        return ""
    worst = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common(3))
    return f" ({sum(reasons.values())} were left out: {worst})"


def _same_content(inspections: Sequence[Inspection], usable: Array) -> tuple[Array, ...]:
    groups: dict[bytes, list[int]] = {}
    for row in usable.tolist():
        groups.setdefault(inspections[row].content, []).append(row)
    return tuple(np.array(rows, dtype=np.int64) for rows in groups.values() if len(rows) > 1)


def _groups(units: Array, usable: Array) -> list[Array]:
    """Return the usable rows of each unit that has more than one of them."""
    groups: dict[int, list[int]] = {}
    for row in usable.tolist():
        groups.setdefault(int(units[row]), []).append(row)
    return [np.array(rows, dtype=np.int64) for rows in groups.values() if len(rows) > 1]


def _differ(values: Sequence[str | None], rows: Array) -> bool:
    return len({values[row] for row in rows.tolist()} - {None}) > 1


def _unreadable(dataset: Dataset, inspections: Sequence[Inspection]) -> list[Rejected]:
    return [
        Rejected(dataset.keys[i], one.problem) for i, one in enumerate(inspections) if one.problem is not None
    ]


def _counted(raw: Sequence[str | None], usable: Array) -> dict[str, int]:
    counts = Counter(label for row in usable.tolist() if (label := raw[row]) is not None)
    return dict(counts.most_common())


# --- in words -----------------------------------------------------------------------------------------


def _lines(dataset: Dataset, found: Findings, several: Sequence[Array]) -> tuple[str, ...]:
    n_seen = len(dataset) + len(dataset.rejected)
    lines = [f"{len(found.usable)} of {n_seen} inputs can be used."]
    for reason, keys in _by_reason(found.rejected).items():
        lines.append(f"Left out {len(keys)}: {reason} ({_some(keys)}).")
    if found.exact:
        n_copies = sum(len(group) - 1 for group in found.exact)
        lines.append(f"{_count(n_copies, 'input is an exact copy', 'inputs are exact copies')} of another.")
    n_near = len(several) - len({int(found.units[g[0]]) for g in found.exact})
    if n_near > 0:
        groups = _count(n_near, "group of near duplicates", "groups of near duplicates")
        lines.append(f"{groups}; each is kept on one side of the split.")
    lines += [_conflict_line(dataset, found.conflicts)] if found.conflicts else []
    lines += [_leak_line(dataset, found.leaks)] if found.leaks else []
    for target, counts in found.class_counts.items():
        lines += _class_lines(target, counts)
    return tuple(lines)


def _conflict_line(dataset: Dataset, conflicts: Sequence[Array]) -> str:
    example = " and ".join(dataset.keys[row] for row in conflicts[0].tolist()[:2])
    what = _count(len(conflicts), "group of duplicates has", "groups of duplicates have")
    return f"{what} different labels, such as {example}: some of these labels must be wrong."


def _leak_line(dataset: Dataset, leaks: Sequence[Array]) -> str:
    example = " and ".join(dataset.keys[row] for row in leaks[0].tolist()[:2])
    what = _count(len(leaks), "group of duplicates stands", "groups of duplicates stand")
    return f"Leak: {what} on more than one given side, such as {example}; the test score will be too good."


def _class_lines(target: str, counts: Mapping[str, int]) -> list[str]:
    lines = [f"{target}: {_named(counts)}."]
    few = [label for label, count in counts.items() if count < _FEW]
    rather_few = [label for label, count in counts.items() if _FEW <= count < _RATHER_FEW]
    if few:
        lines.append(
            f"Fewer than {_FEW} examples of {_some(few)}: hardly anything can be learnt or shown of them."
        )
    if rather_few:
        lines.append(f"Fewer than {_RATHER_FEW} examples of {_some(rather_few)}: more would help these most.")
    most, least = max(counts.values(), default=0), min(counts.values(), default=0)
    if least and most >= _UNBALANCED * least:
        lines.append(
            f"The labels are unbalanced: the most frequent has {most / least:.0f} times the rows of the rarest."
        )
    return lines


def _by_reason(rejected: Sequence[Rejected]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in rejected:
        found.setdefault(one.reason.split("\n")[0].rstrip("."), []).append(one.key)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def _named(counts: Mapping[str, int]) -> str:
    shown = [f"{label} {count}" for label, count in list(counts.items())[: 2 * _NAMED]]
    more = len(counts) - len(shown)
    return (", ".join(shown) or "no labels") + (f", and {more} labels more" if more else "")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _count(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"
