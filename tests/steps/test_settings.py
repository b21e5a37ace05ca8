"""Settings of a recipe are read as what they are, and a name or a value that it does not have is refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from topwork.contracts import FitJob, Fitted
from topwork.errors import UsageError
from topwork.recipes.full import FULL, FullRecipe
from topwork.steps.settings import Value, with_settings


@dataclass(frozen=True, slots=True)
class ToySettings:
    n: int = 1
    share: float = 0.5
    kind: str = "a"
    is_on: bool = False
    sizes: tuple[int, ...] = ()
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Toy:
    settings: ToySettings = ToySettings()
    name: str = "toy"
    requires: frozenset[str] = frozenset()

    def __call__(self, job: FitJob) -> Fitted:
        raise NotImplementedError


def settings(**given: Value) -> ToySettings:
    found = with_settings(Toy(), given)
    assert isinstance(found, Toy)
    return found.settings


def test_words_are_read_as_what_the_setting_is() -> None:
    read = settings(n="7", share="1e-3", kind="b", is_on="yes", sizes="512,256", limit="2")
    assert read == ToySettings(7, 1e-3, "b", True, (512, 256), 2.0)
    assert type(read.n) is int
    assert settings(sizes="none", limit="none") == ToySettings()


def test_values_are_taken_as_they_are() -> None:
    assert settings(n=7, share=1, sizes=(3,), limit=None) == ToySettings(n=7, share=1.0, sizes=(3,))


def test_without_any_the_recipe_is_the_same_object() -> None:
    assert with_settings(FULL, {}) is FULL


def test_an_unknown_name_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="full has no setting 'epoch'; it has epochs, warmup, weight_decay"):
        with_settings(FULL, {"epoch": 3})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("n", "2.5", "a whole number"),
        ("n", 2.5, "a whole number"),
        ("share", "much", "a number"),
        ("is_on", "perhaps", "true or false"),
        ("sizes", "5,x", "whole numbers with commas"),
        ("sizes", 5, "whole numbers with commas"),
        ("n", "none", "a whole number"),
    ],
)
def test_a_value_of_another_kind_is_refused(name: str, value: Value, expected: str) -> None:
    with pytest.raises(UsageError, match=f"The setting {name} is .*; expected {expected}"):
        settings(**{name: value})


@pytest.mark.parametrize("given", [{"epochs": 0}, {"warmup": 1.0}, {"smoothing": -0.1}, {"rate": 0.0}])
def test_a_value_out_of_its_range_is_refused(given: dict[str, Value]) -> None:
    with pytest.raises(UsageError, match=f"The setting {next(iter(given))} is"):
        with_settings(FULL, given)


def test_the_rest_of_a_recipe_stays() -> None:
    changed = with_settings(FULL, {"epochs": 2})
    assert isinstance(changed, FullRecipe)
    assert (changed.settings.epochs, changed.settings.warmup, changed.name) == (2, 0.2, "full")
