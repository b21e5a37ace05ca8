"""Tokens and pairs of neighbouring tokens, each in one of a fixed number of buckets: words without a vocabulary.

Pairs are hashed (the "hashing trick": Weinberger et al., 2009, arXiv 0902.2206), and in integers so small that every
engine comes to the same bucket. The arithmetic is that of arrays of any library: numpy while fitting, torch in a
network.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeVar

import numpy as np

from topwork.contracts import Array

__all__ = ["N_BUCKETS", "of_pairs", "of_tokens", "weigh"]

T = TypeVar("T", bound=Any)

N_BUCKETS: Final = 1 << 19
"""All buckets. On IMDB's reviews a linear model of them gains half a point from four times as many as 2 ** 17."""
_N_SINGLE: Final = 1 << 15
"""Of these for single tokens: as many as most vocabularies have."""
# Two remainders tell tokens up to 265,188 apart. What a remainder is taken of stays below 2 ** 24, up to which an
# engine that divides in floating point is right: 508 * 7,919 + 520 * 8,101, 508 * 6,833 + 520 * 9,973,
# 65,520 * 211 + 65,518.
_PARTS: Final = (509, 521)
_FIRST: Final = (7919, 8101, 65521)
_SECOND: Final = (6833, 9973, 65519)
_SPREAD: Final = 211


def of_tokens(tokens: T) -> T:
    """Return the bucket of each token, ``int [...]``."""
    found: T = tokens % _N_SINGLE
    return found


def of_pairs(first: T, second: T) -> T:
    """Return the bucket of each pair of tokens, ``int [...]``."""
    left, right = _scattered(first, _FIRST), _scattered(second, _SECOND)
    found: T = (left * _SPREAD + right) % (N_BUCKETS - _N_SINGLE) + _N_SINGLE
    return found


def _scattered(tokens: T, by: tuple[int, int, int]) -> T:
    found: T = (tokens % _PARTS[0] * by[0] + tokens % _PARTS[1] * by[1]) % by[2]
    return found


def weigh(texts: Iterable[Array]) -> Any:
    """Return what is in each text, as SciPy's CSR ``float32 [n, N_BUCKETS]``.

    In a window each bucket that is there counts once, by one over the root of how many there are; a text is the mean of
    its windows, by their tokens.

    Parameters
    ----------
    texts
        Windows of tokens, each ``int [k, w]``; 0 where nothing is.
    """
    from scipy.sparse import csr_matrix

    places, values, ends = [], [], [0]
    for text in texts:
        windows = [row[row > 0].astype(np.int64) for row in text]
        n_tokens = sum(map(len, windows))
        for window in windows:
            there = np.unique(np.concatenate([of_tokens(window), of_pairs(window[:-1], window[1:])]))
            places.append(there)
            values.append(np.full(len(there), len(window) / max(n_tokens, 1) / max(len(there), 1) ** 0.5))
        ends.append(ends[-1] + sum(map(len, places[len(places) - len(windows) :])))
    shape = (len(ends) - 1, N_BUCKETS)
    found = csr_matrix((_joined(values), _joined(places), ends), shape=shape, dtype=np.float32)
    found.sum_duplicates()
    return found


def _joined(parts: list[Array]) -> Array:
    return np.concatenate(parts) if parts else np.zeros(0)
