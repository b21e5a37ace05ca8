"""Rows through the network as training left it; nothing of it is cached.

It knows no recipe: what was trained comes as a graph.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from topwork.contracts import WORD_WEIGHTS, Array, Fitted, Graph, TextTrunk
from topwork.steps.order import Order, Rows
from topwork.steps.reading import require_still_there
from topwork.steps.sampling import rows_after
from topwork.steps.transfer import Preparation, load_graph, read_part

__all__ = ["trained_graph", "tuned_rows", "with_words"]

_GO_ON = "Put them back, and run the same command with --resume: nothing that was trained is lost."


def with_words(order: Order, fitted: Fitted) -> Order:
    """Return the order with scores of words beside the trunk's features, where a fit put some there."""
    words = fitted.weights.get(WORD_WEIGHTS)
    if words is None:
        return order
    assert isinstance(order.trunk, TextTrunk)
    return replace(order, trunk=order.trunk.with_word_scores(words.shape[1]))


def trained_graph(order: Order, preparation: Preparation, fitted: Fitted) -> Graph:
    """Return the trunk's graph as a fit left it: with the weights that it changed, and what it put beside them."""
    wide = with_words(order, fitted)
    graph = preparation.graph() if wide is order else load_graph(wide.trunk, order.modality, order.around)
    return replace(graph, weights={**graph.weights, **fitted.weights})


def tuned_rows(order: Order, rows: Rows, preparation: Preparation, graph: Graph) -> Rows:
    """Return the rows with the features that ``graph`` gives them: those of the test, and those that have features.

    Raises
    ------
    DataError
        Inputs vanished meanwhile.
    """
    again = _read(order, rows_after(rows), preparation, graph)
    n_test = len(rows.split.test)
    fitted, test = again[: len(again) - n_test], again[len(again) - n_test :]
    if rows.fit_known is None:
        return replace(rows, fit_features=fitted, test_features=test)
    features = np.zeros((len(rows.fit_rows), again.shape[1]), again.dtype)
    features[rows.fit_known] = fitted
    return replace(rows, fit_features=features, test_features=test, test_known=np.arange(n_test))


def _read(order: Order, wanted: Array, preparation: Preparation, graph: Graph) -> Array:
    again = read_part(preparation, preparation.engine_on(graph), order, wanted)
    require_still_there(order, wanted, again, next_step=_GO_ON)
    return again.features
