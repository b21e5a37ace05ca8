"""What a recipe tells of a training."""

from __future__ import annotations

import numpy as np
import pytest

from topwork.contracts import Rung
from topwork.recipes.result import after
from topwork.training.loop import Outcome
from topwork.training.sight import Check

TOLD = Rung("from scratch", 1.0, 0.5)


def outcome(scores: tuple[str, ...], factors: tuple[float, ...]) -> Outcome:
    return Outcome({}, Check({name: np.zeros((2, 2)) for name in scores}, 1.0), 5, "stopped", factors)


@pytest.mark.parametrize(
    ("scores", "factors", "weighs"),
    [
        (("a", "b"), (0.5, 1.5), {"a": 0.5, "b": 1.5}),
        ((), (0.5, 1.5), {}),
        (("a",), (), {}),
    ],
    ids=["looked", "ended before its first look", "one target"],
)
def test_what_targets_weighed_is_told_of_a_look(
    scores: tuple[str, ...], factors: tuple[float, ...], weighs: dict[str, float]
) -> None:
    rung = after(TOLD, outcome(scores, factors))
    assert rung.weighs == weighs
    assert (rung.n_steps, rung.notes) == (5, ("stopped after 5 steps",))
