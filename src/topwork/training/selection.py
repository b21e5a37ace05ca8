"""A job of some of its rows, and what was fitted on them as of all of them again.

It knows neither why these rows nor what is fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from topwork.contracts import Array, FitJob, Fitted, Fold
from topwork.training.judging import of_rows

__all__ = ["folds_of", "selected", "spread", "validated"]


def folds_of(folds: Sequence[Fold], places: Array, n: int) -> tuple[Fold, ...]:
    """Return what is left of the folds of ``n`` rows when only those at ``places`` are, counted within them."""
    place_of = np.full(n, -1)
    place_of[places] = np.arange(len(places))
    cut = [Fold(*(p[p >= 0] for p in (place_of[fold.train], place_of[fold.valid]))) for fold in folds]
    return tuple(fold for fold in cut if len(fold.train) and len(fold.valid))


def selected(job: FitJob, places: Array) -> FitJob:
    """Return a job of the rows at ``places`` alone, for who fits a head: it has no network to train."""
    return replace(
        job,
        features=job.features[places],
        goals=of_rows(job.goals, places),
        folds=folds_of(job.folds, places, len(job.features)),
        material=None,
        sample=None,
    )


def validated(job: FitJob, places: Array) -> FitJob:
    """Return the job with those at ``places`` as its only validation rows; it is trained on the same ones as before."""
    folds = (Fold(fold.train, fold.valid[np.isin(fold.valid, places)]) for fold in job.folds)
    return replace(job, folds=tuple(folds))


def spread(fitted: Fitted, places: Array, n: int) -> Fitted:
    """Return what was fitted on the rows at ``places`` of ``n`` as of all of them."""
    held_out = {name: np.full((n, own.shape[1]), np.nan) for name, own in fitted.held_out.items()}
    for name, own in fitted.held_out.items():
        held_out[name][places] = own
    return replace(fitted, held_out=held_out, fitted_on=places)
