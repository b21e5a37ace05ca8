"""One task for all targets, or one for each; what is not there is refused, and an error says of which target it is."""

from __future__ import annotations

import numpy as np
import pytest

from topwork.errors import DataError, TopworkError, UsageError
from topwork.steps.kinds import encoded, learned, require_tasks, strata_for, tasks_of, uncounted, understood

RAW = {
    "kind": ("a", "b", "a", None, "b", "a"),
    "age": ("1", "2", None, "4", "5", "6"),
    "tags": ("x;y", "x", None, "y", "y;x", "x"),
}
KINDS = {"age": "regression", "tags": "multilabel"}


def test_a_task_is_for_all_or_for_each_and_nothing_said_is_classification() -> None:
    assert {name: one.name for name, one in tasks_of("ordinal", RAW).items()} == dict.fromkeys(RAW, "ordinal")
    found = {name: one.name for name, one in tasks_of(KINDS, RAW).items()}
    assert found == {"kind": "classification", "age": "regression", "tags": "multilabel"}
    assert uncounted(tasks_of(KINDS, RAW)) == ("age", "tags")


def test_a_target_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="'aeg', which is no target; the targets are kind, age, tags"):
        tasks_of({"aeg": "regression"}, RAW)


@pytest.mark.parametrize("wanted", ["regresion", {"age": "regresion"}])
def test_a_task_that_is_none_is_refused_before_anything_is_read(wanted: str | dict[str, str]) -> None:
    with pytest.raises(TopworkError, match="regresion"):
        require_tasks(wanted)
    require_tasks(KINDS)


def test_every_target_is_learnt_and_encoded_by_its_own_task() -> None:
    targets = learned(tasks_of(KINDS, RAW), RAW, np.arange(6))
    truth = encoded(targets, RAW)
    assert truth["kind"].tolist() == [0, 1, 0, -1, 1, 0]
    assert np.isnan(truth["age"]).tolist() == [False, False, True, False, False, False]
    assert truth["tags"].shape == (6, 2)
    assert [line.partition(":")[0] for line in understood(targets)] == ["tags"]
    assert strata_for(truth).shape == (6,)
    assert strata_for({"kind": truth["kind"]}) is truth["kind"]


def test_an_error_says_of_which_of_several_targets_it_is() -> None:
    wrong = RAW | {"age": ("1", "two", None, "4", "5", "6")}
    with pytest.raises(DataError, match="Target 'age': Regression needs numbers"):
        learned(tasks_of(KINDS, wrong), wrong, np.arange(6))
    alone = {"age": wrong["age"]}
    with pytest.raises(DataError, match=r"^Regression needs numbers"):
        learned(tasks_of("regression", alone), alone, np.arange(6))
