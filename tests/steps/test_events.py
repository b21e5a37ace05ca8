"""Which target a column of events belongs to."""

from __future__ import annotations

import pytest

from topwork import plugins
from topwork.contracts import Dataset
from topwork.errors import UsageError
from topwork.steps.events import with_events

DATA = Dataset(
    "image",
    ("a", "b"),
    lambda _: b"",
    {"days": ("1", "2"), "colour": ("red", "blue")},
    columns={"broke": ("1", "0")},
)
SURVIVAL, CLASSES = plugins.task("survival"), plugins.task("classification")


def test_events_are_joined_to_the_target_that_knows_them() -> None:
    found = with_events(DATA, "broke", {"days": SURVIVAL, "colour": CLASSES})
    assert found.targets == {"days": ("1", "2+"), "colour": ("red", "blue")}
    assert with_events(DATA, None, {"days": SURVIVAL, "colour": CLASSES}) is DATA


def test_events_without_times_and_of_several_are_refused() -> None:
    with pytest.raises(UsageError, match="no target is of a task that knows events"):
        with_events(DATA, "broke", {"days": CLASSES, "colour": CLASSES})
    with pytest.raises(UsageError, match="there are days, colour"):
        with_events(DATA, "broke", {"days": SURVIVAL, "colour": SURVIVAL})
