"""Survival: how soon an event is to be expected of every input, where it has not been seen of every one.

Truth is a time and whether the event happened then (see `durations.py`). The score is a log hazard: how many times as
often as of the average input the event happens, at any time. Answers are that number, a named band of risk, and the
share of such inputs that is left without the event at a few times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, isfinite, log, log10

import numpy as np

from topwork.contracts import (
    Array,
    Chart,
    Estimate,
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
    row_numbers,
)
from topwork.errors import BundleError, DataError
from topwork.evaluation.lifetimes import Survival, baseline_hazard, hazard_ratio, survival
from topwork.evaluation.survival import compare_survival, pairs_in_order, survival_metrics
from topwork.tasks.durations import parse
from topwork.tasks.numbers import spelled

__all__ = ["SURVIVAL", "SurvivalTarget", "SurvivalTask"]

_BANDS = ("low", "medium", "high")
_HORIZONS = (0.25, 0.5, 0.75, 0.9)
"""Parts of the events by whose times an answer says what is left."""
_MOST_TIMES = 60
"""Of the baseline that a target keeps."""
_MOST_STEPS = 60
"""Of one curve; a chart draws 200 points, and a step takes two."""
_FEW_EVENTS = 20
_LARGEST = 700.0
"""Of an exponent; beyond it is no number."""
_GROUPS = 5
_LEAST_PER_GROUP = 10


@dataclass(frozen=True, slots=True)
class SurvivalTarget:
    """A column of times: what training saw, and what held-out scores say of the scale.

    Attributes
    ----------
    n_events, n_censored
        Training rows with and without an event.
    first, last
        The earliest and the latest time of a training row.
    cuts
        Scores between the bands, at thirds of the held-out rows; empty where that is not known.
    times, hazards
        The cumulative hazard of an input of score 0 at some times of events, both ascending; empty where not known.
    horizons
        The times at which an answer says what is left, some of ``times``.
    """

    n_events: int
    n_censored: int
    first: float
    last: float
    cuts: tuple[float, ...] = ()
    times: tuple[float, ...] = ()
    hazards: tuple[float, ...] = ()
    horizons: tuple[float, ...] = ()
    task: str = "survival"
    link: Link = "hazard"
    main_metric: str = "concordance"

    @property
    def n_outputs(self) -> int:
        """Return 1: the log hazard."""
        return 1

    @property
    def labels(self) -> tuple[str, ...]:
        """Return nothing: a time has no classes."""
        return ()

    @property
    def understood(self) -> tuple[str, ...]:
        """Say how many events there are to learn from."""
        note = "; so few say little of what makes it likely" if self.n_events < _FEW_EVENTS else ""
        if not self.n_censored:
            note += (
                "; if some are not, write their times as 12.5+, or name the column that says it with --event"
            )
        span = f"{self._spelled(self.first)} to {self._spelled(self.last)}"
        return (
            f"Times from {span}, of which {self.n_events:,} are events and {self.n_censored:,} are not{note}.",
        )

    @property
    def about_mistakes(self) -> tuple[str, str]:
        """Return title and caption of the gallery of `mistakes`."""
        return (
            "Most out of order",
            "Test rows with the most pairs in the wrong order: an event that came before those of higher risk, or none "
            "seen for long at high risk. Some of the true times may be wrong.",
        )

    def state(self) -> Mapping[str, Json]:
        """Return all that `SurvivalTask.restore` reads back."""
        several = {name: list(getattr(self, name)) for name in ("cuts", "times", "hazards", "horizons")}
        return {
            "n_events": self.n_events,
            "n_censored": self.n_censored,
            "first": self.first,
            "last": self.last,
            **several,
        }

    def encode(self, raw: Sequence[str | None]) -> Array:
        """Return times and whether there was an event, ``float64 [n, 2]``; NaN for a missing one.

        Raises
        ------
        DataError
            A value is no time.
        """
        return parse(raw)

    # --- what held-out scores teach ---------------------------------------------------------------------

    def calibrated(self, truth: Array, held_out: Array) -> SurvivalTarget:
        """Return the target with bands and a baseline hazard by held-out scores; itself where they hold no event."""
        known = known_rows(truth) & ~np.isnan(held_out[:, 0])
        times, hazards = baseline_hazard(truth[known], held_out[known, 0])
        if not len(times):
            return self
        seen = truth[known & (truth[:, 1] > 0), 0]
        horizons = _rounded(np.quantile(seen, _HORIZONS, method="higher"))
        kept = np.unique([*np.quantile(seen, np.linspace(0, 1, _MOST_TIMES), method="higher"), *horizons])
        cuts = np.quantile(held_out[known, 0], [1 / 3, 2 / 3])
        return replace(
            self,
            cuts=tuple(map(float, cuts)),
            times=tuple(map(float, kept)),
            hazards=tuple(_at(times, hazards, time) for time in kept),
            horizons=tuple(map(float, horizons)),
        )

    def joint(self, other: Target) -> SurvivalTarget:
        """Return this target: any time is one to both."""
        del other
        return self

    def adopt(self, other: Target, scores: Array) -> Array:
        """Return scores ``[n, 1]`` of another target as log hazards over this one's baseline, where both have one."""
        assert isinstance(other, SurvivalTarget)
        shared = [time for time in self.horizons if self._hazard(time) > 0 and other._hazard(time) > 0]
        apart = log(other._hazard(shared[-1]) / self._hazard(shared[-1])) if shared else 0.0
        return np.asarray(scores, np.float64) + apart

    def _hazard(self, time: float) -> float:
        """Return the cumulative hazard of an input of score 0 at a time; 0 where it is not known."""
        return _at(np.array(self.times), np.array(self.hazards), time)

    def _left(self, time: float, scores: Array) -> Array:
        """Return the share that is left without the event at a time, for each of ``scores [n]``."""
        return np.asarray(np.exp(-self._hazard(time) * np.exp(np.minimum(scores, _LARGEST))))

    def said(self, scores: Array) -> Array:
        """Return the time by which half of such inputs have had the event; 0 in the second column where fewer have.

        ``float64 [n, 2]``.
        """
        if not self.times:
            return np.zeros((len(scores), 2))
        passed = np.array(self.hazards) * np.exp(np.minimum(scores[:, :1].astype(np.float64), _LARGEST))
        has_half = passed >= log(2)
        place = np.where(has_half.any(axis=1), has_half.argmax(axis=1), -1)
        return np.stack([np.array(self.times)[place], (place >= 0).astype(np.float64)], axis=1)

    # --- how good it is ---------------------------------------------------------------------------------

    def evaluate(self, truth: Array, scores: Array, seed: int) -> Metrics:
        """Return concordance and Cox loss with their intervals."""
        del seed  # nothing here is drawn at random
        return survival_metrics(truth, scores)

    def compare(self, truth: Array, scores: Array, others: Array, seed: int) -> Metrics:
        """Return the paired differences of the metrics of `evaluate`."""
        del seed
        return compare_survival(truth, scores, others)

    def differences(self, truth: Array, scores: Array, others: Array, rival: str) -> tuple[Section, ...]:
        """Return nothing: what there is to tell are differences of the metrics."""
        del truth, scores, others, rival
        return ()

    def baselines(self, truth_train: Array, truth_test: Array, seed: int) -> Mapping[str, Metrics]:
        """Return what giving every input the same risk would score."""
        del truth_train, seed
        return {"same risk": survival_metrics(truth_test, np.zeros((len(truth_test), 1)))}

    def errors(self, truth: Array, scores: Array) -> Array:
        """Return the share of each row's pairs that are in the wrong order; 0 where it can be compared with none."""
        in_order, pairs = pairs_in_order(truth, scores[:, 0])
        return np.where(known_rows(truth), (pairs - in_order) / np.maximum(pairs, 1), np.nan)

    def sections(self, truth: Array, scores: Array, seed: int) -> tuple[Section, ...]:
        """Return what is left of each band over time, and predicted against observed survival."""
        del seed
        known = known_rows(truth)
        if not known.any():
            return ()
        truth, scores = truth[known], np.asarray(scores[known, 0], np.float64)
        bands = self._bands(scores, self.cuts or tuple(np.quantile(scores, [1 / 3, 2 / 3])))
        curves = {name: survival(truth[own]) for name, own in bands.items()}
        sections: list[Section] = [_curves_chart(curves), self._table(truth, scores, bands, curves)]
        if (time := self._middle(float(truth[:, 0].max()))) is not None:
            sections += self._against(truth, scores, time)
        return tuple(sections)

    def _bands(self, scores: Array, cuts: Sequence[float]) -> dict[str, Array]:
        """Return the rows of each band that has any, ``bool [n]``, from low to high."""
        place = np.searchsorted(cuts, scores, side="right")
        return {name: place == i for i, name in enumerate(_BANDS) if (place == i).any()}

    def _middle(self, last: float) -> float | None:
        """Return the horizon to judge predictions at: the middle one, or an earlier one that was watched for."""
        watched = [time for time in self.horizons[:2] if time <= last]
        return watched[-1] if watched else None

    def _table(
        self, truth: Array, scores: Array, bands: Mapping[str, Array], curves: Mapping[str, Survival]
    ) -> Table:
        time = self._middle(float(truth[:, 0].max()))
        at = "" if time is None else f" at {self._spelled(time)}"
        rows = [
            (
                name,
                str(int(own.sum())),
                str(int(truth[own, 1].sum())),
                *(
                    ()
                    if time is None
                    else (
                        _share(curves[name].at(time)),
                        f"{100 * self._left(time, scores[own]).mean():.1f} %",
                    )
                ),
            )
            for name, own in bands.items()
        ]
        columns = ("band", "test rows", "events")
        told = () if time is None else (f"share left{at}, observed", f"share left{at}, predicted")
        return Table("Bands of risk", (*columns, *told), tuple(rows), _apart(truth, bands))

    def _against(self, truth: Array, scores: Array, time: float) -> list[Section]:
        """Draw predicted against observed survival at a time, in groups of equal size by what was predicted."""
        predicted = self._left(time, scores)
        n_groups = min(_GROUPS, len(truth) // _LEAST_PER_GROUP)
        if n_groups < 2:
            return []
        groups = np.array_split(np.argsort(predicted, kind="stable"), n_groups)
        points = tuple(_observed(float(predicted[rows].mean()), truth[rows], time) for rows in groups)
        dots = tuple(point for point in points if point is not None)
        chart = Chart(
            f"Predicted against observed share left at {self._spelled(time)}",
            "predicted",
            "observed",
            (
                Series("perfect", (Point(0.0, 0.0), Point(1.0, 1.0)), "dashed"),
                Series("test rows", dots, "dots"),
            ),
            f"Test rows in {n_groups} groups of equal size by what was predicted; observed by Kaplan and Meier's "
            "estimate. Above the dashed line fewer had the event than was predicted.",
            x_kind="share",
            y_kind="share",
        )
        return [chart] if dots else []

    def mistakes(self, truth: Array, scores: Array, limit: int) -> tuple[Mistake, ...]:
        """Return the rows with the most pairs in the wrong order."""
        in_order, pairs = pairs_in_order(truth, scores[:, 0])
        wrong = pairs - in_order
        order = [row for row in np.argsort(-wrong, kind="stable")[:limit] if wrong[row] > 0]
        return tuple(
            self._mistake(int(row), truth[row], float(scores[row, 0]), (wrong[row], pairs[row]))
            for row in order
        )

    def _mistake(self, row: int, truth: Array, score: float, counts: tuple[float, float]) -> Mistake:
        wrong, pairs = counts
        risk, is_ = self._risk(score), self.spell(truth)
        band = self._band(score)
        told = f"{band} risk" if band else f"risk {risk:.2f}"
        return Mistake(
            row, f"{is_}; {told}, {wrong / pairs:.0%} of its {pairs:,.0f} pairs in the wrong order", is_, told
        )

    # --- what a client sees -----------------------------------------------------------------------------

    def spell(self, truth: Array) -> str:
        """Return ``event at 12.5``, or ``no event until 12.5``."""
        time, happened = float(truth[0]), float(truth[1])
        return f"{'event at' if happened else 'no event until'} {self._spelled(time)}"

    def _spelled(self, time: float) -> str:
        if time == round(time):
            return f"{time:,.0f}"
        return spelled(time, (self.last - self.first) or abs(time))

    def _risk(self, score: float) -> float:
        return exp(min(score, _LARGEST))

    def _band(self, score: float) -> str | None:
        return _BANDS[int(np.searchsorted(self.cuts, score, side="right"))] if self.cuts else None

    def answer(self, scores: Array) -> Mapping[str, Json]:
        """Return the risk relative to the average, its band, and the share that is left at each horizon."""
        score = float(scores[0])
        left = [{"time": time, "probability": float(self._left(time, scores)[0])} for time in self.horizons]
        return {"risk": self._risk(score), "band": self._band(score), "survival": left}

    def answer_schema(self) -> Mapping[str, Json]:
        """Describe `answer` as JSON Schema."""
        one: Json = {
            "type": "object",
            "required": ["time", "probability"],
            "additionalProperties": False,
            "properties": {
                "time": {"type": "number", "minimum": 0},
                "probability": {"type": "number", "minimum": 0, "maximum": 1},
            },
        }
        n = len(self.horizons)
        band: Json = {"type": "string", "enum": list(_BANDS)} if self.cuts else {"type": "null"}
        return {
            "type": "object",
            "description": "risk: how many times as often as of the average input the event happens. band: thirds of "
            "the held-out inputs by risk. survival: the share of such inputs without the event at each time.",
            "required": ["risk", "band", "survival"],
            "additionalProperties": False,
            "properties": {
                "risk": {"type": "number", "minimum": 0},
                "band": band,
                "survival": {"type": "array", "minItems": n, "maxItems": n, "items": one},
            },
        }


def _at(times: Array, hazards: Array, time: float) -> float:
    """Return the value of a step function, 0 before its first time."""
    place = int(np.searchsorted(times, time, side="right")) - 1
    return float(hazards[place]) if place >= 0 else 0.0


def _rounded(times: Array) -> Array:
    """Return different times with two digits, which a person reads more easily; ``float64`` ascending."""
    return np.unique([round(float(time), 1 - int(log10(time) // 1)) if time > 0 else 0.0 for time in times])


def _share(estimate: Estimate) -> str:
    return estimate.in_percent() if estimate.is_known else "–"


def _observed(predicted: float, truth: Array, time: float) -> Point | None:
    found = survival(truth).at(time)
    return Point(predicted, found.value, found.low, found.high) if found.is_known else None


def _curves_chart(curves: Mapping[str, Survival]) -> Chart:
    return Chart(
        "Kaplan-Meier curves of the bands of risk",
        "time",
        "share without the event",
        tuple(Series(f"{name} risk", _steps(one)) for name, one in curves.items()),
        "Test rows by the band that they are given, with 95 % intervals (Greenwood's, on the scale of log(−log)). "
        "Curves that lie apart in the order of the bands show that these mean something.",
        y_kind="share",
    )


def _steps(curve: Survival) -> tuple[Point, ...]:
    """Return the corners of a curve that falls at the time of an event and stays until the next."""
    kept = np.unique(np.linspace(0, len(curve.times) - 1, min(len(curve.times), _MOST_STEPS)).astype(int))
    before = Point(0.0, 1.0, 1.0, 1.0)
    points = [before]
    for i in kept:
        time = float(curve.times[i])
        after = Point(time, float(curve.shares[i]), float(curve.low[i]), float(curve.high[i]))
        points += [replace(before, x=time), after]
        before = after
    return (*points, replace(before, x=max(curve.last, before.x)))


def _apart(truth: Array, bands: Mapping[str, Array]) -> str:
    """Say how far the outer bands are apart."""
    if len(bands) < 2:
        return "All test rows lie in one band."
    (low, *_, high) = bands
    rows = row_numbers(bands[low] | bands[high])
    found = hazard_ratio(truth[rows], bands[high][rows])
    if not found.is_known:
        return f"Too few events to tell how far the bands {high} and {low} are apart."
    return (
        f"In the band {high} the event happens {found.value:.2f} times as often as in the band {low} "
        f"({found.low:.2f} to {found.high:.2f}, a Cox regression's hazard ratio); where that holds 1, nothing is shown."
    )


@dataclass(frozen=True, slots=True)
class SurvivalTask:
    """How soon an event is to be expected of each input."""

    name: str = "survival"
    needs: frozenset[str] = frozenset({"pooled"})
    link: Link = "hazard"

    def learn(self, raw: Sequence[str | None]) -> SurvivalTarget:
        """Count events, and take the range of times.

        Raises
        ------
        DataError
            A value is no time, there are fewer than two events, or all times are the same.
        """
        truth = parse(raw)
        rows = truth[known_rows(truth)]
        n_events = int(rows[:, 1].sum())
        if n_events < 2:
            raise DataError(
                f"Found {n_events or 'no'} event{'s' if n_events != 1 else ''} in {len(rows):,} rows with a time; what "
                "makes it likely can only be learned from rows that had it.",
                next_step="Watch for longer, or check with --target and --event which columns hold the times and the "
                "events: a time followed by + is one without an event.",
            )
        if len(np.unique(rows[:, 0])) < 2:
            raise DataError(
                f"All {len(rows):,} times are {rows[0, 0]:g}; what comes sooner cannot be learned from that.",
                next_step="Check which column was taken for the times, and name it with --target.",
            )
        first, last = float(rows[:, 0].min()), float(rows[:, 0].max())
        return SurvivalTarget(n_events, len(rows) - n_events, first, last)

    def restore(self, state: Mapping[str, Json]) -> SurvivalTarget:
        """Rebuild a target from its numbers.

        Raises
        ------
        BundleError
            A number is missing, or none.
        """
        counts = [state.get(name) for name in ("n_events", "n_censored")]
        first, last = (_numbers(state, [state.get(name)])[0] for name in ("first", "last"))
        cuts, times, hazards, horizons = (
            _numbers(state, state.get(name)) for name in ("cuts", "times", "hazards", "horizons")
        )
        are_sorted = all(list(one) == sorted(one) for one in (cuts, times, hazards, horizons))
        fit = len(cuts) in (0, len(_BANDS) - 1) and len(times) == len(hazards) and set(horizons) <= set(times)
        n_events, n_censored = (one if type(one) is int and one >= 0 else -1 for one in counts)
        if not (are_sorted and fit and n_events >= 0 and n_censored >= 0 and 0 <= first <= last):
            raise _broken(state)
        return SurvivalTarget(n_events, n_censored, first, last, cuts, times, hazards, horizons)


def _numbers(state: Mapping[str, Json], stored: Json) -> tuple[float, ...]:
    values = stored if isinstance(stored, list | tuple) else [None]
    found = [
        float(one)
        for one in values
        if isinstance(one, int | float) and not isinstance(one, bool) and isfinite(one)
    ]
    if len(found) != len(values):
        raise _broken(state)
    return tuple(found)


def _broken(state: Mapping[str, Json]) -> BundleError:
    return BundleError(
        "A survival target needs counts of events, times, and lists of ascending numbers: cuts, times, hazards and "
        f"horizons; the bundle holds {dict(state)!s:.200}.",
        next_step="Get the bundle again from where it was made.",
    )


SURVIVAL = SurvivalTask()
