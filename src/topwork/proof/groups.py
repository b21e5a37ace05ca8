"""Groups of test rows that the model serves worse or better than the rest, and whether that came with the trunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from topwork.contracts import Array, Estimate, Table, has_classes
from topwork.evaluation.classification import softmax
from topwork.evaluation.slices import Groups, categories, slice_errors, slice_scores, terciles
from topwork.steps.order import Order, Rows
from topwork.tasks.numbers import spelled

__all__ = ["gaps_of", "order_alike"]

_ERRORS = {
    "identity": "MAE",
    "sigmoid": "Hamming loss",
    "cumulative": "rank error",
    "hazard": "share of pairs in the wrong order",
}
"""What the mean of `Target.errors` is called, by the link."""
_ALIKE = 0.97
"""Rank correlation of two facts from which on they say the same of a row, as do the words and the tokens of a text."""
_MOST_OF_ONE = 20
"""Groups of one kind that are shown, the largest first."""


def gaps_of(order: Order, rows: Rows, name: str, scores: Mapping[str, Array]) -> Table | None:
    """Compare every group with the rest, for this model and for those that it is set beside.

    Parameters
    ----------
    scores
        ``[n_test, k]`` by the model's name; the first is the one that is proven.
    """
    compare = _by_accuracy if has_classes(rows.targets[name].link) else _by_error
    slices: list[tuple[str, _Gaps]] = []
    notes: list[str] = []
    for title, groups in _groups(order, rows).items():
        some = Groups(dict(list(groups.masks.items())[:_MOST_OF_ONE]), groups.notes)
        if (left := len(groups.masks) - len(some.masks)) > 0:
            notes.append(f"{title}: {left} smaller groups are not shown.")
        found, said = compare(order, rows, name, scores, some)
        slices += [(title, one) for one in found]
        notes += [f"{title}: {note}" for note in said]
    if not slices:
        return None
    n_gaps = len(slices) * len(scores)
    metric = slices[0][1].metric
    return Table(
        "Groups",
        (
            "group",
            "rows",
            *(f"{metric}, {model}" for model in scores),
            *(f"gap to the rest, {model}" for model in scores),
        ),
        tuple((f"{title}: {one.name}", str(one.n), *one.values, *one.gaps) for title, one in slices),
        f"{metric[0].upper()}{metric[1:]} in each group of the test rows, and that minus the {metric} outside it. "
        "Where the interval of a gap holds 0, no difference is shown; "
        f"of {n_gaps} gaps about {n_gaps / 20:.0f} leave it out by chance alone. "
        "What the frozen network has too was there before the fine-tuning; what the one from scratch has too lies "
        f"in these data. {' '.join(notes)}".rstrip(),
    )


@dataclass(frozen=True, slots=True)
class _Gaps:
    """A group, the metric of each model in it, and each model's gap to the rest in words."""

    metric: str
    name: str
    n: int
    values: tuple[Estimate, ...]
    gaps: tuple[str, ...]


def _by_accuracy(
    order: Order, rows: Rows, name: str, scores: Mapping[str, Array], groups: Groups
) -> tuple[list[_Gaps], tuple[str, ...]]:
    told = {model: softmax(one) for model, one in scores.items()}
    slices, notes = slice_scores(rows.truth[name][rows.split.test], told, groups, seed=order.seed)
    found = []
    for one in slices:
        each = [one.models[model] for model in scores]
        accuracies = tuple(model.accuracy for model in each)
        gaps = tuple(model.accuracy_gap.in_points() for model in each)
        found.append(_Gaps("accuracy", one.name, one.n, accuracies, gaps))
    return found, notes


def _by_error(
    order: Order, rows: Rows, name: str, scores: Mapping[str, Array], groups: Groups
) -> tuple[list[_Gaps], tuple[str, ...]]:
    target, truth = rows.targets[name], rows.truth[name][rows.split.test]
    told = {model: target.errors(truth, one) for model, one in scores.items()}
    slices, notes = slice_errors(told, groups, seed=order.seed)
    found = []
    for one in slices:
        each = [one.models[model] for model in scores]
        gaps = tuple(_signed(model.gap, model.error_rest.value) for model in each)
        found.append(
            _Gaps(
                _ERRORS.get(target.link, "error"), one.name, one.n, tuple(model.error for model in each), gaps
            )
        )
    return found, notes


def _signed(gap: Estimate, scale: float) -> str:
    value, low, high = (
        f"{'+' if one > 0 else ''}{spelled(one, scale)}" for one in (gap.value, gap.low, gap.high)
    )
    return f"{value} ({low} to {high})"


def _groups(order: Order, rows: Rows) -> dict[str, Groups]:
    """Return groups by the user's columns, by what decoding saw, and by the folder that a file lay in."""
    test = rows.split.test
    found = {
        column: categories(np.array([order.dataset.columns[column][row] for row in test]))
        for column in order.options.slices
    }
    facts = sorted({fact for row in test for fact in rows.inspections[row].facts})
    told: list[Array] = []
    for fact in facts:
        values = np.array([rows.inspections[row].facts.get(fact, np.nan) for row in test])
        if any(order_alike(values, other) for other in told):
            continue
        told.append(values)
        found[fact if fact not in found else f"{fact} of the input"] = terciles(values)
    folders = np.array([str(PurePosixPath(order.dataset.keys[row]).parent) for row in test])
    if not _are_labels(order, rows, folders):
        found["folder" if "folder" not in found else "source folder"] = categories(folders)
    return found


def order_alike(a: Array, b: Array) -> bool:
    """Tell whether two facts put rows in all but the same order, so that groups by one are groups by the other."""
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < 3:
        return False
    ranks = np.stack([np.argsort(np.argsort(one[known], kind="stable"), kind="stable") for one in (a, b)])
    table = np.atleast_2d(np.corrcoef(ranks))
    return bool(abs(table[0, 1]) > _ALIKE)


def _are_labels(order: Order, rows: Rows, folders: Array) -> bool:
    """Tell whether folders are but another name of a target's labels, as in class folders."""
    for raw in order.dataset.targets.values():
        labels = np.array([str(raw[row]) for row in rows.split.test])
        pairs = {(f, label) for f, label in zip(folders.tolist(), labels.tolist(), strict=True)}
        if len(pairs) == len(set(folders.tolist())):
            return True
    return False
