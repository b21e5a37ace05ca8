"""What one row's scores cost, for each way in which scores become predictions.

Models are chosen by the mean of these losses, and rungs are compared by them row by row. Over several targets they are
averaged, each in units of what ignoring the input costs. It knows no target by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from topwork.contracts import Array, Link
from topwork.evaluation.classification import row_losses, softmax
from topwork.evaluation.ordinal import exceeded
from topwork.evaluation.survival import cox_losses

__all__ = ["LOSS_NAMES", "RELATIVE_LOSS", "losses_of"]

RELATIVE_LOSS: Final = "relative loss"
"""What a person calls losses of several targets, each in units of what ignoring the input costs, averaged."""


def losses_of(link: Link, truth: Array, scores: Array) -> Array:
    """Return what each row costs, ``float64 [n]``; every row must have a truth.

    Parameters
    ----------
    truth
        As `Target.encode` gives it.
    scores
        ``[n, k]``.

    Returns
    -------
    Array
        Of ``softmax`` the log loss in nats. Of ``sigmoid`` the binary log loss in nats, averaged over the labels, so
        that it does not grow with their number; of ``cumulative`` the same over the thresholds. Of ``identity`` the
        squared error in units of the training variance: 1 is what always answering the mean costs, whatever was
        measured, so that targets of different units can be averaged. A Gaussian log-likelihood would add a variance
        that has to be fitted on the rows that choose, and orders models no differently where it is common to all
        rows. Of ``hazard`` minus the log partial likelihood in nats, each row told by what it adds to it. Of
        ``cost`` the scores themselves.
    """
    return _LOSSES[link](truth, scores)


def _log_losses(truth: Array, scores: Array) -> Array:
    return row_losses(truth, softmax(scores))


def _binary_log_losses(truth: Array, scores: Array) -> Array:
    # The log of 1 + exp of the score's wrong way round, which neither overflows nor cancels.
    against = np.where(truth > 0, -1.0, 1.0) * np.asarray(scores, np.float64)
    return np.asarray(np.logaddexp(0.0, against).mean(axis=1))


def _own_costs(truth: Array, scores: Array) -> Array:  # noqa: ARG001 - each of these takes both
    return np.asarray(scores[:, 0], np.float64)


def _threshold_losses(truth: Array, scores: Array) -> Array:
    return _binary_log_losses(exceeded(truth, scores.shape[1]), scores)


def _squared_errors(truth: Array, scores: Array) -> Array:
    return np.asarray((np.asarray(scores[:, 0], np.float64) - truth) ** 2)


_LOSSES: Final[Mapping[Link, Callable[[Array, Array], Array]]] = MappingProxyType(
    {
        "softmax": _log_losses,
        "identity": _squared_errors,
        "sigmoid": _binary_log_losses,
        "cumulative": _threshold_losses,
        "hazard": cox_losses,
        "cost": _own_costs,
    }
)
LOSS_NAMES: Final[Mapping[Link, str]] = MappingProxyType(
    {
        "softmax": "log loss",
        "identity": "squared error",
        "sigmoid": "log loss per label",
        "cumulative": "log loss per threshold",
        "hazard": "Cox loss",
        "cost": "token loss",
    }
)
"""What a person calls the losses of `losses_of`."""
