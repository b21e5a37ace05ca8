"""Losses of several targets: in units of what knowing nothing costs, each target counting the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from topwork.contracts import Array, Goal, known_rows
from topwork.evaluation.links import losses_of
from topwork.training.judging import blind_loss, loss_name, losses_of_rows, mean_score, shares_of, skill
from topwork.training.links import solver_of

RNG = np.random.default_rng(0)
N = 200
LABEL = np.where(RNG.random(N) < 0.25, -1, RNG.integers(0, 5, N))
NUMBER = np.where(RNG.random(N) < 0.75, np.nan, RNG.normal(3, 10, N))
SETS = (RNG.random((N, 4)) < [0.1, 0.5, 0.3, 0.02]).astype(np.int8)
RANKS = RNG.integers(0, 4, N)
GOALS = {
    "label": Goal(LABEL, "softmax", 5, metric="accuracy"),
    "number": Goal(NUMBER, "identity", 1, metric="r2"),
    "sets": Goal(SETS, "sigmoid", 4, metric="macro_f1"),
    "ranks": Goal(RANKS, "cumulative", 3, metric="rank_error"),
}


def scaled() -> dict[str, Goal]:
    return {name: replace(goal, scale=blind_loss(goal)) for name, goal in GOALS.items()}


def blind(goal: Goal) -> Array:
    return np.tile(solver_of(goal.link).blind_scores(goal), (N, 1))


def some_scores() -> dict[str, Array]:
    return {name: blind(goal) + RNG.normal(size=(N, goal.n_outputs)) for name, goal in GOALS.items()}


@pytest.mark.parametrize("name", GOALS)
def test_knowing_nothing_costs_one_and_has_no_skill(name: str) -> None:
    goals = {name: scaled()[name], "other": scaled()["ranks"]}
    scores = {name: blind(GOALS[name]), "other": blind(GOALS["ranks"])}
    assert losses_of_rows(goals, scores).mean() == pytest.approx(1)
    assert skill(goals, scores) == pytest.approx(0)


def test_the_mean_over_rows_is_the_mean_over_targets_however_many_rows_each_has() -> None:
    goals, scores = scaled(), some_scores()
    each = []
    for name, goal in goals.items():
        known = known_rows(goal.truth)
        each.append(losses_of(goal.link, goal.truth[known], scores[name][known]).mean() / goal.scale)
    assert len({round(float(one), 3) for one in each}) == 4
    assert losses_of_rows(goals, scores).mean() == pytest.approx(np.mean(each))


def test_a_unit_makes_no_difference() -> None:
    goals, scores = scaled(), some_scores()
    number = Goal(1000 * NUMBER, "identity", 1)
    larger = goals | {"number": replace(number, scale=blind_loss(number))}
    found = losses_of_rows(larger, scores | {"number": 1000 * scores["number"]})
    assert found == pytest.approx(losses_of_rows(goals, scores))


def test_a_target_that_a_handful_of_rows_has_does_not_decide_for_all() -> None:
    """Six rows count a fifth of the thirty that are enough."""
    number = np.where(np.arange(N) < 6, RNG.normal(size=N), np.nan)
    goals = {"number": Goal(number, "identity", 1), "ranks": GOALS["ranks"]}
    assert shares_of(goals) == pytest.approx([1 / 6, 5 / 6])
    scores = {name: some_scores()[name] for name in goals}
    each = [losses_of_rows({name: goal}, {name: scores[name]}).mean() for name, goal in goals.items()]
    assert losses_of_rows(goals, scores).mean() == pytest.approx(each[0] / 6 + each[1] * 5 / 6)
    assert shares_of({"ranks": GOALS["ranks"]}).tolist() == [1.0]


def test_rows_without_any_truth_are_left_out() -> None:
    goals = {name: scaled()[name] for name in ("label", "number")}
    known = known_rows(LABEL) | known_rows(NUMBER)
    assert 0 < known.sum() < N
    assert len(losses_of_rows(goals, some_scores())) == known.sum()


def test_a_target_that_no_row_has_does_not_count() -> None:
    goals = scaled() | {"number": replace(scaled()["number"], truth=np.full(N, np.nan))}
    without = {name: goal for name, goal in goals.items() if name != "number"}
    scores = some_scores()
    assert losses_of_rows(goals, scores) == pytest.approx(losses_of_rows(without, scores))
    assert blind_loss(goals["number"]) == 1


@pytest.mark.parametrize("name", GOALS)
def test_losses_of_one_target_are_those_of_its_link(name: str) -> None:
    goal, scores = GOALS[name], some_scores()[name]
    known = known_rows(goal.truth)
    found = losses_of_rows({name: goal}, {name: scores})
    assert np.array_equal(found, losses_of(goal.link, goal.truth[known], scores[known]))


def test_the_loss_of_several_has_a_name_of_its_own() -> None:
    assert loss_name(GOALS) == "relative loss"
    assert loss_name({"sets": GOALS["sets"]}) == "log loss per label"


def test_several_metrics_have_no_average_and_one_has() -> None:
    goals, scores = scaled(), some_scores()
    assert mean_score(goals, scores) == skill(goals, scores)
    two = {
        "a": replace(goals["ranks"], score=lambda *_: 0.5),
        "b": replace(goals["ranks"], score=lambda *_: 1.0),
    }
    assert mean_score(two, dict.fromkeys(two, scores["ranks"])) == 0.75
