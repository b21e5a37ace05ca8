"""Groups of test rows that the model serves worse or better than the rest, and whether that came with the trunk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

import numpy as np

from topwork.contracts import Array, Estimate, Table
from topwork.evaluation.classification import softmax
from topwork.evaluation.slices import Groups, Slice, categories, slice_scores, terciles
from topwork.steps.order import Order, Rows

__all__ = ["gaps_of", "order_alike"]

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
    truth = rows.truth[name][rows.split.test]
    told = {model: softmax(one) for model, one in scores.items()}
    slices: list[tuple[str, Slice]] = []
    notes: list[str] = []
    for title, groups in _groups(order, rows).items():
        some = Groups(dict(list(groups.masks.items())[:_MOST_OF_ONE]), groups.notes)
        if (left := len(groups.masks) - len(some.masks)) > 0:
            notes.append(f"{title}: {left} smaller groups are not shown.")
        found, said = slice_scores(truth, told, some, seed=order.seed)
        slices += [(title, one) for one in found]
        notes += [f"{title}: {note}" for note in said]
    if not slices:
        return None
    n_gaps = len(slices) * len(scores)
    return Table(
        "Groups",
        (
            "group",
            "rows",
            *(f"accuracy, {model}" for model in scores),
            *(f"gap to the rest, {model}" for model in scores),
        ),
        tuple(_row(title, one, list(scores)) for title, one in slices),
        "Accuracy in each group of the test rows, and that minus the accuracy outside it. Where the interval of a gap "
        f"holds 0, no difference is shown; of {n_gaps} gaps about {n_gaps / 20:.0f} leave it out by chance alone. "
        "What the frozen network has too was there before the fine-tuning; what the one from scratch has too lies "
        f"in these data. {' '.join(notes)}".rstrip(),
    )


def _row(title: str, one: Slice, models: list[str]) -> tuple[str | Estimate, ...]:
    accuracies = [one.models[model].accuracy for model in models]
    gaps = [one.models[model].accuracy_gap.in_points() for model in models]
    return (f"{title}: {one.name}", str(one.n), *accuracies, *gaps)


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
