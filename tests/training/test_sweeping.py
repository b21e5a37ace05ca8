"""A sweep raises the rate, stops when the loss explodes, and leaves everything as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tiny_material import tiny_job
from topwork.recipes.full import FullSettings, full_rung
from topwork.recipes.stretch import Stretch, stretch_of, zero_heads
from topwork.training.judging import of_rows
from topwork.training.loop import Control
from topwork.training.sweeping import Sweep, SweepSettings, random_states_kept, sweep


def stretch() -> Stretch:
    job = tiny_job(60)
    return stretch_of(job, zero_heads(job))


def swept(one: Stretch, settings: SweepSettings, *, stop_after: int = 10**9) -> Sweep:
    assert one.job.material is not None
    rung = full_rung(FullSettings(rate=1.0), one.job.material.rates, len(one.trainee.stages), 16)
    done: list[int] = []
    control = Control(
        lambda: len(done) >= stop_after, done.append, lambda _: None, lambda *_: None, bf16=False
    )
    goals = of_rows(one.job.goals, one.fold.train)
    found = sweep(rung, one.trainee, one.feed, goals, control, settings=settings)
    assert len(done) >= len(found.rates)
    return found


def test_rates_grow_by_an_equal_factor_from_the_lowest_to_the_highest() -> None:
    found = swept(stretch(), SweepSettings(1e-6, 1e-3, n_steps=7))
    assert np.allclose(found.rates, np.logspace(-6, -3, 7))
    assert found.ended == "done"
    assert len(found.losses) == 7
    assert abs(found.losses[0] - np.log(3)) < 0.02  # heads of zeros know nothing of three classes


def test_the_loss_falls_where_rates_are_sensible() -> None:
    found = swept(stretch(), SweepSettings(1e-4, 3e-2, n_steps=40, smoothing=0.8))
    assert found.losses[-1] < found.losses[0] - 0.02


def test_it_ends_where_the_loss_explodes() -> None:
    found = swept(stretch(), SweepSettings(1e-3, 1e5, n_steps=60, smoothing=0.5))
    assert found.ended == "exploded"
    assert 0 < len(found.rates) < 60
    assert found.losses.max() <= 4 * found.losses.min()


def test_it_ends_where_the_user_wants_it() -> None:
    found = swept(stretch(), SweepSettings(n_steps=30), stop_after=4)
    assert (found.ended, len(found.rates)) == ("stopped", 4)


def test_every_weight_is_as_it_was_bit_by_bit() -> None:
    one = stretch()
    whole: torch.nn.Module = one.trainee.features  # type: ignore[assignment]
    before = {name: tensor.clone() for name, tensor in {**whole.state_dict(), **one.trainee.state()}.items()}
    found = swept(one, SweepSettings(1e-3, 1e4, n_steps=30))
    after = {**whole.state_dict(), **one.trainee.state()}
    assert len(found.rates) > 5
    assert set(after) == set(before)
    assert all(after[name].equal(tensor) for name, tensor in before.items())
    assert all(p.grad is None for p in one.trainee.named().values())


def test_random_states_are_as_they_were() -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state(legacy=False)
    with random_states_kept():
        torch.rand(3)
        np.random.rand(3)
        assert not torch.get_rng_state().equal(torch_state)
    assert torch.get_rng_state().equal(torch_state)
    now = np.random.get_state(legacy=False)
    assert now["state"]["pos"] == numpy_state["state"]["pos"]
    assert np.array_equal(now["state"]["key"], numpy_state["state"]["key"])


def test_the_same_sweep_gives_the_same_curve_and_another_seed_another() -> None:
    settings = SweepSettings(1e-4, 1e-2, n_steps=10)
    first, again, other = (swept(stretch(), one) for one in (settings, settings, replace(settings, seed=1)))
    assert np.array_equal(first.losses, again.losses)
    assert not np.array_equal(first.losses, other.losses)
