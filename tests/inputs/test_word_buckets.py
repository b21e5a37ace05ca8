"""Tokens and pairs in buckets: the same for every library, in small integers, each once in a window."""

from __future__ import annotations

import numpy as np
import torch

from topwork.inputs.word_buckets import N_BUCKETS, of_pairs, of_tokens, weigh

LARGEST = 2**18 + 40_000  # more tokens than any vocabulary has


def test_buckets_of_32_bits_are_those_of_64() -> None:
    draw = np.random.default_rng(0)
    ends = np.array([1, 2**15 - 1, 2**15, 2**18 - 1, 2**18, LARGEST])
    wide = np.concatenate([ends, draw.integers(1, LARGEST, 5000)])
    other = np.concatenate([ends[::-1], draw.integers(1, LARGEST, 5000)])
    narrow, second = (torch.from_numpy(one.astype(np.int32)) for one in (wide, other))
    assert np.array_equal(of_tokens(wide), of_tokens(narrow).numpy())
    assert np.array_equal(of_pairs(wide, other), of_pairs(narrow, second).numpy())
    assert of_tokens(wide).max() < 2**15 <= of_pairs(wide, other).min()
    assert of_pairs(wide, other).max() < N_BUCKETS


def test_pairs_fall_evenly_and_their_order_counts() -> None:
    draw = np.random.default_rng(0)
    first, second = draw.integers(1, 30_000, (2, 100_000))
    assert np.mean(of_pairs(first, second) == of_pairs(second, first)) < 0.001
    counts = np.bincount(of_pairs(first, second), minlength=N_BUCKETS)[2**15 :]
    assert counts.var() < 1.5 * counts.mean()  # of balls thrown at random they are alike


def test_a_bucket_counts_once_in_a_window_and_windows_by_their_tokens() -> None:
    found = weigh([np.array([[5, 5, 5, 0], [7, 0, 0, 0]], np.int32), np.zeros((1, 4), np.int32)])
    assert found.shape == (2, N_BUCKETS)
    five, seven, pair = (int(one) for one in (of_tokens(5), of_tokens(7), of_pairs(5, 5)))
    assert set(found[0].indices) == {five, seven, pair}
    assert np.isclose(found[0, five], 3 / 4 / 2**0.5)
    assert found[0, five] == found[0, pair]
    assert np.isclose(found[0, seven], 1 / 4)
    assert found[1].nnz == 0


def test_no_texts_are_no_rows() -> None:
    assert weigh([]).shape == (0, N_BUCKETS)
