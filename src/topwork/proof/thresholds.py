"""From what a wrong answer costs to the probability from which on the model should answer."""

from __future__ import annotations

from math import floor

from topwork.contracts import Array, Estimate, Table
from topwork.evaluation.calibration import cost_at_threshold
from topwork.evaluation.classification import softmax
from topwork.steps.monitoring import chosen_threshold
from topwork.steps.order import Order, Rows

__all__ = ["threshold_of"]


def threshold_of(order: Order, rows: Rows, name: str, held_out: Array, scores: Array) -> Table | None:
    """Choose the threshold on validation rows and tell what it comes to on the test rows; None without costs."""
    if (cost := order.options.error_cost) is None:
        return None
    chosen = chosen_threshold(order, rows, name, held_out)
    if chosen is None or not (rows.truth[name][rows.split.test] >= 0).any():
        return None
    tested = cost_at_threshold(rows.truth[name][rows.split.test], softmax(scores), chosen.value, cost, 1.0)
    always = cost_at_threshold(rows.truth[name][rows.split.test], softmax(scores), 0.0, cost, 1.0)
    return Table(
        "From which probability to answer",
        ("rule", "share answered", "of these right", "cost per input"),
        (
            (_rule(chosen.value), tested.share_answered, _or_none(tested.accuracy), tested.cost),
            ("always answer", "100 %", always.accuracy, always.cost),
            ("always ask a person", "0 %", "–", "1"),
        ),
        f"A wrong answer costs {cost:g} times what asking a person costs. Chosen on validation rows, measured on the "
        "test rows.",
    )


def _or_none(estimate: Estimate) -> Estimate | str:
    return estimate if estimate.is_known else "–"


def _rule(probability: float) -> str:
    """Spell a threshold, rounded down to so few digits that it still parts what it parted."""
    if probability == float("inf"):
        return "never answer, always ask a person"
    return f"answer from {floor(probability * 1e6) / 1e4:g} % on, else ask a person"
