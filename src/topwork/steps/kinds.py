"""Which task each target is of: from what a caller asks for to a task for every column, and what tasks learn of them.

It knows no task by name but the one that is taken where nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from topwork import plugins
from topwork.contracts import Array, Target, Task, has_one_label, joint_strata
from topwork.errors import DataError, UsageError
from topwork.steps.options import DEFAULT_TASK

__all__ = ["encoded", "learned", "require_tasks", "strata_for", "tasks_of", "uncounted", "understood"]

T = TypeVar("T")


def require_tasks(wanted: str | Mapping[str, str]) -> None:
    """Refuse names that are no tasks, before anything is read.

    Raises
    ------
    UsageError
        There is no such task.
    """
    for name in [wanted] if isinstance(wanted, str) else wanted.values():
        plugins.task(name)


def tasks_of(wanted: str | Mapping[str, str], targets: Iterable[str]) -> dict[str, Task]:
    """Return the task of each target: the one for all, or its own; classification where nothing is said of it.

    Raises
    ------
    UsageError
        A target or a task is not there.
    """
    names = list(targets)
    if isinstance(wanted, str):
        return dict.fromkeys(names, plugins.task(wanted))
    if unknown := [name for name in wanted if name not in names]:
        raise UsageError(
            f"A task is given for {unknown[0]!r}, which is no target; the targets are {', '.join(names)}.",
            next_step="Name the column with --target as well, or leave its task out.",
        )
    return {name: plugins.task(wanted.get(name, DEFAULT_TASK)) for name in names}


def uncounted(tasks: Mapping[str, Task]) -> tuple[str, ...]:
    """Return the targets whose values are no single labels, so that none are counted."""
    return tuple(name for name, task in tasks.items() if not has_one_label(task.link))


def learned(
    tasks: Mapping[str, Task], raw: Mapping[str, Sequence[str | None]], rows: Array
) -> dict[str, Target]:
    """Let every task learn its target from the raw values of some rows.

    Raises
    ------
    DataError
        There is nothing to learn; of several targets it says of which.
    """
    return _of_each(raw, lambda name: tasks[name].learn([raw[name][row] for row in rows]))


def encoded(targets: Mapping[str, Target], raw: Mapping[str, Sequence[str | None]]) -> dict[str, Array]:
    """Return the truth of every row by target.

    Raises
    ------
    DataError
        A value cannot be read; of several targets it says of which.
    """
    return _of_each(raw, lambda name: targets[name].encode(raw[name]))


def strata_for(truth: Mapping[str, Array]) -> Array:
    """Return what rows are dealt by: the truth of the only target, or of several the rarest stratum of each row."""
    several = list(truth.values())
    return several[0] if len(several) == 1 else joint_strata(several)


def understood(targets: Mapping[str, Target]) -> tuple[str, ...]:
    """Return in sentences how raw values were read; of several targets they say of which."""
    several = len(targets) > 1
    return tuple(
        f"{name}: {line}" if several else line for name, one in targets.items() for line in one.understood
    )


def _of_each(names: Collection[str], find: Callable[[str], T]) -> dict[str, T]:
    """Find something of each target; where there are several, an error says of which it is."""
    found: dict[str, T] = {}
    for name in names:
        try:
            found[name] = find(name)
        except DataError as error:
            if len(names) < 2:
                raise
            raise DataError(f"Target {name!r}: {error.problem}", next_step=error.next_step) from error
    return found
