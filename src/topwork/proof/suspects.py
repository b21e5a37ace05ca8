"""Labels that look wrong, pictures of what is odd, and the list that a user edits and hands back.

Training rows are judged by a probe that did not see them, test rows by the model. Nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import isnan, nan
from typing import Any

import numpy as np

from topwork.contracts import Array, Dataset, Gallery, Goal, Link, WritingTarget, known_rows
from topwork.data.corrections import Suspect
from topwork.errors import MissingExtraError
from topwork.evaluation.classification import softmax
from topwork.evaluation.links import losses_of
from topwork.evaluation.ordinal import rank_probabilities
from topwork.steps.order import Order, Rows
from topwork.steps.recording import pictured
from topwork.training.label_issues import find_conflicts, find_label_issues, find_outliers, find_set_issues
from topwork.training.links import solver_of

__all__ = ["Suspicion", "can_be_doubted", "gallery_of_outliers", "gallery_of_suspects", "suspicions"]

TITLE = "Labels that look wrong"
_MOST_PICTURES = 36
_FEWEST = 2
_KNOWS_NOTHING = (
    "No label{of} is called wrong by the model: of rows that it had not seen it is not shown to know more than "
    "how frequent each label is."
)
_LARGEST = 500.0
"""Log odds beyond which the exponential overflows."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A row of the data set whose label is doubted.

    ``score`` is the probability of the given label, ``probability`` that of the suggested one. ``written`` is the
    suggestion as it stands in a cell of the data, where it is not spelled so.
    """

    row: int
    target: str
    label: str
    suggested: str
    reason: str
    score: float
    probability: float
    is_test: bool
    written: str = ""

    def suspect(self, dataset: Dataset) -> Suspect:
        """Return the line of the table that the user edits."""
        reason = f"{self.reason}, test row" if self.is_test else self.reason
        target = self.target if len(dataset.targets) > 1 else ""
        label = dataset.targets[self.target][self.row] or self.label  # as it is written there
        suggested = self.written or self.suggested
        return Suspect(dataset.keys[self.row], label, suggested, reason, self.score, target)


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A doubted row: its encoded truth and what it looks like, and how probable a model that did not see it finds them.

    ``probability`` is NaN where no model was asked.
    """

    row: int
    given: Any
    suggested: Any
    score: float
    probability: float


def can_be_doubted(link: Link) -> bool:
    """Tell whether a target of this link has labels, which may be wrong, rather than measurements."""
    return link in _DOUBTS


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
    truth, target = rows.truth[name], rows.targets[name]
    scores = np.full((len(truth), target.n_outputs), np.nan)
    scores[rows.fit_rows], scores[rows.split.test] = held_out, test_scores
    is_test = np.zeros(len(truth), dtype=bool)
    is_test[rows.split.test] = True
    doubts: list[_Doubt] = []
    notes: tuple[str, ...] = ()
    if not _knows_more(Goal(truth[rows.fit_rows], target.link, target.n_outputs), held_out):
        notes = (_KNOWS_NOTHING.format(of=f" of {name}" if len(rows.targets) > 1 else ""),)
    else:
        try:
            doubts = _DOUBTS[target.link](truth, scores)
        except MissingExtraError as error:
            notes = (str(error),)
    found = [(one, "the model is sure it is something else") for one in doubts]
    found += [(one, "a copy of it has another label") for one in _conflicts(truth, pairs)]
    told = {
        one.row: Suspicion(
            one.row,
            name,
            target.spell(one.given),
            target.spell(one.suggested),
            reason,
            one.score,
            one.probability,
            bool(is_test[one.row]),
            target.written(one.suggested) if isinstance(target, WritingTarget) else "",
        )
        for one, reason in reversed(found)
    }
    return tuple(sorted(told.values(), key=lambda one: one.score)), notes


def _knows_more(goal: Goal, held_out: Array) -> bool:
    """Tell whether scores of held-out rows cost less than frequencies do, by two standard errors of the difference."""
    known = known_rows(goal.truth) & ~np.isnan(held_out[:, 0])
    truth, blind = goal.truth[known], solver_of(goal.link).blind_scores(goal)
    if len(truth) < _FEWEST:
        return False
    blindly = np.broadcast_to(blind, (len(truth), len(blind)))
    gains = losses_of(goal.link, truth, blindly) - losses_of(goal.link, truth, held_out[known])
    return bool(gains.mean() > 2 * gains.std(ddof=1) / np.sqrt(len(gains)))


def _of_classes(truth: Array, scores: Array) -> list[_Doubt]:
    return _of_probabilities(truth, _where_known(softmax, scores))


def _of_ranks(truth: Array, scores: Array) -> list[_Doubt]:
    """Leave out what is a single rank off where there are more than two: neighbours are often a matter of taste."""
    found = _of_probabilities(truth, _where_known(rank_probabilities, scores))
    return [one for one in found if abs(one.suggested - one.given) >= min(2, scores.shape[1])]


def _of_probabilities(truth: Array, probabilities: Array) -> list[_Doubt]:
    known = ~np.isnan(probabilities[:, 0])
    return [
        _Doubt(one.row, one.given, one.suggested, one.score, float(probabilities[one.row, one.suggested]))
        for one in find_label_issues(np.where(known, truth, -1), probabilities)
    ]


def _of_sets(truth: Array, scores: Array) -> list[_Doubt]:
    shares = 1 / (1 + np.exp(-np.clip(scores, -_LARGEST, _LARGEST)))
    found = []
    for one in find_set_issues(truth, shares):
        suggested = truth[one.row].copy()
        suggested[list(one.labels)] ^= 1
        found.append(_Doubt(one.row, truth[one.row], suggested, one.score, 1 - one.score))
    return found


def _where_known(shares: Callable[[Array], Array], scores: Array) -> Array:
    known = ~np.isnan(scores[:, 0])
    some = shares(scores[known])
    every = np.full((len(scores), some.shape[1]), np.nan)
    every[known] = some
    return every


def _conflicts(truth: Array, pairs: Array) -> list[_Doubt]:
    """Doubt what copies contradict; sets of labels are the same where all of them are."""
    if truth.ndim == 1:
        values, which = None, truth
    else:
        values, inverse = np.unique(truth, axis=0, return_inverse=True)
        which = np.where(known_rows(truth), inverse.reshape(-1), -1)
    return [
        _Doubt(
            one.row,
            one.given if values is None else values[one.given],
            one.suggested if values is None else values[one.suggested],
            one.score,
            nan,
        )
        for one in find_conflicts(which, pairs)
    ]


_DOUBTS: Mapping[Link, Callable[[Array, Array], list[_Doubt]]] = {
    "softmax": _of_classes,
    "cumulative": _of_ranks,
    "sigmoid": _of_sets,
}
"""How labels are doubted, by what their scores are; measurements have no labels."""


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
            probability=None if isnan(one.probability) else one.probability,
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
