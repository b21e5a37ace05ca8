"""Classification metrics: equal to scikit-learn's, honest at the edges, covering what they promise."""

from __future__ import annotations

from math import inf, isnan, log
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from topwork.errors import UsageError
from topwork.evaluation.classification import (
    accuracy,
    balanced_accuracy,
    calibration_error,
    classification_metrics,
    confusion,
    log_loss,
    macro_f1,
    majority_baseline,
    per_class,
    softmax,
)

if TYPE_CHECKING:
    from topwork.contracts import Array, Estimate

KEYS = {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "calibration_error"}


def scored(n: int, k: int, *, signal: float = 2.0, seed: int = 0) -> tuple[Array, Array]:
    """Make labels and scores that agree about as well as a fair model's."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    scores = rng.normal(size=(n, k))
    scores[np.arange(n), truth] += signal
    return truth, scores


def classes_of(counts: list[list[int]]) -> tuple[Array, Array]:
    """Spell a confusion matrix out as truth and prediction."""
    cells = [(t, p) for t, row in enumerate(counts) for p, n in enumerate(row) for _ in range(n)]
    return np.array([t for t, _ in cells]), np.array([p for _, p in cells])


# --- equal to scikit-learn ------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "k"), [(40, 2), (110, 6), (500, 30)])
@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_are_those_of_scikit_learn(n: int, k: int, seed: int) -> None:
    truth, scores = scored(n, k, signal=1.5, seed=seed)
    predicted, probabilities = scores.argmax(1), softmax(scores)
    present = np.unique(truth)
    assert accuracy(truth, predicted) == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted))
    assert balanced_accuracy(truth, predicted) == pytest.approx(
        sklearn_metrics.recall_score(truth, predicted, labels=present, average="macro", zero_division=0)
    )
    assert macro_f1(truth, predicted) == pytest.approx(
        sklearn_metrics.f1_score(truth, predicted, labels=present, average="macro", zero_division=0)
    )
    assert log_loss(truth, probabilities) == pytest.approx(
        sklearn_metrics.log_loss(truth, probabilities, labels=range(k))
    )
    assert (
        confusion(truth, predicted, k) == sklearn_metrics.confusion_matrix(truth, predicted, labels=range(k))
    ).all()


def test_a_class_that_the_test_rows_lack_is_left_out_of_the_means() -> None:
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    assert balanced_accuracy(truth, predicted) == pytest.approx(0.75)
    expected = sklearn_metrics.f1_score(truth, predicted, labels=[0, 1], average="macro", zero_division=0)
    assert macro_f1(truth, predicted) == pytest.approx(expected)


def test_a_class_that_is_never_predicted_counts_as_zero() -> None:
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 0])
    assert macro_f1(truth, predicted) == pytest.approx((2 * 2 / 6 + 0) / 2)
    second = per_class(truth, predicted, 2)[1]
    assert isnan(second.precision.value)
    assert (second.recall.value, second.f1, second.n_true, second.n_predicted) == (0.0, 0.0, 2, 0)


def test_precision_and_recall_per_class_are_those_of_scikit_learn() -> None:
    truth, scores = scored(200, 5)
    predicted = scores.argmax(1)
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(truth, predicted)
    ours = per_class(truth, predicted, 5)
    assert len(ours) == 5
    for c, mine in enumerate(ours):
        assert (mine.precision.value, mine.recall.value, mine.f1, mine.n_true) == pytest.approx(
            (precision[c], recall[c], f1[c], support[c])
        )
        assert mine.recall.low < mine.recall.value < mine.recall.high


def test_softmax_adds_up_and_does_not_overflow() -> None:
    probabilities = softmax(np.array([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0]], np.float32))
    assert probabilities.sum(1) == pytest.approx(1)
    assert probabilities[0, 0] == 1.0
    assert probabilities[1] == pytest.approx(1 / 3)


# --- all of them together -------------------------------------------------------------------------------


def test_every_metric_comes_with_an_interval_that_holds_it() -> None:
    truth, scores = scored(110, 6)
    found = classification_metrics(truth, scores, seed=0)
    assert set(found) == KEYS
    for name, e in found.items():
        assert e.low < e.value < e.high, name
    predicted, probabilities = scores.argmax(1), softmax(scores)
    values = {name: e.value for name, e in found.items()}
    assert values == pytest.approx(
        {
            "accuracy": accuracy(truth, predicted),
            "balanced_accuracy": balanced_accuracy(truth, predicted),
            "macro_f1": macro_f1(truth, predicted),
            "log_loss": log_loss(truth, probabilities),
            "calibration_error": calibration_error(truth, probabilities),
        }
    )


def test_rows_without_a_label_do_not_count() -> None:
    truth, scores = scored(80, 4)
    with_gaps = np.concatenate([[-1, -1], truth, [-1]])
    padded = np.concatenate([scores[:2], scores, scores[:1]])
    assert classification_metrics(with_gaps, padded, seed=0) == classification_metrics(truth, scores, seed=0)
    assert log_loss(with_gaps, softmax(padded)) == pytest.approx(log_loss(truth, softmax(scores)))
    assert accuracy(with_gaps, padded.argmax(1)) == accuracy(truth, scores.argmax(1))


def test_the_order_of_the_rows_does_not_matter() -> None:
    truth, scores = scored(90, 3)
    turned = classification_metrics(truth[::-1], scores[::-1], seed=0)
    for name, e in classification_metrics(truth, scores, seed=0).items():
        assert turned[name].value == pytest.approx(e.value), name
        assert (turned[name].low, turned[name].high) == pytest.approx((e.low, e.high), abs=0.02), name


def test_the_same_seed_gives_the_same_numbers() -> None:
    truth, scores = scored(90, 3)
    assert classification_metrics(truth, scores, seed=5) == classification_metrics(truth, scores, seed=5)


def test_more_rows_make_narrower_intervals() -> None:
    few, many = (classification_metrics(*scored(n, 4), seed=0) for n in (60, 6000))
    assert len(few) == len(KEYS)
    for name in few:
        assert many[name].high - many[name].low < 0.4 * (few[name].high - few[name].low), name


def test_a_perfect_score_on_few_rows_is_not_called_certain() -> None:
    truth = np.repeat(np.arange(3), 5)
    found = classification_metrics(truth, np.eye(3)[truth] * 9, seed=0)
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert found[name].value == found[name].high == 1.0
        assert found[name].low < 0.9, name


def test_one_row_is_enough_to_count_and_too_few_to_know() -> None:
    found = classification_metrics(np.array([1]), np.array([[0.0, 3.0]]), seed=0)
    assert found["accuracy"].value == 1.0
    assert found["accuracy"].low < 0.25
    assert found["log_loss"].value == pytest.approx(log(1 + np.exp(-3.0)))
    assert (found["log_loss"].low, found["log_loss"].high) == (0.0, inf)
    assert (found["calibration_error"].low, found["calibration_error"].high) == (0.0, 1.0)
    several = classification_metrics(np.array([1, 0]), np.array([[0.0, 3.0], [0.0, 1.0]]), seed=0)
    assert several["log_loss"].high < inf


def test_a_single_class_of_output_is_always_right() -> None:
    found = classification_metrics(np.zeros(4, np.int64), np.zeros((4, 1)), seed=0)
    assert [found[name].value for name in ("accuracy", "macro_f1", "log_loss")] == [1.0, 1.0, 0.0]


def test_no_labelled_row_gives_no_value_and_no_warning() -> None:
    for truth in (np.empty(0, np.int64), np.array([-1, -1])):
        found = classification_metrics(truth, np.zeros((len(truth), 3)), seed=0)
        assert set(found) == KEYS
        assert all(isnan(e.value) for e in found.values())
        assert isnan(log_loss(truth, np.zeros((len(truth), 3))))
        assert isnan(calibration_error(truth, np.zeros((len(truth), 3))))


def test_of_equal_scores_the_first_class_is_predicted() -> None:
    found = classification_metrics(np.array([0, 1]), np.zeros((2, 2)), seed=0)
    assert found["accuracy"].value == 0.5
    assert found["log_loss"].value == pytest.approx(log(2))


def test_certainty_in_the_wrong_class_costs_36_nats_at_most() -> None:
    assert log_loss(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(36.04, abs=0.01)


# --- calibration ----------------------------------------------------------------------------------------


def calibrated(n: int, *, seed: int) -> tuple[Array, Array]:
    """Draw labels from the very probabilities that are claimed."""
    rng = np.random.default_rng(seed)
    top = rng.uniform(0.5, 1.0, n)
    return (rng.uniform(size=n) > top).astype(np.int64), np.stack([top, 1 - top], axis=1)


def test_a_calibrated_model_has_no_calibration_error_on_average() -> None:
    errors = [calibration_error(*calibrated(300, seed=s)) for s in range(60)]
    assert np.mean([e**2 for e in errors]) < 0.002, "the plug-in estimate would be near 0.01"


def test_overconfidence_is_measured() -> None:
    right = np.arange(1000) < 700
    probabilities = np.tile([0.9, 0.1], (1000, 1))
    assert calibration_error((~right).astype(np.int64), probabilities) == pytest.approx(0.2, abs=0.001)


def test_rows_of_equal_confidence_are_binned_together_whatever_their_order() -> None:
    truth = np.repeat([0, 1], 150)
    assert calibration_error(truth, np.full((300, 2), 0.5)) == 0.0


# --- baseline -------------------------------------------------------------------------------------------


def test_the_majority_of_the_training_rows_is_what_counts() -> None:
    train, test = np.array([0, 0, 0, 1, 1, -1]), np.array([1, 1, 1, 0])
    found = majority_baseline(train, test, 2, seed=0)
    assert set(found) == KEYS
    assert found["accuracy"].value == 0.25
    assert found["balanced_accuracy"].value == 0.5
    assert found["log_loss"].value == pytest.approx(-(3 * log(3 / 7) + log(4 / 7)) / 4)


def test_a_class_that_training_never_saw_does_not_break_the_baseline() -> None:
    found = majority_baseline(np.zeros(8, np.int64), np.array([0, 2]), 3, seed=0)
    assert found["accuracy"].value == 0.5
    assert found["log_loss"].value == pytest.approx(-(log(9 / 11) + log(1 / 11)) / 2)


def test_the_majority_of_nothing_is_an_error() -> None:
    with pytest.raises(UsageError, match="no labelled training row"):
        majority_baseline(np.array([-1]), np.array([0]), 2, seed=0)


# --- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_scores_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(UsageError, match="not finite in 1 of 2 rows"):
        classification_metrics(np.array([0, 1]), np.array([[0.0, 1.0], [bad, 0.0]]), seed=0)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="2 true labels and 3 predictions"):
        classification_metrics(np.array([0, 1]), np.zeros((3, 2)), seed=0)
    with pytest.raises(UsageError, match=r"shape \(2,\)"):
        classification_metrics(np.array([0, 1]), np.zeros(2), seed=0)
    with pytest.raises(UsageError, match="up to 5 and down to 0, for 2 classes"):
        confusion(np.array([0, 5]), np.array([0, 1]), 2)


# --- coverage -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("k", "rows", "share"), [(6, 18, 0.75), (6, 18, 0.95), (6, 18, 0.99), (2, 20, 0.9)])
def test_the_intervals_cover_the_truth(k: int, rows: int, share: float) -> None:
    """With equal classes and evenly spread errors, accuracy and macro F1 have the same true value."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(k), rows)
    hits: dict[str, list[bool]] = {name: [] for name in ("accuracy", "balanced_accuracy", "macro_f1")}
    for _ in range(200):
        wrong = rng.uniform(size=len(truth)) > share
        predicted = (truth + wrong * rng.integers(1, k, len(truth))) % k
        found = classification_metrics(truth, np.eye(k)[predicted], seed=0)
        for name, seen in hits.items():
            e: Estimate = found[name]
            seen.append(e.low - 1e-9 <= share <= e.high + 1e-9)
    for name, seen in hits.items():
        assert np.mean(seen) >= 0.9, (name, np.mean(seen))


@pytest.mark.slow
def test_the_interval_of_the_log_loss_covers_the_truth() -> None:
    truth, scores = scored(200_000, 4)
    expected = log_loss(truth, softmax(scores))
    hits = []
    for start in range(0, 60_000, 300):
        rows = slice(start, start + 300)
        e = classification_metrics(truth[rows], scores[rows], seed=0)["log_loss"]
        hits.append(e.low <= expected <= e.high)
    assert len(hits) == 200
    assert np.mean(hits) >= 0.9


@pytest.mark.slow
def test_the_interval_of_the_calibration_error_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(200):
        top = rng.uniform(0.6, 1.0, 200)
        truth = (rng.uniform(size=200) > top - 0.1).astype(np.int64)
        scores = np.stack([np.log(top), np.log(1 - top)], axis=1)
        e = classification_metrics(truth, scores, seed=0)["calibration_error"]
        hits.append(e.low <= 0.1 <= e.high)
    assert np.mean(hits) >= 0.94, np.mean(hits)


@pytest.mark.slow
def test_precision_and_recall_of_each_class_cover_the_truth() -> None:
    """The shares of the classes and of the predictions vary from test set to test set, as they do in life."""
    rng = np.random.default_rng(0)
    joint = np.array([[0.40, 0.05, 0.01], [0.04, 0.30, 0.02], [0.02, 0.01, 0.15]])
    recalls, precisions = np.diagonal(joint) / joint.sum(1), np.diagonal(joint) / joint.sum(0)
    hits = []
    for _ in range(400):
        cells = rng.choice(9, 110, p=joint.ravel())
        for c, found in enumerate(per_class(cells // 3, cells % 3, 3)):
            hits.append(found.recall.low <= recalls[c] <= found.recall.high)
            hits.append(found.precision.low <= precisions[c] <= found.precision.high)
    assert len(hits) == 2400
    for which in range(6):
        assert 0.92 <= np.mean(hits[which::6]) <= 0.99, which


@pytest.mark.slow
@pytest.mark.parametrize("signal", [1.0, 3.0])
def test_all_metrics_cover_the_truth_where_the_test_set_is_drawn_at_random(signal: float) -> None:
    def drawn(n: int, seed: int) -> tuple[Array, Array]:
        rng = np.random.default_rng(seed)
        truth = rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
        scores = rng.normal(size=(n, 4))
        scores[np.arange(n), truth] += signal
        return truth, scores

    truth = {name: e.value for name, e in classification_metrics(*drawn(400_000, 999), seed=0).items()}
    found = [classification_metrics(*drawn(150, seed), seed=seed) for seed in range(400)]
    covered = {name: np.mean([f[name].low <= truth[name] <= f[name].high for f in found]) for name in KEYS}
    assert 0.92 <= covered["accuracy"] <= 0.99, covered
    assert 0.90 <= covered["log_loss"] <= 0.99, covered  # percentiles of a skewed mean, in 150 rows
    # As wide as a Wilson interval for each class at least, which in a class of 15 rows is more than 95 %.
    assert covered["balanced_accuracy"] >= 0.92, covered
    assert covered["macro_f1"] >= 0.92, covered
    assert covered["calibration_error"] >= 0.92, covered
