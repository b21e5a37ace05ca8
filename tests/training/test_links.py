"""Each link has a solver, a loss that is trained and one that is chosen by, and they agree on which rows count."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from topwork.contracts import Array, Fold, Goal, LinearHead, Link
from topwork.evaluation.links import LOSS_NAMES, losses_of
from topwork.training.axes import Axes
from topwork.training.judging import losses_of_rows
from topwork.training.links import solver_of
from topwork.training.losses import loss_of
from topwork.training.statistics import describe, seen_truth

LINKS: tuple[Link, ...] = tuple(one for one in get_args(Link) if one != "cost")  # which no head gives
LEFT = {"hazard": 0.95}
"""Part of the blind loss that a good model may leave, where that is not the half: of orders of 80 rows."""


def goal(link: Link, n: int = 80) -> tuple[Array, Goal]:
    """Return features that tell, and a goal that every ninth row has no truth of."""
    draw = np.random.default_rng(0)
    features = draw.normal(size=(n, 6)).astype(np.float32)
    number = features[:, 0] + 0.1 * draw.normal(size=n)
    if link == "softmax":
        return features, Goal(np.where(np.arange(n) % 9 == 0, -1, (number > 0).astype(int)), link, 2)
    if link == "cumulative":
        ranks = np.digitize(number, [-0.5, 0.5])
        return features, Goal(np.where(np.arange(n) % 9 == 0, -1, ranks), link, 2)
    if link == "hazard":
        truth = np.stack([np.exp(-3 * number), np.arange(n) % 5 > 0], axis=1)
        truth[np.arange(n) % 9 == 0] = np.nan
        return features, Goal(truth, link, 1)
    if link == "sigmoid":
        truth = np.stack([number > 0, features[:, 1] > 0.5, features[:, 2] > 0], axis=1).astype(np.int8)
        truth[np.arange(n) % 9 == 0] = -1
        return features, Goal(truth, link, 3)
    return features, Goal(np.where(np.arange(n) % 9 == 0, np.nan, number), link, 1)


@pytest.mark.parametrize("link", LINKS)
def test_a_solver_finds_what_tells_and_holds_out_every_row(link: Link) -> None:
    features, one = goal(link)
    rows, solver, axes = np.arange(80), solver_of(link), Axes.of(features)
    folds = tuple(Fold(rows[rows % 4 != j], rows[rows % 4 == j]) for j in range(4))
    scores, _ = solver.cross_validate(axes, one, folds, 0.1, None)
    assert scores.shape == (80, one.n_outputs)
    assert np.isfinite(scores).all()
    blind = np.tile(solver.blind_scores(one), (80, 1))
    calibrated = solver.cross_calibrate(one.truth, scores, seed=0)
    assert solver.loss(one.truth, calibrated) < LEFT.get(link, 0.5) * solver.loss(one.truth, blind)
    for head in (solver.head(axes, one, 0.3), solver.finished_head(axes, one, 0.3)):
        found = features @ head.weight.T + head.bias
        assert solver.loss(one.truth, found) < LEFT.get(link, 0.5) * solver.loss(one.truth, blind)


@pytest.mark.parametrize("link", LINKS)
def test_the_losses_of_a_link_are_one_and_the_same(link: Link) -> None:
    """What is trained, what a probe is chosen by and what rungs are compared by must not drift apart."""
    _, one = goal(link)
    scores = np.random.default_rng(1).normal(size=(80, one.n_outputs)).astype(np.float32)
    rows = losses_of_rows({"a": one}, {"a": scores})
    trained = loss_of(link, torch.from_numpy(scores), torch.from_numpy(one.truth), 0.0)
    assert len(rows) == 71
    assert rows.mean() == pytest.approx(float(trained), rel=1e-5)
    assert rows.mean() == pytest.approx(solver_of(link).loss(one.truth, scores), rel=1e-5)
    assert LOSS_NAMES[link]


@pytest.mark.parametrize("link", LINKS)
def test_a_row_without_a_truth_pulls_nowhere(link: Link) -> None:
    _, one = goal(link)
    scores = torch.zeros((80, one.n_outputs), requires_grad=True)
    loss_of(link, scores, torch.from_numpy(one.truth), 0.1).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    pulled = (scores.grad != 0).any(dim=1).numpy()
    assert not pulled[::9].any()
    assert pulled.sum() == 71


def test_a_squared_error_is_in_units_of_the_training_variance() -> None:
    truth = np.random.default_rng(0).normal(size=1000)
    truth = (truth - truth.mean()) / truth.std()
    assert losses_of("identity", truth, np.zeros((1000, 1))).mean() == pytest.approx(1)
    assert (losses_of("identity", truth, truth[:, None]) == 0).all()


def test_statistics_of_numbers_say_how_they_are_distributed() -> None:
    features, one = goal("identity")
    held_out = np.where(np.arange(80)[:, None] % 2, one.truth[:, None] + 0.5, np.nan)
    found = describe(features, {"a": one}, {"a": held_out})
    known = one.truth[~np.isnan(one.truth)]
    assert found["a.values"][[0, 50, 100]] == pytest.approx([known.min(), np.median(known), known.max()])
    assert found["a.errors"] == pytest.approx(np.full(101, 0.5), abs=1e-6)
    assert np.median(seen_truth(found, "a")) == pytest.approx(np.median(known))


def test_statistics_of_classes_give_the_labels_back() -> None:
    features, one = goal("softmax")
    found = describe(features, {"a": one}, {"a": np.zeros((80, 2))})
    assert sorted(seen_truth(found, "a")) == sorted(one.truth[one.truth >= 0])


def test_statistics_of_label_sets_give_each_label_its_share_back() -> None:
    features, one = goal("sigmoid")
    found = describe(features, {"a": one}, {"a": np.zeros((80, 3))})
    truth = seen_truth(found, "a")
    known = one.truth[one.truth[:, 0] >= 0]
    assert truth.shape == known.shape
    assert truth.mean(axis=0) == pytest.approx(known.mean(axis=0))


def test_statistics_of_times_give_events_and_their_times_back() -> None:
    features, one = goal("hazard")
    found = describe(features, {"a": one}, {"a": np.zeros((80, 1))})
    truth, known = seen_truth(found, "a"), one.truth[~np.isnan(one.truth[:, 0])]
    assert truth.shape == known.shape
    assert truth[:, 1].mean() == known[:, 1].mean()
    for event in (0, 1):
        there, were = (np.sort(rows[rows[:, 1] == event, 0]) for rows in (truth, known))
        assert np.median(there) == pytest.approx(np.median(were), rel=0.02)
        assert there[[0, -1]] == pytest.approx(were[[0, -1]])


def test_thresholds_are_drawn_together_where_one_direction_tells_all_classes_apart() -> None:
    draw = np.random.default_rng(0)
    n, solver = 3000, solver_of("cumulative")
    one, other = (draw.normal(size=n) for _ in range(2))
    noise = draw.normal(size=(n, 3))
    single = one[:, None] * 2 + noise - [-2.0, 0.0, 2.0]  # three noisy views of one direction
    several = np.stack([one, other, other], axis=1) * 4 - [0.0, -2.0, 2.0]
    for scores, ranks, least, most in (
        (single, np.digitize(one, [-1.0, 0.0, 1.0]), 0.5, 1.0),
        (several, np.where(one < 0, 0, np.digitize(other, [-0.5, 0.5]) + 1), 0.0, 0.25),
    ):
        found = solver.calibrate(ranks, scores)
        assert least <= found.joined <= most
        apart = replace(solver.calibrate(ranks, scores), joined=0.0)
        assert solver.loss(ranks, found.apply(scores)) <= solver.loss(ranks, apart.apply(scores))
        # Missing rows tell nothing, and the head says what was found.
        gone, nothing = np.append(ranks, -1), np.concatenate([scores, np.full((1, 3), np.nan)])
        assert solver.calibrate(gone, nothing).joined == found.joined
        weight = draw.normal(size=(3, 4)).astype(np.float32)
        head, rows = LinearHead(weight, np.ones(3, np.float32)), draw.normal(size=(5, 4)).astype(np.float32)
        assert found.fold_into(head).scores(rows) == pytest.approx(found.apply(head.scores(rows)), abs=1e-4)
