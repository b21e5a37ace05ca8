"""Rows of the data read through a trunk and the cache of features."""

from __future__ import annotations

from functools import partial

from topwork.contracts import Array
from topwork.errors import DataError
from topwork.steps.order import Order
from topwork.steps.speeds import remember_speed
from topwork.steps.transfer import Part, Preparation, open_cache
from topwork.training.reading import Reading, Runner, read_features

__all__ = ["read_rows", "require_still_there"]


def read_rows(
    order: Order, preparation: Preparation, rows: Array | None = None, *, wanted: Array | None = None
) -> Reading:
    """Read rows, by default every one; features come out of the cache, or from the engine once it is ready.

    Parameters
    ----------
    wanted
        Those of the rows whose features are computed, where that is not all; the others have them if they are cached.
    """
    source = order.dataset if rows is None else Part(order.dataset, rows)
    cache = open_cache(order.around)
    outputs = {"features": order.trunk.card.n_features}
    # What costs nothing to compute is not kept.
    store = (cache, preparation.key()) if order.trunk.card.n_parameters else None
    runner = Runner(preparation.engine, outputs, store)
    decode = partial(order.modality.decode, preprocessing=order.trunk.preprocessing)
    reading = read_features(
        source,
        decode,
        runner,
        n_threads=preparation.machine.n_cores,
        progress=order.around.progress,
        wanted=wanted,
    )
    if store is not None:
        remember_speed(reading, order.trunk.card.name, preparation, order.around)
    if reading.n_cached and rows is None:
        order.around.progress.say(f"Features of {reading.n_cached} of {len(source)} inputs were cached.")
    if cache.trouble:
        order.around.progress.say(f"Note: {cache.trouble}.")
    return reading


def require_still_there(order: Order, rows: Array, again: Reading, *, next_step: str) -> None:
    """Refuse to go on with inputs that vanished since they were first read.

    Raises
    ------
    DataError
        An input that was read before cannot be read any more.
    """
    lost = [
        (int(row), one.problem)
        for row, one in zip(rows, again.inspections, strict=True)
        if one.problem is not None
    ]
    if lost:
        row, problem = lost[0]
        raise DataError(
            f"{len(lost):,} inputs were read when the fit began and cannot be read any more, such as "
            f"{order.dataset.keys[row]}: {problem}",
            next_step=next_step,
        )
