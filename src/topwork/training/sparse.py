"""A linear model on sparse features, such as counts of words: a baseline that is hard to beat on texts.

scikit-learn fits it; how strongly it is held back is chosen on validation rows by the loss that a probe is chosen by.
It knows no words and no test rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from topwork.contracts import Array, Fold, Goal, Link, known_rows
from topwork.errors import MissingExtraError
from topwork.evaluation.links import losses_of
from topwork.evaluation.ordinal import exceeded
from topwork.training.cox import weights_of_columns

__all__ = ["fit_at", "fit_sparse"]

_STRENGTHS: Final = (0.03, 0.2, 1.0, 4.0, 16.0, 64.0)
"""Inverse strengths of the penalty, as scikit-learn's ``C``."""
_UNSEEN: Final = -30.0


def fit_sparse(features: Any, goal: Goal, folds: Sequence[Fold]) -> Callable[[Any], Array]:
    """Fit multinomial logistic regression on sparse features, or what the goal's link asks for in its place.

    That is ridge regression where a number is predicted, Cox regression where it is a risk, and a
    logistic regression for each label where rows may have several, or for each threshold between ordered classes.

    Parameters
    ----------
    features
        SciPy's CSR ``[n, m]``, over the rows of ``goal``.
    folds
        The first one's validation rows choose the strength.

    Returns
    -------
    A function from CSR ``[n', m]`` to scores ``float64 [n', k]``.

    Raises
    ------
    MissingExtraError
        scikit-learn is not installed.
    """
    known, fit = known_rows(goal.truth), partial(fit_at, link=goal.link, n_outputs=goal.n_outputs)
    fold = folds[0]
    train, valid = fold.train[known[fold.train]], fold.valid[known[fold.valid]]

    def loss_of(strength: float) -> float:
        scores = fit(features[train], truth=goal.truth[train], strength=strength)(features[valid])
        return float(losses_of(goal.link, goal.truth[valid], scores).mean())

    best = min(_STRENGTHS, key=loss_of) if len(train) and len(valid) else 1.0
    return fit(features[known], truth=goal.truth[known], strength=best)


def fit_at(
    features: Any, link: Link, truth: Array, strength: float, n_outputs: int
) -> Callable[[Any], Array]:
    """Fit all rows with one strength; the rest is as of `fit_sparse`. The scores are linear in the features."""
    return _FITS[link](features, truth, strength, n_outputs)


def _linear_models() -> Any:
    try:
        from sklearn import linear_model
    except ImportError as error:
        raise MissingExtraError(
            "A linear model on words needs scikit-learn, which is not installed.",
            next_step="Install topwork with its extra text.",
        ) from error
    return linear_model


def _of_classes(features: Any, truth: Array, strength: float, n_outputs: int) -> Callable[[Any], Array]:
    linear_model = _linear_models()
    # Labels that no row of these has get scores so low that they are never said, and a finite log loss.
    classes = np.unique(truth)
    scores_of = partial(_spread, classes=classes, n_outputs=n_outputs)
    if len(classes) < 2:
        return lambda other: scores_of(np.zeros((other.shape[0], len(classes))))
    # No looser: what is held against `tol` is a mean over the rows, and of many rows it is small from the start.
    model = linear_model.LogisticRegression(C=strength, max_iter=300, tol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the last digits had not settled after so many steps
        model.fit(features, truth)

    def scores(other: Any) -> Array:
        found = model.decision_function(other)
        return scores_of(np.stack([-found / 2, found / 2], axis=1) if found.ndim == 1 else found)

    return scores


def _of_label_sets(features: Any, truth: Array, strength: float, n_outputs: int) -> Callable[[Any], Array]:
    fits = [_of_classes(features, np.asarray(truth[:, j], np.int64), strength, 2) for j in range(n_outputs)]

    def scores(other: Any) -> Array:
        # Two scores for each label, without it and with it: their difference is its log odds.
        found = [fit(other) for fit in fits]
        return np.stack([one[:, 1] - one[:, 0] for one in found], axis=1)

    return scores


def _of_ranks(features: Any, truth: Array, strength: float, n_outputs: int) -> Callable[[Any], Array]:
    return _of_label_sets(features, exceeded(truth, n_outputs), strength, n_outputs)


def _of_numbers(features: Any, truth: Array, strength: float, n_outputs: int) -> Callable[[Any], Array]:
    del n_outputs
    model = _linear_models().Ridge(alpha=1 / strength).fit(features, truth)
    return lambda other: np.asarray(model.predict(other)).reshape(-1, 1)


def _of_times(features: Any, truth: Array, strength: float, n_outputs: int) -> Callable[[Any], Array]:
    del n_outputs
    weights = weights_of_columns(features, truth, strength)
    average = float((features @ weights).mean())
    return lambda other: (other @ weights - average).reshape(-1, 1)


def _spread(scores: Array, classes: Array, n_outputs: int) -> Array:
    """Put the scores of the classes that were seen among those of all."""
    every = np.full((len(scores), n_outputs), _UNSEEN)
    every[:, classes] = scores
    return every


_FITS: Final[Mapping[Link, Callable[[Any, Array, float, int], Callable[[Any], Array]]]] = MappingProxyType(
    {
        "softmax": _of_classes,
        "identity": _of_numbers,
        "sigmoid": _of_label_sets,
        "cumulative": _of_ranks,
        "hazard": _of_times,
    }
)
