"""Putting inputs of several sizes together for a network.

Pictures have one size. Texts have many, and a network that takes them reads 0 as "nothing there", so that a shorter
one may be filled up with zeros. Where a batch can be chosen freely, inputs of one shape go together and nothing is
filled up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from topwork.contracts.values import Array

__all__ = ["by_shape", "padded"]


def by_shape(tensors: Sequence[Array]) -> Iterator[tuple[list[int], Array]]:
    """Yield places in ``tensors`` and a batch ``[n, ...]`` of them, once for each shape; smaller shapes first."""
    places: dict[tuple[int, ...], list[int]] = {}
    for place, tensor in enumerate(tensors):
        places.setdefault(tensor.shape, []).append(place)
    for shape in sorted(places):
        yield places[shape], np.stack([tensors[place] for place in places[shape]])


def padded(tensors: Iterable[Array]) -> Array:
    """Stack tensors as ``[n, ...]``, each filled up with zeros at the end of every axis where it is shorter."""
    several = list(tensors)
    shape = tuple(np.max([one.shape for one in several], axis=0))
    if all(one.shape == shape for one in several):
        return np.stack(several)
    batch = np.zeros((len(several), *shape), several[0].dtype)
    for place, one in zip(batch, several, strict=True):
        place[tuple(slice(n) for n in one.shape)] = one
    return batch
