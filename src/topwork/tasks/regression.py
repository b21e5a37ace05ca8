"""Regression: a number for every input, with an interval that it lies in as often as is promised.

Numbers are read strictly: what is no plain number is an error and never a guess. Truth and scores are in units of the
training values' standard deviation from their mean, so that every head sees the same scale; answers and metrics are in
the unit of the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from topwork.contracts import (
    Array,
    Chart,
    Json,
    Link,
    Metrics,
    Mistake,
    Point,
    Section,
    Series,
    Table,
    Target,
    known_rows,
)
from topwork.errors import BundleError, DataError
from topwork.evaluation.classification import check_scores
from topwork.evaluation.conformal import half_width
from topwork.evaluation.regression import compare_regression, interval_metrics, regression_metrics
from topwork.tasks.numbers import parse, spelled

__all__ = ["REGRESSION", "RegressionTarget", "RegressionTask"]

_LEVEL = 0.9
_MOST_POINTS = 200
"""Of one series of a chart; more would hide each other."""
_N_BARS = 20
_PARTS = (0.5, 0.75, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class RegressionTarget:
    """A column of numbers: mean, standard deviation and median of the training values, in the unit of the data.

    Attributes
    ----------
    half_width
        How far on either side of a prediction its interval reaches, in the unit of the data; None where that is not
        known.
    level
        The share of new values that is to lie within.
    """

    mean: float
    deviation: float
    median: float
    half_width: float | None = None
    level: float = _LEVEL
    task: str = "regression"
    link: Link = "identity"
    main_metric: str = "r2"

    @property
    def n_outputs(self) -> int:
        """Return 1: the score is the prediction."""
        return 1

    @property
    def labels(self) -> tuple[str, ...]:
        """Return nothing: a number has no classes."""
        return ()

    @property
    def understood(self) -> tuple[str, ...]:
        """Return nothing: what is no plain number is refused."""
        return ()

    @property
    def about_mistakes(self) -> tuple[str, str]:
        """Return title and caption of the gallery of `mistakes`."""
        return (
            "Largest mistakes",
            "Answers on the test rows that are furthest from the truth, the furthest first. Some of the true values "
            "may be wrong.",
        )

    def state(self) -> Mapping[str, Json]:
        """Return all that `RegressionTask.restore` reads back."""
        return {
            "mean": self.mean,
            "deviation": self.deviation,
            "median": self.median,
            "half_width": self.half_width,
            "level": self.level,
        }

    def encode(self, raw: Sequence[str | None]) -> Array:
        """Return the values in standard deviations from the mean, ``float64 [n]``; NaN for a missing one.

        Raises
        ------
        DataError
            A value is no number.
        """
        return np.asarray((parse(raw) - self.mean) / self.deviation)

    def calibrated(self, truth: Array, held_out: Array) -> RegressionTarget:
        """Return the target with the interval that held-out errors call for."""
        known = known_rows(truth) & ~np.isnan(held_out[:, 0])
        found = half_width(held_out[known, 0] - truth[known], self.level)
        return replace(self, half_width=None if found is None else found * self.deviation)

    def joint(self, other: Target) -> RegressionTarget:
        """Return this target: any number is one to both."""
        del other
        return self

    def adopt(self, other: Target, scores: Array) -> Array:
        """Return scores ``[n, 1]`` of another target in this one's units."""
        assert isinstance(other, RegressionTarget)
        return np.asarray(
            (scores.astype(np.float64) * other.deviation + other.mean - self.mean) / self.deviation
        )

    def said(self, scores: Array) -> Array:
        """Return the value in standard deviations from the mean, ``float64 [n]``."""
        return np.asarray(scores[:, 0], np.float64)

    def evaluate(self, truth: Array, scores: Array, seed: int) -> Metrics:
        """Return R², RMSE and MAE with their intervals, and coverage and width of the prediction intervals."""
        del seed  # nothing here is drawn at random
        check_scores(truth, scores)
        found = regression_metrics(truth, scores[:, 0], unit=self.deviation)
        if self.half_width is None:
            return found
        width = self.half_width / self.deviation
        return {**found, **interval_metrics(truth, scores[:, 0], width, unit=self.deviation)}

    def compare(self, truth: Array, scores: Array, others: Array, seed: int) -> Metrics:
        """Return the paired differences of R², RMSE and MAE; the intervals are this model's own."""
        del seed
        check_scores(truth, scores)
        check_scores(truth, others)
        return compare_regression(truth, scores[:, 0], others[:, 0], unit=self.deviation)

    def differences(self, truth: Array, scores: Array, others: Array, rival: str) -> tuple[Section, ...]:
        """Return nothing: what there is to tell are differences of the metrics."""
        del truth, scores, others, rival
        return ()

    def baselines(self, truth_train: Array, truth_test: Array, seed: int) -> Mapping[str, Metrics]:
        """Return what always answering the mean, and the median, of the training values would score."""
        del truth_train, seed  # the target was learned on these rows and holds both
        center = (self.median - self.mean) / self.deviation
        return {
            name: regression_metrics(truth_test, np.full(len(truth_test), value), unit=self.deviation)
            for name, value in (("mean", 0.0), ("median", center))
        }

    def sections(self, truth: Array, scores: Array, seed: int) -> tuple[Section, ...]:
        """Return predicted against true, how far off the answers are, and what the intervals hold."""
        known = known_rows(truth)
        if not known.any():
            return ()
        true, said = self._values(truth[known]), self._values(scores[known, 0])
        shown = np.sort(np.random.default_rng(seed).permutation(len(true))[:_MOST_POINTS])
        charts = (
            _against(true[shown], said[shown]),
            _histogram(said - true),
            _by_answer(said[shown], (said - true)[shown]),
        )
        held = () if self.half_width is None else (self._held(true, said),)
        return (*charts, self._how_far(said - true), *held)

    def _values(self, standardised: Array) -> Array:
        return np.asarray(standardised, np.float64) * self.deviation + self.mean

    def _how_far(self, errors: Array) -> Table:
        sizes, mean = np.abs(errors), float(errors.mean())
        rows = tuple(
            (_percent(part), self._spelled(float(np.quantile(sizes, part, method="higher"))))
            for part in _PARTS
        )
        return Table(
            "How far off it is",
            ("share of the answers", "at most this far off"),
            (*rows, ("all", self._spelled(float(sizes.max())))),
            f"On the test rows. The mean answer is {self._spelled(abs(mean))} too {'high' if mean > 0 else 'low'}.",
        )

    def _held(self, true: Array, said: Array) -> Table:
        """Tell coverage of the intervals, by thirds of the answer: one width for all may fit some of them badly."""
        assert self.half_width is not None
        edges = np.quantile(said, [1 / 3, 2 / 3])
        part = np.searchsorted(edges, said)
        names = f"up to {self._spelled(edges[0])}", "in between", f"above {self._spelled(edges[1])}"
        rows = [("all", np.ones(len(said), bool)), *((name, part == i) for i, name in enumerate(names))]
        return Table(
            f"Do the intervals of {_percent(self.level)} hold the truth?",
            ("answers", "coverage, true values inside", "test rows"),
            tuple(
                (
                    name,
                    interval_metrics(true[own], said[own], self.half_width)["coverage"],
                    str(int(own.sum())),
                )
                for name, own in rows
                if own.any()
            ),
            f"An interval reaches {self._spelled(self.half_width)} to either side of every answer: as far as the "
            f"errors of rows that were held out call for, so that {_percent(self.level)} of new values lie inside.",
        )

    def mistakes(self, truth: Array, scores: Array, limit: int) -> tuple[Mistake, ...]:
        """Return the answers that are furthest from the truth."""
        off = np.where(known_rows(truth), np.abs(scores[:, 0] - truth), -1.0)
        worst = np.argsort(-off, kind="stable")[:limit]
        return tuple(self._mistake(int(row), truth[row], scores[row, 0]) for row in worst if off[row] > 0)

    def _mistake(self, row: int, true: float, said: float) -> Mistake:
        is_, told = self.spell(true), self.spell(said)
        off = self._spelled(abs(float(said - true)) * self.deviation)
        return Mistake(row, f"is {is_}, said {told} ({off} off)", is_, told)

    def errors(self, truth: Array, scores: Array) -> Array:
        """Return the absolute errors, in the unit of the data."""
        return np.asarray(np.abs(scores[:, 0] - truth) * self.deviation)

    def spell(self, truth: float) -> str:
        """Return a value in the unit of the data, with three digits of what values differ by."""
        return self._spelled(float(truth) * self.deviation + self.mean)

    def _spelled(self, value: float) -> str:
        return spelled(value, self.deviation)

    def answer(self, scores: Array) -> Mapping[str, Json]:
        """Return the value, and between which bounds it lies; these are None where they are not known."""
        value = float(scores[0]) * self.deviation + self.mean
        if self.half_width is None:
            return {"value": value, "low": None, "high": None}
        return {"value": value, "low": value - self.half_width, "high": value + self.half_width}

    def answer_schema(self) -> Mapping[str, Json]:
        """Describe `answer` as JSON Schema."""
        bound: Json = {"type": "number"} if self.half_width is not None else {"type": "null"}
        return {
            "type": "object",
            "description": f"{_percent(self.level)} of new values lie between low and high.",
            "required": ["value", "low", "high"],
            "additionalProperties": False,
            "properties": {"value": {"type": "number"}, "low": bound, "high": bound},
        }


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _against(true: Array, said: Array) -> Chart:
    ends = [float(min(true.min(), said.min())), float(max(true.max(), said.max()))]
    order = np.argsort(true, kind="stable")
    return Chart(
        "Predicted against true",
        "true value",
        "predicted value",
        (
            Series("perfect", tuple(Point(end, end) for end in ends), "dashed"),
            Series("test rows", _points(true[order], said[order]), "dots"),
        ),
        "Each dot is a test row; above the dashed line the answer was too high.",
    )


def _by_answer(said: Array, errors: Array) -> Chart:
    order = np.argsort(said, kind="stable")
    ends = float(said.min()), float(said.max())
    return Chart(
        "Residuals",
        "predicted value",
        "predicted less true",
        (
            Series("none", tuple(Point(end, 0.0) for end in ends), "dashed"),
            Series("test rows", _points(said[order], errors[order]), "dots"),
        ),
        "A slope or a funnel shows values that it does worse on.",
    )


def _histogram(errors: Array) -> Chart:
    counts, edges = np.histogram(errors, bins=min(_N_BARS, max(1, len(errors) // 3)))
    return Chart(
        "How the errors are spread",
        "predicted less true",
        "test rows",
        (Series("test rows", _points((edges[1:] + edges[:-1]) / 2, counts), "bars"),),
    )


def _points(x: Array, y: Array) -> tuple[Point, ...]:
    return tuple(Point(float(a), float(b)) for a, b in zip(x, y, strict=True))


@dataclass(frozen=True, slots=True)
class RegressionTask:
    """A number for each input."""

    name: str = "regression"
    needs: frozenset[str] = frozenset({"pooled"})
    link: Link = "identity"

    def learn(self, raw: Sequence[str | None]) -> RegressionTarget:
        """Take mean, deviation and median of the values.

        Raises
        ------
        DataError
            A value is no number, or all are the same.
        """
        values = parse(raw)
        values = values[known_rows(values)]
        if len(np.unique(values)) < 2:
            told = f"only the value {values[0]:g}" if len(values) else "no value"
            raise DataError(
                f"Found {told} in {len(raw):,} rows; a number that does not vary cannot be learned.",
                next_step="Check which column was taken for the target, and name it with --target.",
            )
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = float(values.mean()), float(values.std())
        if not (isfinite(mean) and isfinite(deviation) and deviation > 0):
            raise DataError(
                f"The values run from {values.min():g} to {values.max():g}; they have no finite standard deviation.",
                next_step="Give the values in another unit.",
            )
        return RegressionTarget(mean, deviation, float(np.median(values)))

    def restore(self, state: Mapping[str, Json]) -> RegressionTarget:
        """Rebuild a target from its numbers.

        Raises
        ------
        BundleError
            A number is missing, or none.
        """
        mean, deviation, median, level = (_number(state, n) for n in ("mean", "deviation", "median", "level"))
        width = None if state.get("half_width") is None else _number(state, "half_width")
        if not (deviation > 0 and 0 < level < 1 and (width is None or width >= 0)):
            raise _broken(state)
        return RegressionTarget(mean, deviation, median, width, level)


def _number(state: Mapping[str, Json], name: str) -> float:
    value = state.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        raise _broken(state)
    return float(value)


def _broken(state: Mapping[str, Json]) -> BundleError:
    return BundleError(
        "A regression target needs mean, deviation, median and level as numbers, and half_width as one or as null; "
        f"the bundle holds {dict(state)!s:.200}.",
        next_step="Get the bundle again from where it was made.",
    )


REGRESSION = RegressionTask()
