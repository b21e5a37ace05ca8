"""One servable with what it needs to be hosted: proof, gate and threads. It knows no path."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from topwork.contracts import Batchable
from topwork.errors import TopworkError
from topwork.serving.batching.crew import Crew
from topwork.serving.batching.gate import Gate
from topwork.serving.batching.gathering import gathered_of
from topwork.serving.batching.sizing import batch_limit, measured
from topwork.serving.batching.work import Workers, in_thread
from topwork.serving.http.refusals import Refusal
from topwork.serving.replicas.staffing import Post, Staffed
from topwork.serving.watching.drift import watch_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from topwork.contracts import Servable
    from topwork.serving.batching.patience import Patience
    from topwork.serving.batching.share import Share, Spent
    from topwork.serving.http.bodies import Input
    from topwork.serving.http.messages import Request, Times
    from topwork.serving.limits import Limits

__all__ = ["Hosted", "Models", "State"]

State = Literal["starting", "ready", "failed"]
LOG = logging.getLogger("topwork.serving")


class Hosted:
    """A servable behind a gate. It answers nothing before its proof has passed.

    Parameters
    ----------
    n_at_once
        Inputs, or batches of them, that the servable can well work on at once; how many do where the limits do not say.
    made_of
        Files and folders besides those of its settings that it was made of.

    Attributes
    ----------
    gate, workers
        Who is let in, and the threads that work for one request each.
    crew
        The threads that work for several together; None where the servable takes no batches.
    staff
        The servable once more where it has worker processes; else None.
    watch
        Sees every answer.
    version
        What a response says of who answered; empty where there is nothing to say.
    """

    def __init__(
        self, servable: Servable, limits: Limits, n_at_once: int = 2, *, made_of: Sequence[Path] = ()
    ) -> None:
        self.servable = servable
        self.limits = limits
        self.made_of = tuple(made_of)
        self.version = ""
        self._was_proven = False
        self._n_at_once = n_at_once
        n_threads = limits.max_concurrent or n_at_once
        self.staff = servable if isinstance(servable, Staffed) else None
        n_line = self.staff.n_line if self.staff is not None else None
        self.gate = Gate(n_threads, limits.max_waiting if n_line is None else n_line)
        self.workers = Workers(n_threads, f"topwork-{servable.name}")
        self.crew = self._crew(servable) if isinstance(servable, Batchable) else None
        self.watch = watch_of(servable, limits.drift_window)
        self._proof: asyncio.Task[None] | None = None
        self._times: Mapping[int, float] | None = None
        self._post: Post | None = None

    def _crew(self, servable: Batchable) -> Crew:
        n_slots = min(self._n_at_once, self.limits.max_concurrent or self._n_at_once)
        n_preparing = max(n_slots, self.limits.max_concurrent or 0)
        return Crew(servable, n_slots, n_preparing, name=f"topwork-{self.servable.name}-crew")

    def under(self, limits: Limits) -> Hosted:
        """Return the same servable within other limits, with the proof that it has; it is yet to be started."""
        other = Hosted(self.servable, limits, self._n_at_once, made_of=self.made_of)
        other._times, other._was_proven, other.version = self._times, self._was_proven, self.version
        if self._times is not None or not other._is_measured:
            other._proof = self._proof
        if limits.drift_window == self.limits.drift_window:
            other.watch = self.watch
        return other

    @property
    def n_at_once(self) -> int:
        """Inputs that the servable can well work on at once."""
        return self._n_at_once

    def leaves(self) -> tuple[tuple[str, Hosted], ...]:
        """Return each single servable that this stands for, with a name of its own: itself."""
        return ((self.servable.name, self),)

    def chosen(self, request: Request) -> Hosted:
        """Return who answers a request: it does."""
        request.visit.version = self.version
        return self

    def is_quiet(self) -> bool:
        """Tell whether no request is in line or at work."""
        return self.n_waiting == 0 and self.n_working == 0

    def prove(self) -> None:
        """Prove the servable in this thread, so that `start` need not.

        Raises
        ------
        ProofError
            It does not pass.
        """
        self.servable.prove()
        self._was_proven = True

    def _replay(self) -> None:
        if not self._was_proven:
            self.servable.prove()

    def start(self) -> None:
        """Start the threads, and the proof in the background where there is none yet."""
        self.workers.start()
        if self.crew is not None:
            self.crew.start()
        self._employ()
        if self._proof is not None:
            self._size()
            return
        self._proof = asyncio.create_task(self._prove())
        self._proof.add_done_callback(self._log_failure)

    async def _prove(self) -> None:
        """Have the servable prove itself, find out how large its batches may be, and let its threads rehearse."""
        await in_thread(self._replay, f"topwork-proof-{self.servable.name}")
        if isinstance(self.servable, Batchable) and self._is_measured:
            measure = partial(measured, self.servable, self.limits.deadline_s, self._n_at_once)
            self._times = await in_thread(measure, f"topwork-times-{self.servable.name}")
        self._size()
        if self.crew is not None:
            await in_thread(self.crew.rehearse, f"topwork-rehearsal-{self.servable.name}")

    @property
    def _is_measured(self) -> bool:
        return self.crew is not None and self.limits.max_batch is None

    def _size(self) -> None:
        """Let batches be as large as they may, and in as many requests as are worked on and made ready meanwhile."""
        if self.crew is None:
            if self.staff is None and (gathered := gathered_of(self.servable)) is not None:
                self._make_room(gathered.n_seats)
            return
        largest = self.limits.max_batch or batch_limit(self._times or {}, self.limits.deadline_s)
        self.crew.take_up_to(largest)
        if self.limits.max_concurrent is None:
            self.gate.widen(2 * self.crew.n_slots * largest)

    def _make_room(self, n_requests: int) -> None:
        """Have as many requests worked on at once, each in a thread, unless the limits say how many."""
        if self.limits.max_concurrent is None:
            self.workers.grow(n_requests)
            self.gate.widen(n_requests)

    def share(
        self,
        read: Callable[[], Sequence[Input]],
        times: Times,
        *,
        eager: bool,
        patience: Patience,
        waited_s: float,
    ) -> Share:
        """Put a request in line behind the gate, where it has a place after ``waited_s``; see `Crew.begin`.

        At its end ``times`` say how long it waited and was worked on.
        """
        assert self.crew is not None
        return self.crew.begin(
            read, eager=eager, patience=patience, on_done=partial(self._leave, waited_s, times)
        )

    def withdraw(self, share: Share) -> None:
        """Note that nobody waits for a request any more; see `Crew.withdraw`."""
        assert self.crew is not None
        self.crew.withdraw(share)

    def _leave(self, waited_s: float, times: Times, spent: Spent) -> None:
        times.wait_s = waited_s + spent.waited_s
        if spent.is_through:
            times.work_s = spent.total_s - spent.waited_s
            times.entered_s = time.perf_counter() - times.work_s
            self.gate.waited.add(waited_s + spent.waited_s)
        self.gate.leave(spent.total_s, waited_s=spent.waited_s)

    @property
    def n_waiting(self) -> int:
        """How many requests stand in line, before the gate or behind it."""
        return self.gate.n_waiting + (self.crew.n_waiting if self.crew is not None else 0)

    @property
    def n_working(self) -> int:
        """How many requests are worked on."""
        return max(0, self.gate.n_inside + self.gate.n_waiting - self.n_waiting)

    async def proven(self) -> None:
        """Wait for the proof, and raise what it raised."""
        assert self._proof is not None, "start() comes first"
        await asyncio.shield(self._proof)

    def stop(self) -> None:
        """Let the threads end; what hangs is left behind."""
        if self._proof is not None:
            self._proof.cancel()
        ended = [self.workers.stop(timeout_s=1.0), self.crew is None or self.crew.stop(timeout_s=1.0)]
        if not all(ended):
            LOG.warning("%s was still computing when it was stopped", self.servable.name)
        if self.staff is not None:
            self.staff.dismiss(self._post)

    def _employ(self) -> None:
        """Let processes of the model work for this place, should it have any, as many requests at once as they can."""
        if self.staff is None:
            return
        # Whoever keeps the processes must not hold this object, and with it the model: they end when nobody holds that.
        loop, gate, workers = asyncio.get_running_loop(), self.gate, self.workers
        may_grow = self.limits.max_concurrent is None

        def fit(n: int) -> None:
            if may_grow:
                workers.grow(n)
            gate.resize(min(n, workers.n_threads))

        def tell(n: int) -> None:
            with suppress(RuntimeError):  # the loop is closed: the server is gone
                loop.call_soon_threadsafe(fit, n)

        self._post = Post(gate.load, self.limits.deadline_s, tell)
        gate.on_closed = self.staff.wake
        self.staff.employ(self._post)

    @property
    def state(self) -> State:
        """Whether it may answer."""
        if self._proof is None or not self._proof.done():
            return "starting"
        return "ready" if self.failure() is None and self.trouble is None else "failed"

    def failure(self) -> BaseException | None:
        """Return why the proof failed, if it did."""
        if self._proof is None or not self._proof.done():
            return None
        if self._proof.cancelled():
            return TopworkError("the server is ending")
        return self._proof.exception()

    @property
    def trouble(self) -> str | None:
        """Why a model that has passed its proof cannot answer all the same; None where it can."""
        return None if self.staff is None else self.staff.trouble

    def require_ready(self) -> None:
        """Refuse until the proof has passed.

        Raises
        ------
        Refusal
            503, with the reason.
        """
        if self.state == "starting":
            raise Refusal(
                "not_ready",
                f"{self.servable.name} is still replaying its golden examples and warming up.",
                next_step="Try again in a moment; GET /readyz tells when.",
                headers={"retry-after": "1"},
            )
        if (failure := self.failure()) is not None:
            raise Refusal(
                "not_ready",
                f"{self.servable.name} did not pass its proof: {_reason(failure)}",
                next_step="The operator of this server has to look at its bundle.",
            )
        if (trouble := self.trouble) is not None:
            raise Refusal(
                "not_ready",
                f"{self.servable.name} has no worker process, and none can be started: {trouble}",
                next_step="The server goes on trying; its operator has to look at the log.",
            )

    def _log_failure(self, proof: asyncio.Task[None]) -> None:
        if not proof.cancelled() and (failure := proof.exception()) is not None:
            LOG.error(
                "%s did not pass its proof: %s", self.servable.name, failure, exc_info=_unexpected(failure)
            )


class Models(Protocol):
    """What a protocol sees of an application: the models that it hosts at this moment."""

    def named(self, name: str | None) -> Hosted:
        """Return the model called so; the first one without a name.

        Raises
        ------
        Refusal
            404: there is none.
        """
        ...

    def every(self) -> Sequence[Hosted]:
        """Return all of them, at least one."""
        ...


def _reason(failure: BaseException) -> str:
    """Return what a client may know; the text of an unexpected error stays in the log."""
    return (
        failure.problem if isinstance(failure, TopworkError) else "an unexpected error, see the server's log."
    )


def _unexpected(failure: BaseException) -> BaseException | None:
    return None if isinstance(failure, TopworkError) else failure
