"""Metrics of several labels at once are those of scikit-learn, and their intervals hold what they promise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from sklearn import metrics as reference

from topwork.contracts import Array
from topwork.errors import UsageError
from topwork.evaluation.multilabel import best_cuts, compare_multilabel, multilabel_metrics, per_label

CUTS = np.array([0.0, -1.0, 0.5, 0.2])


def drawn(n: int, seed: int = 0, skill: float = 1.5) -> tuple[Array, Array]:
    """Return truth of four labels, the last rare, and scores that have many ties."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((n, 4)) < [0.5, 0.3, 0.6, 0.08]).astype(np.int8)
    scores = np.round(skill * (2 * truth - 1) + rng.normal(0, 1.5, (n, 4)), 1)
    return truth, scores


@pytest.mark.parametrize("n", [5, 40, 300])
def test_the_metrics_are_those_of_scikit_learn(n: int) -> None:
    truth, scores = drawn(n, seed=n)
    truth[0] = 1  # every label occurs, as scikit-learn's means over labels presume
    said = (scores >= CUTS).astype(int)
    found = {metric: one.value for metric, one in multilabel_metrics(truth, scores, CUTS, seed=0).items()}
    assert found == pytest.approx(
        {
            "macro_f1": reference.f1_score(truth, said, average="macro", zero_division=0),
            "micro_f1": reference.f1_score(truth, said, average="micro", zero_division=0),
            "mean_average_precision": reference.average_precision_score(truth, scores, average="macro"),
            "hamming_loss": reference.hamming_loss(truth, said),
            "exact_match": reference.accuracy_score(truth, said),
        },
        abs=1e-6,
    )
    for j, one in enumerate(per_label(truth, scores, CUTS)):
        assert one.recall.value == pytest.approx(reference.recall_score(truth[:, j], said[:, j]))
        assert one.f1 == pytest.approx(reference.f1_score(truth[:, j], said[:, j], zero_division=0))
        average = reference.average_precision_score(truth[:, j], scores[:, j])
        assert one.average_precision == pytest.approx(average, abs=1e-6)


def test_a_label_that_the_truth_does_not_hold_has_no_say_in_the_means() -> None:
    truth, scores = drawn(80)
    truth[:, 3] = 0
    with_it, without = (
        multilabel_metrics(t, s, c, seed=0)
        for t, s, c in ((truth, scores, CUTS), (truth[:, :3], scores[:, :3], CUTS[:3]))
    )
    for metric in ("macro_f1", "mean_average_precision"):
        assert with_it[metric].value == pytest.approx(without[metric].value)


def test_rows_that_are_not_labelled_do_not_count_and_their_order_neither() -> None:
    truth, scores = drawn(60)
    wider = np.concatenate([truth, np.full((5, 4), -1, np.int8)])[::-1]
    told = np.concatenate([scores, np.full((5, 4), 9.0)])[::-1]
    assert multilabel_metrics(wider, told, CUTS, seed=0) == multilabel_metrics(truth, scores, CUTS, seed=0)
    nothing = multilabel_metrics(wider[:5], told[:5], CUTS, seed=0)
    assert all(np.isnan(one.value) and one.low == 0 and one.high == 1 for one in nothing.values())


def test_no_interval_is_a_point_because_no_mistake_was_seen() -> None:
    truth, _ = drawn(50)
    found = multilabel_metrics(truth, 9.0 * (2 * truth - 1), CUTS, seed=0)
    for metric, one in found.items():
        assert one.value == (0 if metric == "hamming_loss" else 1)
        assert one.high - one.low > 0.01


def test_intervals_hold_the_truth_about_as_often_as_they_promise() -> None:
    """The value on 60,000 rows stands for the truth; of 100 test sets of 60 rows each interval holds it in most."""
    exact = {metric: one.value for metric, one in _quick(*drawn(60_000, seed=1)).items()}
    held = dict.fromkeys(exact, 0)
    for seed in range(100):
        for metric, one in _quick(*drawn(60, seed=100 + seed)).items():
            held[metric] += one.low <= exact[metric] <= one.high
    assert all(n >= 88 for n in held.values()), held


def _quick(truth: Array, scores: Array):  # type: ignore[no-untyped-def]
    return multilabel_metrics(truth[:, :3], scores[:, :3], CUTS[:3], seed=0)


def test_differences_are_those_of_the_metrics_and_change_their_sign_with_the_order() -> None:
    truth, a = drawn(200)
    b = a + np.random.default_rng(5).normal(0, 6, a.shape)
    found, turned = (
        compare_multilabel(truth, a, b, CUTS, seed=0),
        compare_multilabel(truth, b, a, CUTS, seed=0),
    )
    of_a, of_b = (multilabel_metrics(truth, one, CUTS, seed=0) for one in (a, b))
    for metric, one in found.items():
        assert one.value == pytest.approx(of_a[metric].value - of_b[metric].value)
        assert turned[metric].value == pytest.approx(-one.value)
        assert one.low <= one.value <= one.high
    assert found["macro_f1"].low > 0  # noise of this size is no chance on 200 rows
    alone = {m: of_a[m].high - of_a[m].low + of_b[m].high - of_b[m].low for m in found}
    assert all(one.high - one.low < alone[metric] for metric, one in found.items())


@pytest.mark.parametrize("seed", range(5))
def test_cuts_give_the_highest_f1_there_is(seed: int) -> None:
    truth, scores = drawn(50, seed=seed)
    cuts = best_cuts(truth, scores)
    for j, cut in enumerate(cuts):
        levels = np.unique(scores[:, j])
        every = [levels[0], *((a + b) / 2 for a, b in pairwise(levels))]
        f1s = [reference.f1_score(truth[:, j], scores[:, j] >= c, zero_division=0) for c in every]
        own = reference.f1_score(truth[:, j], scores[:, j] >= cut, zero_division=0)
        assert own == pytest.approx(max(f1s))
        best = [c for c, f1 in zip(every, f1s, strict=True) if f1 > max(f1s) - 1e-9]
        assert abs(cut) == pytest.approx(min(map(abs, best)))


def test_a_label_that_does_not_vary_is_cut_at_even_odds() -> None:
    truth, scores = drawn(30)
    truth[:, 0], truth[:, 1] = 0, 1
    scores[3], truth[4] = np.nan, -1
    assert best_cuts(truth, scores)[:2].tolist() == [0, 0]


def test_shapes_that_do_not_fit_are_refused() -> None:
    truth, scores = drawn(10)
    with pytest.raises(UsageError, match="shape"):
        multilabel_metrics(truth, scores[:, :3], CUTS, seed=0)
    with pytest.raises(UsageError, match="not finite"):
        multilabel_metrics(truth, scores * np.nan, CUTS, seed=0)
