"""Recipes go on after a kill to the very weights of a run that was never killed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from tiny_material import tiny_job
from tiny_transformers import text_job
from topwork.contracts import Budget, FitJob, Fitted, Recipe, Workplace
from topwork.errors import UsageError
from topwork.recipes.full import FULL, FullRecipe, FullSettings
from topwork.recipes.gradual import GRADUAL
from topwork.recipes.head import HeadRecipe, HeadSettings
from topwork.recipes.hyperrule import HyperruleRecipe, HyperruleSettings
from topwork.recipes.lora import LoraRecipe, LoraSettings
from topwork.recipes.scratch import SCRATCH
from topwork.training.checkpoint import read_checkpoint

N_STEPS = 40
RECIPES: dict[str, Recipe] = {
    "full": FULL,
    "gradual": GRADUAL,
    "head": HeadRecipe(HeadSettings(hidden=(16,), dropout=0.5)),
    "hyperrule": HyperruleRecipe(HyperruleSettings(rate=0.1)),
    "lora": LoraRecipe(LoraSettings(dropout=0.3)),
}


class Killed(Exception):  # noqa: N818 - it is an event
    """Stands for a kill: nothing catches it."""


def killed_after(n: int) -> Callable[[], bool]:
    asked = count(1)

    def should_stop() -> bool:
        if next(asked) > n:
            raise Killed
        return False

    return should_stop


def placed(folder: Path, *, resume: bool = False, n_asked: int = 10**6, job: FitJob | None = None) -> FitJob:
    """Return the tiny job, or another, whose clock goes on by a quarter of a minute whenever it is read."""
    time_s = count(0, 15)
    workplace = Workplace(folder, resume, killed_after(n_asked))
    return replace(
        job or tiny_job(n_steps=N_STEPS), workplace=workplace, budget=Budget(lambda: float(next(time_s)))
    )


def assert_same(one: Fitted, other: Fitted) -> None:
    for name, head in one.heads.items():
        assert np.array_equal(head.weight, other.heads[name].weight)
        assert all(
            np.array_equal(a.weight, b.weight)
            for a, b in zip(head.hidden, other.heads[name].hidden, strict=True)
        )
    assert one.weights.keys() == other.weights.keys()
    assert all(np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert [rung.log_loss for rung in one.rungs] == [rung.log_loss for rung in other.rungs]
    assert [(m.n_steps, m.log_loss) for m in one.history] == [(m.n_steps, m.log_loss) for m in other.history]


@pytest.mark.parametrize("n_asked", [0, 25, 33, N_STEPS])
@pytest.mark.parametrize("name", RECIPES)
def test_a_fit_that_was_killed_goes_on_to_the_same_model(name: str, n_asked: int, tmp_path: Path) -> None:
    recipe = RECIPES[name]
    whole = recipe(placed(tmp_path / "whole"))
    if n_asked < N_STEPS:
        with pytest.raises(Killed):
            recipe(placed(tmp_path / "killed", n_asked=n_asked))
    else:
        recipe(placed(tmp_path / "killed"))  # killed once it was through, before a bundle was written
    begun = read_checkpoint(tmp_path / "killed" / "state.safetensors")
    assert (begun is None) == (n_asked == 0)
    assert begun is None or 0 < begun.values["n_steps"] <= n_asked
    assert_same(recipe(placed(tmp_path / "killed", resume=True)), whole)


@pytest.mark.parametrize("n_asked", [20, 45, 90])
def test_masked_words_are_not_learnt_again(n_asked: int, tmp_path: Path) -> None:
    """Of 100 steps 30 are for words, and 14, 14 and 42 for heads and stages."""
    texts = text_job(tmp_path, n_steps=100)
    whole = GRADUAL(placed(tmp_path / "whole", job=texts))
    with pytest.raises(Killed):
        GRADUAL(placed(tmp_path / "killed", n_asked=n_asked, job=texts))
    again = placed(tmp_path / "killed", resume=True, job=texts)
    if n_asked == 20:
        with pytest.raises(UsageError, match="There is no unfinished fit in"):
            GRADUAL(again)
    else:
        fitted = GRADUAL(again)
        assert_same(fitted, whole)
        assert fitted.notes == whole.notes
        assert any("Masked words: 30 steps" in note for note in fitted.notes)


def test_without_what_words_came_to_it_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        GRADUAL(placed(tmp_path, n_asked=30))
    (tmp_path / "rung0.safetensors").unlink()
    with pytest.raises(UsageError, match="What masked words came to is not in"):
        GRADUAL(placed(tmp_path, resume=True))


def test_the_state_is_kept_between_two_looks(tmp_path: Path) -> None:
    """The rule looks at validation in the end alone; of its hours nothing would be left."""
    recipe = RECIPES["hyperrule"]
    with pytest.raises(Killed):
        recipe(placed(tmp_path, n_asked=30))
    begun = read_checkpoint(tmp_path / "state.safetensors")
    assert begun is not None
    assert begun.values["n_steps"] > 15
    assert begun.values["history"] == []


def test_it_does_not_go_on_with_the_fit_of_another_recipe_or_setting(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        FULL(placed(tmp_path, n_asked=9))
    for other in (RECIPES["hyperrule"], FullRecipe(FullSettings(smoothing=0.0))):
        with pytest.raises(UsageError, match=r"recipe was full: FullSettings.*smoothing=0\.1.* and is "):
            other(placed(tmp_path, resume=True))


def test_there_must_be_something_to_go_on_with(tmp_path: Path) -> None:
    for recipe in RECIPES.values():
        with pytest.raises(UsageError, match="There is no unfinished fit in"):
            recipe(placed(tmp_path, resume=True))


def test_a_recipe_that_keeps_nothing_says_which_do(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"keeps no state(?s:.*)ladder, full, gradual, head, hyperrule or lora"
    ):
        SCRATCH(placed(tmp_path, resume=True))


def test_what_a_fit_draws_does_not_change_what_others_draw(tmp_path: Path) -> None:
    import torch

    before = torch.get_rng_state()
    RECIPES["head"](placed(tmp_path))
    assert torch.equal(before, torch.get_rng_state())
