"""Cox loss and concordance: those of lifelines, with intervals that cover, and paired differences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from lifelines.utils import concordance_index

from topwork.contracts import Array
from topwork.errors import UsageError
from topwork.evaluation.survival import (
    RiskSets,
    compare_survival,
    cox_losses,
    pairs_in_order,
    survival_metrics,
)

pytestmark = pytest.mark.filterwarnings("ignore:Starting with pandas version 4")  # lifelines asks for it


def made(n: int, seed: int, *, tied: bool = True, strength: float = 1.0) -> tuple[Array, Array]:
    """Return truth ``[n, 2]`` and a score ``[n]`` that tells; a third is censored, and few times are different."""
    draw = np.random.default_rng(seed)
    score = draw.normal(size=n)
    time = draw.exponential(np.exp(-strength * score))
    end = draw.exponential(2.0, n)
    seen = np.minimum(time, end)
    seen = np.ceil(4 * seen) / 4 if tied else seen
    return np.stack([seen, (time <= end).astype(float)], axis=1), score


TRUTH, SCORE = made(120, 0)
OTHER = SCORE + np.random.default_rng(1).normal(0, 1.5, 120)


def log_likelihood(truth: Array, score: Array) -> tuple[float, float]:
    """Return lifelines' coefficient of the score, and the log partial likelihood there."""
    table = pd.DataFrame({"time": truth[:, 0], "event": truth[:, 1], "x": score})
    fitted = CoxPHFitter().fit(table, "time", "event")
    return float(fitted.params_["x"]), float(fitted.log_likelihood_)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("n", [12, 60, 300])
def test_the_loss_is_that_of_lifelines(n: int, tied: bool) -> None:
    truth, score = made(n, n, tied=tied)
    score = np.round(score, 1)
    beta, likelihood = log_likelihood(truth, score)
    assert cox_losses(truth, beta * score[:, None]).sum() == pytest.approx(-likelihood, rel=1e-6)


@pytest.mark.parametrize("n", [12, 60, 300])
def test_concordance_is_that_of_lifelines(n: int) -> None:
    for seed in range(5):
        truth, score = made(n, seed)
        for scores in (score, np.round(score), np.zeros(n)):
            found = survival_metrics(truth, scores[:, None])["concordance"]
            assert found.value == pytest.approx(concordance_index(truth[:, 0], -scores, truth[:, 1]))


def test_many_rows_are_compared_in_parts() -> None:
    """More cells than are held at once, and every pair still counted once with each of its rows."""
    truth, score = made(6000, 3)
    in_order, pairs = pairs_in_order(truth, score)
    assert in_order.sum() / pairs.sum() == pytest.approx(concordance_index(truth[:, 0], -score, truth[:, 1]))


def test_pairs_of_a_row_are_those_counted_by_hand() -> None:
    truth = np.array([[1.0, 1], [2.0, 0], [2.0, 1], [2.0, 1], [3.0, 0], [np.nan, np.nan]])
    in_order, pairs = pairs_in_order(truth, np.array([5.0, 4.0, 4.0, 1.0, 2.0, 9.0]))
    # The event at 1 comes before all; those at 2 before 3 and before what is censored at 2, and not before each other.
    assert pairs.tolist() == [4, 3, 3, 3, 3, 0]
    assert in_order.tolist() == [4, 1.5, 2.5, 1, 2, 0]


def test_pulls_are_the_slopes_of_the_loss() -> None:
    sets = RiskSets.of(TRUTH)
    pulls = sets.costs(SCORE[:, None])[1][:, 0]
    for row in (0, 7, 30, 119):
        step = np.zeros(120)
        step[row] = 1e-5
        ends = [sets.costs((SCORE + side * step)[:, None])[0].sum() for side in (1, -1)]
        assert pulls[row] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-6)
    assert pulls.sum() == pytest.approx(0, abs=1e-9)


def test_sets_of_rows_at_once_are_each_as_if_alone() -> None:
    members = np.random.default_rng(0).random((120, 3)) < 0.7
    together = RiskSets.of(TRUTH, members).costs(np.stack([SCORE, -SCORE, OTHER], axis=1))
    for i, score in enumerate((SCORE, -SCORE, OTHER)):
        rows = members[:, i]
        alone = RiskSets.of(TRUTH[rows]).costs(score[rows, None])
        for one, other in zip(together, alone, strict=True):
            assert one[rows, i] == pytest.approx(other[:, 0])
            assert not one[~rows, i].any()


def test_a_row_is_told_by_what_the_whole_would_be_without_it() -> None:
    """To the first order; the loss of a row that stands in many risk sets is more than a term of its own."""
    truth, score = made(400, 5, tied=False)
    losses, whole = cox_losses(truth, score[:, None]), cox_losses(truth, score[:, None]).sum()
    without = np.array(
        [
            cox_losses(np.delete(truth, i, axis=0), np.delete(score, i)[:, None]).sum()
            for i in range(0, 400, 8)
        ]
    )
    gone = whole - without
    told = losses[::8] + truth[:, 1].mean()
    assert np.corrcoef(gone, told)[0, 1] > 0.98
    assert gone == pytest.approx(told, abs=0.25)


def test_scores_of_any_size_have_a_finite_loss() -> None:
    for size in (1e3, 1e6):
        assert np.isfinite(cox_losses(TRUTH, size * SCORE[:, None])).all()
    costs, pulls = RiskSets.of(TRUTH).costs(np.full((120, 1), np.nan))
    assert np.isnan(costs).any()
    assert np.isnan(pulls).any()


def test_differences_are_those_of_the_metrics_and_turn_with_the_order() -> None:
    found = compare_survival(TRUTH, SCORE[:, None], OTHER[:, None])
    turned = compare_survival(TRUTH, OTHER[:, None], SCORE[:, None])
    one, other = survival_metrics(TRUTH, SCORE[:, None]), survival_metrics(TRUTH, OTHER[:, None])
    for metric, gap in found.items():
        assert gap.value == pytest.approx(one[metric].value - other[metric].value)
        assert gap.low < gap.value < gap.high
        back = turned[metric]
        assert (back.value, back.low, back.high) == pytest.approx((-gap.value, -gap.high, -gap.low))
    same = compare_survival(TRUTH, SCORE[:, None], SCORE[:, None])
    assert all((one.low, one.value, one.high) == (0, 0, 0) for one in same.values())


def test_rows_without_a_truth_do_not_count_and_their_order_does_not_matter() -> None:
    truth = TRUTH.copy()
    truth[:10] = np.nan
    scores = SCORE[:, None]
    assert survival_metrics(truth, scores) == survival_metrics(TRUTH[10:], scores[10:])
    assert survival_metrics(TRUTH[::-1], scores[::-1]) == survival_metrics(TRUTH, scores)


def test_where_nothing_can_be_compared_everything_is_possible() -> None:
    censored = np.stack([np.arange(5.0), np.zeros(5)], axis=1)
    for truth in (censored, np.full((5, 2), np.nan)):
        found = survival_metrics(truth, np.zeros((5, 1)))
        assert all(np.isnan(one.value) for one in found.values())
        assert (found["concordance"].low, found["concordance"].high) == (0, 1)
        gaps = compare_survival(truth, np.zeros((5, 1)), np.ones((5, 1)))
        assert all(np.isnan(one.value) for one in gaps.values())
    events = np.stack([np.arange(20.0), np.ones(20)], axis=1)
    perfect = survival_metrics(events, -events[:, :1])["concordance"]
    assert (perfect.value, perfect.high) == (1, 1)
    assert 0.7 < perfect.low < 0.95
    blind = survival_metrics(events, np.zeros((20, 1)))["concordance"]
    assert (blind.low, blind.value, blind.high) == (0.5, 0.5, 0.5)
    opposite = compare_survival(events, -events[:, :1], events[:, :1])["concordance"]
    assert opposite.value == 1
    assert opposite.low < 1


def test_scores_that_are_not_finite_are_refused() -> None:
    for scores in (np.full((120, 1), np.nan), np.zeros((119, 1)), np.zeros((120, 2))):
        with pytest.raises(UsageError, match="one finite score for each row"):
            survival_metrics(TRUTH, scores)


@pytest.mark.slow
@pytest.mark.parametrize("n", [40, 200])
@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_intervals_cover_about_what_they_say(n: int, strength: float) -> None:
    """What is true is the mean of very many rows; a model with noise beside the true score."""
    truth, score = made(8000, 11, tied=False, strength=strength)
    noise = np.random.default_rng(12).normal(0, 1.0, 8000)
    true = survival_metrics(truth, score[:, None])["concordance"].value
    gap = true - survival_metrics(truth, (score + noise)[:, None])["concordance"].value
    hits = np.zeros(2)
    for seed in range(400):
        truth, score = made(n, 1000 + seed, tied=False, strength=strength)
        noisy = score + np.random.default_rng(9000 + seed).normal(0, 1.0, n)
        one = survival_metrics(truth, score[:, None])["concordance"]
        other = compare_survival(truth, score[:, None], noisy[:, None])["concordance"]
        hits += [one.low <= true <= one.high, other.low <= gap <= other.high]
    assert ((hits / 400 > 0.92) & (hits / 400 < 0.985)).all(), hits / 400
