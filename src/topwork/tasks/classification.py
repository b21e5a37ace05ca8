"""Classification: one label out of a fixed set for every input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from topwork.contracts import (
    Array,
    Chart,
    Estimate,
    Json,
    Link,
    Matrix,
    Metrics,
    Mistake,
    Point,
    Section,
    Series,
    Table,
    Target,
)
from topwork.errors import BundleError, DataError
from topwork.evaluation.calibration import abstention, reliability
from topwork.evaluation.classification import (
    classification_metrics,
    confusion,
    majority_baseline,
    per_class,
    softmax,
)
from topwork.evaluation.comparison import compare, compare_classes

__all__ = ["CLASSIFICATION", "ClassificationTarget", "ClassificationTask"]

_MANY = 25
"""With more classes than this an answer names only the likeliest ones."""
_WIDEST_MATRIX = 60
"""With more classes than this nobody can read a matrix, which grows with their square; pairs are listed."""
_N_CONFUSIONS = 50
_BELOW = 1e4
"""How far below a model's highest score a label stands that it does not know: its probability is 0."""


@dataclass(frozen=True, slots=True)
class ClassificationTarget:
    """A column of labels, sorted by name; score ``i`` belongs to label ``i``."""

    labels: tuple[str, ...]
    task: str = "classification"
    link: Link = "softmax"
    main_metric: str = "accuracy"

    @property
    def n_outputs(self) -> int:
        """Return the number of labels."""
        return len(self.labels)

    @property
    def understood(self) -> tuple[str, ...]:
        """Return nothing: a label is the value as it stands."""
        return ()

    def state(self) -> Mapping[str, Json]:
        """Return the labels."""
        return {"labels": list(self.labels)}

    def encode(self, raw: Sequence[str | None]) -> Array:
        """Return the labels' numbers; -1 for a missing one and for one that training never saw."""
        numbers = {label: i for i, label in enumerate(self.labels)}
        return np.array([-1 if r is None else numbers.get(r, -1) for r in raw], dtype=np.int64)

    def calibrated(self, truth: Array, held_out: Array) -> ClassificationTarget:
        """Return itself: what there is to calibrate is in the head."""
        del truth, held_out
        return self

    def joint(self, other: Target) -> ClassificationTarget:
        """Return a target that knows the labels of both."""
        return self if self.labels == other.labels else CLASSIFICATION.learn([*self.labels, *other.labels])

    def adopt(self, other: Target, scores: Array) -> Array:
        """Return scores ``float64 [n, k]`` over these labels; one that the other does not know has no chance."""
        top = scores.max(axis=1, keepdims=True).astype(np.float64)
        wide = np.repeat(top - _BELOW, self.n_outputs, axis=1)
        wide[:, self.encode(other.labels)] = scores
        return wide

    def said(self, scores: Array) -> Array:
        """Return the number of the likeliest label, ``int64 [n]``; the first among equals."""
        return np.asarray(scores.argmax(axis=1))

    def evaluate(self, truth: Array, scores: Array, seed: int) -> Metrics:
        """Return accuracy, balanced accuracy, macro F1, log loss and calibration error with their intervals."""
        return classification_metrics(truth, scores, seed=seed)

    def compare(self, truth: Array, scores: Array, others: Array, seed: int) -> Metrics:
        """Return the paired differences of the metrics of `evaluate`."""
        return compare(truth, scores, others, seed=seed)

    def differences(self, truth: Array, scores: Array, others: Array, rival: str) -> tuple[Section, ...]:
        """Return the paired differences of precision and recall of each class."""
        every = compare_classes(truth, scores.argmax(1), others.argmax(1), self.n_outputs)
        n_told = 2 * len(every)
        rows = tuple(
            (label, _points(one.precision), _points(one.recall), str(one.n))
            for label, one in zip(self.labels, every, strict=True)
        )
        return (
            Table(
                f"Each class, against: {rival}",
                ("label", "precision, difference", "recall, difference", "test rows"),
                rows,
                "This model less the other, on the same rows; where an interval holds 0, nothing is shown. Of "
                f"{n_told} differences about {n_told / 20:.0f} would leave it out by chance alone.",
            ),
        )

    def baselines(self, truth_train: Array, truth_test: Array, seed: int) -> Mapping[str, Metrics]:
        """Return what always answering the most frequent class would score."""
        return {"majority": majority_baseline(truth_train, truth_test, self.n_outputs, seed)}

    def sections(self, truth: Array, scores: Array, seed: int) -> tuple[Section, ...]:
        """Return what is taken for what, and precision and recall of each class."""
        del seed  # nothing here is drawn at random
        known = truth >= 0
        predicted = np.argmax(scores[known], axis=1)
        shown = self._matrix if self.n_outputs <= _WIDEST_MATRIX else self._confusions
        found = shown(truth[known], predicted), self._class_table(truth[known], predicted)
        return (*found, *_trust(truth[known], softmax(scores[known]))) if known.any() else found

    def _matrix(self, truth: Array, predicted: Array) -> Matrix:
        counts = confusion(truth, predicted, self.n_outputs)
        return Matrix(
            "Confusion matrix",
            self.labels,
            self.labels,
            tuple(tuple(int(c) for c in row) for row in counts),
            "Rows are the true labels, columns what the model said.",
        )

    def _confusions(self, truth: Array, predicted: Array) -> Table:
        """List the pairs of labels that were confused most often."""
        wrong = np.stack([truth, predicted], axis=1)[truth != predicted]
        pairs, counts = np.unique(wrong, axis=0, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:_N_CONFUSIONS]
        n_true = np.bincount(truth, minlength=self.n_outputs)
        return Table(
            "Most frequent confusions",
            ("true label", "taken for", "times", "of test rows"),
            tuple(
                (self.labels[true], self.labels[said], str(counts[i]), str(n_true[true]))
                for i, (true, said) in zip(order, pairs[order], strict=True)
            ),
            f"Of {len(pairs):,} pairs of labels that were confused, those that were most often.",
        )

    def _class_table(self, truth: Array, predicted: Array) -> Table:
        every = per_class(truth, predicted, self.n_outputs)
        return Table(
            "Each class",
            ("label", "precision", "recall", "F1", "test rows"),
            tuple(
                (
                    label,
                    one.precision,
                    one.recall,
                    f"{one.f1:.2f}" if one.f1 == one.f1 else "–",
                    str(one.n_true),
                )
                for label, one in zip(self.labels, every, strict=True)
            ),
            "Precision: of what was called this label, the share that was. Recall: of what is, the share found.",
        )

    @property
    def about_mistakes(self) -> tuple[str, str]:
        """Return title and caption of the gallery of `mistakes`."""
        return (
            "Most confident mistakes",
            "Wrong answers on the test rows, the surest first. Some of them may be wrong labels.",
        )

    def mistakes(self, truth: Array, scores: Array, limit: int) -> tuple[Mistake, ...]:
        """Return the wrong answers that were given with the highest probability."""
        probabilities = softmax(scores)
        predicted = np.argmax(scores, axis=1)
        wrong = np.flatnonzero((truth >= 0) & (predicted != truth))
        worst = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:limit]
        return tuple(
            Mistake(
                int(row),
                f"is {self.labels[truth[row]]}, said {self.labels[predicted[row]]} "
                f"({probabilities[row, predicted[row]]:.0%})",
                self.labels[truth[row]],
                self.labels[predicted[row]],
                float(probabilities[row, predicted[row]]),
            )
            for row in worst
        )

    def errors(self, truth: Array, scores: Array) -> Array:
        """Return 1 where the label is wrong."""
        return np.where(truth >= 0, (np.argmax(scores, axis=1) != truth).astype(np.float64), np.nan)

    def spell(self, truth: float) -> str:
        """Return the label."""
        return self.labels[int(truth)]

    def answer(self, scores: Array) -> Mapping[str, Json]:
        """Return the likeliest label and the probabilities, highest first."""
        probabilities = softmax(scores[None])[0]
        order = np.argsort(-probabilities, kind="stable")[:_MANY]
        return {
            "label": self.labels[order[0]],
            "probabilities": {self.labels[i]: float(probabilities[i]) for i in order},
        }

    def answer_schema(self) -> Mapping[str, Json]:
        """Describe `answer` as JSON Schema."""
        probability: Json = {"type": "number", "minimum": 0, "maximum": 1}
        named: Mapping[str, Json] = dict.fromkeys(self.labels, probability)
        few: Mapping[str, Json] = {"properties": named, "additionalProperties": False}
        many: Mapping[str, Json] = {"additionalProperties": probability}
        return {
            "type": "object",
            "required": ["label", "probabilities"],
            "additionalProperties": False,
            "properties": {
                "label": {"type": "string", "enum": list(self.labels)},
                "probabilities": {"type": "object", **(few if self.n_outputs <= _MANY else many)},
            },
        }


def _points(difference: Estimate) -> str:
    return difference.in_points() if difference.is_known else "–"


def _trust(truth: Array, probabilities: Array) -> tuple[Chart, Chart]:
    """Show whether its probabilities can be believed, and what staying silent when unsure is worth."""
    bins = tuple(
        Point(one.confidence, one.right.value, one.right.low, one.right.high)
        for one in reliability(truth, probabilities)
    )
    believed = Chart(
        "When it is sure, is it right?",
        "probability that it gave",
        "share that was right",
        (Series("perfect", (Point(0.0, 0.0), Point(1.0, 1.0)), "dashed"), Series("this model", bins, "dots")),
        "Bins of about equal size over the test rows. Below the dashed line it was too sure of itself.",
        x_kind="share",
        y_kind="share",
    )
    curve = tuple(
        Point(one.coverage, one.accuracy.value, one.accuracy.low, one.accuracy.high)
        for one in abstention(truth, probabilities).points
    )
    silent = Chart(
        "When only the surest answers are taken",
        "share of inputs that are answered",
        "share of answers that are right",
        (Series("this model", curve, "line"),),
        "The least sure answers are left out first, for a person to look at.",
        x_kind="share",
        y_kind="share",
    )
    return believed, silent


@dataclass(frozen=True, slots=True)
class ClassificationTask:
    """One label out of several, each input having exactly one."""

    name: str = "classification"
    needs: frozenset[str] = frozenset({"pooled"})
    link: Link = "softmax"

    def learn(self, raw: Sequence[str | None]) -> ClassificationTarget:
        """Take every label that occurs, sorted by name."""
        labels = sorted({r for r in raw if r is not None})
        if len(labels) < 2:
            raise DataError(
                f"Found {len(labels)} label{'' if len(labels) == 1 else 's'}"
                f"{f' ({labels[0]!r})' if labels else ''}; telling things apart needs at least two.",
                next_step="Add examples of what it is not, or check which column was taken for the label.",
            )
        return ClassificationTarget(tuple(labels))

    def restore(self, state: Mapping[str, Json]) -> ClassificationTarget:
        """Rebuild a target from its labels."""
        labels = state.get("labels")
        if (
            not isinstance(labels, list)
            or not all(isinstance(label, str) for label in labels)
            or len(labels) < 2
        ):
            raise BundleError(
                f"A classification target needs a list of at least two label names; the bundle holds {labels!r:.80}.",
                next_step="Get the bundle again from where it was made.",
            )
        return ClassificationTarget(tuple(str(label) for label in labels))


CLASSIFICATION = ClassificationTask()
