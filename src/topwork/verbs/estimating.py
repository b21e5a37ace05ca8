"""`estimate`: what a fit would take, from a timed trial of the real pipeline on a few rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from topwork.bundle.tensors import encode_arrays
from topwork.contracts import Array, Budget, Clock, FitJob, Fold, Forecast, Goal, row_numbers
from topwork.data.columns import Columns
from topwork.data.split import SplitOptions
from topwork.engines.choice import build, reference
from topwork.errors import DataError
from topwork.progress import Quiet
from topwork.recipes.climber import Outlook, outlook
from topwork.recipes.contrast import CONTRAST, ContrastSettings
from topwork.recipes.contrast_rung import worth_s
from topwork.recipes.probe import PROBE
from topwork.recipes.words import WORDS, expected_s
from topwork.steps.asking import look_up
from topwork.steps.kinds import encoded, learned
from topwork.steps.material import TrunkMaterial, resources_of
from topwork.steps.options import DEFAULT_BUDGET, FitOptions, Surroundings, duration_s
from topwork.steps.order import Order
from topwork.steps.sampling import beginning_of, is_large, n_validating
from topwork.steps.speeds import DELIVERY_S
from topwork.steps.transfer import Part, Preparation, read_part
from topwork.steps.trying import SHARE, n_sampled
from topwork.training.forecasts import peak_bytes, range_of
from topwork.training.plan import BATCH, RungPlan, plan_rungs, rung_s
from topwork.training.reading import Reading, inspect

__all__ = ["FitEstimate", "estimate"]

_N_TRIAL = 64
_N_PROBE = 500
_PART_TRAIN = 0.8
"""Of the rows that are not tested on, those that are trained on while the others validate."""
_FEATURE_COPIES = 1.8


@dataclass(frozen=True, slots=True)
class FitEstimate:
    """What a fit of these data would take.

    Attributes
    ----------
    n_rows
        Inputs of the data set.
    forecasts
        Times in seconds and peaks of memory in bytes, each as a range.
    seconds
        What the trial itself took.
    """

    n_rows: int
    n_tried: int
    forecasts: tuple[Forecast, ...]
    seconds: float
    notes: tuple[str, ...] = ()


def estimate(
    data: str | Path | Columns,
    *,
    trunk: str | None = None,
    budget: str | float | None = DEFAULT_BUDGET,
    seed: int = 0,
    options: FitOptions | None = None,
    around: Surroundings | None = None,
) -> FitEstimate:
    """Estimate time and peak memory of a probe and of the ladder, without fitting.

    A few dozen inputs are read, run through the network and trained on; what that took is scaled to the whole. What
    is already in the cache makes a fit quicker than this.

    Parameters
    ----------
    data, trunk, budget, seed, options, around
        As for `fit`.

    Raises
    ------
    DataError
        The data cannot be used.
    UsageError
        A name or a combination that cannot work.
    """
    around = around or Surroundings()
    watch = _Watch(around.clock)
    order = look_up(data, trunk, "ladder", seed, budget, options or FitOptions(), around)
    preparation = Preparation(order.trunk, order.modality, around)
    preparation.engine()
    starting_s = watch.lap()
    rows, reading = _read(order, preparation)
    reading_s = watch.lap()
    n = len(order.dataset)
    row_s = reading_s / len(rows)
    course = _course(order, preparation, rows, row_s)
    watch.lap()
    probing_s = _probing_s(order, reading.features, rows, n)
    choosing_s = _choosing_s(order, reading.features, rows, n)
    _start_as_delivery_does(preparation)
    watch.lap()
    probe_s = starting_s + row_s * n + choosing_s + probing_s + DELIVERY_S
    probe_bytes = peak_bytes() + _FEATURE_COPIES * reading.features.nbytes / len(rows) * n
    small = _small_job(order, preparation, reading.features, rows)
    n_train = _n_train_valid(n)[0]
    found = outlook(small, n_train, _n_train_valid(course.n_first)[1])
    surveying_s = watch.lap()
    before_s = starting_s + course.first_s + choosing_s + probing_s * course.n_first / n + surveying_s
    words_s = {WORDS: seconds} if (seconds := expected_s(small, n_train)) else {}
    training_s = duration_s(budget) - before_s - sum(words_s.values()) - course.again_s - DELIVERY_S
    pairs_s = {CONTRAST.name: seconds} if (seconds := _pairs_s(order, found, training_s)) else {}
    training_s -= sum(pairs_s.values())
    rungs = plan_rungs(found.subject, found.survey.speed, training_s, n_steps=order.options.steps)
    rungs_s = {**pairs_s, **words_s, **_seconds(found, n_train, rungs)}
    ladder_s = before_s + sum(rungs_s.values()) + course.again_s + DELIVERY_S
    if course.n_first < n and not rungs:  # what is left of the budget goes into reading on
        ladder_s = max(ladder_s, min(duration_s(budget), before_s + row_s * n + probing_s))
    assert small.material is not None
    n_variants = max((rung.n_variants for rung in rungs), default=0)
    training_bytes = found.survey.training_bytes(n_train, n_variants) + small.material.held_bytes(n_train)
    forecasts = [
        *([_forecast("choice of trunk", "seconds", choosing_s)] if choosing_s else []),
        _forecast("probe", "seconds", probe_s),
        _forecast("probe", "bytes", probe_bytes),
        *(_forecast(f"rung {name}", "seconds", rung) for name, rung in rungs_s.items()),
        _forecast("ladder", "seconds", ladder_s),
    ]
    if small.material.resources.device == "cpu":  # what a GPU holds is not in the process
        forecasts.append(_forecast("ladder", "bytes", max(probe_bytes, peak_bytes() + training_bytes)))
    return FitEstimate(n, len(rows), tuple(forecasts), watch.total(), _notes(order, course))


@dataclass(frozen=True, slots=True)
class _Course:
    """How a ladder reads ``n`` rows: until its first rung, ``n_first`` with features, and after its last one."""

    n: int
    n_first: int
    first_s: float
    again_s: float


def _course(order: Order, preparation: Preparation, rows: Array, row_s: float) -> _Course:
    """Return whether the ladder would begin with a sample, timing what looking at the other rows takes."""
    n, budget_s = len(order.dataset), duration_s(order.budget)
    whole = _Course(n, n, row_s * n, row_s * n)
    beginning = beginning_of(order)
    if beginning is None or not is_large(order, beginning, budget_s):
        return whole
    clock = order.around.clock
    began_s = clock()
    decode = partial(order.modality.decode, preprocessing=order.trunk.preprocessing)
    inspect(Part(order.dataset, rows), decode, n_threads=preparation.machine.n_cores, progress=Quiet())
    n_left = n - beginning.n_rows
    first_s = row_s * beginning.n_rows + (clock() - began_s) / len(rows) * n_left
    if row_s * n_left < beginning.share * (budget_s - first_s):
        return replace(whole, first_s=first_s + row_s * n_left)
    split = SplitOptions()
    n_fitted = beginning.n_rows * (1 - split.test_fraction)
    n_more = n_validating(beginning, int(n_fitted / split.n_folds), budget_s - first_s, row_s)
    n_again = n_fitted + n_more + n * split.test_fraction
    return _Course(n, beginning.n_rows + n_more, first_s + row_s * n_more, row_s * n_again)


class _Watch:
    """Tells the time since it was last asked, and since it was made."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_s = self._last_s = clock()

    def lap(self) -> float:
        now_s = self._clock()
        since, self._last_s = now_s - self._last_s, now_s
        return since

    def total(self) -> float:
        return self._clock() - self._began_s


def _start_as_delivery_does(preparation: Preparation) -> None:
    """Hold for a moment what the end of a fit holds: an exact engine for the goldens, and the opened bundle's."""
    graph, n = preparation.graph(), preparation.machine.n_cores
    held = [build(reference(), graph, n_threads=n, n_streams=n), preparation.engine_on(graph)]
    weights = encode_arrays(graph.weights)
    del held, weights


def _forecast(name: str, unit: str, value: float) -> Forecast:
    return Forecast(name, unit, *range_of(value))


def _read(order: Order, preparation: Preparation) -> tuple[Array, Reading]:
    """Read a few rows as a fit would; return those that can be used.

    Raises
    ------
    DataError
        None can be used.
    """
    n = len(order.dataset)
    drawn = np.sort(np.random.default_rng(order.seed).permutation(n)[:_N_TRIAL])
    reading = read_part(preparation, preparation.engine(), order, drawn)
    usable = row_numbers(np.array([one.problem is None for one in reading.inspections], dtype=bool))
    if len(usable) < 2:
        raise DataError(
            f"Of {len(drawn)} inputs that were tried, {len(usable)} can be used.",
            next_step="`topwork data check` tells what is wrong with each.",
        )
    return drawn[usable], replace(reading, features=reading.features[usable])


def _probing_s(order: Order, features: Array, rows: Array, n: int) -> float:
    """Time a probe on rows like those that were read, as many as a fit has, or fewer and scaled."""
    n_tried = min(n, _N_PROBE)
    draw = np.random.default_rng(order.seed)
    again = draw.integers(0, len(rows), n_tried)
    noise = draw.normal(size=(n_tried, features.shape[1])) * features.std(axis=0)
    job = _job(order, (features[again] + noise).astype(np.float32), rows[again])
    clock = order.around.clock
    began_s = clock()
    PROBE(replace(job, progress=Quiet()))
    return (clock() - began_s) * n / n_tried


def _choosing_s(order: Order, features: Array, rows: Array, n: int) -> float:
    """Time the other trunks that there are to choose from on the rows of the trial; 0 where there is no other.

    Each is started, is given its sample, as far as the time for that goes, and has a probe.
    """
    if len(order.candidates) < 2:
        return 0.0
    n_sample = n_sampled(sum(_n_train_valid(n)))
    found_s = sum(_trying_s(replace(order, trunk=one), rows, n_sample) for one in order.candidates[1:])
    probes_s = len(order.candidates) * _probing_s(order, features, rows, n_sample)
    return min(found_s, SHARE * duration_s(order.budget)) + probes_s


def _trying_s(order: Order, rows: Array, n_sample: int) -> float:
    watch = _Watch(order.around.clock)
    preparation = Preparation(order.trunk, order.modality, order.around)
    engine = preparation.engine()
    starting_s = watch.lap()
    read_part(preparation, engine, order, rows)
    return starting_s + watch.lap() * n_sample / len(rows)


def _notes(order: Order, course: _Course) -> tuple[str, ...]:
    """Say what the forecasts do not hold, and how the ladder would begin."""
    if course.n_first < course.n:
        return (
            f"Reading all takes the network long beside the budget, so the ladder begins with {course.n_first:,} of "
            f"{course.n:,} inputs.",
        )
    if len(order.candidates) < 2:
        return ()
    others = ", ".join(one.card.name for one in order.candidates[1:])
    return (
        f"Reckoned with the trunk {order.trunk.card.name}. Where another one is chosen ({others}), the data are read "
        "once more, and it takes its own time to train.",
    )


def _job(order: Order, features: Array, rows: Array) -> FitJob:
    """Put together a job of these rows, every fifth of them for validation."""
    place = np.arange(len(rows))
    folds = tuple(Fold(place[place % 5 != i], place[place % 5 == i]) for i in range(min(5, len(rows))))
    targets = learned(order.tasks, order.dataset.targets, np.arange(len(order.dataset)))
    truth = encoded(targets, order.dataset.targets)
    goals = {name: Goal(truth[name][rows], one.link, one.n_outputs) for name, one in targets.items()}
    budget, progress = Budget(order.around.clock), order.around.progress
    return FitJob(features, goals, folds, order.seed, budget, progress, own_units=order.own_units)


def _small_job(order: Order, preparation: Preparation, features: Array, rows: Array) -> FitJob:
    material = TrunkMaterial(
        trunk=order.trunk,
        around=order.around,
        dataset=order.dataset,
        modality=order.modality,
        rows=rows,
        resources=resources_of(preparation.machine, order.around.device),
    )
    return replace(_job(order, features, rows), material=material)


def _n_train_valid(n: int) -> tuple[int, int]:
    """Return how many of ``n`` rows are trained on, and how many validate."""
    n_fit = n * (1 - SplitOptions().test_fraction)
    n_train = max(1, round(n_fit * _PART_TRAIN))
    return n_train, max(1, round(n_fit - n_train))


def _pairs_s(order: Order, found: Outlook, left_s: float) -> float:
    """Return what tuning on pairs would take; 0 where the ladder would leave it out."""
    n_fit = sum(_n_train_valid(len(order.dataset)))
    if not found.subject.n_below:
        return 0.0
    job = _job(order, np.zeros((n_fit, 1), np.float32), np.arange(n_fit))
    return worth_s(replace(job, n_steps=order.options.steps), found.survey.speed, left_s, ContrastSettings())


def _seconds(found: Outlook, n_train: int, rungs: tuple[RungPlan, ...]) -> dict[str, float]:
    """Return what each rung would take; the first decodes every row."""
    speed, per_epoch = found.survey.speed, max(1, n_train // BATCH)
    told = {one.name: rung_s(one.name, one.n_steps, speed, per_epoch) for one in rungs}
    return {name: s + (speed.decode_s if i == 0 else 0.0) for i, (name, s) in enumerate(told.items())}
