"""From scratch: as long as the time lasts, and no longer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tiny_material import tiny_job
from tiny_text_material import tiny_text_job
from topwork.contracts import Afterwards, Budget, Workplace
from topwork.errors import UsageError
from topwork.recipes.scratch import SCRATCH, _drawn


def test_time_for_what_follows_is_kept_back() -> None:
    """The clock stands still. Steps that were asked for are made in any case."""
    job = replace(tiny_job(n_steps=None), budget=Budget(lambda: 0.0, 2.0))
    assert (SCRATCH(job).rungs[0].n_steps or 0) > 0
    (nothing,) = SCRATCH(replace(job, afterwards=Afterwards(delivery_s=2.0))).rungs
    assert nothing.n_steps == 0
    assert nothing.notes == ("stopped after 0 steps",)
    (asked,) = SCRATCH(replace(job, afterwards=Afterwards(delivery_s=2.0), n_steps=3)).rungs
    assert asked.n_steps == 3


def test_it_refuses_to_go_on_and_to_train_without_a_network() -> None:
    with pytest.raises(UsageError, match="keeps no state"):
        SCRATCH(replace(tiny_job(), workplace=Workplace(Path("nowhere"), resume=True)))
    with pytest.raises(UsageError, match="holds only its features"):
        SCRATCH(replace(tiny_job(), material=None))


def test_texts_of_like_length_are_trained_together() -> None:
    job = tiny_text_job(60)
    assert job.material is not None
    sizes = _drawn(job, job.material).feed.train_sizes
    assert sizes is not None
    assert len(set(sizes.tolist())) > 1
