"""Near duplicates among texts: the same text with a word changed, a typing error, its end cut off, other punctuation.

A fingerprint is a MinHash signature (Broder 1997) of the pairs of neighbouring words, in lower case and without
punctuation, the two ends of the text counting as words: each of 126 bytes agrees between two texts about as often as
their sets of pairs overlap. Two texts count as the same when 85 bytes agree or more, an overlap of about two thirds:
one changed word in ten or fewer is enough to make two texts different, so requests such as "play some jazz" and "play
some rock" stay apart. It knows nothing of files and nothing of labels.

Set on 1,500 film reviews (230 words on average) and 1,500 sentences (21 words) with alterations of each.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from topwork.contracts import Array
from topwork.errors import UsageError
from topwork.inputs.text_opening import words_of

__all__ = ["LENGTH", "N_SAME", "fingerprint", "near_duplicates"]

_BAND = 3  # bytes that are looked up together
_N_BANDS = 42
LENGTH = _BAND * _N_BANDS
"""Bytes of a fingerprint."""

N_SAME = LENGTH - _N_BANDS + 1
"""So many equal bytes make two texts the same; with so many, the bytes of at least one band are all equal."""

_MAX_REACH = 8  # rows of one band that a row is compared with; bounds the work where all texts begin alike
_BATCH_PAIRS = 1 << 16
_BLOCK_SHINGLES = 2048
_EDGE = np.uint64(0x9E3779B97F4A7C15)  # stands for the word before the first and after the last


def fingerprint(text: str) -> Array:
    """Describe a clean text for comparison: ``uint8 [LENGTH]``."""
    shingles = _shingles(text)
    least = np.full(LENGTH, np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(shingles), _BLOCK_SHINGLES):
        block = shingles[start : start + _BLOCK_SHINGLES, None] * _FACTORS
        np.minimum(least, block.min(axis=0), out=least)
    signature: Array = _mixed(least).astype(np.uint8)
    return signature


def near_duplicates(fingerprints: Array) -> Array:
    """Find the pairs of rows that hold the same text.

    Rows are the same where `N_SAME` bytes agree. Rows with equal fingerprints are linked to the first of them only,
    so that many copies of one text give as many pairs and not their square; where more than 9 different rows share
    a band, each is compared with the next 8 of it. Time grows with the number of rows times its logarithm.

    Parameters
    ----------
    fingerprints
        ``uint8 [n, LENGTH]``.

    Returns
    -------
    ``int64 [p, 2]``, first < second, sorted, each pair once.
    """
    if fingerprints.ndim != 2 or fingerprints.dtype != np.uint8 or fingerprints.shape[1] != LENGTH:
        raise UsageError(
            f"The fingerprints are {fingerprints.dtype} {fingerprints.shape}; expected uint8 [n, {LENGTH}]."
        )
    first, equal = _equal(fingerprints)
    found = [equal, *(first[pairs] for pairs in _alike(fingerprints[first]))]
    return np.unique(np.concatenate(found), axis=0).astype(np.int64).reshape(-1, 2)


def _shingles(text: str) -> Array:
    """Return ``uint64 [n]``: a number for each pair of neighbouring words, the ends counting as words."""
    words = words_of(text.lower()) or [text]
    hashes = np.fromiter((zlib.crc32(word.encode()) for word in words), dtype=np.uint64, count=len(words))
    line = np.concatenate([[_EDGE], _mixed(hashes), [_EDGE]])
    return _mixed(line[:-1] * np.uint64(3) + line[1:])


def _mixed(numbers: Array) -> Array:
    """Scatter ``uint64`` over all 64 bits: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = numbers ^ (numbers >> np.uint64(31))
    return mixed


# Odd, so that multiplying by one is a permutation of the numbers of 64 bits.
_FACTORS = _mixed(np.arange(1, LENGTH + 1, dtype=np.uint64) * _EDGE) | np.uint64(1)


def _equal(fingerprints: Array) -> tuple[Array, Array]:
    """Return the first row of each different fingerprint, ascending, and the pairs that link the others to it."""
    if not len(fingerprints):
        return np.zeros(0, dtype=np.int64), np.zeros((0, 2), dtype=np.int64)
    whole = np.ascontiguousarray(fingerprints).view(np.dtype((np.void, LENGTH))).reshape(-1)
    _, firsts, which = np.unique(whole, return_index=True, return_inverse=True)
    owner = firsts[which.reshape(-1)]
    others = np.flatnonzero(owner != np.arange(len(owner)))
    return np.sort(firsts), np.stack([owner[others], others], axis=1)


def _alike(fingerprints: Array) -> Iterator[Array]:
    """Yield pairs of different rows that agree in `N_SAME` bytes, ``int64 [p, 2]`` each; some more than once."""
    for candidates in _candidates(fingerprints):
        for start in range(0, len(candidates), _BATCH_PAIRS):
            pairs = candidates[start : start + _BATCH_PAIRS]
            agree = np.count_nonzero(fingerprints[pairs[:, 0]] == fingerprints[pairs[:, 1]], axis=1)
            yield pairs[agree >= N_SAME]


def _candidates(fingerprints: Array) -> Iterator[Array]:
    """Yield pairs of rows whose bytes of a band are all equal, ``int64 [c, 2]``."""
    for start in range(0, LENGTH, _BAND):
        keys = fingerprints[:, start : start + _BAND].astype(np.int32) @ np.array(
            [1, 1 << 8, 1 << 16], np.int32
        )
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        for step in range(1, _MAX_REACH + 1):
            same = np.flatnonzero(keys[step:] == keys[:-step])
            if not len(same):
                break
            yield np.stack([order[same], order[same + step]], axis=1)
