"""The worker processes of one model: as many as are wanted, each replaced that dies or hangs.

It knows no HTTP and nothing of what is answered; `replica` is one process, `autoscaling` says how many there are to be.
One thread starts, watches and ends processes; requests come in threads of their own and only choose one.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from topwork.contracts import Clock
from topwork.errors import BundleError, TopworkError
from topwork.serving.batching.gathering import Gathered, together
from topwork.serving.http.refusals import Refusal
from topwork.serving.limits import Limits
from topwork.serving.replicas.autoscaling import Moment, Past, Policy, decided, tick_s
from topwork.serving.replicas.frames import Description, Order
from topwork.serving.replicas.replica import Replica
from topwork.serving.replicas.staffing import Headcount, Post
from topwork.serving.replicas.vigilance import Vigilance

__all__ = ["Fleet", "Recipe"]

LOG = logging.getLogger("topwork.serving")
ENOUGH_FAILURES: Final = 3
"""Starts that fail one after the other before the model counts as one that cannot be started."""

THREADS_WORD: Final = "OMP_NUM_THREADS"
"""What libraries that compute look at before they take all cores."""

PATIENCE_S: Final = 30.0
"""How long a request waits for a process where nobody has said what its deadline is."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a process gets the model.

    Attributes
    ----------
    factory, arguments
        As of `topwork.serving.replicas.frames.Order`.
    n_cores
        Cores that are a process' own, for libraries that ask the environment; None leaves it as it is.
    limits
        How large its batches may be, and the deadline by which they are measured.
    """

    factory: str
    arguments: bytes = b""
    n_cores: int | None = None
    limits: Limits = field(default_factory=Limits)

    def environment(self) -> Mapping[str, str]:
        """Return the variables of a process; what the user has said goes first."""
        share = {} if self.n_cores is None else {THREADS_WORD: str(self.n_cores)}
        return {**share, **os.environ}


@dataclass(slots=True)
class _Starts:
    """How the last starts went: how many failed since one succeeded, why, and when to try again."""

    n_failed: int = 0
    reason: str = ""
    told: Exception | None = None
    not_before_s: float = 0.0


@dataclass(slots=True)
class _Counts:
    """What is counted: ends by why, requests by what became of them, what places and processes left behind."""

    ended: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    given_up: int = 0
    past_request_s: float = 0.0
    past_batches: Gathered | None = None


class Fleet:
    """Keeps processes, until `end`.

    Parameters
    ----------
    recipe
        How a process gets the model.
    policy
        How many there are to be.
    vigilance, clock
        What counts as broken, and a clock that goes on.

    Attributes
    ----------
    description
        What the model says of itself; None until the first process has opened it.
    policy
        With nothing left open once there is a description; processes get as many requests as the one that takes most.
    wanted
        How many processes there are to be.
    """

    def __init__(
        self,
        recipe: Recipe,
        policy: Policy,
        *,
        vigilance: Vigilance | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._recipe, self.policy, self._clock = recipe, policy, clock
        self._given, self._roomiest = policy, (0, 0)
        self._vigilance = vigilance or Vigilance()
        self.description: Description | None = None
        self.wanted = policy.n_first
        self._first: Description | None = None
        self._past: Past | None = None
        self._replicas: list[Replica] = []
        self._posts: list[Post] = []
        self._starts, self._counts, self._room_told = _Starts(), _Counts(), 0
        self._changed = threading.Condition()
        self._event = threading.Event()
        self._is_woken = self._is_ending = False
        self._looked_s = self._next_tick_s = clock()
        self._thread = threading.Thread(target=self._run, name="topwork-fleet", daemon=True)
        self._thread.start()

    # --- for whoever opens the model --------------------------------------------------------------------

    def opened(self) -> Description:
        """Wait until a process has opened the model, and return what it says of itself.

        Raises
        ------
        TopworkError
            It cannot be opened.
        """
        self._wait(lambda: self.description is not None)
        assert self.description is not None
        return self.description

    def proven(self) -> None:
        """Wait until as many processes as there are to be at the start have passed their proof.

        Raises
        ------
        TopworkError
            One did not pass it, or they do not start.
        """
        self._wait(lambda: len(self._ready()) >= max(1, self.wanted))

    def _wait(self, is_so: Callable[[], bool]) -> None:
        with self._changed:
            while not is_so():
                if self._starts.told is not None:
                    raise self._starts.told
                if self._starts.n_failed >= ENOUGH_FAILURES:
                    raise TopworkError(
                        f"{self._name} cannot be started in a worker process: {self._starts.reason}.",
                        next_step="What the process wrote stands in the log.",
                    )
                if self._is_ending:
                    raise TopworkError("The server is ending.")
                self._changed.wait()

    def follow(self, n_replicas: int) -> None:
        """Want at least so many processes, as far as the policy allows."""
        with self._changed:
            self.wanted = max(self.wanted, min(n_replicas, self.policy.n_most))
        self._event.set()

    def end(self) -> None:
        """End all processes; returns at once."""
        self._is_ending = True
        self._event.set()

    def has_ended(self, timeout_s: float) -> bool:
        """Wait until all processes have ended; tell whether they have."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- for requests -----------------------------------------------------------------------------------

    def until_s(self) -> float:
        """Return when somebody who comes now will have left, by the clock."""
        return self._clock() + (self._deadline_s() or PATIENCE_S)

    def is_over(self, until_s: float) -> bool:
        """Tell whether a moment has passed."""
        return self._clock() >= until_s

    @contextmanager
    def seat(self, until_s: float) -> Iterator[Replica]:
        """Give a process for one request: of those with room the one that has least to do.

        Raises
        ------
        Refusal
            503: there was none until then.
        """
        replica = self._seated(until_s)
        try:
            yield replica
        finally:
            with self._changed:
                replica.n_seated -= 1
                self._changed.notify_all()
            if replica.is_dismissed:
                self._event.set()

    def _seated(self, until_s: float) -> Replica:
        with self._changed:
            while (replica := self._free()) is None:
                left_s = until_s - self._clock()
                if self._is_ending or left_s <= 0:
                    raise Refusal(
                        "unavailable",
                        "No worker process was free in time.",
                        next_step="Try again; the server starts others.",
                        headers={"retry-after": "1"},
                    )
                self._changed.wait(left_s)
            replica.n_seated += 1
            return replica

    def _free(self) -> Replica | None:
        free = [one for one in self._ready() if one.n_seated < self._n_each]
        return min(free, key=lambda one: one.n_seated, default=None)

    def count(self, *, retried: int = 0, given_up: int = 0) -> None:
        """Count requests that lost a process."""
        with self._changed:
            self._counts.retried += retried
            self._counts.given_up += given_up

    # --- for the server ---------------------------------------------------------------------------------

    def employ(self, post: Post) -> None:
        """Work for a place."""
        with self._changed:
            self._posts.append(post)
            post.room(self._room())

    def dismiss(self, post: Post | None) -> bool:
        """Work for a place no longer; tell whether there is another one."""
        with self._changed:
            if post is not None and post in self._posts:
                self._posts.remove(post)
                self._counts.past_request_s += post.load.seconds()
            return bool(self._posts)

    def wake(self) -> None:
        """Have a process where none is wanted."""
        self._is_woken = True
        self._event.set()

    @property
    def trouble(self) -> str | None:
        """Why there is no process, where starting one has failed several times; else None."""
        with self._changed:
            lasts = self._starts.n_failed >= ENOUGH_FAILURES and not self._ready()
            return self._starts.reason if lasts else None

    @property
    def headcount(self) -> Headcount:
        """How many processes there are, and what became of others."""
        with self._changed:
            states = {state: self._n(state) for state in ("starting", "ready", "leaving")}
            counts = self._counts
            return Headcount(states, self.wanted, dict(counts.ended), counts.retried, counts.given_up)

    @property
    def gathered(self) -> Gathered | None:
        """Batches that all processes have made, by what they said last; None where they make none."""
        with self._changed:
            return together([self._counts.past_batches, *(one.gathered for one in self._replicas)])

    @property
    def pids(self) -> tuple[int, ...]:
        """Numbers of the processes that are ready."""
        with self._changed:
            return tuple(one.pid for one in self._ready())

    @property
    def _n_each(self) -> int:
        return self.policy.max_concurrency or 1

    @property
    def _name(self) -> str:
        return self.description.name if self.description is not None else "The model"

    def _n(self, *states: str) -> int:
        return sum(one.state in states for one in self._replicas)

    def _ready(self) -> list[Replica]:
        """Return who may be asked: proven, and of the one model that all are of."""
        return [one for one in self._replicas if one.state == "ready" and one.is_known]

    def _room(self) -> int:
        return self._n_each * len(self._ready())

    def _deadline_s(self) -> float:
        with self._changed:
            return max((post.deadline_s for post in self._posts), default=0.0)

    # --- its own thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_ending:
            try:
                self._look()
            except Exception:  # whatever it is, the next look may do better than a thread that is gone
                LOG.exception("the worker processes of %s could not be looked after", self._name)
            self._event.wait(self._vigilance.beat_s)
            self._event.clear()
        self._dismantle()

    def _look(self) -> None:
        now_s = self._clock()
        self._pardon(now_s)
        self._describe(now_s)
        self._watch(now_s)
        self._bury(now_s)
        self._decide(now_s)
        self._hire(now_s)
        self._let_go(now_s)
        self._tell()

    def _pardon(self, now_s: float) -> None:
        """Take no silence amiss from while this thread itself did not run: the machine was stopped, or is too busy."""
        if now_s - self._looked_s > self._vigilance.silent_s / 2:
            for one in self._replicas:
                one.heard_s = now_s
        self._looked_s = now_s

    def _watch(self, now_s: float) -> None:
        """Take the place of whoever hangs."""
        deadline_s = self._deadline_s()
        for one in self._replicas:
            if (wrong := self._vigilance.wrong(one, now_s, deadline_s)) is not None:
                one.drop(*wrong)

    def _bury(self, now_s: float) -> None:
        for one in [one for one in self._replicas if one.has_ended]:
            if not one.bury():
                continue
            with self._changed:
                self._replicas.remove(one)
                self._counts.past_batches = together([self._counts.past_batches, one.gathered])
                if not one.is_dismissed:
                    self._mourn(one, now_s)
                self._changed.notify_all()

    def _mourn(self, one: Replica, now_s: float) -> None:
        """Count an end that nobody asked for; what the first process says is told to whoever waits for it."""
        if self.description is not None or one.failure is None:
            why = f"{one.reason}\n{one.details}".rstrip()
            LOG.warning("a worker process (%d) of %s is replaced: %s", one.pid, self._name, why)
        self._counts.ended[one.why] += 1
        if not one.is_known:
            self._note_failure(now_s, one.reason, one.failure)

    def _note_failure(self, now_s: float, reason: str, told: Exception | None) -> None:
        starts = self._starts
        starts.n_failed += 1
        starts.reason, starts.told = reason, starts.told or told
        starts.not_before_s = now_s + self._vigilance.pause_s(starts.n_failed)

    def _describe(self, now_s: float) -> None:
        """Take what processes say of the model, and refuse one that says something else than the first."""
        for one in self._replicas:
            if one.description is None or (one.state in ("leaving", "gone") and self.description is not None):
                continue
            self._first = self._first or one.opened_as
            if one.opened_as != self._first:
                one.failure = _another(self._name)
                one.drop("start", one.failure.problem)
                self._event.set()
                continue
            with self._changed:
                if self.description is None or (one.was_ready and not one.is_known):
                    self._fit(one.description)
                if self.description is None or one.was_ready:
                    self.description = one.description
                if one.was_ready and not one.is_known:
                    if not self._ready():
                        self._past = (self._past or Past(now_s)).woken(now_s)
                    one.is_known, self._starts = True, _Starts()

    def _fit(self, said: Description) -> None:
        """Give processes as many requests as they take; each measures that for itself, and the most holds for all."""
        self._roomiest = max(self._roomiest, (said.n_seats, said.n_at_once))
        n_seats, n_at_once = self._roomiest
        self.policy = self._given.completed(n_at_once, n_seats)

    def _decide(self, now_s: float) -> None:
        """Say how many processes there are to be; the last one is not ended before it was ready."""
        with self._changed:
            if self._past is None:
                return
            if self.wanted == 0 and (self._is_woken or any(post.load.n_now for post in self._posts)):
                self.wanted, self._past = 1, self._past.woken(now_s)
            self._is_woken = False
            if now_s < self._next_tick_s:
                return
            self._next_tick_s = now_s + tick_s(self.policy)
            request_s = self._counts.past_request_s + sum(post.load.seconds() for post in self._posts)
            now, before = Moment(now_s, request_s, self.wanted), self.wanted
            n, self._past = decided(self.policy, self._past, now=now)
            self.wanted = n if self._ready() else max(n, min(before, 1))
        if before != self.wanted:
            LOG.info("%s: %d worker processes in place of %d", self._name, self.wanted, before)

    def _hire(self, now_s: float) -> None:
        """Start what is missing: one at a time while nothing is known of the model, or starts fail."""
        n_missing = self.wanted - self._n("starting", "ready")
        if n_missing <= 0 or now_s < self._starts.not_before_s:
            return
        if self.description is None or self._starts.n_failed:
            n_missing = 0 if self._n("starting") else 1
        recipe, order = self._recipe, self._order()
        for _ in range(n_missing):
            try:
                hired = Replica(order, recipe.environment(), on_event=self._event.set, clock=self._clock)
            except OSError as error:  # no memory, or no more processes
                with self._changed:
                    self._note_failure(now_s, f"no process can be started: {error}", None)
                return
            with self._changed:
                self._replicas.append(hired)

    def _order(self) -> Order:
        recipe = self._recipe
        return Order(
            recipe.factory,
            recipe.arguments,
            tuple(sys.path),
            self._given.max_concurrency,
            self._vigilance.beat_s,
            max_batch=recipe.limits.max_batch,
            deadline_s=recipe.limits.deadline_s,
        )

    def _let_go(self, now_s: float) -> None:
        """Tell to leave whoever is too many, those first that have not even started, and see off who is done."""
        with self._changed:
            staying = [one for one in self._replicas if one.state in ("starting", "ready")]
            staying.sort(key=lambda one: (one.state == "ready", one.n_seated))
            for one in staying[: max(0, len(staying) - self.wanted)]:
                one.leave()
            done = [one for one in self._replicas if one.state == "leaving" and not one.n_seated]
        for one in done:
            one.hang_up(now_s)

    def _tell(self) -> None:
        """Tell everybody who waits what there is room for."""
        with self._changed:
            if (room := self._room()) != self._room_told:
                self._room_told = room
                for post in self._posts:
                    post.room(room)
            self._changed.notify_all()

    def _dismantle(self) -> None:
        now_s = self._clock()
        for one in self._replicas:
            one.hang_up(now_s)
        with self._changed:
            self._changed.notify_all()
        while self._clock() < now_s + self._vigilance.leave_s and not all(
            one.has_ended for one in self._replicas
        ):
            time.sleep(0.01)
        for one in self._replicas:
            one.bury()
        with self._changed:
            self._replicas.clear()
            self._changed.notify_all()


def _another(name: str) -> BundleError:
    return BundleError(
        f"{name} is another model than the one that this server began with: its file has changed.",
        next_step="Apply the settings again, and the server goes over to it as a whole.",
    )
