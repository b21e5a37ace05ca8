"""Pairs of one class are drawn together and others apart, by few pairs as by many, and every row has its turn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from topwork.training.pairs import Tuning, batches, pair_loss, tune


def test_the_loss_is_that_of_every_pair_and_both_kinds_weigh_the_same() -> None:
    draw = np.random.default_rng(0)
    features, truth = draw.normal(size=(7, 3)), np.array([0, 0, 0, 0, 1, 1, 2])
    found: dict[bool, list[float]] = {True: [], False: []}
    for i in range(7):
        for j in range(i):
            cosine = features[i] @ features[j] / np.linalg.norm(features[i]) / np.linalg.norm(features[j])
            same = bool(truth[i] == truth[j])
            found[same].append((cosine - same) ** 2)
    assert {kind: len(pairs) for kind, pairs in found.items()} == {True: 7, False: 14}
    expected = (np.mean(found[True]) + np.mean(found[False])) / 2
    assert float(pair_loss(torch.from_numpy(features), torch.from_numpy(truth))) == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("truth", [[0, 0, 0], [0, 1, 2]])
def test_where_all_pairs_are_of_one_kind_the_loss_is_a_number(truth: list[int]) -> None:
    features = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = pair_loss(features, torch.tensor(truth))
    loss.backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None
    assert 0 < float(loss.detach()) < 4
    assert bool(torch.isfinite(features.grad).all())


def test_few_rows_are_all_in_every_step() -> None:
    truth = np.array([0, 1, 1, 0, 1])
    steps = list(batches(truth, Tuning(3, 5, 1e-3), seed=0))
    assert [sorted(rows) for rows in steps] == [[0, 1, 2, 3, 4]] * 3


def test_more_rows_take_turns_and_every_step_has_its_share_of_every_class() -> None:
    truth = np.repeat([0, 1], [40, 20])
    steps = list(batches(truth, Tuning(7, 25, 1e-3), seed=0))
    assert [len(rows) for rows in steps] == [20] * 7
    for epoch in (steps[:3], steps[3:6]):
        assert sorted(np.concatenate(epoch)) == list(range(60))
        assert all(6 <= (truth[rows] == 1).sum() <= 7 for rows in epoch)
    assert sorted(steps[0]) != sorted(steps[3])
    again, other = (list(batches(truth, Tuning(7, 25, 1e-3), seed=seed)) for seed in (0, 1))
    assert all(np.array_equal(one, two) for one, two in zip(steps, again, strict=True))
    assert not np.array_equal(steps[0], other[0])


def test_the_rate_rises_and_falls_along_lines() -> None:
    tuning = Tuning(20, 8, 2.0, warmup=0.2)
    rates = [tuning.rate_at(step) for step in range(20)]
    assert rates[:5] == pytest.approx([0.5, 0.95, 1.35, 1.7, 1.6])
    assert rates[-1] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)


class Stop:
    """Tells to stop after so many steps."""

    def __init__(self, most: int) -> None:
        self.left = most

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def linear() -> tuple[torch.nn.Linear, torch.Tensor, np.ndarray]:
    """Return a layer, and states whose first number tells the class while the others are noise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer, states = torch.nn.Linear(6, 4), 0.3 * torch.randn(24, 6)
    truth = np.arange(24) % 2
    states[:, 0] = torch.from_numpy(np.where(truth, 1.0, -1.0))
    return layer, states, truth


def test_classes_come_apart_on_rows_that_were_tuned_on_and_on_others() -> None:
    layer, states, truth = linear()
    rows = np.arange(16)

    def loss_of(some: slice) -> float:
        return float(pair_loss(layer(states[some]).detach(), torch.from_numpy(truth[some])))

    before = loss_of(slice(16, 24))
    tuning = Tuning(60, 8, 0.05)
    done = tune(layer, list(layer.parameters()), (states, rows, truth[rows]), tuning, seed=0, bf16=False)
    assert done
    assert loss_of(slice(16)) < 0.1
    assert loss_of(slice(16, 24)) < 0.5 * before


def test_the_rate_of_a_step_is_the_one_it_is_taken_at() -> None:
    ends = []
    for warmup in (0.1, 0.9):
        layer, states, truth = linear()
        tune(
            layer,
            list(layer.parameters()),
            (states, np.arange(24), truth),
            Tuning(5, 24, 0.05, warmup),
            seed=0,
            bf16=False,
        )
        ends.append(layer.weight.detach().clone())
    assert not torch.equal(*ends)


def test_told_to_stop_it_says_so() -> None:
    layer, states, truth = linear()
    start = layer.weight.detach().clone()
    inputs, tuning = (states, np.arange(24), truth), Tuning(5, 24, 0.05)
    assert not tune(layer, list(layer.parameters()), inputs, tuning, seed=0, bf16=False, should_stop=Stop(0))
    assert torch.equal(layer.weight, start)
    assert not tune(layer, list(layer.parameters()), inputs, tuning, seed=0, bf16=False, should_stop=Stop(3))
    assert not torch.equal(layer.weight, start)
    assert tune(layer, list(layer.parameters()), inputs, tuning, seed=0, bf16=False, should_stop=Stop(5))
