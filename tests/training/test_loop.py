"""The loop gives the same weights however often it was interrupted, and gives nothing where the numbers went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_material import N_FEATURES, ChainNetwork, TinyMaterial, stripes
from topwork.contracts import Array, Goal
from topwork.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from topwork.training.feeds import RawFeed
from topwork.training.loop import Control, Outcome, train
from topwork.training.ordering import order_of
from topwork.training.plan import RungPlan
from topwork.training.schedules import averaging, one_cycle
from topwork.training.sight import Check
from topwork.training.trainee import Feed, Trainee

N = 96
RATES = (1e-3, 2e-3, 4e-3, 8e-3, 2e-2)
RUNG = RungPlan("all", 0, 24, 16, RATES, check_every=6)
GOLDEN = (1.1165, 0.9171, 0.6554, 0.5827)
"""Validation losses of `RUNG`. A change here changes every fit that trains, so it must be meant."""


def trainee(n_below: int = 0) -> Trainee:
    network = ChainNetwork()
    names = {id(p): name for name, p in network.named_parameters()}
    levels = list(network.levels)
    for level in levels[:n_below]:
        level.requires_grad_(False)
    stages = tuple({names[id(p)]: p for p in level.parameters()} for level in levels[n_below:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        head = torch.nn.Linear(N_FEATURES, 3)
    return Trainee(network, stages, {"pattern": head})


def data(missing: Array | None = None) -> tuple[RawFeed, tuple[dict[str, Goal], dict[str, Goal]]]:
    pictures, truth = stripes(N)
    if missing is not None:
        truth[missing] = -1
    is_valid = np.arange(N) // 3 % 3 == 1
    sides = np.flatnonzero(~is_valid), np.flatnonzero(is_valid)
    goals = [{"pattern": Goal(truth[rows], "softmax", 3)} for rows in sides]
    return RawFeed(TinyMaterial(pictures), *sides, 0, 1), (goals[0], goals[1])


@dataclass
class Listener:
    """Keeps what the loop tells, and stops it where wanted."""

    stop_at: float = float("inf")
    found: Checkpoint | None = None
    kept: list[Checkpoint] = field(default_factory=list)
    seen: list[tuple[int, Check]] = field(default_factory=list)
    n_advanced: int = 0

    def control(self) -> Control:
        def advance(n: int) -> None:
            self.n_advanced += n

        def keep(state: Checkpoint) -> None:
            tensors = {name: tensor.detach().clone() for name, tensor in state.tensors.items()}
            self.kept.append(Checkpoint(tensors, dict(state.values)))

        return Control(
            should_stop=lambda: self.n_advanced >= self.stop_at,
            advance=advance,
            keep=keep,
            saw=lambda step, check: self.seen.append((step, check)),
            bf16=False,
            found=self.found,
        )


def run(
    listener: Listener,
    rung: RungPlan = RUNG,
    *,
    seed: int = 0,
    feed: Feed | None = None,
    subject: Trainee | None = None,
    missing: Array | None = None,
) -> Outcome:
    own, goals = data(missing)
    one = subject or trainee(rung.n_below)
    return train(rung, one, feed or own, goals, listener.control(), seed=(seed, 1))


def assert_equal(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert one
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


# --- looking at a part of validation ---------------------------------------------------------------------


def test_looks_on_the_way_see_a_part_and_the_last_one_everything() -> None:
    whole, part = Listener(), Listener()
    run(whole)
    outcome = run(part, replace(RUNG, n_looked=10))
    truth = data()[1][1]["pattern"].truth
    assert len(truth) > 10
    for _, check in part.seen:
        assert len(check.scores["pattern"]) == 10
        assert check.rows is not None
        assert len(np.unique(check.rows)) == 10
        (seen,) = check.seen(data()[1][1]).values()
        assert np.array_equal(seen.truth, truth[check.rows])
    assert [len(check.scores["pattern"]) for _, check in whole.seen] == [len(truth)] * 4
    # The steps are the same, so the last look is at the same weights where these were the best on either side.
    assert outcome.check.rows is None
    assert outcome.check.loss == pytest.approx(whole.seen[-1][1].loss, abs=1e-6)


def test_a_run_that_looked_at_a_part_and_was_killed_goes_on_the_same() -> None:
    rung = replace(RUNG, n_looked=10)
    undisturbed, killed = Listener(), Listener(stop_at=14)
    reference = run(undisturbed, rung)
    run(killed, rung)
    resumed = run(Listener(found=killed.kept[-1]), rung)
    assert_equal(resumed.weights, reference.weights)
    assert resumed.check.loss == reference.check.loss


# --- what is learnt -------------------------------------------------------------------------------------


def test_the_losses_are_the_golden_ones() -> None:
    listener = Listener()
    outcome = run(listener)
    assert [step for step, _ in listener.seen] == [6, 12, 18, 24]
    assert [check.loss for _, check in listener.seen] == pytest.approx(GOLDEN, abs=3e-4)
    assert (outcome.ended, outcome.n_steps) == ("done", 24)


def test_it_learns_what_the_untrained_network_does_not_know() -> None:
    outcome = run(Listener(), replace(RUNG, n_steps=150, check_every=50, rates=(3e-3,) * 4 + (2e-2,)))
    _, goals = data()
    found = outcome.check.scores["pattern"].argmax(1)
    assert np.mean(found == goals[1]["pattern"].truth) > 0.9


def test_what_is_kept_is_what_validation_liked_best() -> None:
    listener = Listener()
    outcome = run(listener, replace(RUNG, n_steps=60, check_every=3, rates=(0.1,) * 5))
    losses = [check.loss for _, check in listener.seen]
    assert losses.index(min(losses)) not in (0, len(losses) - 1)
    assert outcome.check.loss == min(losses)
    again = trainee()
    with torch.no_grad():
        for name, p in again.named().items():
            p.copy_(outcome.weights[name])
        feed, _ = data()
        scores = torch.cat([again.heads["pattern"](again.features(x)) for _, x in feed.validation()])
    assert np.allclose(scores.numpy(), outcome.check.scores["pattern"], atol=1e-5)


def test_frozen_stages_stay() -> None:
    rung = replace(RUNG, n_below=2, rates=RATES[2:])
    subject = trainee(2)
    outcome = run(Listener(), rung, subject=subject)
    assert isinstance(subject.features, ChainNetwork)
    before = dict(ChainNetwork().named_parameters())
    for name, p in subject.features.named_parameters():
        frozen = name.split(".")[1] in "01"
        assert torch.equal(p, before[name]) == frozen, name
        assert (name in outcome.weights) != frozen


# --- rates, averages, parts -----------------------------------------------------------------------------


def first_step(rung: RungPlan) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the weights before and after one step; Adam's first is as long as the rate, whatever the gradient."""
    subject = trainee()
    before = {name: p.detach().clone() for name, p in subject.named().items()}
    run(Listener(stop_at=1), rung, subject=subject)
    return before, {name: p.detach().clone() for name, p in subject.named().items()}


def test_every_stage_moves_at_its_own_rate() -> None:
    before, after = first_step(replace(RUNG, weight_decay=0.0))
    groups = trainee().groups()
    assert len(groups) == len(RATES) == 5
    for group, rate in zip(groups, RATES, strict=True):
        for name in group:
            moved = (after[name] - before[name]).abs()
            assert moved.max() == pytest.approx(rate * one_cycle(0.0), rel=0.05), name


def test_rates_follow_the_cycle() -> None:
    """Steps of Adam against a constant gradient are as long as the rate."""
    lengths: list[float] = []
    slope = torch.nn.Parameter(torch.zeros(1))
    head = torch.nn.Linear(1, 2)

    class Watching(OneRow):
        def batches(self, order: Iterator[tuple[int, Array]]) -> Iterator[tuple[Array, torch.Tensor]]:
            for pair in super().batches(order):
                lengths.append(float(slope.detach()))
                yield pair

    subject = Trainee(lambda x: x + slope * 1e-3, ({"slope": slope},), {"pattern": head})
    rung = RungPlan("all", 0, 40, 1, (1.0, 0.0), 40, weight_decay=0.0)
    goals = {"pattern": Goal(np.zeros(1, np.int64), "softmax", 2)}
    train(rung, subject, Watching(), (goals, goals), Listener().control(), seed=(0, 1))
    steps = np.abs(np.diff([*lengths, float(slope.detach())]))
    assert len(steps) == 40
    assert steps == pytest.approx([one_cycle(step / 40) for step in range(40)], rel=0.05)


class OneRow:
    """A feed of one example."""

    n_train = 1
    train_sizes = None

    def batches(self, order: Iterator[tuple[int, Array]]) -> Iterator[tuple[Array, torch.Tensor]]:
        for _, rows in order:
            yield rows, torch.ones(1, 1)

    def validation(self, rows: Array | None = None) -> Iterator[tuple[Array, torch.Tensor]]:
        yield np.arange(1), torch.ones(1, 1)


def test_the_average_is_that_of_the_formula() -> None:
    subject, listener = trainee(), Listener()
    expected = {name: p.detach().clone() for name, p in subject.named().items()}
    rung = replace(RUNG, check_every=1, n_steps=8)
    run(listener, rung, subject=subject)
    assert len(listener.kept) == 8
    for step, state in enumerate(listener.kept):
        stays = averaging(step, rung.average_decay)
        for name, tensor in expected.items():
            expected[name] = stays * tensor + (1 - stays) * state.tensors[f"own.{name}"]
            assert torch.allclose(state.tensors[f"average.{name}"], expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("missing", [None, np.arange(0, N, 5)], ids=["all labelled", "some labels missing"])
def test_a_step_in_parts_is_the_step_as_a_whole(missing: Array | None) -> None:
    whole = run(Listener(), RUNG, missing=missing)
    parts = run(Listener(), replace(RUNG, n_parts=4), missing=missing)
    assert whole.weights.keys() == parts.weights.keys()
    for name, tensor in whole.weights.items():
        assert torch.allclose(tensor, parts.weights[name], rtol=1e-5, atol=1e-5), name


# --- order ----------------------------------------------------------------------------------------------


def test_an_epoch_shows_every_row_once_and_the_next_in_another_order() -> None:
    rung = replace(RUNG, n_steps=12, batch=10)
    pairs = list(order_of(rung, 40, 0, (0, 1)))
    assert [epoch for epoch, _ in pairs] == [0] * 4 + [1] * 4 + [2] * 4
    epochs = [np.concatenate([rows for e, rows in pairs if e == epoch]) for epoch in range(3)]
    assert all(sorted(one) == list(range(40)) for one in epochs)
    assert len({tuple(one) for one in epochs}) == 3


@pytest.mark.parametrize("n_train", [7, 16, 41])
def test_an_order_goes_on_where_it_was_left(n_train: int) -> None:
    rung = replace(RUNG, batch=min(16, n_train))
    whole = list(order_of(rung, n_train, 0, (3, 1)))
    assert len(whole) == rung.n_steps
    for start in (1, 5, 23, 24):
        rest = list(order_of(rung, n_train, start, (3, 1)))
        assert [(e, rows.tolist()) for e, rows in rest] == [(e, rows.tolist()) for e, rows in whole[start:]]


def lengths(n: int) -> Array:
    return np.random.default_rng(3).integers(5, 300, n)


@pytest.mark.parametrize("n_train", [7, 16, 41, 2000])
def test_rows_of_like_size_go_together_and_still_every_row_comes(n_train: int) -> None:
    rung = replace(RUNG, batch=min(8, n_train), n_steps=2 * (n_train // min(8, n_train)))
    sizes = lengths(n_train)
    pairs = list(order_of(rung, n_train, 0, (0, 1), sizes=sizes))
    plain = list(order_of(rung, n_train, 0, (0, 1)))
    for epoch in range(2):
        rows = np.concatenate([rows for e, rows in pairs if e == epoch])
        assert len(np.unique(rows)) == len(rows) == n_train // rung.batch * rung.batch
    assert all(len(rows) == rung.batch for _, rows in pairs)
    if n_train >= 41:
        spread, before = (np.mean([np.ptp(sizes[rows]) for _, rows in some]) for some in (pairs, plain))
        assert spread < before / 3
        means = [sizes[rows].mean() for _, rows in pairs]
        assert means != sorted(means), "short steps come before long ones"


def test_little_of_what_is_computed_fills_short_rows_up() -> None:
    sizes = lengths(4000)
    rung = replace(RUNG, batch=32, n_steps=125)

    def filled(by: Array | None) -> float:
        steps = [sizes[rows] for _, rows in order_of(rung, len(sizes), 0, (0, 1), sizes=by)]
        return 1 - float(sum(one.sum() for one in steps) / sum(one.max() * len(one) for one in steps))

    assert filled(sizes) < 0.07
    assert filled(None) > 0.4


def test_an_order_by_size_goes_on_where_it_was_left() -> None:
    sizes = lengths(300)
    whole = list(order_of(replace(RUNG, n_steps=40), 300, 0, (3, 1), sizes=sizes))
    for start in (1, 17, 39):
        rest = list(order_of(replace(RUNG, n_steps=40), 300, start, (3, 1), sizes=sizes))
        assert [(e, rows.tolist()) for e, rows in rest] == [(e, rows.tolist()) for e, rows in whole[start:]]


@dataclass(frozen=True)
class Disordered:
    """Another feed, whose looks at validation come in an order of its own."""

    feed: RawFeed

    @property
    def n_train(self) -> int:
        return self.feed.n_train

    @property
    def train_sizes(self) -> Array | None:
        return None

    def batches(self, order: Iterator[tuple[int, Array]]) -> Iterator[tuple[Array, torch.Tensor]]:
        yield from self.feed.batches(order)

    def validation(self, rows: Array | None = None) -> Iterator[tuple[Array, torch.Tensor]]:
        seen = list(self.feed.validation(rows))
        every, tensors = np.concatenate([one for one, _ in seen]), torch.cat([one for _, one in seen])
        for part in np.array_split(np.random.default_rng(0).permutation(len(every)), 3):
            yield every[part], tensors[part]


@pytest.mark.parametrize("n_looked", [10, 1000])
def test_the_order_of_a_look_does_not_matter(n_looked: int) -> None:
    rung = replace(RUNG, n_looked=n_looked)
    one, other = run(Listener(), rung), run(Listener(), rung, feed=Disordered(data()[0]))
    assert np.allclose(one.check.scores["pattern"], other.check.scores["pattern"], atol=1e-5)
    assert one.check.loss == pytest.approx(other.check.loss, abs=1e-6)


def test_seed_and_rung_change_the_order() -> None:
    orders = {tuple(next(order_of(RUNG, 40, 0, seed))[1]) for seed in ((0, 1), (0, 2), (1, 1))}
    assert len(orders) == 3


# --- being stopped, and going on -------------------------------------------------------------------------


def test_the_same_run_gives_the_same_weights() -> None:
    one, other = run(Listener()), run(Listener())
    assert_equal(one.weights, other.weights)
    assert np.array_equal(one.check.scores["pattern"], other.check.scores["pattern"])
    assert any(not torch.equal(t, one.weights[name]) for name, t in run(Listener(), seed=1).weights.items())


def test_a_run_that_goes_on_from_any_check_comes_to_the_same_weights(tmp_path: Path) -> None:
    listener = Listener()
    whole = run(listener)
    assert [state.values["n_steps"] for state in listener.kept] == [6, 12, 18, 24]
    for state in listener.kept:
        write_checkpoint(tmp_path / "state", state)
        again = Listener(found=read_checkpoint(tmp_path / "state"))
        outcome = run(again)
        assert again.n_advanced == 24 - state.values["n_steps"]
        assert_equal(outcome.weights, whole.weights)
        assert outcome.check.loss == pytest.approx(whole.check.loss, abs=0)
        assert np.array_equal(outcome.check.scores["pattern"], whole.check.scores["pattern"])
        assert (outcome.ended, outcome.n_steps) == ("done", 24)
        for mine, theirs in zip(reversed(again.kept), reversed(listener.kept), strict=False):
            assert_equal(mine.tensors, theirs.tensors)
            assert mine.values == theirs.values


def test_a_wish_to_stop_gives_the_best_so_far() -> None:
    listener = Listener(stop_at=8)
    outcome = run(listener)
    assert (outcome.ended, outcome.n_steps) == ("stopped", 8)
    assert [step for step, _ in listener.seen] == [6]
    reference = Listener()
    run(reference)
    assert outcome.check.loss == reference.seen[0][1].loss


def test_a_stop_before_the_first_look_looks_once() -> None:
    listener = Listener(stop_at=3)
    outcome = run(listener)
    assert [step for step, _ in listener.seen] == [3]
    assert outcome.weights
    assert outcome.ended == "stopped"


def test_a_stop_before_the_first_step_gives_nothing() -> None:
    outcome = run(Listener(stop_at=0))
    assert (outcome.weights, outcome.n_steps, outcome.ended) == ({}, 0, "stopped")


# --- numbers that are none --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Poisoned:
    """Another feed, whose batch at one step holds what ``poison`` makes of it."""

    feed: RawFeed
    poison: Callable[[torch.Tensor], torch.Tensor]
    at: int

    @property
    def n_train(self) -> int:
        return self.feed.n_train

    @property
    def train_sizes(self) -> Array | None:
        return self.feed.train_sizes

    def batches(self, order: Iterator[tuple[int, Array]]) -> Iterator[tuple[Array, torch.Tensor]]:
        for step, (rows, tensors) in enumerate(self.feed.batches(order)):
            yield rows, self.poison(tensors.float()) if step == self.at else tensors

    def validation(self, rows: Array | None = None) -> Iterator[tuple[Array, torch.Tensor]]:
        yield from self.feed.validation(rows)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_input_that_is_no_number_ends_the_run_and_keeps_nothing(value: float) -> None:
    subject = trainee()
    before = {name: p.detach().clone() for name, p in subject.named().items()}
    outcome = run(Listener(), feed=Poisoned(data()[0], lambda x: x * value, 0), subject=subject)
    assert (outcome.ended, outcome.n_steps, outcome.weights) == ("diverged", 0, {})
    assert_equal({name: p.detach() for name, p in subject.named().items()}, before)


def test_the_best_before_a_number_that_is_none_is_kept() -> None:
    outcome = run(Listener(), feed=Poisoned(data()[0], lambda x: x * float("nan"), 8))
    assert (outcome.ended, outcome.n_steps) == ("diverged", 8)
    reference = Listener(stop_at=6)
    assert_equal(outcome.weights, run(reference).weights)


def test_a_run_that_only_gets_worse_is_ended() -> None:
    listener = Listener()
    outcome = run(listener, replace(RUNG, n_steps=200, rates=(30.0,) * 5, average_decay=0.0))
    assert outcome.ended == "diverged"
    assert outcome.n_steps == 6
    assert listener.kept == []


def test_a_look_that_is_no_number_ends_the_run() -> None:
    """Steps may be fine and the average not: what overflows in one place need not in the other."""
    subject, n_looks = trainee(), 0

    def features(x: torch.Tensor) -> torch.Tensor:
        nonlocal n_looks
        n_looks += not torch.is_grad_enabled()
        found: torch.Tensor = inner(x)
        return found * float("nan") if n_looks > 1 and not torch.is_grad_enabled() else found

    inner, listener = subject.features, Listener()
    outcome = run(listener, subject=replace(subject, features=features))
    assert (outcome.ended, outcome.n_steps, outcome.weights) == ("diverged", 6, {})
    assert not listener.seen, "nobody can judge what is no number"


def test_a_run_that_gets_far_worse_ends_with_what_was_best_before() -> None:
    subject, n_looks = trainee(), 0

    def features(x: torch.Tensor) -> torch.Tensor:
        nonlocal n_looks
        n_looks += not torch.is_grad_enabled()
        found: torch.Tensor = inner(x)
        return found * -1e3 if n_looks > 4 and not torch.is_grad_enabled() else found

    inner, listener = subject.features, Listener()
    outcome = run(listener, subject=replace(subject, features=features))
    assert (outcome.ended, outcome.n_steps) == ("diverged", 12)
    assert [step for step, _ in listener.seen] == [6]
    assert outcome.weights
    assert outcome.check is listener.seen[0][1]


def test_a_head_that_was_sure_of_itself_may_become_less_so() -> None:
    """Label smoothing takes an almost perfect loss up many times without any harm."""
    head = torch.nn.Linear(2, 2)
    subject = Trainee(lambda x: x.float() * 8, ({},), {"pattern": head})
    with torch.no_grad():
        head.weight.copy_(torch.eye(2))
        head.bias.zero_()

    class Sure(OneRow):
        def batches(self, order: Iterator[tuple[int, Array]]) -> Iterator[tuple[Array, torch.Tensor]]:
            for _, rows in order:
                yield rows, torch.tensor([[1.0, 0.0]])

        def validation(self, rows: Array | None = None) -> Iterator[tuple[Array, torch.Tensor]]:
            yield np.arange(1), torch.tensor([[1.0, 0.0]])

    rung = RungPlan("all", 0, 50, 1, (0.1, 0.1), 10)
    goals = {"pattern": Goal(np.zeros(1, np.int64), "softmax", 2)}
    listener = Listener()
    outcome = train(rung, subject, Sure(), (goals, goals), listener.control(), seed=(0, 1))
    first = float(np.log1p(np.exp(-8)))
    assert outcome.check.loss > 3 * first
    assert outcome.ended == "done"
