"""Perplexity with its interval, an n-gram model, and what is copied."""

from __future__ import annotations

import numpy as np
import pytest

from topwork.evaluation.ngrams import NgramModel, copied_share
from topwork.evaluation.perplexity import perplexity, perplexity_difference


def test_perplexity_is_e_to_the_mean_cost_of_a_token() -> None:
    found = perplexity(np.array([10.0, 2.0]), np.array([5, 1]), seed=0)
    assert found.value == pytest.approx(np.exp(12 / 6))
    assert found.low <= found.value <= found.high


def test_its_interval_covers() -> None:
    """Texts differ among each other more than their tokens do."""
    n_covered, truth = 0, np.exp(3.0)
    for seed in range(200):
        draw = np.random.default_rng(seed)
        means = draw.normal(3.0, 0.5, 40)
        costs = means * 50
        found = perplexity(costs, np.full(40, 50), seed=seed)
        n_covered += found.low <= truth <= found.high
    assert 0.90 <= n_covered / 200 <= 0.98


def test_a_difference_is_of_the_same_texts() -> None:
    draw = np.random.default_rng(0)
    others = draw.normal(150, 30, 60)
    costs = others - 10 + draw.normal(0, 1, 60)
    counts = np.full(60, 50)
    found = perplexity_difference(costs, others, counts, seed=0)
    alone = [perplexity(each, counts, seed=0) for each in (costs, others)]
    assert found.value == pytest.approx(alone[0].value - alone[1].value)
    assert found.low < found.value < found.high < 0
    assert found.high - found.low < 0.5 * (alone[0].high - alone[0].low)


def test_probabilities_of_an_n_gram_model_sum_to_one() -> None:
    draw = np.random.default_rng(0)
    model = NgramModel(8).fit([draw.integers(0, 6, 60).tolist() for _ in range(5)])
    for before in ([], [1], [1, 2], [7, 7], [3, 7]):
        assert sum(model.probability(token, before) for token in range(8)) == pytest.approx(1.0)


def test_what_followed_before_is_likelier() -> None:
    model = NgramModel(10).fit([[1, 2, 3] * 10, [4, 5, 6] * 10])
    assert model.probability(3, [1, 2]) > 0.9
    assert model.probability(9, [1, 2]) < 0.01
    assert model.probability(9, [1, 2]) > 0


def test_the_cost_is_of_the_tokens_that_are_said() -> None:
    model = NgramModel(10).fit([[1, 2, 3, 4]])
    text = [1, 2, 3, 4]
    alone = -np.log(model.probability(4, [2, 3]))
    assert model.cost(text, [False, False, False, True]) == pytest.approx(alone)
    assert model.cost(text, [True] * 4) > model.cost(text, [False, False, True, True]) > alone


def test_a_copy_is_a_long_run_that_stands_elsewhere() -> None:
    source = list(range(100))
    assert copied_share([source[10:30]], [source]) == 1.0
    assert copied_share([source[10:21]], [source]) == 0.0  # eleven in a row are no copy
    mixed = [*source[10:25], *range(200, 215)]
    assert copied_share([mixed], [source]) == pytest.approx(15 / 30)
    assert copied_share([], [source]) == 0.0
