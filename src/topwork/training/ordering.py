"""In which order steps take the training rows: a shuffle for each epoch, rows of like size together.

The order comes from (seed, rung, epoch) alone, so that a run that was killed goes on where it was. It knows no input.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from topwork.contracts import Array
from topwork.training.plan import RungPlan

__all__ = ["order_of"]

_ALIKE = 16
"""Steps whose rows are dealt to them by size."""


def order_of(
    rung: RungPlan, n_train: int, start: int, seed: tuple[int, int], *, sizes: Array | None = None
) -> Iterator[tuple[int, Array]]:
    """Yield epoch and rows of every step from ``start`` on; each epoch is a shuffle of its own.

    Where rows differ in ``sizes [n_train]``, those of a step are of like size, as far as a few steps' rows allow.
    """
    per_epoch = max(1, n_train // rung.batch)
    shuffled, shuffled_for = np.arange(0), -1
    for step in range(start, rung.n_steps):
        epoch, place = divmod(step, per_epoch)
        if epoch != shuffled_for:  # a million rows take as long to shuffle as a step takes
            shuffled, shuffled_for = _shuffled(n_train, rung.batch, [*seed, epoch], sizes), epoch
        yield epoch, shuffled[place * rung.batch : (place + 1) * rung.batch]


def _shuffled(n_train: int, batch: int, seed: list[int], sizes: Array | None) -> Array:
    """Shuffle the rows of an epoch, and where they differ in size put those of a few steps in order of it.

    The steps are shuffled once more, so that short rows do not come before long ones.
    """
    draw = np.random.default_rng(seed)
    rows = draw.permutation(n_train)
    n_steps = n_train // batch
    if sizes is None or n_steps < 2:
        return rows
    cuts = np.arange(_ALIKE, n_steps, _ALIKE) * batch
    pools = np.split(rows[: n_steps * batch], cuts)
    sorted_pools = [pool[np.argsort(sizes[pool], kind="stable")] for pool in pools]
    return np.concatenate(sorted_pools).reshape(n_steps, batch)[draw.permutation(n_steps)].ravel()
