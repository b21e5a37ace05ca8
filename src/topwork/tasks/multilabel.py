"""Several labels at once: any number of them for every input, none included.

Every label is a question of its own, answered by the log odds of yes. From which odds on a label is given is chosen on
rows that were held out, label by label, for the highest F1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from topwork.contracts import (
    Array,
    Estimate,
    Json,
    Link,
    Metrics,
    Mistake,
    Section,
    Table,
    Target,
    known_rows,
)
from topwork.errors import BundleError, DataError
from topwork.evaluation.comparison import compare_classes
from topwork.evaluation.multilabel import best_cuts, compare_multilabel, multilabel_metrics, per_label
from topwork.tasks.label_sets import JSON_LIST, SEPARATORS, recognised, split

__all__ = ["MULTILABEL", "MultilabelTarget", "MultilabelTask"]

_MANY = 25
"""With more labels than this an answer gives the probabilities of the likeliest ones, and of those it says."""
_SURE = 30.0
"""Log odds of a label that is as good as certain."""
_BELOW = 1e4
"""How far below its cut a label stands that a model does not know."""
_NOTHING_SAID = "none of the labels"


@dataclass(frozen=True, slots=True)
class MultilabelTarget:
    """A column of sets of labels, the labels sorted by name; score ``i`` is the log odds of label ``i``.

    Attributes
    ----------
    separator
        What stands between two labels in a cell, or ``json``.
    cuts
        Log odds from which on each label is given; 0 is even odds.
    """

    labels: tuple[str, ...]
    separator: str
    cuts: tuple[float, ...]
    task: str = "multilabel"
    link: Link = "sigmoid"
    main_metric: str = "macro_f1"

    @property
    def n_outputs(self) -> int:
        """Return the number of labels."""
        return len(self.labels)

    @property
    def understood(self) -> tuple[str, ...]:
        """Say what separates the labels."""
        if self.separator == JSON_LIST:
            how, none = "Cells are JSON lists of labels", "[]"
        else:
            how, none = (
                f"The labels of a cell are separated by {self.separator!r}",
                f"{self.separator!r} or []",
            )
        return (f"{how}; an empty cell is not labelled, and {none} is {_NOTHING_SAID}.",)

    @property
    def about_mistakes(self) -> tuple[str, str]:
        """Return title and caption of the gallery of `mistakes`."""
        return (
            "Most confident mistakes",
            "Test rows with a label too many or too few, those first where the model was surest of it. Some of the "
            "true labels may be wrong.",
        )

    def state(self) -> Mapping[str, Json]:
        """Return all that `MultilabelTask.restore` reads back."""
        return {"labels": list(self.labels), "separator": self.separator, "cuts": list(self.cuts)}

    def encode(self, raw: Sequence[str | None]) -> Array:
        """Return ``int8 [n, k]`` of 0 and 1; -1 throughout a row without a label that is known.

        A cell that says that there is no label has all 0. A label that training never saw is left out of a row that
        has others.
        """
        numbers = {label: i for i, label in enumerate(self.labels)}
        truth = np.full((len(raw), self.n_outputs), -1, np.int8)
        for row, cell in enumerate(raw):
            names = None if cell is None or not cell.strip() else split(cell, self.separator)
            known = [numbers[name] for name in names or () if name in numbers]
            if names is not None and (known or not names):
                truth[row] = 0
                truth[row, known] = 1
        return truth

    def calibrated(self, truth: Array, held_out: Array) -> MultilabelTarget:
        """Return the target with the cuts that give each label the highest F1 on held-out rows."""
        return replace(self, cuts=tuple(float(cut) for cut in best_cuts(truth, held_out)))

    def joint(self, other: Target) -> MultilabelTarget:
        """Return this target where both know the same labels, else one that knows those of both, cut at even odds."""
        if self.labels == other.labels:
            return self
        labels = tuple(sorted({*self.labels, *other.labels}))
        return MultilabelTarget(labels, self.separator, (0.0,) * len(labels))

    def adopt(self, other: Target, scores: Array) -> Array:
        """Return scores ``float64 [n, k]`` over these labels, shifted so that what the other says is said here too.

        A label that the other does not know is never said.
        """
        assert isinstance(other, MultilabelTarget)
        cuts = np.array(self.cuts)
        wide = np.tile(cuts - _BELOW, (len(scores), 1))
        places = [self.labels.index(label) for label in other.labels]
        wide[:, places] = scores.astype(np.float64) - (np.array(other.cuts) - cuts[places])
        return wide

    def said(self, scores: Array) -> Array:
        """Return the labels that are given, as `encode` gives truth: ``int8 [n, k]``."""
        return np.asarray(scores >= np.array(self.cuts), np.int8)

    def errors(self, truth: Array, scores: Array) -> Array:
        """Return the share of the labels that are wrong, given or left out."""
        wrong = (self.said(scores) != truth).mean(axis=1)
        return np.where(known_rows(truth), wrong, np.nan)

    def evaluate(self, truth: Array, scores: Array, seed: int) -> Metrics:
        """Return macro and micro F1, mean average precision, Hamming loss and exact match with their intervals."""
        return multilabel_metrics(truth, scores, np.array(self.cuts), seed=seed)

    def compare(self, truth: Array, scores: Array, others: Array, seed: int) -> Metrics:
        """Return the paired differences of the metrics of `evaluate`."""
        return compare_multilabel(truth, scores, others, np.array(self.cuts), seed=seed)

    def differences(self, truth: Array, scores: Array, others: Array, rival: str) -> tuple[Section, ...]:
        """Return the paired differences of precision and recall of each label."""
        known, rows = known_rows(truth), []
        said, theirs = (one[known] >= np.array(self.cuts) for one in (scores, others))
        for j, label in enumerate(self.labels):
            true = truth[known, j].astype(np.int64)
            one = compare_classes(true, said[:, j].astype(np.int64), theirs[:, j].astype(np.int64), 2)[1]
            rows.append((label, _points(one.precision), _points(one.recall), str(one.n)))
        n_told = 2 * len(rows)
        return (
            Table(
                f"Each label, against: {rival}",
                ("label", "precision, difference", "recall, difference", "test rows"),
                tuple(rows),
                "This model less the other, on the same rows; where an interval holds 0, nothing is shown. Of "
                f"{n_told} differences about {n_told / 20:.0f} would leave it out by chance alone.",
            ),
        )

    def baselines(self, truth_train: Array, truth_test: Array, seed: int) -> Mapping[str, Metrics]:
        """Return what always giving the labels would score that more than half of the training rows have."""
        seen = truth_train[known_rows(truth_train)]
        frequent = np.where((seen > 0).mean(axis=0) > 0.5, _SURE, -_SURE)
        scores = np.tile(frequent, (len(truth_test), 1))
        return {
            "frequent labels": multilabel_metrics(truth_test, scores, np.zeros(self.n_outputs), seed=seed)
        }

    def sections(self, truth: Array, scores: Array, seed: int) -> tuple[Section, ...]:
        """Return precision and recall of each label, and how many labels are given."""
        del seed  # nothing here is drawn at random
        return self._label_table(truth, scores), self._count_table(truth, scores)

    def _label_table(self, truth: Array, scores: Array) -> Table:
        every = per_label(truth, scores, np.array(self.cuts))
        return Table(
            "Each label",
            ("label", "given from", "precision", "recall", "F1", "average precision", "test rows"),
            tuple(
                (
                    label,
                    f"{share:.0%}",
                    one.precision,
                    one.recall,
                    _two(one.f1),
                    _two(one.average_precision),
                    str(one.n_true),
                )
                for label, share, one in zip(self.labels, _shares(np.array(self.cuts)), every, strict=True)
            ),
            "Given from: the probability from which on the label is given, chosen on rows that were held out for the "
            "highest F1. Precision: of what was given this label, the share that has it. Recall: of what has it, the "
            "share found. Average precision asks for no such probability.",
        )

    def _count_table(self, truth: Array, scores: Array) -> Table:
        known = known_rows(truth)
        true, said = (truth[known] > 0).sum(axis=1), (scores[known] >= np.array(self.cuts)).sum(axis=1)
        counts = np.unique(np.concatenate([true, said]))
        return Table(
            "How many labels",
            ("labels at once", "test rows that have so many", "that are given so many"),
            tuple((str(n), str(int((true == n).sum())), str(int((said == n).sum()))) for n in counts),
        )

    def mistakes(self, truth: Array, scores: Array, limit: int) -> tuple[Mistake, ...]:
        """Return the rows with a wrong label, those first whose score lies furthest on the wrong side of its cut."""
        margin = np.asarray(scores, np.float64) - np.array(self.cuts)
        wrong = (margin >= 0) != (truth > 0)
        worst = np.where(known_rows(truth)[:, None] & wrong, np.abs(margin), -1.0).max(axis=1, initial=-1.0)
        order = np.argsort(-worst, kind="stable")[:limit]
        return tuple(
            self._mistake(int(row), truth[row] > 0, margin[row] >= 0) for row in order if worst[row] >= 0
        )

    def _mistake(self, row: int, true: Array, said: Array) -> Mistake:
        is_, told = self._named(true), self._named(said)
        parts = [("too many", said & ~true), ("missing", true & ~said)]
        how = "; ".join(f"{what}: {self._named(which)}" for what, which in parts if which.any())
        return Mistake(row, f"has {is_}; {how}", is_, told)

    def spell(self, truth: Array) -> str:
        """Return the labels of one row of ``int8 [n, k]``."""
        return self._named(truth > 0)

    def written(self, truth: Array) -> str:
        """Return the labels of one row as they stand in a cell."""
        names = [self.labels[j] for j in np.flatnonzero(truth > 0)]
        if self.separator == JSON_LIST or not names:
            return json.dumps(names, ensure_ascii=False)
        return self.separator.join(names)

    def _named(self, has: Array) -> str:
        return ", ".join(self.labels[j] for j in np.flatnonzero(has)) or _NOTHING_SAID

    def answer(self, scores: Array) -> Mapping[str, Json]:
        """Return the labels that are given, and the probabilities, both likeliest first."""
        shares = _shares(scores)
        order = np.argsort(-shares, kind="stable").tolist()
        said = [j for j in order if scores[j] >= self.cuts[j]]
        shown = {*order[:_MANY], *said}
        return {
            "labels": [self.labels[j] for j in said],
            "probabilities": {self.labels[j]: float(shares[j]) for j in order if j in shown},
        }

    def answer_schema(self) -> Mapping[str, Json]:
        """Describe `answer` as JSON Schema."""
        probability: Json = {"type": "number", "minimum": 0, "maximum": 1}
        named: Mapping[str, Json] = dict.fromkeys(self.labels, probability)
        few: Mapping[str, Json] = {"properties": named, "additionalProperties": False}
        many: Mapping[str, Json] = {"additionalProperties": probability}
        label: Json = {"type": "string", "enum": list(self.labels)}
        return {
            "type": "object",
            "required": ["labels", "probabilities"],
            "additionalProperties": False,
            "properties": {
                "labels": {"type": "array", "items": label, "uniqueItems": True},
                "probabilities": {"type": "object", **(few if self.n_outputs <= _MANY else many)},
            },
        }


def _shares(scores: Array) -> Array:
    """Return the probabilities of log odds; by tanh, which does not overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(scores, np.float64))))


def _two(value: float) -> str:
    return f"{value:.2f}" if value == value else "–"


def _points(difference: Estimate) -> str:
    return difference.in_points() if difference.is_known else "–"


@dataclass(frozen=True, slots=True)
class MultilabelTask:
    """Any number of labels for each input."""

    name: str = "multilabel"
    needs: frozenset[str] = frozenset({"pooled"})
    link: Link = "sigmoid"

    def learn(self, raw: Sequence[str | None]) -> MultilabelTarget:
        """Recognise what separates labels, and take every label that occurs, sorted by name.

        Raises
        ------
        DataError
            The separator is not clear, or no label is in some rows and not in others.
        """
        cells = [cell for cell in raw if cell is not None and cell.strip()]
        separator = recognised(cells)
        sets = [frozenset(split(cell, separator)) for cell in cells]
        labels = tuple(sorted(frozenset[str]().union(*sets)))
        if len(set(sets)) < 2:
            raise DataError(
                f"All {len(cells):,} labelled rows have the same labels: {_few(labels)}; there is nothing to learn.",
                next_step="Add examples that lack some of them, or check which column was taken for the labels.",
            )
        return MultilabelTarget(labels, separator, (0.0,) * len(labels))

    def restore(self, state: Mapping[str, Json]) -> MultilabelTarget:
        """Rebuild a target from its labels, separator and cuts.

        Raises
        ------
        BundleError
            One of them is missing or damaged.
        """
        labels, separator, cuts = (state.get(name) for name in ("labels", "separator", "cuts"))
        if (
            not (isinstance(labels, list) and labels and all(isinstance(one, str) for one in labels))
            or separator not in (JSON_LIST, *SEPARATORS)
            or not (isinstance(cuts, list) and len(cuts) == len(labels) and all(map(_is_finite, cuts)))
        ):
            raise BundleError(
                "A multilabel target needs labels, a separator and a cut for each label; the bundle holds "
                f"{dict(state)!s:.200}.",
                next_step="Get the bundle again from where it was made.",
            )
        return MultilabelTarget(
            tuple(map(str, labels)), str(separator), tuple(float(str(cut)) for cut in cuts)
        )


def _is_finite(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _few(labels: Iterable[str]) -> str:
    return ", ".join([*labels][:5]) or "none"


MULTILABEL = MultilabelTask()
