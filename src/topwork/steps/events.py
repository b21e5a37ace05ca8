"""The column that says whether an event happened, joined to the times before anything else looks at them.

What a fit was told is kept in its record, so that whoever uses the bundle need not say it again.
"""

from __future__ import annotations

from topwork.contracts import Dataset, FitRecord, Task
from topwork.errors import UsageError
from topwork.tasks.durations import CENSORED, joined

__all__ = ["EVENT_SETTING", "with_events", "with_events_again"]

EVENT_SETTING = "event column"
"""Under which a record's settings name the column."""


def with_events(dataset: Dataset, event: str | None, task: Task) -> Dataset:
    """Join the column of events, where one was named.

    Raises
    ------
    UsageError
        The task knows no events.
    DataError
        The column is missing, or unclear.
    """
    if event is None:
        return dataset
    if task.link != "hazard":
        raise UsageError(
            f"Got a column of events, {event!r}; the task {task.name!r} knows none.",
            next_step="Add --task survival, or leave --event out.",
        )
    return joined(dataset, event)


def with_events_again(dataset: Dataset, event: str | None, *fitted: FitRecord) -> Dataset:
    """Join the column that was named, or else that of a fit where the data have it and do not say it themselves.

    Raises
    ------
    UsageError, DataError
        As `joined`, of a column that was named.
    """
    if event is not None:
        return joined(dataset, event)
    remembered = (one.settings.get(EVENT_SETTING, "") for one in fitted)
    found = next((name for name in remembered if name in dataset.columns), None)
    told = any(CENSORED in (one or "") for raw in dataset.targets.values() for one in raw)
    return dataset if found is None or told or len(dataset.targets) != 1 else joined(dataset, found)
