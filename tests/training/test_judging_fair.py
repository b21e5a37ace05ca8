"""Scores of the best of several looks, without what the choice among them flatters."""

from __future__ import annotations

import numpy as np
import pytest

from topwork.contracts import Goal
from topwork.training.judging import chosen_by_others, losses_of_rows

N_LOOKS, N_ROWS = 12, 40


def noise(seed: int) -> tuple[dict[str, Goal], list[dict[str, np.ndarray]]]:
    """Return numbers around 0, and looks that guess them by chance: none is better than another."""
    draw = np.random.default_rng(seed)
    goals = {"price": Goal(draw.normal(size=N_ROWS), "identity", 1)}
    return goals, [{"price": draw.normal(size=(N_ROWS, 1))} for _ in range(N_LOOKS)]


def test_looks_that_are_equally_good_are_not_flattered() -> None:
    """Guesses by chance cost 2; the best of twelve costs less on the rows that chose it."""
    best, fair = [], []
    for seed in range(400):
        goals, looks = noise(seed)
        best.append(min(float(losses_of_rows(goals, one).mean()) for one in looks))
        fair.append(float(losses_of_rows(goals, chosen_by_others(goals, looks, seed=seed)).mean()))
    assert np.mean(best) < 1.5
    assert np.mean(fair) == pytest.approx(2.0, abs=4 * float(np.std(fair)) / 20)


def test_where_all_rows_agree_it_is_the_best_look() -> None:
    goals, looks = noise(0)
    looks[5] = {"price": goals["price"].truth[:, None] + 0.01}
    assert np.array_equal(chosen_by_others(goals, looks, seed=1)["price"], looks[5]["price"])


def test_each_half_is_of_one_look() -> None:
    goals, looks = noise(3)
    found = chosen_by_others(goals, looks, seed=3)["price"][:, 0]
    shares = [np.mean(found == one["price"][:, 0]) for one in looks]
    assert sum(shares) == pytest.approx(1.0)
    assert sorted(shares)[-2:] in ([0.5, 0.5], [0.0, 1.0])


def test_rows_without_a_truth_have_no_say() -> None:
    goals, looks = noise(0)
    truth = goals["price"].truth.copy()
    truth[::2] = np.nan
    partly = {"price": Goal(truth, "identity", 1)}
    looks[2] = {"price": np.where(np.isnan(truth), 1e6, truth)[:, None]}
    assert np.array_equal(chosen_by_others(partly, looks, seed=1)["price"], looks[2]["price"])
    nothing = {"price": Goal(np.full(N_ROWS, np.nan), "identity", 1)}
    assert chosen_by_others(nothing, looks[:1], seed=0)["price"].shape == (N_ROWS, 1)


def test_risks_are_all_of_one_look() -> None:
    draw = np.random.default_rng(0)
    goals = {"time": Goal(np.stack([draw.exponential(size=N_ROWS), np.ones(N_ROWS)], axis=1), "hazard", 1)}
    looks = [{"time": draw.normal(size=(N_ROWS, 1))} for _ in range(N_LOOKS)]
    found = chosen_by_others(goals, looks, seed=0)["time"]
    assert sum(np.array_equal(found, one["time"]) for one in looks) == 1
