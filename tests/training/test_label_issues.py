from __future__ import annotations

import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.datasets import load_digits

from topwork.contracts import Array, Fold
from topwork.errors import UsageError
from topwork.evaluation.classification import softmax
from topwork.training.axes import Axes
from topwork.training.calibration import calibrate
from topwork.training.label_issues import (
    LabelIssue,
    find_conflicts,
    find_label_issues,
    find_outliers,
    find_set_issues,
)
from topwork.training.probe import cross_validate


def held_out(features: Array, truth: Array, n_classes: int) -> Array:
    """Return the probabilities of each row from a probe that did not see it."""
    fold_of = np.random.default_rng(0).permutation(len(truth)) % 5
    folds = [Fold(np.flatnonzero(fold_of != j), np.flatnonzero(fold_of == j)) for j in range(5)]
    scores, _ = cross_validate(Axes.of(features), truth, folds, n_classes, 0.1)
    return softmax(calibrate(truth, scores).apply(scores))


def flipped(truth: Array, n_classes: int, share: float) -> tuple[Array, Array]:
    """Give a share of the rows another label; return the labels and the rows."""
    draw = np.random.default_rng(1)
    rows = draw.choice(len(truth), round(len(truth) * share), replace=False)
    wrong = truth.copy()
    wrong[rows] = (truth[rows] + draw.integers(1, n_classes, len(rows))) % n_classes
    return wrong, rows


def clouds(n: int, n_classes: int, n_features: int, apart: float, seed: int = 0) -> tuple[Array, Array]:
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(n_classes, n_features))
    centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)
    truth = draw.integers(0, n_classes, n)
    return (centres[truth] + draw.normal(size=(n, n_features))).astype(np.float32), truth


def digits() -> tuple[Array, Array]:
    found = load_digits()
    return found.data.astype(np.float32), found.target.astype(np.int64)


# --- labels that a model disagrees with -----------------------------------------------------------------


@pytest.mark.parametrize("data", [digits(), clouds(1500, 10, 64, 5.0)], ids=["digits", "clouds"])
def test_of_planted_errors_most_are_found_and_most_that_are_named_are_errors(
    data: tuple[Array, Array],
) -> None:
    features, truth = data
    given, planted = flipped(truth, 10, 0.05)
    issues = find_label_issues(given, held_out(features, given, 10))
    named = np.array([issue.row for issue in issues])
    n_hit = np.isin(named, planted).sum()
    assert n_hit / len(named) > 0.8
    assert n_hit / len(planted) > 0.75
    hits = [issue for issue in issues if issue.row in planted]
    assert np.mean([issue.suggested == truth[issue.row] for issue in hits]) > 0.9
    assert all(issue.given == given[issue.row] for issue in issues)
    first = named[: len(planted) // 2]
    assert np.isin(first, planted).mean() > 0.95


def test_right_labels_are_left_alone() -> None:
    features, truth = digits()
    assert len(find_label_issues(truth, held_out(features, truth, 10))) < 0.01 * len(truth)


def test_the_worst_come_first_with_the_probability_of_what_stands_there() -> None:
    features, truth = clouds(600, 4, 32, 5.0)
    given, _ = flipped(truth, 4, 0.1)
    probabilities = held_out(features, given, 4)
    issues = find_label_issues(given, probabilities)
    scores = [issue.score for issue in issues]
    assert len(scores) > 20
    assert scores == sorted(scores)
    for issue in issues:
        assert issue.score == pytest.approx(probabilities[issue.row, issue.given])
        assert issue.suggested == probabilities[issue.row].argmax() != issue.given


def test_rows_without_a_label_or_a_probability_change_nothing_for_the_others() -> None:
    features, truth = clouds(600, 4, 32, 5.0)
    given, _ = flipped(truth, 4, 0.1)
    probabilities = held_out(features, given, 4)
    plain = find_label_issues(given, probabilities)
    more_truth = np.concatenate([[-1, 2], given, [-1]])
    unknown = np.full((1, 4), np.nan)
    more = np.concatenate([[[0.1, 0.2, 0.3, 0.4]], unknown, probabilities, unknown])
    assert find_label_issues(more_truth, more) == tuple(
        LabelIssue(one.row + 2, one.given, one.suggested, one.score) for one in plain
    )


def test_classes_that_are_absent_or_have_one_label_do_no_harm() -> None:
    features, truth = clouds(600, 4, 32, 5.0)
    given, planted = flipped(truth, 4, 0.05)
    probabilities = held_out(features, given, 4) * 0.98
    wider = np.concatenate([probabilities, np.full((600, 2), 0.01)], axis=1)
    lonely = given.copy()
    lonely[np.flatnonzero(~np.isin(np.arange(600), planted))[0]] = 5
    issues = find_label_issues(lonely, wider)
    assert np.isin([issue.row for issue in issues], planted).mean() > 0.8
    assert 5 not in {issue.given for issue in issues}


@pytest.mark.parametrize(
    ("truth", "probabilities"),
    [
        (np.zeros(0, np.int64), np.zeros((0, 3))),
        (np.array([-1, -1]), np.full((2, 3), 1 / 3)),
        (np.array([0, 1]), np.full((2, 3), np.nan)),
        (np.array([1, 1, 1]), np.array([[0.9, 0.1]] * 3)),
    ],
    ids=["nothing", "no labels", "no probabilities", "one class"],
)
def test_where_nothing_can_be_judged_nothing_is_named(truth: Array, probabilities: Array) -> None:
    assert find_label_issues(truth, probabilities) == ()


@pytest.mark.parametrize(
    ("truth", "probabilities"),
    [
        (np.zeros(3, np.int64), np.zeros((2, 2))),
        (np.array([0, 2]), np.zeros((2, 2))),
        (np.zeros(2, np.int64), np.zeros(2)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(truth: Array, probabilities: Array) -> None:
    with pytest.raises(UsageError, match=r"expected \[n\] with classes below k, and \[n, k\]"):
        find_label_issues(truth, probabilities)


def test_threads_do_not_disturb_each_other() -> None:
    jobs = []
    for seed in range(6):
        features, truth = clouds(300 + 50 * seed, 4, 16, 5.0, seed)
        given, _ = flipped(truth, 4, 0.1)
        jobs.append((given, held_out(features, given, 4)))
    alone = [find_label_issues(*job) for job in jobs]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda job: find_label_issues(*job), jobs)) == alone


def test_without_cleanlab_the_error_says_what_to_install() -> None:
    code = (
        "import sys, numpy as np; sys.modules['cleanlab'] = None\n"
        "from topwork.errors import MissingExtraError\n"
        "from topwork.training.label_issues import find_label_issues\n"
        "try: find_label_issues(np.array([0, 1]), np.full((2, 2), 0.5))\n"
        "except MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "with its extra labels" in done.stdout


def test_importing_imports_no_cleanlab_and_using_it_warns_of_nothing() -> None:
    code = (
        "import sys, numpy as np, topwork.training.label_issues as module;"
        "assert 'cleanlab' not in sys.modules and 'sklearn' not in sys.modules;"
        "module.find_label_issues(np.array([0, 1] * 20), np.full((40, 2), 0.5));"
        "assert 'cleanlab' in sys.modules and 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


# --- rows that show the same and are labelled differently -----------------------------------------------


def test_both_of_two_that_differ_are_named() -> None:
    assert find_conflicts(np.array([4, 0, 7, 4]), np.array([[0, 2], [1, 3]])) == (
        LabelIssue(0, 4, 7, 0.5, (2,)),
        LabelIssue(1, 0, 4, 0.5, (3,)),
        LabelIssue(2, 7, 4, 0.5, (0,)),
        LabelIssue(3, 4, 0, 0.5, (1,)),
    )


def test_one_that_two_contradict_is_named_alone_and_before_a_tie() -> None:
    truth = np.array([1, 2, 5, 5, 3])
    pairs = np.array([[0, 1], [2, 4], [3, 4]])
    found = find_conflicts(truth, pairs)
    assert [(one.row, one.suggested) for one in found] == [(4, 5), (0, 2), (1, 1)]
    assert found[0].score == pytest.approx(1 / 3)
    assert found[0].twins == (2, 3)


def test_a_row_without_a_label_links_others_and_is_not_named() -> None:
    found = find_conflicts(np.array([-1, 1, 2]), np.array([[0, 1], [0, 2]]))
    assert [one.row for one in found] == [1, 2]
    assert find_conflicts(np.array([-1, 1]), np.array([[0, 1]])) == ()


def test_groups_hold_over_long_chains_in_any_order() -> None:
    n = 500
    order = np.random.default_rng(0).permutation(n)
    pairs = np.stack([order[:-1], order[1:]], axis=1)
    truth = np.zeros(n, np.int64)
    truth[order[-1]] = 1
    found = find_conflicts(truth, np.random.default_rng(1).permutation(pairs))
    assert [(one.row, one.given, one.suggested, one.score) for one in found] == [(order[-1], 1, 0, 1 / n)]
    assert len(found[0].twins) == 8


def test_equal_labels_and_no_pairs_are_no_conflict() -> None:
    assert find_conflicts(np.array([1, 1, 0]), np.array([[0, 1]])) == ()
    assert find_conflicts(np.array([1, 2, 0]), np.zeros((0, 2), np.int64)) == ()
    assert find_conflicts(np.zeros(0, np.int64), np.zeros((0, 2), np.int64)) == ()


# --- rows that are like no other ------------------------------------------------------------------------


def with_strangers(n: int, n_features: int, n_strangers: int) -> tuple[Array, Array]:
    """Return features like those of a network, with rows among them that use other features; and which rows."""
    draw = np.random.default_rng(0)
    half = n_features // 2
    features = np.zeros((n, n_features), np.float32)
    features[:, :half] = draw.exponential(size=(n, half)) * (draw.random((n, half)) < 0.5)
    rows = np.sort(draw.choice(n, n_strangers, replace=False))
    features[rows] = 0
    features[rows, half:] = draw.exponential(size=(n_strangers, n_features - half))
    return features, rows


@pytest.mark.parametrize(("n", "n_features"), [(200, 64), (3000, 64), (6500, 640)])
def test_strangers_are_found_and_named_first(n: int, n_features: int) -> None:
    features, rows = with_strangers(n, n_features, 4)
    found = find_outliers(features)
    assert set(rows) == {one.row for one in found[:4]}
    assert len(found) < 4 + 0.02 * n
    far = [one.deviations for one in found]
    assert far == sorted(far, reverse=True)
    assert min(far) > 3


def test_the_deviations_are_those_of_the_definition() -> None:
    features, _ = with_strangers(300, 40, 3)
    features *= np.random.default_rng(5).choice([-1, 1], features.shape)
    roots = np.sign(features.astype(np.float64)) * np.sqrt(np.abs(features))
    roots /= np.linalg.norm(roots, axis=1, keepdims=True)
    apart = np.linalg.norm(roots[:, None] - roots, axis=2)
    distance = np.array([np.sort(np.delete(row, i))[:10].mean() for i, row in enumerate(apart)])
    beyond = distance - np.median(distance)
    deviations = beyond / (1.4826 * np.median(np.abs(beyond)))
    found = {one.row: one.deviations for one in find_outliers(features)}
    assert found == pytest.approx({row: far for row, far in enumerate(deviations) if far > 3}, rel=1e-3)
    assert len(found) >= 3


def test_a_picture_twice_as_bright_is_no_stranger() -> None:
    features, _ = with_strangers(400, 64, 0)
    plain = {one.row for one in find_outliers(features)}
    features[7] *= 50
    assert {one.row for one in find_outliers(features)} == plain


def test_a_stranger_that_is_there_twice_is_still_one() -> None:
    features, rows = with_strangers(400, 64, 1)
    twice = np.concatenate([features, features[rows]])
    assert {rows[0], 400} <= {one.row for one in find_outliers(twice)}


def test_a_crowd_of_a_kind_is_no_outlier() -> None:
    draw = np.random.default_rng(0)
    features, _ = with_strangers(400, 64, 0)
    one = np.zeros(64, np.float32)
    one[32:] = draw.exponential(size=32)
    crowd = one + 0.01 * draw.random((15, 64)).astype(np.float32)
    assert not {found.row for found in find_outliers(np.concatenate([features, crowd]))} & set(
        range(400, 415)
    )


def test_the_same_rows_give_the_same_outliers_in_any_order() -> None:
    features, _ = with_strangers(500, 64, 3)
    order = np.random.default_rng(3).permutation(500)
    found = {one.row for one in find_outliers(features)}
    assert {int(order[one.row]) for one in find_outliers(features[order])} == found


@pytest.mark.parametrize(
    "features",
    [np.zeros((0, 8)), np.eye(19), np.ones((100, 8)), np.zeros((100, 8))],
    ids=["none", "few", "copies", "zeros"],
)
def test_where_nothing_is_usual_nothing_is_strange(features: Array) -> None:
    assert find_outliers(features.astype(np.float32)) == ()


def test_memory_stays_in_bounds() -> None:
    features = np.random.default_rng(0).random((7000, 1280), dtype=np.float32)
    tracemalloc.start()
    find_outliers(features)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Of 20,000 rows, twice 1,024 × 20,000 distances and 20,000 × 512 coordinates: some 200 MB.
    assert peak < 150e6


# --- sets of labels ---------------------------------------------------------------------------------------


def test_a_label_too_many_or_missing_is_found_for_itself() -> None:
    draw = np.random.default_rng(0)
    right = draw.integers(0, 2, (400, 3)).astype(np.int8)
    probabilities = np.where(right > 0, 0.9, 0.2)
    given = right.copy()
    given[7, 1] ^= 1
    given[9, [0, 2]] ^= 1
    given[11] = -1
    probabilities[13] = np.nan
    found = {one.row: one for one in find_set_issues(given, probabilities)}
    assert set(found) == {7, 9}
    assert found[7].labels == (1,)
    assert found[9].labels == (0, 2)
    for row, one in found.items():
        said = np.where(given[row] > 0, probabilities[row], 1 - probabilities[row])
        assert one.score == pytest.approx(said[list(one.labels)].min())
