"""What words say by themselves, and how much of it is mixed in: arrays and sparse matrices alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random_array

from topwork.contracts import Array, Goal
from topwork.training.links import solver_of
from topwork.training.word_weights import SHARES, WordWeights, fit_words, mixed

N_WORDS = 40


def found(n: int, seed: int = 0) -> Any:
    draw = np.random.default_rng(seed)
    return csr_matrix(random_array((n, N_WORDS), density=0.2, rng=draw, dtype=np.float32))


def goal_of(words: Any, link: str) -> Goal:
    """Return a goal that the first word alone decides."""
    has = np.asarray(words[:, [0]].todense()).ravel()
    if link == "identity":
        return Goal(has.astype(np.float64), "identity", 1)
    return Goal((has > 0).astype(np.int64), "softmax", 2)


@pytest.mark.parametrize("link", ["softmax", "identity"])
def test_a_word_that_decides_is_found(link: str) -> None:
    words = found(600)
    goal = goal_of(words, link)
    fitted = fit_words(words, goal, 16.0)
    assert fitted.weight.shape == (N_WORDS, goal.n_outputs)
    own = fitted.weight[:, -1]
    assert np.abs(own).argmax() == 0
    scores = fitted.scores(words)
    if link == "identity":
        assert np.corrcoef(scores[:, 0], goal.truth)[0, 1] > 0.99
    else:
        assert (scores.argmax(1) == goal.truth).mean() > 0.95


def test_rows_without_truth_are_not_fitted() -> None:
    words = found(600)
    goal = goal_of(words, "identity")
    lost = goal.truth.copy()
    lost[::2] = np.nan
    half = fit_words(words, Goal(lost, "identity", 1), 16.0)
    assert np.isfinite(half.weight).all()
    assert np.abs(half.weight[:, 0]).argmax() == 0


def test_a_word_of_one_text_among_many_says_nothing() -> None:
    words = found(600).tolil()
    words[:, 7] = 0
    words[3, 7] = 1
    fitted = fit_words(words.tocsr(), goal_of(words.tocsr(), "softmax"), 16.0)
    assert not fitted.weight[7].any()


def test_two_opposite_scores_take_one_column() -> None:
    words = found(600)
    two = fit_words(words, goal_of(words, "softmax"), 4.0)
    columns, spread = two.columns()
    assert columns.shape == (N_WORDS, 1)
    assert np.allclose(columns @ spread.T, two.weight)
    three = WordWeights(np.random.default_rng(0).normal(size=(N_WORDS, 3)).astype(np.float32), np.zeros(3))
    columns, spread = three.columns()
    assert np.array_equal(columns @ spread.T, three.weight)


def test_labels_and_several_classes_are_told_apart() -> None:
    words = found(900)
    has = np.asarray(words[:, :3].todense()) > 0
    labels = fit_words(words, Goal(has.astype(np.int64), "sigmoid", 3), 16.0)
    classes = fit_words(words, Goal(np.where(has[:, 0], 0, np.where(has[:, 1], 1, 2)), "softmax", 3), 16.0)
    assert [int(np.abs(labels.weight[:, j]).argmax()) for j in range(3)] == [0, 1, 2]
    assert [int(classes.weight[:, j].argmax()) for j in range(2)] == [0, 1]


def network_scores(truth: Array, n: int, sharpness: float) -> Array:
    draw = np.random.default_rng(5)
    logits = sharpness * (2 * truth - 1) + draw.normal(0, 2, n)
    return np.stack([-logits / 2, logits / 2], axis=1)


def share_and_loss(sharpness: float, words_know: bool) -> tuple[float, float]:
    """Return the share of the words, and what the mixture costs less than the network alone."""
    from topwork.evaluation.links import losses_of

    train, valid = found(800, 1), found(400, 2)
    goal, shown = goal_of(train, "softmax"), goal_of(valid, "softmax")
    truth = goal.truth if words_know else np.random.default_rng(3).permutation(goal.truth)
    words = fit_words(train, Goal(truth, "softmax", 2), 16.0)
    scores = solver_of("softmax").cross_calibrate(
        shown.truth, network_scores(shown.truth, 400, sharpness), seed=0
    )
    _, share, judged = mixed(shown, scores, [words.scores(valid)], seed=0)
    losses = (losses_of("softmax", shown.truth, one).mean() for one in (scores, judged))
    before, after = losses
    return share, float(before - after)


def test_words_that_know_are_mixed_in_and_others_hardly() -> None:
    share, gain = share_and_loss(0.2, words_know=True)
    assert share == SHARES[-1]
    assert gain > 0.3
    share, gain = share_and_loss(2.0, words_know=False)
    assert share <= SHARES[1]
    assert gain < 0.005


def test_a_row_is_judged_by_what_other_rows_chose() -> None:
    n = 60
    truth = np.random.default_rng(0).integers(0, 2, n)
    goal = Goal(truth, "softmax", 2)
    # Each of many fits is good for some rows by luck; chosen on the very rows that judge, one would be a gain.
    scores = np.zeros((n, 2))
    lucky = [np.random.default_rng(seed).normal(size=(n, 2)) for seed in range(60)]
    _, _, judged = mixed(goal, scores, lucky, seed=0)
    from topwork.evaluation.links import losses_of

    assert losses_of("softmax", truth, judged).mean() > np.log(2) - 0.02
