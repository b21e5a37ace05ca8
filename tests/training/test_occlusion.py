"""Words are as warm as the score falls without them, by networks whose right answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from topwork.contracts import Array
from topwork.inputs.text_excerpt import stretches
from topwork.training.occlusion import ahead, warmth


class Summing:
    """A score to which each token adds a number of its own."""

    def __init__(self, weights: Array) -> None:
        self.weights, self.largest = weights, 0

    def __call__(self, batch: Array) -> Array:
        self.largest = max(self.largest, len(batch))
        counts = np.stack([np.bincount(one[one > 0], minlength=12) for one in batch])
        return np.asarray(counts @ self.weights)


TOKENS = np.array([[1, 5, 6, 7, 2], [1, 6, 2, 0, 0]], dtype=np.int32)


def test_heat_is_what_each_token_adds_to_the_score() -> None:
    weights = np.zeros(12, np.float32)
    weights[[5, 6, 7]] = 2.0, -1.0, 0.5
    found = warmth(Summing(weights), TOKENS, stretches(TOKENS, 10))
    assert found.tolist() == [[0, 1, -0.5, 0.25, 0], [0, -0.5, 0, 0, 0]]


def test_the_tokens_of_a_part_share_its_heat() -> None:
    weights = np.zeros(12, np.float32)
    weights[[5, 6, 7]] = 3.0, 1.0, 0.0
    found = warmth(Summing(weights), TOKENS, stretches(TOKENS, 2))
    assert found[0].tolist() == [0, 1, 1, 0.25, 0]
    assert found[1].tolist() == [0, 0.25, 0, 0, 0]


def test_a_score_that_nothing_changes_is_cold_and_batches_stay_small() -> None:
    score = Summing(np.zeros(12))
    long = np.arange(1, 12, dtype=np.int32)[None].repeat(10, axis=0)
    assert not warmth(score, long, stretches(long, 96)).any()
    assert score.largest == 16


class Averaging:
    """A score that is the mean of what its tokens say, each beside the others of its window; it counts windows."""

    def __init__(self, power: float = 1.0) -> None:
        self.power, self.n_windows = power, 0

    def __call__(self, batch: Array) -> Array:
        self.n_windows += batch.shape[0] * batch.shape[1]
        here = batch > 0
        of_window = (batch**2 * here).sum(axis=2) / np.maximum(here.sum(axis=2), 1)
        sizes = here.sum(axis=2) ** self.power
        return np.asarray((of_window * sizes).sum(axis=1) / sizes.sum(axis=1))


def a_long_text() -> Array:
    tokens = np.random.default_rng(0).integers(1, 12, (6, 14)).astype(np.int32)
    tokens[-1, 5:] = 0
    return tokens


def expected(score: Averaging, text: Array, parts: Array) -> Array:
    falls = [float((score(text[None]) - score(np.where(part, 0, text)[None]))[0]) for part in parts]
    found = np.zeros(text.shape)
    for part, fall in zip(parts, falls, strict=True):
        found[part] = fall / part.sum()
    return np.asarray(found / np.abs(found).max())


@pytest.mark.parametrize("most", [96, 20, 4])
def test_only_the_windows_of_a_part_are_computed_anew(most: int) -> None:
    """With few parts one stretches over several windows."""
    text, score = a_long_text(), Averaging()
    parts = stretches(text, most)
    found = warmth(score, text, parts)
    n_touched = int(parts.any(axis=2).sum())
    assert score.n_windows == 2 * 6 + 6 + n_touched < (len(parts) + 1) * 6
    assert found == pytest.approx(expected(score, text, parts), abs=1e-5)


def test_where_windows_weigh_otherwise_each_part_is_taken_from_the_whole() -> None:
    text, score = a_long_text(), Averaging(power=2.0)
    parts = stretches(text, 20)
    assert warmth(score, text, parts) == pytest.approx(expected(score, text, parts), abs=1e-5)


def test_an_input_without_parts_is_cold() -> None:
    two = np.array([[1, 2]], dtype=np.int32)
    assert not warmth(Summing(np.ones(12)), two, stretches(two, 10)).any()


def test_an_output_is_ahead_of_the_mean_of_the_others() -> None:
    scores = np.array([[1.0, 4.0, 3.0], [0.0, 0.0, 6.0]])
    assert ahead(scores, 1).tolist() == [2.0, -3.0]
    assert ahead(np.array([[2.5], [-1.0]]), 0).tolist() == [2.5, -1.0]
