"""Ordered classes: one out of several that stand in an order, such as grades, given as numbers.

The numbers give the order and nothing else: from 1 to 2 is as far as from 2 to 10. What is scored is by how many ranks
an answer is off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isfinite

import numpy as np

from topwork.contracts import Array, Json, Link, Matrix, Metrics, Mistake, Section, Table, Target
from topwork.errors import BundleError, DataError
from topwork.evaluation.classification import confusion
from topwork.evaluation.intervals import wilson
from topwork.evaluation.ordinal import (
    Doubt,
    compare_ordinal,
    exceeded,
    median_ranks,
    ordinal_metrics,
    rank_probabilities,
)
from topwork.tasks.numbers import is_number, parse

__all__ = ["ORDINAL", "OrdinalTarget", "OrdinalTask"]

_MANY = 25
"""With more classes than this an answer gives the probabilities of the likeliest ones, and of the one it says."""
_WIDEST_MATRIX = 60
_CERTAIN = 1e4
"""Log odds of what another model cannot say."""
_N_SHOWN = 3


@dataclass(frozen=True, slots=True)
class OrdinalTarget:
    """A column of numbers that stand for ordered classes; score ``j`` is the log odds of a rank above ``j``.

    Attributes
    ----------
    values
        Ascending.
    shares
        Of the classes in training; empty where nothing is doubted.
    doubt
        How much of the probability is dealt by the shares, so that no class is without a chance; see
        `topwork.evaluation.ordinal.Doubt`.
    """

    values: tuple[float, ...]
    shares: tuple[float, ...] = ()
    doubt: float = 0.0
    task: str = "ordinal"
    link: Link = "cumulative"
    main_metric: str = "rank_error"

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the numbers as they are written, in their order."""
        return tuple(map(_written, self.values))

    @property
    def n_outputs(self) -> int:
        """Return the number of thresholds, one less than that of classes."""
        return len(self.values) - 1

    @property
    def understood(self) -> tuple[str, ...]:
        """Say what the order is."""
        shown = self.labels if len(self.values) <= _MANY else (*self.labels[:_N_SHOWN], "…", self.labels[-1])
        return (f"The classes are ordered: {' < '.join(shown)}.",)

    @property
    def about_mistakes(self) -> tuple[str, str]:
        """Return title and caption of the gallery of `mistakes`."""
        return (
            "Largest mistakes",
            "Answers on the test rows that are the most ranks off, of equally far ones the surest first. Some of the "
            "true classes may be wrong.",
        )

    def state(self) -> Mapping[str, Json]:
        """Return all that `OrdinalTask.restore` reads back."""
        return {"values": list(self.values), "shares": list(self.shares), "doubt": self.doubt}

    def encode(self, raw: Sequence[str | None]) -> Array:
        """Return the ranks ``int64 [n]``; -1 for a missing one and for a number that training never saw.

        Raises
        ------
        DataError
            A value is no number.
        """
        ranks = {value: rank for rank, value in enumerate(self.values)}
        return np.array([ranks.get(value, -1) for value in _numbers(raw)], dtype=np.int64)

    def calibrated(self, truth: Array, held_out: Array) -> OrdinalTarget:
        """Return the target with the doubt at which held-out rows cost least; all other calibration is in the head."""
        seen = (truth >= 0) & ~np.isnan(held_out).any(axis=1)
        if not self.shares or not seen.any():
            return self
        return replace(self, doubt=Doubt.of(truth[seen], held_out[seen], self.shares).part)

    @property
    def _doubt(self) -> Doubt | None:
        return Doubt(self.shares, self.doubt) if self.shares else None

    def joint(self, other: Target) -> OrdinalTarget:
        """Return this target where both know the same classes, else one that knows those of both and doubts nothing."""
        assert isinstance(other, OrdinalTarget)
        if other.values == self.values:
            return self
        return OrdinalTarget(tuple(sorted({*self.values, *other.values})))

    def adopt(self, other: Target, scores: Array) -> Array:
        """Return scores ``float64 [n, k - 1]`` over these classes; one that the other does not know has no chance."""
        assert isinstance(other, OrdinalTarget)
        theirs = np.searchsorted(other.values, self.values[:-1], side="right") - 1
        ends = np.full((len(scores), 1), _CERTAIN), np.full((len(scores), 1), -_CERTAIN)
        return np.concatenate([ends[0], scores.astype(np.float64), ends[1]], axis=1)[:, theirs + 1]

    def said(self, scores: Array) -> Array:
        """Return the middle rank of the probabilities, ``int64 [n]``."""
        return median_ranks(scores)

    def errors(self, truth: Array, scores: Array) -> Array:
        """Return by how many ranks the answer is off."""
        return np.where(truth >= 0, np.abs(self.said(scores) - truth).astype(np.float64), np.nan)

    def evaluate(self, truth: Array, scores: Array, seed: int) -> Metrics:
        """Return rank error, quadratic weighted kappa, accuracy and log loss with their intervals."""
        return ordinal_metrics(truth, scores, seed=seed, doubt=self._doubt)

    def compare(self, truth: Array, scores: Array, others: Array, seed: int) -> Metrics:
        """Return the paired differences of the metrics of `evaluate`; the others are doubted as much."""
        return compare_ordinal(truth, scores, others, seed=seed, doubt=self._doubt)

    def differences(self, truth: Array, scores: Array, others: Array, rival: str) -> tuple[Section, ...]:
        """Return nothing: what there is to tell are differences of the metrics."""
        del truth, scores, others, rival
        return ()

    def baselines(self, truth_train: Array, truth_test: Array, seed: int) -> Mapping[str, Metrics]:
        """Return what always answering the middle class of training would score, by the classes' shares."""
        seen = exceeded(truth_train[truth_train >= 0], self.n_outputs)
        above = seen.sum(axis=0) + 1.0
        odds = np.log(above) - np.log(len(seen) + 2.0 - above)
        return {"median": ordinal_metrics(truth_test, np.tile(odds, (len(truth_test), 1)), seed=seed)}

    def sections(self, truth: Array, scores: Array, seed: int) -> tuple[Section, ...]:
        """Return what is taken for what, and how many ranks the answers are off."""
        del seed  # nothing here is drawn at random
        known = truth >= 0
        true, said = truth[known], self.said(scores[known])
        matrix = (self._matrix(true, said),) if len(self.values) <= _WIDEST_MATRIX else ()
        return (*matrix, _how_far(np.abs(true - said)))

    def _matrix(self, truth: Array, said: Array) -> Matrix:
        counts = confusion(truth, said, len(self.values))
        return Matrix(
            "Confusion matrix",
            self.labels,
            self.labels,
            tuple(tuple(int(c) for c in row) for row in counts),
            "Rows are the true classes, columns what the model said; near the diagonal it is a little off.",
        )

    def mistakes(self, truth: Array, scores: Array, limit: int) -> tuple[Mistake, ...]:
        """Return the answers that are the most ranks off."""
        said, shares = self.said(scores), rank_probabilities(scores, self._doubt)
        sure = shares[np.arange(len(said)), said]
        off = np.where(truth >= 0, np.abs(said - truth), 0)
        order = np.lexsort((-sure, -off))[:limit]
        return tuple(
            self._mistake(int(row), int(truth[row]), int(said[row]), float(sure[row]))
            for row in order
            if off[row] > 0
        )

    def _mistake(self, row: int, truth: int, said: int, share: float) -> Mistake:
        is_, told, n = self.labels[truth], self.labels[said], abs(truth - said)
        off = f"{n} rank{'' if n == 1 else 's'} off"
        return Mistake(row, f"is {is_}, said {told} ({off}, {share:.0%})", is_, told, share)

    def spell(self, truth: int) -> str:
        """Return the number."""
        return self.labels[truth]

    def answer(self, scores: Array) -> Mapping[str, Json]:
        """Return the middle class and the probabilities, highest first; the middle class need not be the likeliest."""
        shares, said = rank_probabilities(scores[None], self._doubt)[0], int(self.said(scores[None])[0])
        order = np.argsort(-shares, kind="stable").tolist()
        shown = {*order[:_MANY], said}
        return {
            "label": self.labels[said],
            "probabilities": {self.labels[i]: float(shares[i]) for i in order if i in shown},
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
                "probabilities": {"type": "object", **(few if len(self.values) <= _MANY else many)},
            },
        }


def _how_far(off: Array) -> Table:
    levels = np.unique(np.append(off, 0))
    rows = ((str(n), wilson(int((off <= n).sum()), len(off)), str(int((off == n).sum()))) for n in levels)
    return Table(
        "How far off it is",
        ("ranks off", "share, of answers at most this far off", "answers that are this far off"),
        tuple(rows),
    )


def _written(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _numbers(raw: Sequence[str | None]) -> list[float]:
    """Return the values, NaN where one is missing; texts are refused, for they have no order."""
    there = [one for one in raw if one is not None and one.strip().lower() not in ("", "nan")]
    if wrong := list(dict.fromkeys(one for one in there if not is_number(one))):
        shown = ", ".join(repr(one[:40]) for one in wrong[:_N_SHOWN]) + (
            " …" if len(wrong) > _N_SHOWN else ""
        )
        raise DataError(
            f"Ordered classes are read from numbers; {sum(not is_number(one) for one in there):,} of {len(there):,} "
            f"values are none, such as {shown}, and their order is not known.",
            next_step="Number the classes in their order, such as 1, 2, 3; or leave --task out where they have none.",
        )
    return [float(value) for value in parse(raw)]


@dataclass(frozen=True, slots=True)
class OrdinalTask:
    """One class out of several that stand in an order."""

    name: str = "ordinal"
    needs: frozenset[str] = frozenset({"pooled"})
    link: Link = "cumulative"

    def learn(self, raw: Sequence[str | None]) -> OrdinalTarget:
        """Take every number that occurs, ascending.

        Raises
        ------
        DataError
            A value is no number, or all are the same.
        """
        values = sorted({value for value in _numbers(raw) if isfinite(value)})
        if len(values) < 2:
            told = f"only the class {_written(values[0])}" if values else "no class"
            raise DataError(
                f"Found {told} in {len(raw):,} rows; an order needs at least two.",
                next_step="Add examples of other classes, or check which column was taken for the target.",
            )
        counts = Counter(_numbers(raw))
        n = sum(counts[value] for value in values)
        return OrdinalTarget(tuple(values), tuple(counts[value] / n for value in values), 1 / (n + 1))

    def restore(self, state: Mapping[str, Json]) -> OrdinalTarget:
        """Rebuild a target from its numbers, and what is doubted of its probabilities; nothing in bundles of old.

        Raises
        ------
        BundleError
            They are missing, or not at least two ascending ones, or there is not a share of each.
        """
        stored = state.get("values")
        values = [float(one) for one in stored if _is_finite(one)] if isinstance(stored, list) else []
        is_whole = isinstance(stored, list) and len(values) == len(stored) >= 2
        if not is_whole or any(low >= high for low, high in pairwise(values)):
            raise BundleError(
                f"An ordinal target needs at least two ascending numbers; the bundle holds {stored!r:.80}.",
                next_step="Get the bundle again from where it was made.",
            )
        shares, doubt = state.get("shares", []), state.get("doubt", 0.0)
        if not _are_shares(shares, len(values)) or not _is_finite(doubt):
            raise BundleError(
                f"An ordinal target needs a share of each of {len(values)} classes and a doubt; the bundle holds "
                f"{shares!r:.80} and {doubt!r:.40}.",
                next_step="Get the bundle again from where it was made.",
            )
        assert isinstance(shares, list)
        return OrdinalTarget(tuple(values), tuple(float(str(one)) for one in shares), float(str(doubt)))


def _are_shares(stored: Json, n: int) -> bool:
    return isinstance(stored, list) and len(stored) in (0, n) and all(map(_is_finite, stored))


def _is_finite(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


ORDINAL = OrdinalTask()
