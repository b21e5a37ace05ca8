"""From what a wrong answer costs to the probability from which on the model should answer."""

from __future__ import annotations

import numpy as np

from topwork.contracts import Array, Table
from topwork.evaluation.calibration import cheapest_threshold, cost_at_threshold
from topwork.evaluation.classification import softmax
from topwork.steps.order import Order, Rows

__all__ = ["threshold_of"]


def threshold_of(order: Order, rows: Rows, name: str, held_out: Array, scores: Array) -> Table | None:
    """Choose the threshold on validation rows and tell what it comes to on the test rows; None without costs."""
    cost = order.options.error_cost
    if cost is None:
        return None
    known = ~np.isnan(held_out[:, 0])
    truth = rows.truth[name][rows.fit_rows][known]
    chosen = cheapest_threshold(truth, softmax(held_out[known]), cost, 1.0)
    tested = cost_at_threshold(rows.truth[name][rows.split.test], softmax(scores), chosen.value, cost, 1.0)
    always = cost_at_threshold(rows.truth[name][rows.split.test], softmax(scores), 0.0, cost, 1.0)
    return Table(
        "From which probability to answer",
        ("rule", "answers", "cost per input"),
        (
            (
                f"answer from {chosen.value:.0%} on, else ask a person",
                f"{tested.share_answered.value:.0%}",
                tested.cost,
            ),
            ("always answer", "100%", always.cost),
            ("always ask a person", "0%", "1"),
        ),
        f"A wrong answer costs {cost:g} times what asking a person costs. Chosen on validation rows, measured on the "
        "test rows.",
    )
