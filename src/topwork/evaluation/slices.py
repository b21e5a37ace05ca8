"""Where a model fails: how it does on part of the rows, against the rest, for several models side by side.

A part is a mask over the rows under a name; what it stands for (dark photos, one hospital, one class) is
nothing that is known here. Many parts are looked at, so that one in twenty gaps without a cause seems real:
a gap is a place to look, not a proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from topwork.contracts import Array, Estimate
from topwork.errors import UsageError
from topwork.evaluation.classification import check_scores, row_losses
from topwork.evaluation.intervals import independent_difference, resample, wilson

__all__ = [
    "ErrorScores",
    "ErrorSlice",
    "Groups",
    "Slice",
    "SliceScores",
    "categories",
    "slice_errors",
    "slice_scores",
    "terciles",
]

_FEWEST = 5
"""A group of fewer rows is not told of: its interval would say nothing, its mean would be gossip."""

_HIGHEST_LOSS = -float(np.log(np.finfo(np.float64).eps))
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Groups:
    """Masks ``bool [n]`` by name, each of 5 rows at least, and why rows are in none or in another."""

    masks: Mapping[str, Array]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SliceScores:
    """One model in a group and in the rest; a gap is the group minus the rest. Log losses are in nats."""

    accuracy: Estimate
    accuracy_rest: Estimate
    accuracy_gap: Estimate
    log_loss: Estimate
    log_loss_rest: Estimate
    log_loss_gap: Estimate


@dataclass(frozen=True, slots=True)
class Slice:
    """A group of labelled rows, the number of rows in and outside it, and each model's scores by its name."""

    name: str
    n: int
    n_rest: int
    models: Mapping[str, SliceScores]


def slice_scores(
    truth: Array, probabilities: Mapping[str, Array], groups: Groups, *, seed: int
) -> tuple[tuple[Slice, ...], tuple[str, ...]]:
    """Score every model in every group and outside it.

    Accuracies have Wilson's interval and their gap Newcombe's hybrid score interval; the means of log losses,
    which are skewed, have the bootstrap-t (Efron & Tibshirani 1993, 12.5), and their gap adds the squared
    distances to the bounds (MOVER: Zou & Donner 2008), since group and rest are independent samples.

    Parameters
    ----------
    truth
        ``int64 [n]``, -1 where missing.
    probabilities
        ``[n, k]`` by the model's name, rows that add up to 1.
    groups
        As from `terciles` or `categories`.
    seed
        Of the bootstrap; every model gets the same draws.

    Returns
    -------
    slices, notes
        A group with fewer than 5 labelled rows in it or outside it is left out, and a note says so.

    Raises
    ------
    UsageError
        The shapes do not fit together, or a probability is not finite.
    """
    for told in probabilities.values():
        check_scores(truth, told)
    known, slices, notes = truth >= 0, [], list(groups.notes)
    for name, mask in groups.masks.items():
        _check_mask(name, mask, len(truth))
        inside, rest = mask[known], ~mask[known]
        if left_out := _too_few(name, inside):
            notes.append(left_out)
            continue
        scores = {m: _scores(truth[known], p[known], inside, seed) for m, p in probabilities.items()}
        slices.append(Slice(name, int(inside.sum()), int(rest.sum()), scores))
    return tuple(slices), tuple(notes)


@dataclass(frozen=True, slots=True)
class ErrorScores:
    """The mean error of one model in a group and in the rest; the gap is the group minus the rest."""

    error: Estimate
    error_rest: Estimate
    gap: Estimate


@dataclass(frozen=True, slots=True)
class ErrorSlice:
    """A group of rows with a truth, the number of rows in and outside it, and each model's errors by its name."""

    name: str
    n: int
    n_rest: int
    models: Mapping[str, ErrorScores]


def slice_errors(
    errors: Mapping[str, Array], groups: Groups, *, seed: int
) -> tuple[tuple[ErrorSlice, ...], tuple[str, ...]]:
    """Set every model's mean error in every group beside that outside it.

    Means have the bootstrap-t and gaps add the squared distances to the bounds, as log losses in `slice_scores`.

    Parameters
    ----------
    errors
        ``float [n]`` by the model's name, 0 or more, such as absolute errors; NaN where a row has no truth, in the
        same rows for every model.
    groups, seed
        As for `slice_scores`.

    Returns
    -------
    slices, notes
        A group with fewer than 5 rows in it or outside it is left out, and a note says so.
    """
    slices, notes = [], list(groups.notes)
    known = ~np.isnan(next(iter(errors.values())))
    for name, mask in groups.masks.items():
        _check_mask(name, mask, len(known))
        inside = mask[known]
        if left_out := _too_few(name, inside):
            notes.append(left_out)
            continue
        models = {model: _error_scores(one[known], inside, seed) for model, one in errors.items()}
        slices.append(ErrorSlice(name, int(inside.sum()), int((~inside).sum()), models))
    return tuple(slices), tuple(notes)


def _error_scores(errors: Array, inside: Array, seed: int) -> ErrorScores:
    error, rest = (_mean_by_bootstrap_t(errors[m], seed, float("inf")) for m in (inside, ~inside))
    return ErrorScores(error, rest, independent_difference(error, rest))


def _too_few(name: str, inside: Array) -> str:
    """Say on which side there are too few rows to compare; empty where there are enough."""
    n_inside, n_rest = int(inside.sum()), int((~inside).sum())
    few, side = (n_inside, "in") if n_inside <= n_rest else (n_rest, "outside")
    return f"{name}: {few} labelled rows {side} it are too few to compare." if few < _FEWEST else ""


def terciles(values: Array, *, unit: str = "") -> Groups:
    """Cut a numeric fact into three groups of about equal size, with edges that are short to read.

    Parameters
    ----------
    values
        ``float [n]``, such as brightness or width; rows whose value is not finite are in no group.
    unit
        Stands behind the numbers in the names.

    Returns
    -------
    Groups
        "under a", "a to b" and "b or more"; fewer where values are equal or a third is smaller than 5 rows,
        and none where nothing is left to compare.
    """
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    notes = [f"{(~known).sum()} rows have no value and are in no group."] if not known.all() else []
    edges = _edges(values[known])
    if not edges:
        return Groups({}, (*notes, "The values do not fall into two groups of 5 rows."))
    if len(edges) < 2:
        notes.append("The values fall into two groups only: a third would have had fewer than 5 rows.")
    pairs = pairwise([-np.inf, *edges, np.inf])
    return Groups({_name(a, b, unit): known & (values >= a) & (values < b) for a, b in pairs}, tuple(notes))


def categories(values: Array, *, others: str = "others") -> Groups:
    """Make one group of each value, the values of fewer than 5 rows together in one.

    Parameters
    ----------
    values
        ``str [n]``; rows with the empty text are in no group.
    others
        The name of the group that the small ones are put into.

    Returns
    -------
    Groups
        From the largest to the smallest; the merged ones last, and left out where they too are fewer than 5.
    """
    names, counts = np.unique(values[values != ""], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    masks = {str(names[i]): values == names[i] for i in order if counts[i] >= _FEWEST}
    small = [str(names[i]) for i in order if counts[i] < _FEWEST]
    notes = (
        [f"{(values == '').sum()} rows have no value and are in no group."] if (values == "").any() else []
    )
    merged = np.isin(values, small)
    if merged.sum() >= _FEWEST:
        name = _free(others, masks)
        notes.append(f"{len(small)} values of fewer than 5 rows each are together in «{name}».")
        masks[name] = merged
    elif small:
        notes.append(f"{merged.sum()} rows of values that fewer than 5 rows have are in no group.")
    return Groups(masks, tuple(notes))


def _scores(truth: Array, probabilities: Array, inside: Array, seed: int) -> SliceScores:
    right = probabilities.argmax(axis=1) == truth
    losses = row_losses(truth, probabilities)
    accuracy, accuracy_rest = (wilson(int(right[m].sum()), int(m.sum())) for m in (inside, ~inside))
    loss, loss_rest = (_mean_by_bootstrap_t(losses[m], seed) for m in (inside, ~inside))
    return SliceScores(
        accuracy=accuracy,
        accuracy_rest=accuracy_rest,
        accuracy_gap=independent_difference(accuracy, accuracy_rest),
        log_loss=loss,
        log_loss_rest=loss_rest,
        log_loss_gap=independent_difference(loss, loss_rest),
    )


def _mean_by_bootstrap_t(losses: Array, seed: int, highest: float = _HIGHEST_LOSS) -> Estimate:
    """Estimate the mean of losses ``[n]``, 0 to ``highest``, by resampling its distance in standard errors.

    A few rows cost most of a log loss: where 20 rows are seen, a bootstrap's percentiles cover 82 to 92 % of
    the means, this 95 %.
    """
    n, mean, error = len(losses), float(losses.mean()), float(losses.std(ddof=1)) / len(losses) ** 0.5
    if error == 0:
        return Estimate(mean, mean, mean)
    everyone, sums = np.zeros(n, np.int64), np.stack([losses - mean, (losses - mean) ** 2], axis=1)
    drawn, squares = (resample(everyone, lambda w: w @ sums, seed=seed, n_resamples=_RESAMPLES) / n).T
    # A resample of equal rows has no spread; it is given a small one.
    errors = np.sqrt(np.maximum(squares - drawn**2, (0.01 * error) ** 2 * n) / (n - 1))
    far_below, far_above = np.quantile(drawn / errors, [0.025, 0.975])
    low, high = mean - float(far_above) * error, mean - float(far_below) * error
    return Estimate(mean, min(mean, max(0.0, low)), max(mean, min(highest, high)))


def _edges(values: Array) -> list[float]:
    """Return up to two edges that leave 5 rows at least on each side, as short as the values allow."""
    if len(values) < 2 * _FEWEST:
        return []
    ordered, edges = np.sort(values), list[float]()
    for share in (1 / 3, 2 / 3):
        edge = _short_edge(ordered, share)
        n_below = int((ordered < edge).sum()) - int((ordered < edges[-1]).sum() if edges else 0)
        if n_below >= _FEWEST and (ordered >= edge).sum() >= _FEWEST:
            edges.append(edge)
    return edges


def _short_edge(ordered: Array, share: float) -> float:
    """Return the shortest number that has about this share of the values below it, to 4 in 100."""
    low, edge, high = np.quantile(ordered, [share - 0.04, share, share + 0.04], method="higher")
    below = ordered[ordered < edge]
    if not len(below):
        return float(edge)
    for digits in range(1, 17):
        rounded = float(f"{(below[-1] + edge) / 2:.{digits}g}")
        if min(low, below[-1]) < rounded <= high:
            return rounded
    return float(edge)


def _name(low: float, high: float, unit: str) -> str:
    behind = f" {unit}" if unit else ""
    if low == -np.inf:
        return f"under {_written(high)}{behind}"
    if high == np.inf:
        return f"{_written(low)}{behind} or more"
    return f"{_written(low)} to {_written(high)}{behind}"


def _written(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) and abs(number) < 1e15 else repr(number)


def _free(name: str, taken: Mapping[str, Array]) -> str:
    return name if name not in taken else _free(f"{name} (merged)", taken)


def _check_mask(name: str, mask: Array, n: int) -> None:
    if mask.shape != (n,) or mask.dtype != bool:
        raise UsageError(
            f"Got a mask of shape {mask.shape} and type {mask.dtype} for «{name}»; expected bool [{n}].",
            next_step="Mark every row with True or False, unlabelled ones too.",
        )
