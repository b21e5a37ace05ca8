"""What drives each class: the parts of pictures that speak most for it.

They are found on the exact class activation maps and cut out, so that a person sees at once whether it is the thing
that counts or what happens to lie beside it. It needs a network that shows where it looks and a modality that can cut
a part out; with others there is nothing to show. It knows no picture.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from topwork.contracts import Array, CutsRegions, Gallery, LinearHead, Picture
from topwork.errors import DecodeError
from topwork.proof.looking import Looker
from topwork.steps.order import Order, Rows
from topwork.training.heatmaps import Peak, contrast, peak

__all__ = ["MOST_LABELS", "TITLE", "most_frequent", "regions_of", "wanted"]

TITLE = "What drives each class"
MOST_LABELS = 12
"""Of all targets together: more would make a report long and heavy."""
_PER_LABEL = 4
_LOOKED_AT = 3 * _PER_LABEL
"""Inputs of each class whose maps are computed: those with the highest scores for it."""
_SIDE_PX = 96


@dataclass(frozen=True, slots=True)
class _Found:
    """A part of an input that speaks for a label, both as numbers."""

    row: int
    label: int
    peak: Peak


def regions_of(looker: Looker, rows: Rows, name: str, head: LinearHead, most_labels: int) -> Gallery | None:
    """Show the parts of validation and test inputs that speak most for each label of a target.

    Parameters
    ----------
    rows
        With the features of the trunk as it is now.
    most_labels
        The most frequent ones are shown.

    Returns
    -------
    None where training data are not to be kept, or where nothing can be cut out.
    """
    order = looker.order
    if not order.options.keep_training_data or not isinstance(order.modality, CutsRegions):
        return None
    labels = most_frequent(rows.truth[name], most_labels)
    found = _strongest(looker, wanted(rows, head, labels, _LOOKED_AT), head)
    scores = dict(zip(*_held_out(rows, head), strict=True))
    pictures = [_picture(order, order.modality, rows, name, scores[one.row], one) for one in found]
    shown = tuple(one for one in pictures if one is not None)
    n_labels, n_silent = len(rows.targets[name].labels), len(set(labels) - {one.label for one in found})
    cut = f" The {len(labels)} most frequent of {n_labels} classes." if len(labels) < n_labels else ""
    cut += f" Of {n_silent} of them no part speaks for it." if n_silent else ""
    sides = "validation and test" if len(rows.split.valid) else "test"
    return Gallery(TITLE, shown, f"Parts of {sides} pictures {_CAPTION}{cut}") if shown else None


_CAPTION = (
    "that speak most for a class, against the mean of the others: of every picture the window, about two fifths of "
    "each side, in which most of it lies. The share is of all in the picture that speaks for the class."
)


def most_frequent(truth: Array, n: int) -> list[int]:
    """Return the labels with most rows, ascending."""
    counts = np.bincount(truth[truth >= 0])
    order = np.argsort(-counts, kind="stable")[:n]
    return sorted(int(label) for label in order if counts[label])


def _held_out(rows: Rows, head: LinearHead) -> tuple[list[int], Array]:
    """Return the rows of validation that have features, those of the test, and their scores ``[n, k]``."""
    places = np.searchsorted(rows.fit_rows, np.sort(rows.split.valid))
    places = places if rows.fit_known is None else np.intersect1d(places, rows.fit_known)
    features = np.concatenate([rows.fit_features[places], rows.test_features])
    return [*rows.fit_rows[places].tolist(), *rows.split.test.tolist()], head.scores(features)


def wanted(rows: Rows, head: LinearHead, labels: list[int], n: int) -> dict[int, list[int]]:
    """Return the inputs to look at, and for which labels: ``n`` of each label that it is furthest ahead in.

    They are rows of validation and test.
    """
    numbers, scores = _held_out(rows, head)
    found: dict[int, list[int]] = {}
    for label in labels:
        ahead = scores[:, label] - np.delete(scores, label, axis=1).mean(axis=1)
        for place in np.argsort(-ahead, kind="stable")[:n]:
            found.setdefault(numbers[place], []).append(label)
    return found


def _strongest(looker: Looker, wanted: Mapping[int, list[int]], head: LinearHead) -> list[_Found]:
    """Return the strongest parts of each label, one of an input at most."""
    found: list[_Found] = []
    for row, feature_map in looker.maps(sorted(wanted)):
        for label in wanted[row]:
            best = peak(feature_map, contrast(head.weight, label))
            if best is not None:
                found.append(_Found(row, label, best))
    found.sort(key=lambda one: (one.label, -one.peak.raised))
    first = {label: i for i, label in reversed(list(enumerate(one.label for one in found)))}
    return [one for i, one in enumerate(found) if i - first[one.label] < _PER_LABEL]


def _picture(
    order: Order, modality: CutsRegions, rows: Rows, name: str, scores: Array, one: _Found
) -> Picture | None:
    try:
        encoded = order.dataset.read(one.row)
        jpeg = modality.region(encoded, one.peak.box, order.trunk.preprocessing, _SIDE_PX)
    except DecodeError:  # readable a moment ago and gone now
        return None
    labels, truth = rows.targets[name].labels, int(rows.truth[name][one.row])
    return Picture(
        key=order.dataset.keys[one.row],
        caption=f"{labels[one.label]}: {one.peak.share:.0%} of what speaks for it lies here",
        jpeg_base64=base64.b64encode(jpeg).decode("ascii"),
        truth=labels[truth] if truth >= 0 else "",
        predicted=labels[int(scores.argmax())],
    )
