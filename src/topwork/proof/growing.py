"""How the score grows with the number of labels, measured with the probe on nested parts of the training rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from topwork.contracts import (
    Array,
    Chart,
    Estimate,
    Goal,
    Growth,
    LinearHead,
    Point,
    Series,
    has_classes,
    known_rows,
)
from topwork.errors import UsageError
from topwork.evaluation.growth import LearningCurve, grow, one_minus
from topwork.steps.order import Order, Rows
from topwork.training.axes import Axes
from topwork.training.judging import of_rows
from topwork.training.links import solver_of

__all__ = ["Grown", "growth_of"]

_SHARES = (0.125, 0.1768, 0.25, 0.3536, 0.5, 0.7071, 1.0)
_N_RUNS = 4
_LEAST_ROWS = 20
_LEAST_PER_LABEL = 2
_HOW = "Measured with a linear head on the frozen network, fitted on parts of the training rows."


@dataclass(frozen=True, slots=True)
class Grown:
    """The score at several numbers of labels as a chart, of how many there are; and what twice as many would bring.

    ``growth`` is None where the score is no share: the curve and its ranges are made for shares of errors.
    """

    n_now: int
    chart: Chart
    growth: Growth | None

    def measured(self) -> list[tuple[float, float]]:
        """Return the numbers of labels and the scores that were measured."""
        return [(p.x, p.y) for series in self.chart.series if series.style == "dots" for p in series.points]


def growth_of(order: Order, rows: Rows, strengths: dict[str, float], name: str) -> Grown | None:
    """Fit the probe on nested parts and read off what twice as many labels would bring.

    Parameters
    ----------
    rows
        With the features of the frozen trunk.
    strengths
        The probe's C of each target.

    Returns
    -------
    None where there are too few rows for three sizes.
    """
    goal, target = rows.goals()[name], rows.targets[name]
    n_now = int(known_rows(goal.truth).sum())
    n_test = int(known_rows(rows.truth[name][rows.split.test]).sum())
    sizes = _sizes(n_now, goal.n_outputs)
    if len(sizes) < 3 or n_test == 0:
        return None
    scores = _scores(order, rows, name, strengths[name], sizes)
    if not has_classes(target.link):
        chart = _chart(target.main_metric, sizes, scores, None)
        return Grown(n_now, chart, None) if np.isfinite(scores).all() else None
    try:
        curve, now, doubled = grow(np.array(sizes), 1 - scores, n_test, seed=order.seed)
    except UsageError:
        return None
    chart = _chart(target.main_metric, sizes, scores, curve)
    growth = Growth(
        metric=target.main_metric,
        n_now=n_now,
        now=one_minus(now),
        doubled=one_minus(doubled),
        chart=chart,
        note=_HOW,
    )
    return Grown(n_now, chart, growth)


def _scores(order: Order, rows: Rows, name: str, strength: float, sizes: list[int]) -> Array:
    """Return the main metric of probes on so many rows, ``float64 [sizes, runs]``; small parts lie in larger ones."""
    goal, truth_test = rows.goals()[name], rows.truth[name][rows.split.test]
    assert goal.score is not None
    known, scores = np.flatnonzero(known_rows(goal.truth)), np.zeros((len(sizes), _N_RUNS))
    with order.around.progress.track("Growing the data", len(sizes) * _N_RUNS, "fits") as advance:
        for run in range(_N_RUNS):
            draw = np.random.default_rng([order.seed, run])
            shuffled = _stratified(known, goal.truth[known], draw)
            for i, size in enumerate(sizes):
                part = np.sort(shuffled[:size])
                axes = Axes.of(rows.fit_features[part], own_units=order.own_units)
                found = _fit(axes, of_rows({name: goal}, part)[name], strength)
                scores[i, run] = goal.score(truth_test, rows.test_features @ found.weight.T + found.bias)
                advance(1)
    return scores


def _sizes(n: int, k: int) -> list[int]:
    least = max(_LEAST_ROWS, _LEAST_PER_LABEL * k)
    return sorted({size for share in _SHARES if (size := round(n * share)) >= least})


def _stratified(known: Array, truth: Array, draw: np.random.Generator) -> Array:
    """Shuffle rows so that every beginning holds about each label's share of them; else at random."""
    if truth.dtype.kind not in "iu" or truth.ndim > 1:
        return draw.permutation(known)
    place = np.zeros(len(known))
    for label in np.unique(truth):
        own = np.flatnonzero(truth == label)
        place[draw.permutation(own)] = (np.arange(len(own)) + draw.random()) / len(own)
    return known[np.argsort(place, kind="stable")]


def _fit(axes: Axes, goal: Goal, strength: float) -> LinearHead:
    return solver_of(goal.link).finished_head(axes, goal, strength)


def _chart(metric: str, sizes: list[int], scores: Array, curve: LearningCurve | None) -> Chart:
    measured = tuple(
        Point(float(size), float(runs.mean()), float(runs.min()), float(runs.max()))
        for size, runs in zip(sizes, scores, strict=True)
    )
    dots = Series("measured, least to most", measured, "dots")
    return Chart(
        title="How the score grows with the number of labels",
        x_label="labelled training examples",
        y_label=metric,
        series=(dots,) if curve is None else (_fitted(curve), dots),
        caption=(
            _HOW
            if curve is None
            else "The curve ends at twice the examples at hand; the band holds the test set's uncertainty too."
        ),
        y_kind="number" if curve is None else "share",
        x_log=True,
    )


def _fitted(curve: LearningCurve) -> Series:
    points = (Point(x, *_of(one_minus(error))) for x, error in zip(curve.sizes, curve.errors, strict=True))
    return Series("fitted curve, 95 % range", tuple(points), "line")


def _of(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high
