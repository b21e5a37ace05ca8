"""What a server and a model with worker processes of its own know of each other.

It knows neither how processes are made nor what is served; a model that has none knows nothing of all this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from topwork.serving.batching.gate import Load

__all__ = ["Headcount", "Post", "Staffed"]


@dataclass(frozen=True, slots=True, eq=False)
class Post:
    """A place where a model is asked.

    Attributes
    ----------
    load
        The requests that are there.
    deadline_s
        How long any of them may take.
    room
        Told how many requests may be at work at once, whenever that changes; called from any thread.
    """

    load: Load
    deadline_s: float
    room: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Headcount:
    """Worker processes of a model.

    Attributes
    ----------
    states
        ``starting``, ``ready`` and ``leaving``, each with how many there are now.
    wanted
        How many there are to be.
    ended
        How many have ended unasked, by why.
    retried, given_up
        Requests that were given to a second process, and those that lost the second as well.
    """

    states: Mapping[str, int]
    wanted: int
    ended: Mapping[str, int]
    retried: int
    given_up: int


@runtime_checkable
class Staffed(Protocol):
    """A servable with worker processes, which come and go."""

    @property
    def n_line(self) -> int | None:
        """Requests that may stand in line; None where the limits say."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why no process can be had, for a client to read; None where there is one, or one is to be had."""
        ...

    @property
    def headcount(self) -> Headcount:
        """How many processes there are, and what became of others."""
        ...

    def employ(self, post: Post) -> None:
        """Work for a place from now on."""
        ...

    def dismiss(self, post: Post | None) -> None:
        """Work for a place no longer, None for none; where there is no other one, the processes end."""
        ...

    def wake(self) -> None:
        """Have a process where there is none; called from any thread, and returns at once."""
        ...

    def follow(self, n_replicas: int) -> None:
        """Begin with at least as many processes as another model had, in whose place it is put."""
        ...
