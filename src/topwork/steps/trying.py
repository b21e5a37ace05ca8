"""Trying trunks on a sample of the training rows, with a small probe as the referee.

Only rows that are fitted on are looked at, so that no label of a test row has a say in the choice. Features come
through the ordinary cache. LogME and the H-score tell which candidates are worth a probe, the probe's held-out loss
decides, and among those that are as good within one standard error the fastest is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from topwork.contracts import (
    Array,
    Budget,
    FitJob,
    Fold,
    Goal,
    TriedTrunk,
    Trunk,
    TrunkChoice,
    strata_of,
)
from topwork.engines.choice import EngineChoice
from topwork.evaluation.comparison import mean_by_t, one_standard_error_choice
from topwork.progress import Quiet
from topwork.recipes.probe import PROBE
from topwork.steps.options import duration_s
from topwork.steps.order import Order, Rows
from topwork.steps.reading import read_rows, require_still_there
from topwork.steps.speeds import speed_of
from topwork.steps.transfer import Preparation
from topwork.training.axes import quiet_blas
from topwork.training.judging import loss_name, losses_of_rows, mean_score, of_rows
from topwork.training.selection import folds_of
from topwork.training.transferability import h_score_of, log_me_of

__all__ = ["PUT_BACK", "SHARE", "best_few", "choose", "drawn", "n_sampled"]

SHARE = 0.2
"""Part of the budget that reading samples may take."""
PUT_BACK = "Put them back, and run the same command again."
_N_SAMPLE = 500
_N_TRIAL = 64
_N_FINALISTS = 4


@dataclass(frozen=True, slots=True)
class _Sample:
    """Some of the rows that are fitted on: ``places`` among these, ``rows`` in the data set; folds count within."""

    places: Array
    rows: Array
    goals: Mapping[str, Goal]
    folds: tuple[Fold, ...]


@dataclass(frozen=True, slots=True)
class _Tried:
    """A trunk and what was found out: its features of the sample, and what its probe cost each held-out row."""

    trunk: Trunk
    told: TriedTrunk
    features: Array | None = None
    losses: Array | None = None


# --- the sample -------------------------------------------------------------------------------------------


def n_sampled(n_rows: int) -> int:
    """Return how many of ``n_rows`` that are fitted on the trunks are tried on."""
    return min(n_rows, _N_SAMPLE)


def drawn(strata: Array, n: int, seed: int) -> Array:
    """Draw ``n`` of the rows, ascending, of each stratum its share; a seed draws the same ones.

    The rows are laid out stratum by stratum, shuffled within, and taken at even distances (systematic sampling).
    """
    if n >= len(strata):
        return np.arange(len(strata))
    draw = np.random.default_rng(seed)
    shuffled = draw.permutation(len(strata))
    laid_out = shuffled[np.argsort(strata[shuffled], kind="stable")]
    steps = (np.arange(n) + draw.random()) * len(strata) / n
    return np.sort(laid_out[steps.astype(np.int64)])


def _sample(order: Order, rows: Rows) -> _Sample:
    goals = rows.goals()
    n = len(rows.fit_rows)
    places = drawn(strata_of(next(iter(goals.values())).truth), n_sampled(n), order.seed)
    return _Sample(places, rows.fit_rows[places], of_rows(goals, places), folds_of(rows.folds, places, n))


# --- trying -----------------------------------------------------------------------------------------------


def choose(order: Order, rows: Rows, engine: EngineChoice) -> tuple[Trunk, TrunkChoice]:
    """Try the order's candidates, and say which one to take and why; ``engine`` is what they run on.

    Raises
    ------
    DataError
        Inputs vanished meanwhile.
    WeightsError
        The weights of a candidate that the caller named cannot be had.
    """
    if len(order.candidates) == 1:
        name = order.trunk.card.name
        why = f"Trunk {name}: no other one is here to choose from; --trunk auto:NAME,NAME names others."
        return order.trunk, TrunkChoice(name, why)
    sample = _sample(order, rows)
    tried = [_timed(one, order, engine) for one in _try_all(order, rows, sample)]
    done = [one for one in tried if one.features is not None]
    scores = [[one.told.log_me for one in done], [one.told.h_score for one in done]]
    finalists = [done[place] for place in best_few(scores, _N_FINALISTS)]
    if sample.folds and len(finalists) > 1:
        finalists = [_judged(one, order, sample) for one in finalists]
    chosen, why = _decide(finalists, loss_name(sample.goals))
    others = [_passed_over(one) for one in tried if one.trunk not in [final.trunk for final in finalists]]
    told = sorted((one.told for one in (*finalists, *others)), key=_merit)
    return chosen, TrunkChoice(chosen.card.name, why, len(sample.rows), loss_name(sample.goals), tuple(told))


def _passed_over(one: _Tried) -> _Tried:
    """Say why a trunk had no probe."""
    note = one.told.note or f"no probe: not among the best {_N_FINALISTS}"
    return replace(one, told=replace(one.told, note=note))


def _try_all(order: Order, rows: Rows, sample: _Sample) -> list[_Tried]:
    """Read the sample through every candidate, as far as the time allows; the first one has read it already."""
    clock = order.around.clock
    until_s = clock() + SHARE * duration_s(order.budget)
    tried = []
    with order.around.progress.track("Trying trunks", len(order.candidates), "trunks") as advance:
        for trunk in order.candidates:
            began_s = clock()
            own = replace(order, trunk=trunk)
            features = (
                rows.fit_features[sample.places]
                if trunk.identity == order.trunk.identity
                else _features(own, sample, until_s)
            )
            tried.append(_scored(own, features, sample, began_s))
            advance(1)
    return tried


def _features(order: Order, sample: _Sample, until_s: float) -> Array | None:
    """Return the features of the sample, None where a few of them say that time is too short for all."""
    clock = order.around.clock
    if clock() >= until_s:
        return None
    preparation = Preparation(order.trunk, order.modality, order.around)
    quiet = replace(order, around=replace(order.around, progress=Quiet()))
    few = read_rows(quiet, preparation, sample.rows[:_N_TRIAL])
    n_left = len(sample.rows) - len(few.features)
    if few.items_per_s and n_left / few.items_per_s > until_s - clock():
        return None
    reading = read_rows(order, preparation, sample.rows)
    require_still_there(order, sample.rows, reading, next_step=PUT_BACK)
    return reading.features


def _scored(order: Order, features: Array | None, sample: _Sample, began_s: float) -> _Tried:
    """Return what is known of a trunk without a probe."""
    card = order.trunk.card
    told = TriedTrunk(card.name, card.n_parameters, 0.0)
    if features is None:
        return _Tried(order.trunk, replace(told, note="no time for it"))
    with quiet_blas(features):
        log_me, h_score = log_me_of(features, sample.goals), h_score_of(features, sample.goals)
    seconds = order.around.clock() - began_s
    told = replace(told, log_me=_known(log_me), h_score=_known(h_score), seconds=seconds)
    return _Tried(order.trunk, told, features)


def _timed(one: _Tried, order: Order, engine: EngineChoice) -> _Tried:
    """Add how fast the trunk last ran here, which reading the sample has just measured if it was not cached."""
    speed = speed_of(one.told.name, engine, order.around)
    return replace(one, told=replace(one.told, items_per_s=speed))


def _known(value: float) -> float | None:
    return value if value == value else None


def best_few(scores: Sequence[Sequence[float | None]], n_most: int) -> list[int]:
    """Return the places of the few that rank best over several scores together, the best first.

    Parameters
    ----------
    scores
        Several lists, of each of which more is better. One that is not known of all has no say; where none is known of
        all, every place is returned.
    """
    known = [np.array(one, dtype=np.float64) for one in scores if all(value is not None for value in one)]
    if not known:
        return list(range(len(scores[0])))
    n_better = np.sum([(one[:, None] < one).sum(axis=1) for one in known], axis=0)
    few: list[int] = np.argsort(n_better, kind="stable")[:n_most].tolist()
    return few


def _judged(one: _Tried, order: Order, sample: _Sample) -> _Tried:
    """Fit a probe on the sample, and add what it costs the rows that are held out."""
    assert one.features is not None
    clock = order.around.clock
    began_s = clock()
    job = FitJob(one.features, sample.goals, sample.folds, order.seed, Budget(clock), Quiet())
    held = np.sort(np.concatenate([fold.valid for fold in sample.folds]))
    scores = {name: found[held] for name, found in PROBE(job).held_out.items()}
    goals = of_rows(sample.goals, held)
    losses = losses_of_rows(goals, scores)
    told = replace(
        one.told,
        loss=mean_by_t(losses),
        score=_known(mean_score(goals, scores)),
        seconds=one.told.seconds + clock() - began_s,
    )
    return replace(one, told=told, losses=losses)


# --- deciding ---------------------------------------------------------------------------------------------


def _decide(finalists: Sequence[_Tried], loss: str) -> tuple[Trunk, str]:
    """Take the fastest of those whose probe is within one standard error of the best, and say why."""
    if len(finalists) == 1:
        (only,) = finalists
        return only.trunk, f"Trunk {only.told.name}: there was no time to try another one."
    ordered = _fast_first(finalists)
    losses = [one.losses for one in ordered if one.losses is not None]
    if len(losses) < len(ordered):
        first = finalists[0]
        return (
            first.trunk,
            f"Trunk {first.told.name}: the best by LogME and H-score; no row could be held out.",
        )
    chosen = ordered[one_standard_error_choice(np.stack(losses))]
    best = min(ordered, key=lambda one: _merit(one.told))
    assert chosen.told.loss is not None
    assert best.told.loss is not None
    if chosen is best:
        lowest = chosen.told.loss.value
        return chosen.trunk, f"Trunk {chosen.told.name}: a probe on it has the lowest {loss}, {lowest:.3f}."
    why = (
        f"Trunk {chosen.told.name}: the fastest within one standard error of the lowest {loss}: a probe on it has "
        f"{chosen.told.loss.value:.3f}, on {best.told.name} {best.told.loss.value:.3f}."
    )
    return chosen.trunk, why


def _fast_first(finalists: Sequence[_Tried]) -> list[_Tried]:
    """Order trunks by their speed, by their size where one was never timed."""
    speeds = [one.told.items_per_s for one in finalists]
    if all(speeds):
        return sorted(finalists, key=lambda one: -(one.told.items_per_s or 0.0))
    return sorted(finalists, key=lambda one: one.told.n_parameters)


def _merit(one: TriedTrunk) -> tuple[float, float]:
    """Return what sorts the better first: by the probe, then by LogME, what was not tried last."""
    infinite = float("inf")
    return (
        infinite if one.loss is None else one.loss.value,
        infinite if one.log_me is None else -one.log_me,
    )
