"""Several targets: no unit of a loss decides which of them is learnt, and a run that was killed goes on the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import exp, log
from pathlib import Path

import numpy as np
import pytest
import torch

from topwork.contracts import Array, Goal
from topwork.training.balancing import Balance
from topwork.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from topwork.training.loop import Control, Outcome, loss_of_part, train
from topwork.training.mixing import Part
from topwork.training.plan import RungPlan
from topwork.training.sight import Check
from topwork.training.trainee import Trainee

CPU = torch.device("cpu")
N, D = 96, 4
RUNG = RungPlan("all", 0, 60, 16, (1e-2, 1e-2), 15, weight_decay=0.0, average_decay=0.0)
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
NUMBER = X[:, 0] * 1.0 + np.random.default_rng(1).normal(0, 0.3, N)
LABEL = (X[:, 1] > 0).astype(np.int64)


# --- the balance itself -------------------------------------------------------------------------------------


def test_a_weight_begins_and_ends_where_it_is_best_for_the_loss() -> None:
    """The derivative of exp(-s) L + s / 2 is zero where exp(-s) is 1 / 2 L."""
    balance = Balance([1.0, 1.0], CPU)
    for _ in range(1500):
        balance.clear()
        balance.weigh([torch.tensor(0.2), torch.tensor(20.0)], [1.0, 1.0]).backward()  # type: ignore[no-untyped-call]
        balance.step()
    assert torch.exp(-balance.logs).detach().numpy() == pytest.approx([1 / 0.4, 1 / 40.0], rel=0.05)
    begun = Balance([0.2, 20.0], CPU)
    assert torch.exp(-begun.logs).detach().numpy() == pytest.approx([1 / 0.4, 1 / 40.0], rel=1e-5)


def test_it_is_the_formula_of_the_paper_averaged_over_the_targets() -> None:
    balance = Balance([1.0, 3.0], CPU)
    found = float(balance.weigh([torch.tensor(0.7), torch.tensor(5.0)], [1.0, 0.5]).detach())
    s = log(2.0), log(6.0)
    each = [exp(-s[0]) * 0.7 + s[0] / 2, 0.5 * (exp(-s[1]) * 5 + s[1] / 2)]
    assert found == pytest.approx(np.mean(each), rel=1e-6)


def test_a_target_that_no_row_of_a_step_has_stays_where_it_was() -> None:
    balance = Balance([0.2, 0.2], CPU)
    balance.clear()
    balance.weigh([torch.tensor(9.0), torch.tensor(0.0)], [1.0, 0.0]).backward()  # type: ignore[no-untyped-call]
    balance.step()
    assert float(balance.logs[0].detach()) > log(0.4)
    assert float(balance.logs[1].detach()) == pytest.approx(log(0.4))


def test_a_loss_of_nothing_does_not_run_away() -> None:
    balance = Balance([0.0], CPU)
    for _ in range(200):
        balance.clear()
        balance.weigh([torch.tensor(0.0)], [1.0]).backward()  # type: ignore[no-untyped-call]
        balance.step()
    assert float(torch.exp(-balance.logs).detach()) == pytest.approx(50.0)


def test_factors_are_told_relative_to_their_mean() -> None:
    assert Balance([0.2, 0.6], CPU).factors() == pytest.approx((1.5, 0.5))


# --- in the loop ------------------------------------------------------------------------------------------------


@dataclass
class Numbers:
    """A feed of rows of numbers; the last third validates."""

    n_train: int = 64
    train_sizes = None

    def batches(self, order: Iterator[tuple[int, Array]]) -> Iterator[tuple[Array, torch.Tensor]]:
        for _, rows in order:
            yield rows, torch.from_numpy(X[rows])

    def validation(self, rows: Array | None = None) -> Iterator[tuple[Array, torch.Tensor]]:
        every = np.arange(32) if rows is None else rows
        yield every, torch.from_numpy(X[self.n_train :][every])


@dataclass
class Listener:
    """Keeps the states that the loop tells of, and what validation said."""

    found: Checkpoint | None = None
    kept: list[Checkpoint] = field(default_factory=list)
    seen: list[Check] = field(default_factory=list)

    def control(self) -> Control:
        def keep(state: Checkpoint) -> None:
            tensors = {name: tensor.detach().clone() for name, tensor in state.tensors.items()}
            self.kept.append(Checkpoint(tensors, dict(state.values)))

        return Control(
            should_stop=lambda: False,
            advance=lambda _: None,
            keep=keep,
            saw=lambda _, check: self.seen.append(check),
            bf16=False,
            found=self.found,
        )


def assert_equal(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert one
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def trainee(*targets: str) -> Trainee:
    """Return a narrow shared layer: both targets have to go through one number."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shared = torch.nn.Linear(D, 1)
        heads = {name: torch.nn.Linear(1, 2 if name == "label" else 1) for name in targets}
    stage = {f"shared.{name}": p for name, p in shared.named_parameters()}
    return Trainee(shared, (stage,), heads)


def goals(unit: float = 1.0, label: Array = LABEL) -> tuple[dict[str, Goal], dict[str, Goal]]:
    """Return those of training and validation; ``unit`` is what the numbers are multiplied by."""
    sides = slice(None, 64), slice(64, None)
    one, other = (
        {"label": Goal(label[rows], "softmax", 2), "number": Goal(unit * NUMBER[rows], "identity", 1)}
        for rows in sides
    )
    return one, other


def run(
    listener: Listener, several: tuple[dict[str, Goal], dict[str, Goal]], seed: int = 0
) -> tuple[Outcome, Trainee]:
    subject = trainee(*several[0])
    return train(RUNG, subject, Numbers(), several, listener.control(), seed=(seed, 1)), subject


def pull(subject: Trainee, several: dict[str, Goal], balance: Balance | None) -> float:
    """Return how the gradient of the shared layer divides: the share of the number's direction."""
    rows = np.arange(64)
    part = Part(torch.from_numpy(X[rows]), rows, rows)
    for p in subject.named().values():
        p.grad = None
    loss_of_part(subject, part, several, 0.0, False, balance).backward()  # type: ignore[no-untyped-call]
    slope = dict(subject.stages[0])["shared.weight"].grad
    assert slope is not None
    along = slope[0].abs()
    return float(along[0] / (along[0] + along[1]))


def set_heads(subject: Trainee, unit: float) -> None:
    """Let either head read the shared number in units of its own truth."""
    with torch.no_grad():
        for name, rows in (("number", [[0.3 * unit]]), ("label", [[-0.3], [0.3]])):
            head = subject.heads[name]
            assert isinstance(head, torch.nn.Linear)
            head.weight.copy_(torch.tensor(rows))
            head.bias.zero_()


def test_a_target_of_losses_a_hundred_times_as_large_does_not_drown_the_other() -> None:
    """Ten times the unit makes a hundred times the squared error: balanced, both pull as they did before."""
    shares = []
    for unit in (1.0, 10.0):
        several, _ = goals(unit)
        subject = trainee("label", "number")
        set_heads(subject, unit)
        balance = Balance([0.7, unit**2], CPU)
        shares.append((pull(subject, several, None), pull(subject, several, balance)))
    (plain, balanced), (drowned, still) = shares
    assert drowned > 0.9 > plain
    assert still == pytest.approx(balanced, abs=0.01)


def test_weights_are_trained_along_and_kept() -> None:
    listener = Listener()
    outcome, _ = run(listener, goals())
    assert outcome.ended == "done"
    told = [state.tensors["balance.logs"] for state in listener.kept]
    assert len(told) == 4
    assert not torch.equal(told[0], told[-1])
    assert not [name for name in outcome.weights if name.startswith("balance")]


def test_a_run_that_goes_on_from_any_check_comes_to_the_same_weights(tmp_path: Path) -> None:
    listener = Listener()
    whole, _ = run(listener, goals())
    for state in listener.kept[:-1]:
        write_checkpoint(tmp_path / "state", state)
        again = Listener(found=read_checkpoint(tmp_path / "state"))
        outcome, _ = run(again, goals())
        assert_equal(outcome.weights, whole.weights)
        assert_equal(again.kept[-1].tensors, listener.kept[-1].tensors)


def test_without_the_balance_s_own_moments_a_run_would_go_on_otherwise(tmp_path: Path) -> None:
    """What the test above would not see if moments were not kept: that they matter."""
    listener = Listener()
    whole, _ = run(listener, goals())
    state = listener.kept[0]
    poorer = {n: torch.zeros_like(t) if n == "balance.first" else t for n, t in state.tensors.items()}
    outcome, _ = run(Listener(found=Checkpoint(poorer, state.values)), goals())
    assert any(not torch.equal(t, whole.weights[name]) for name, t in outcome.weights.items())


def test_a_single_target_is_not_weighed() -> None:
    listener = Listener()
    one, other = ({"label": side["label"]} for side in goals())
    run(listener, (one, other))
    assert not [name for name in listener.kept[-1].tensors if name.startswith("balance")]


def test_the_loss_of_a_look_is_the_mean_of_the_losses_in_their_scales() -> None:
    listener, scaled = Listener(), Listener()
    several = goals()
    run(listener, several)
    halved = tuple({n: replace(g, scale=0.5) for n, g in side.items()} for side in several)
    run(scaled, (halved[0], halved[1]))
    # Weights take the scales out again, so the steps are the same.
    assert [check.loss for check in scaled.seen] == pytest.approx(
        [2 * check.loss for check in listener.seen], rel=1e-3
    )


def test_a_target_without_a_label_to_validate_by_does_not_count() -> None:
    label = LABEL.copy()
    label[64:] = -1
    listener = Listener()
    outcome, _ = run(listener, goals(label=label))
    number = outcome.check.scores["number"][:, 0] - NUMBER[64:]
    assert outcome.check.loss == pytest.approx(float(np.mean(number**2)), rel=1e-5)
