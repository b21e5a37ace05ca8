"""Rows through the network as training left it; nothing of it is cached.

It knows no recipe: what was trained comes as a graph.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from topwork.contracts import Array, Graph
from topwork.steps.order import Order, Rows
from topwork.steps.reading import require_still_there
from topwork.steps.sampling import rows_after
from topwork.steps.transfer import Preparation, read_part

__all__ = ["tuned_rows"]

_GO_ON = "Put them back, and run the same command with --resume: nothing that was trained is lost."


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
