"""What a bundle keeps of its training data so that a server can say, with no set-up, whether the world has changed.

It knows no server: numbers go into the bundle's statistics, and what they are worth is measured on the test rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from topwork.contracts import Array, Fitted, Fold, Section, Table, Target, has_classes, has_one_label
from topwork.evaluation.calibration import Threshold, cheapest_threshold
from topwork.evaluation.classification import softmax
from topwork.evaluation.intervals import wilson
from topwork.steps.order import Order, Rows
from topwork.training.domain import LEVEL, Domain, learn
from topwork.training.profile import to_statistics
from topwork.training.statistics import describe

__all__ = ["OUT_OF_DOMAIN", "chosen_threshold", "domain_of", "statistics_of", "told_of_domain"]

OUT_OF_DOMAIN = "Inputs unlike the training data"
"""Title of the table that `told_of_domain` makes."""

_MOST_ANSWERS = 2_000
"""Held-out answers that are counted; more would hardly change a share, and each takes its time."""


def statistics_of(order: Order, rows: Rows, fitted: Fitted, domain: Domain | None) -> dict[str, Array]:
    """Return all that the bundle keeps of its training data, as named arrays."""
    found = describe(rows.known_features(), rows.goals(), fitted.held_out)
    for name, target in rows.targets.items():
        known = fitted.held_out[name][~np.isnan(fitted.held_out[name][:, 0])]
        found |= {f"{name}.{what}": one for what, one in _said(target, known).items()}
        if (chosen := chosen_threshold(order, rows, name, fitted.held_out[name])) is not None:
            found[f"{name}.answer_from"] = np.array(chosen.value, np.float64)
    return found | ({} if domain is None else domain.to_statistics())


def _said(target: Target, scores: Array) -> Mapping[str, Array]:
    step = max(1, len(scores) // _MOST_ANSWERS)
    return to_statistics([target.answer(one) for one in scores[::step]], target.labels)


def chosen_threshold(order: Order, rows: Rows, name: str, held_out: Array) -> Threshold | None:
    """Choose the probability from which to answer on held-out rows; None without costs, or without such rows."""
    cost = order.options.error_cost
    if cost is None or not has_classes(rows.targets[name].link):
        return None
    truth = rows.truth[name][rows.fit_rows]
    known = ~np.isnan(held_out[:, 0]) & (truth >= 0)
    return cheapest_threshold(truth[known], softmax(held_out[known]), cost, 1.0) if known.any() else None


# --- whether an input is like the training data -------------------------------------------------------


def domain_of(rows: Rows, fitted: Fitted) -> Domain | None:
    """Learn where the features of the training rows lie; None where there are too few of them.

    A trunk that was trained has seen all but the validation rows of the first fold, so that these alone can tell how
    far away a new input may lie; one that was not has seen none.
    """
    here = np.arange(len(rows.fit_rows)) if rows.fit_known is None else rows.fit_known
    folds = rows.folds[:1] if fitted.weights else rows.folds
    parts = [Fold(np.intersect1d(one.train, here), np.intersect1d(one.valid, here)) for one in folds]
    parts = [one for one in parts if len(one.valid)]  # a sample may leave a fold nothing to judge
    return learn(rows.fit_features, _classes(rows), parts) if parts else None


def _classes(rows: Rows) -> Array | None:
    """Return the class of each row by the first target that has classes; None where none has."""
    for name, target in rows.targets.items():
        if has_one_label(target.link):
            return rows.truth[name][rows.fit_rows]
    return None


def told_of_domain(domain: Domain | None, rows: Rows) -> tuple[Section, ...]:
    """Say how many of the test rows are taken for strange ones, which is by mistake; nothing where nothing is known."""
    if domain is None or not len(rows.split.test):
        return ()
    distances, _ = domain.look(rows.test_features)
    n_false = sum(not domain.holds(one) for one in distances.tolist())
    row = ("test rows called out of domain", wilson(n_false, len(distances)), f"about {LEVEL:.0%}")
    caption = (
        "An answer says whether its input is like the training data. Test rows are, so these are false alarms; "
        "what share of strange inputs is found depends on how strange they are."
    )
    return (Table(OUT_OF_DOMAIN, ("what", "share", "expected"), (row,), caption),)
