"""A model in worker processes, as a servable: each request goes to one of them, and to a second one should it be lost.

It knows no HTTP; `fleet` keeps the processes. An input that was answered is not asked about again: only what is still
open goes to the second process. What has begun to stream cannot begin again, and ends with an error.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from topwork.contracts import Answer, Reference
from topwork.serving.batching.gathering import Gathered
from topwork.serving.http.refusals import Refusal
from topwork.serving.replicas.autoscaling import Policy
from topwork.serving.replicas.fleet import Fleet, Recipe
from topwork.serving.replicas.frames import Description
from topwork.serving.replicas.references import reference_from_json
from topwork.serving.replicas.replica import Lost
from topwork.serving.replicas.staffing import Headcount, Post
from topwork.serving.replicas.vigilance import Vigilance
from topwork.serving.wrapping.around import Faced

__all__ = ["Replicas"]

N_TRIES: Final = 2
STOP_S: Final = 5.0
"""How long to wait for processes at the end; those that are left end with the server."""


class Replicas(Faced):
    """A model that is answered by processes; see `topwork.contracts.Servable`.

    The processes end when this object is dismissed from the last place that it works for, and when nobody holds it.

    Parameters
    ----------
    recipe
        How a process gets the model.
    policy
        How many there are to be.
    vigilance
        When a process counts as broken.

    Raises
    ------
    TopworkError
        The model cannot be opened; the error is the one that opening it in this process would raise.
    """

    def __init__(self, recipe: Recipe, policy: Policy, *, vigilance: Vigilance | None = None) -> None:
        self._fleet = Fleet(recipe, policy, vigilance=vigilance)
        weakref.finalize(self, self._fleet.end)
        try:
            self._described = self._fleet.opened()
        except BaseException:
            self._fleet.end()
            raise

    @property
    def _face(self) -> Description:
        return self._fleet.description or self._described

    @property
    def reference(self) -> Reference | None:
        """What its inputs and answers are held against."""
        found = self._face.reference
        return None if found is None else reference_from_json(found)

    @property
    def references(self) -> Mapping[str, Reference | None]:
        """What the parts of its answers are held against, by their names."""
        return {name: one and reference_from_json(one) for name, one in self._face.parts.items()}

    @property
    def made_of(self) -> tuple[Path, ...]:
        """Files and folders besides those of its settings that it was made of."""
        return tuple(map(Path, self._face.made_of))

    @property
    def gathered(self) -> Gathered | None:
        """Batches that the processes make of several requests; None where they make none."""
        return self._fleet.gathered

    @property
    def n_at_once(self) -> int:
        """Requests that all processes that there may be take at once."""
        policy = self._fleet.policy
        return policy.n_most * (policy.max_concurrency or 1)

    def prove(self) -> None:
        """Wait until each of the first processes has proven its model; every later one does so before it is asked.

        Raises
        ------
        TopworkError
            One of them failed, or they do not start.
        """
        self._fleet.proven()

    def submit(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Answer inputs in one of the processes."""
        return self._asked(inputs, explains=False)

    def explain(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Explain inputs in one of the processes."""
        return self._asked(inputs, explains=True)

    def _asked(self, inputs: Sequence[bytes], *, explains: bool) -> Iterator[Answer]:
        left = dict(enumerate(inputs))
        begun: set[int] = set()
        n_lost, until_s = 0, self._fleet.until_s()
        while left:
            places = list(left)
            try:
                with self._fleet.seat(until_s) as replica:
                    for answer in replica.ask([left[place] for place in places], explains=explains):
                        place = places[answer.index]
                        begun.add(place)
                        if answer.last:
                            left.pop(place, None)
                        yield replace(answer, index=place)
                return
            except Lost as lost:
                if not lost.was_asked:
                    continue
                n_lost += 1
                hopeless = n_lost == N_TRIES or self._fleet.is_over(until_s)
                if begun & set(left) or (left and hopeless):
                    self._fleet.count(given_up=1)
                    raise _given_up(n_lost) from lost
                self._fleet.count(retried=1 if left else 0)

    # --- see `topwork.serving.replicas.staffing.Staffed` -----------------------------------------------------------

    @property
    def n_line(self) -> int | None:
        """Requests that may stand in line; None where the limits say."""
        return self._fleet.policy.n_line

    @property
    def trouble(self) -> str | None:
        """Why no process can be had, for a client to read."""
        return self._fleet.trouble

    @property
    def headcount(self) -> Headcount:
        """How many processes there are, and what became of others."""
        return self._fleet.headcount

    @property
    def pids(self) -> tuple[int, ...]:
        """Numbers of the processes that are ready, for whoever looks after the machine."""
        return self._fleet.pids

    def employ(self, post: Post) -> None:
        """Work for a place from now on."""
        self._fleet.employ(post)

    def dismiss(self, post: Post | None) -> None:
        """Work for a place no longer, None for none; where there is no other one, the processes end."""
        if not self._fleet.dismiss(post):
            self._fleet.end()
            self._fleet.has_ended(STOP_S)

    def wake(self) -> None:
        """Have a process where there is none; called from any thread, and returns at once."""
        self._fleet.wake()

    def follow(self, n_replicas: int) -> None:
        """Begin with at least as many processes as another model had, in whose place it is put."""
        self._fleet.follow(n_replicas)


def _given_up(n_lost: int) -> Refusal:
    how = "the process that worked on it" if n_lost == 1 else f"{n_lost} processes that worked on it"
    return Refusal(
        "unavailable",
        f"The request was given up: {how} ended before the answer was complete.",
        next_step="Try again; should it happen every time, it is this input that ends them.",
        headers={"retry-after": "1"},
    )
