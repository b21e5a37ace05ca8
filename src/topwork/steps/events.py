"""The column that says whether an event happened, joined to the times before anything else looks at them.

What a fit was told is kept in its record, so that whoever uses the bundle need not say it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topwork.bundle.model import BundleModel
from topwork.contracts import Dataset, Task
from topwork.errors import UsageError
from topwork.tasks.durations import CENSORED, joined

__all__ = ["EVENT_SETTING", "with_events", "with_events_again"]

EVENT_SETTING = "event column"
"""Under which a record's settings name the column."""


def with_events(dataset: Dataset, event: str | None, tasks: Mapping[str, Task]) -> Dataset:
    """Join the column of events, where one was named, to the target whose task knows events.

    Raises
    ------
    UsageError
        No target is of such a task, or several are.
    DataError
        The column is missing, or unclear.
    """
    if event is None:
        return dataset
    times = [name for name, task in tasks.items() if task.link == "hazard"]
    return joined(dataset, event, _only(times, event))


def with_events_again(dataset: Dataset, event: str | None, models: Sequence[BundleModel]) -> Dataset:
    """Join the column that was named, or else that of a fit where the data have it and do not say it themselves.

    Raises
    ------
    UsageError, DataError
        As `with_events`, of a column that was named.
    """
    known = {name for one in models for name, target in one.targets.items() if target.link == "hazard"}
    # The only target may have another name in the data.
    times = [name for name in dataset.targets if name in known or (known and len(dataset.targets) == 1)]
    if event is not None:
        return joined(dataset, event, _only(times, event))
    remembered = (one.bundle.record().settings.get(EVENT_SETTING, "") for one in models)
    found = next((name for name in remembered if name in dataset.columns), None)
    is_told = any(CENSORED in (one or "") for name in times for one in dataset.targets[name])
    return dataset if found is None or is_told or len(times) != 1 else joined(dataset, found, times[0])


def _only(times: Sequence[str], event: str) -> str:
    if not times:
        raise UsageError(
            f"Got a column of events, {event!r}; no target is of a task that knows events.",
            next_step="Add --task survival, or leave --event out.",
        )
    if len(times) > 1:
        raise UsageError(
            f"The column {event!r} tells events of one column of times; there are {', '.join(times)}.",
            next_step="Name one column of times with --target, or write the others as 12.5 and 12.5+.",
        )
    return times[0]
