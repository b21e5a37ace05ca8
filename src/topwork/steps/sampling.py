"""Beginning with a sample: the trunk runs on some of the rows first, and on others as far as the budget goes.

Every row is read and looked at in any case, so that the check and the split are those of all the data; what takes
time is the network. The sample is drawn by the seed from all rows, the further ones follow in the order of the same
draw. How the sample is used stands in the recipe; that a fit began with one stands in its plan, so that a run that is
gone on with begins as the first one did. It knows no network and nothing of what is fitted.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import ceil, isfinite

import numpy as np

from topwork.contracts import (
    Afterwards,
    Array,
    Beginning,
    Budget,
    Fitted,
    Progress,
    Sample,
    SamplingRecipe,
    Workplace,
    known_rows,
)
from topwork.progress import Quiet
from topwork.report.quantities import duration
from topwork.steps.assigning import assign
from topwork.steps.forewarning import Forewarning
from topwork.steps.options import duration_s
from topwork.steps.order import Order, Rows
from topwork.steps.reading import read_rows, require_still_there
from topwork.steps.speeds import DELIVERY_S, row_s_of, speed_of
from topwork.steps.transfer import Preparation
from topwork.training.selection import folds_of
from topwork.training.unfinished import Unfinished

__all__ = [
    "begin",
    "beginning_of",
    "completed",
    "is_large",
    "n_validating",
    "rows_after",
    "sample_of",
    "settled_on",
]

_NO_TIME_TO_TRAIN = (
    "All inputs are read all the same, and the model is then a probe that is found in little time. To train more, stop "
    "and give a longer --budget: what was read is kept."
)
_PUT_BACK = "Put them back, and run the same command again: what was read is in the cache."
_AT_LEAST = 2
"""Times the sample that the data must have: with fewer rows little is gained."""
_VALIDATING = 0.5
"""Validation rows, relative to the rows of the sample."""
_STRETCH_S = 20.0
"""Longest reading between two looks at the clock, and at whether the user wants the best so far."""
_PART = 0.8
"""Of the time that is left, what is read at once: speeds are not steady."""
_FEW = 16
"""Fewer rows than this are not worth a reading of their own."""
_UNKNOWN = 256
"""Rows that are read at once where nobody knows how long one takes."""


def begin(order: Order, preparation: Preparation, deadline: Budget, workplace: Workplace) -> Rows:
    """Read every row and assign it; of many rows only a sample has features, where the others would take too long."""
    found = _beginning(order, deadline, workplace)
    if found is None:
        told = Forewarning(order.around.progress, deadline, _NO_TIME_TO_TRAIN)
        return _rows_of(order, preparation, progress=told)
    beginning, n_known = found
    drawn = np.sort(_draw(order)[: beginning.n_rows])
    rows = _rows_of(order, preparation, drawn)
    speed = speed_of(order.trunk.card.name, preparation.choice, order.around)
    rows = replace(rows, row_s=rows.row_s if rows.row_s or not speed else 1 / speed)
    sampled = _sampled(rows, drawn)
    if n_known is None and not _is_worth_it(rows, sampled, beginning, deadline.remaining_s()):
        return completed(order, rows, preparation)
    order.around.progress.say(_said(sampled, deadline.remaining_s()))
    assert sampled.fit_known is not None
    n_more = (
        n_validating(
            beginning,
            len(np.intersect1d(sampled.folds[0].valid, sampled.fit_known)),
            deadline.remaining_s(),
            sampled.row_s,
        )
        if n_known is None
        else max(0, n_known - len(sampled.fit_known))
    )
    return _validating(order, sampled, preparation, n_more)


def _rows_of(
    order: Order,
    preparation: Preparation,
    wanted: Array | None = None,
    *,
    progress: Progress | None = None,
) -> Rows:
    """Read every row and assign it; the reading itself, whose features may be replaced, is held no longer."""
    around = order.around if progress is None else replace(order.around, progress=progress)
    reading = read_rows(replace(order, around=around), preparation, wanted=wanted)
    return replace(assign(order, reading), row_s=row_s_of(reading))


def _beginning(order: Order, deadline: Budget, workplace: Workplace) -> tuple[Beginning, int | None] | None:
    """Return how the recipe begins with a sample, and of how many rows that are fitted on an earlier run's was.

    None where it does not begin with one.
    """
    beginning = beginning_of(order)
    if beginning is None:
        return None
    if workplace.resume and (plan := Unfinished(workplace, order.around.progress.say).planned()) is not None:
        return None if plan.n_known is None else (beginning, plan.n_known)
    return (beginning, None) if is_large(order, beginning, deadline.remaining_s()) else None


def beginning_of(order: Order) -> Beginning | None:
    """Return how the recipe begins with a sample, None where what was asked for has no use for one."""
    has_use = order.options.steps is None and not order.candidates
    return order.recipe.beginning if isinstance(order.recipe, SamplingRecipe) and has_use else None


def is_large(order: Order, beginning: Beginning, left_s: float) -> bool:
    """Tell whether there are so many rows that a sample of them may be worth it, where time is limited."""
    return len(order.dataset) > _AT_LEAST * beginning.n_rows and isfinite(left_s)


def _draw(order: Order) -> Array:
    """Return the rows of the data in the order in which they are read."""
    return np.random.default_rng(order.seed).permutation(len(order.dataset))


def _sampled(rows: Rows, drawn: Array) -> Rows:
    """Return the rows with those features alone that were drawn to fit on, whatever else was cached."""
    test = np.arange(len(rows.split.test)) if rows.test_known is None else rows.test_known
    return replace(rows, fit_known=np.flatnonzero(np.isin(rows.fit_rows, drawn)), test_known=test)


def _is_worth_it(rows: Rows, sampled: Rows, beginning: Beginning, left_s: float) -> bool:
    """Tell whether many rows are left that would take long, and the sample has what a fit needs."""
    fit, test = _unread(rows)
    n_left = len(fit) + len(test)
    is_quick = rows.row_s is not None and n_left * rows.row_s < beginning.share * left_s
    return n_left > beginning.n_rows and not is_quick and _is_enough(sampled)


def n_validating(beginning: Beginning, n_known: int, left_s: float, row_s: float | None) -> int:
    """Return how many validation rows to read beside the sample, which has few: by them rungs are chosen.

    Parameters
    ----------
    n_known
        Validation rows of the sample.
    left_s, row_s
        Of the budget, and what reading a row takes, if that is known; both in seconds.
    """
    wanted = max(0, ceil(_VALIDATING * beginning.n_rows) - n_known)
    return wanted if not row_s else int(min(wanted, max(0.0, beginning.share * left_s / row_s)))


def _validating(order: Order, rows: Rows, preparation: Preparation, n: int) -> Rows:
    """Return the rows with the features of ``n`` further validation rows, as far as there are so many."""
    assert rows.fit_known is not None
    left = _in_turn(order, rows)
    more = left[np.isin(left, rows.folds[0].valid)][:n]
    if not len(more):
        return rows
    _fill(order, rows, preparation, (more, more[:0]))
    return replace(rows, fit_known=np.union1d(rows.fit_known, more))


def _is_enough(rows: Rows) -> bool:
    """Tell whether the sample has rows with a truth of every target on both sides of the first fold."""
    assert rows.fit_known is not None
    sides = [np.intersect1d(side, rows.fit_known) for side in (rows.folds[0].train, rows.folds[0].valid)]
    truths = [rows.truth[name][rows.fit_rows] for name in rows.targets]
    return all(known_rows(truth[side]).any() for truth in truths for side in sides)


def _unread(rows: Rows) -> tuple[Array, Array]:
    """Return the places of the rows without features, among those that are fitted on and among those of the test."""
    if rows.fit_known is None or rows.test_known is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    every = np.arange(len(rows.fit_rows)), np.arange(len(rows.split.test))
    return np.setdiff1d(every[0], rows.fit_known), np.setdiff1d(every[1], rows.test_known)


# --- reading on -------------------------------------------------------------------------------------------


def _fill(order: Order, rows: Rows, preparation: Preparation, places: tuple[Array, Array]) -> None:
    """Compute the features at these places, of rows that are fitted on and of the test's, and put them there.

    Raises
    ------
    DataError
        Inputs vanished meanwhile.
    """
    wanted = np.concatenate([rows.fit_rows[places[0]], rows.split.test[places[1]]])
    reading = read_rows(order, preparation, wanted)
    require_still_there(order, wanted, reading, next_step=_PUT_BACK)
    n = len(places[0])
    rows.fit_features[places[0]] = reading.features[:n]
    rows.test_features[places[1]] = reading.features[n:]


def completed(order: Order, rows: Rows, preparation: Preparation) -> Rows:
    """Return the rows with the features of all of them."""
    if rows.fit_known is None:
        return rows
    _fill(order, rows, preparation, _unread(rows))
    return replace(rows, fit_known=None, test_known=None)


def sample_of(order: Order, rows: Rows, preparation: Preparation) -> Sample | None:
    """Return what a job says of the rows that have features, and how more are read; None where all have."""
    if rows.fit_known is None:
        return None
    n_test = len(_unread(rows)[1])
    more = partial(_more, order, rows, preparation)
    return Sample(rows.fit_known, more, Afterwards(n_test, rows.row_s, DELIVERY_S))


def _more(order: Order, rows: Rows, preparation: Preparation, until_s: float) -> Sample:
    """Read further rows that are fitted on, until the clock says so or the user wants the best so far."""
    around = order.around
    left = _in_turn(order, rows)
    quiet = replace(order, around=replace(around, progress=Quiet()))
    row_s, n_done = rows.row_s, 0
    with around.progress.track("Reading on", len(left), "inputs") as advance:
        while not around.should_stop():
            began_s = around.clock()
            now = left[n_done : n_done + _affordable(until_s - began_s, row_s)]
            if not len(now):
                break
            _fill(quiet, rows, preparation, (now, now[:0]))
            advance(len(now))
            n_done += len(now)
            row_s = None if rows.row_s is None else max(rows.row_s, (around.clock() - began_s) / len(now))
    assert rows.fit_known is not None
    known = np.union1d(rows.fit_known, left[:n_done])
    found = sample_of(order, replace(rows, fit_known=known), preparation)
    assert found is not None
    return found


def _in_turn(order: Order, rows: Rows) -> Array:
    """Return the places of the rows to be read on with, in the order of the draw."""
    place_of = np.full(len(order.dataset), -1)
    unread = _unread(rows)[0]
    place_of[rows.fit_rows[unread]] = unread
    places = place_of[_draw(order)]
    return np.asarray(places[places >= 0])


def _affordable(left_s: float, row_s: float | None) -> int:
    """Return how many rows to read at once: not all that the time is thought to be enough for."""
    if left_s <= 0:
        return 0
    if row_s is None:
        return _UNKNOWN
    n = int(min(_PART * left_s, _STRETCH_S) / row_s)
    return n if n >= _FEW else 0


# --- what came of it --------------------------------------------------------------------------------------


def rows_after(rows: Rows) -> Array:
    """Return the rows that go through a network once it is trained: those that have features, then the test's."""
    fit_rows = rows.fit_rows if rows.fit_known is None else rows.fit_rows[rows.fit_known]
    return np.concatenate([fit_rows, rows.split.test])


def settled_on(order: Order, rows: Rows, preparation: Preparation, fitted: Fitted) -> tuple[Rows, Fitted]:
    """Return the rows that the model rests on, the tests of them all read, and what was fitted as of these alone.

    A network that was trained rests on all rows, though few have features.

    Raises
    ------
    DataError
        Inputs vanished meanwhile.
    """
    if rows.fit_known is None or fitted.weights:
        return rows, fitted
    _fill(order, rows, preparation, (np.zeros(0, np.int64), _unread(rows)[1]))
    known, n = rows.fit_known if fitted.fitted_on is None else fitted.fitted_on, len(rows.fit_rows)
    told = () if len(known) == n else (_told(order, rows, len(known)),)
    held_out = {name: scores[known] for name, scores in fitted.held_out.items()}
    return _narrowed(rows, known), replace(
        fitted, held_out=held_out, fitted_on=None, notes=(*fitted.notes, *told)
    )


def _narrowed(rows: Rows, known: Array) -> Rows:
    """Return the rows without those that are fitted on and stand at none of the places."""
    fit_rows, split = rows.fit_rows[known], rows.split
    train, valid = (side[np.isin(side, fit_rows)] for side in (split.train, split.valid))
    return replace(
        rows,
        fit_rows=fit_rows,
        fit_features=rows.fit_features[known],
        folds=folds_of(rows.folds, known, len(rows.fit_rows)),
        split=replace(split, train=train, valid=valid),
        fit_known=None,
        test_known=None,
    )


def _said(rows: Rows, left_s: float) -> str:
    """Say what the fit begins with."""
    fit, test = _unread(rows)
    n, n_left = len(rows.fit_rows) + len(rows.split.test), len(fit) + len(test)
    takes = "long" if rows.row_s is None else f"about {duration(n_left * rows.row_s)}"
    left = f", and the budget has {duration(max(0.0, left_s))} left" if isfinite(left_s) else ""
    return (
        f"Beginning with {n - n_left:,} of {n:,} inputs: the network would take {takes} for the others{left}."
    )


def _told(order: Order, rows: Rows, n_known: int) -> str:
    """Say on how many rows the probe was fitted, why not on all, and which budget has time for all."""
    n, budget_s = len(rows.fit_rows), duration_s(order.budget)
    what = f"Fitted on {n_known:,} of {n:,} inputs"
    if order.around.should_stop():
        return f"{what}: it was stopped before the others were read."
    if rows.row_s is None or not isfinite(budget_s):
        return f"{what}: there was no time to read the others."
    minutes = ceil((budget_s + (n - n_known) * rows.row_s) / 60)
    return f"{what}: the budget of {order.budget} had no time to read the others. --budget {minutes}m has it for all."
