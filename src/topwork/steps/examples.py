"""Choosing the training inputs that a bundle keeps, so that its network can be calibrated later for a machine.

They are kept as the network takes them: a photo is cut and scaled, without its file, its name and what a camera wrote
into it. That is still a picture of the training set, so whoever may not give those away keeps none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import numpy as np

from topwork.contracts import Array, Dataset, Modality, Preprocessing
from topwork.errors import DecodeError
from topwork.steps.order import Order

__all__ = ["MOST", "MOST_BYTES", "examples_of", "spread_out"]

MOST: Final = 128
"""Inputs that are kept at most; NNCF's statistics hardly move beyond."""
MOST_BYTES: Final = 5_000_000
"""Bytes that all of them may take: 33 photos of 224 pixels, or as many texts as there may be."""


def examples_of(order: Order, train: Array) -> tuple[Array, ...]:
    """Return tensors of training rows for the bundle of a fit; none where they are not wanted, or of no use."""
    options = order.options
    is_wanted = options.keep_examples and options.keep_training_data and not options.adapter_only
    if not is_wanted or not order.trunk.card.n_parameters:
        return ()
    return spread_out(order.dataset, train, order.modality, order.trunk.preprocessing)


def spread_out(
    dataset: Dataset, rows: Array, modality: Modality, preprocessing: Preprocessing
) -> tuple[Array, ...]:
    """Return tensors of rows spread evenly over those given, as many as the limits of this module allow.

    How many fit is reckoned from the size of the first: rows stand sorted by label, so the last count as much.
    """
    first = next(_decoded(dataset, rows, modality, preprocessing), None)
    if first is None:
        return ()
    n = min(MOST, MOST_BYTES // first.nbytes, len(rows))
    places = np.linspace(0, len(rows) - 1, n).astype(np.int64)
    kept: list[Array] = []
    n_bytes = 0
    for tensor in _decoded(dataset, rows[places], modality, preprocessing):
        n_bytes += tensor.nbytes
        if n_bytes > MOST_BYTES:  # the first was shorter than most
            break
        kept.append(tensor)
    return tuple(kept)


def _decoded(
    dataset: Dataset, rows: Array, modality: Modality, preprocessing: Preprocessing
) -> Iterator[Array]:
    for row in rows:
        with suppress(DecodeError):  # gone since it was first read, which is no reason to end a fit
            yield modality.decode(dataset.read(int(row)), preprocessing).tensor
