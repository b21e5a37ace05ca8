"""Labels that look wrong, pictures of what is odd, and the list that a user edits and hands back.

Training rows are judged by a probe that did not see them, test rows by the model. Nothing is changed here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from topwork.contracts import Array, Dataset, Gallery
from topwork.data.corrections import Suspect
from topwork.errors import MissingExtraError
from topwork.evaluation.classification import softmax
from topwork.steps.order import Order, Rows
from topwork.steps.recording import pictured
from topwork.training.label_issues import find_conflicts, find_label_issues, find_outliers

__all__ = ["Suspicion", "gallery_of_outliers", "gallery_of_suspects", "suspicions"]

TITLE = "Labels that look wrong"
_MOST_PICTURES = 36


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A row of the data set whose label is doubted.

    ``score`` is the probability of the given label, ``probability`` that of the suggested one.
    """

    row: int
    target: str
    label: str
    suggested: str
    reason: str
    score: float
    probability: float
    is_test: bool

    def suspect(self, dataset: Dataset) -> Suspect:
        """Return the line of the table that the user edits."""
        reason = f"{self.reason}, test row" if self.is_test else self.reason
        target = self.target if len(dataset.targets) > 1 else ""
        return Suspect(dataset.keys[self.row], self.label, self.suggested, reason, self.score, target)


def suspicions(
    rows: Rows, name: str, held_out: Array, test_scores: Array, pairs: Array
) -> tuple[tuple[Suspicion, ...], tuple[str, ...]]:
    """Find rows whose label is doubted, the worst first, and say what could not be looked for.

    Parameters
    ----------
    held_out
        ``[n_fit, k]`` scores of rows while they were held out.
    pairs
        ``int64 [p, 2]`` rows of the data set that show nearly the same.
    """
    truth, labels = rows.truth[name], rows.targets[name].labels
    every = np.full((len(truth), len(labels)), np.nan)
    every[rows.fit_rows], every[rows.split.test] = held_out, test_scores
    is_test = np.zeros(len(truth), dtype=bool)
    is_test[rows.split.test] = True
    known = ~np.isnan(every[:, 0])
    probabilities = np.full_like(every, np.nan)
    probabilities[known] = softmax(every[known])
    notes: tuple[str, ...] = ()
    try:
        issues = find_label_issues(np.where(known, truth, -1), probabilities)
    except MissingExtraError as error:
        issues, notes = (), (str(error),)
    found = [(one, "the model is sure it is something else") for one in issues]
    found += [(one, "a copy of it has another label") for one in find_conflicts(truth, pairs)]
    told = {
        one.row: Suspicion(
            one.row,
            name,
            labels[one.given],
            labels[one.suggested],
            reason,
            float(one.score),
            float(probabilities[one.row, one.suggested]),
            bool(is_test[one.row]),
        )
        for one, reason in reversed(found)
    }
    return tuple(sorted(told.values(), key=lambda one: one.score)), notes


def gallery_of_suspects(order: Order, found: tuple[Suspicion, ...], csv_name: str) -> Gallery | None:
    """Show the worst of them."""
    if not found:
        return None
    keep = order.options.keep_training_data
    pictures = tuple(
        replace(
            pictured(order.dataset, one.row, order.modality, keep=keep),
            caption=f"labelled {one.label}, looks like {one.suggested}" + (" (test)" if one.is_test else ""),
            truth=one.label,
            predicted=one.suggested,
            probability=one.probability,
        )
        for one in found[:_MOST_PICTURES]
    )
    count = f"{len(found)} label{'s' if len(found) != 1 else ''}"
    return Gallery(
        TITLE,
        pictures,
        f"{count} by confident learning on rows that the judge had not seen, and by copies with different labels. "
        f"All are listed in {csv_name}: fill in the column action and fit again with --labels {csv_name}. "
        "Test labels are never changed by themselves.",
    )


def gallery_of_outliers(order: Order, rows: Rows) -> Gallery | None:
    """Show training rows that are unlike all others."""
    found = find_outliers(rows.fit_features)[:_MOST_PICTURES]
    if not found:
        return None
    keep = order.options.keep_training_data
    pictures = []
    for one in found:
        row = int(rows.fit_rows[one.row])
        pictures.append(
            replace(
                pictured(order.dataset, row, order.modality, keep=keep),
                caption=f"{one.deviations:.0f} deviations from its neighbours",
            )
        )
    return Gallery(
        "Unlike all others", tuple(pictures), "Far from their nearest neighbours in the network's features."
    )
