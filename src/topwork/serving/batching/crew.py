"""Threads that work on what several requests ask: inputs are prepared one by one and computed in batches.

Whenever the engine has room, a batch is made at once of what is in line; nothing ever waits for a batch to become full.
While the engine is busy, other threads read bodies and prepare inputs, which is how batches grow under load. A thread
goes on with what it has prepared, so that a request alone is handed from the loop to one thread and back.

It knows nothing of HTTP and nothing of what is computed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from topwork.contracts import Answer
from topwork.errors import DecodeError
from topwork.serving.batching.line import Line
from topwork.serving.batching.patience import Patience
from topwork.serving.batching.rounds import Round
from topwork.serving.batching.share import Item, Share
from topwork.serving.http.bodies import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from topwork.contracts import Batchable, Clock
    from topwork.serving.batching.share import Spent
    from topwork.serving.batching.work import Batch
    from topwork.serving.http.bodies import Input

    Outcome = Answer | Exception
    Call = Callable[[Callable[[], None]], object]

__all__ = ["Crew"]


class Crew:
    """Works on requests; use `begin` and `withdraw` where answers are taken: on one event loop, or in any thread.

    Parameters
    ----------
    n_slots
        Batches that are computed at once.
    n_preparing
        Threads besides those: inputs that are prepared at once while the engine is busy.
    clock
        Seconds.

    Attributes
    ----------
    n_slots
        As given.
    largest
        Most inputs of a batch.
    """

    def __init__(
        self,
        servable: Batchable,
        n_slots: int,
        n_preparing: int = 1,
        *,
        name: str = "topwork-crew",
        clock: Clock = time.monotonic,
    ) -> None:
        self._servable, self._clock = servable, clock
        self.n_slots, self.largest = n_slots, 1
        self._sizes: Counter[int] = Counter()
        self._n_free, self._n_preparing = n_slots, 0
        self._changed = threading.Condition(threading.Lock())
        # All below is touched under that lock, the outbox excepted.
        self._shares: set[Share] = set()
        self._turns: deque[Share] = deque()
        self._line = Line()
        self._stopped = False
        self._outbox: deque[tuple[Share, Batch]] = deque()
        self._is_told = False
        self._call: Call | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(n_slots + n_preparing)
        ]

    # --- the event loop's side --------------------------------------------------------------------------

    def start(self, call: Call | None = None) -> None:
        """Start the threads.

        Parameters
        ----------
        call
            Calls what it is given where answers are taken, one call at a time; by default on the event loop that runs
            here.
        """
        self._call = call or asyncio.get_running_loop().call_soon_threadsafe
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Let the threads end once nothing is in line; return whether all ended within ``timeout_s``."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def take_up_to(self, largest: int) -> None:
        """Let batches have as many inputs from now on."""
        with self._changed:
            self.largest = largest
            self._changed.notify_all()

    def rehearse(self, patience_s: float = 1.0) -> None:
        """Have the threads answer a sample each, and wait for it: what is new to a thread takes longer.

        Nobody may wait for an answer meanwhile. A thread that cannot does not matter: its first request will tell.
        """
        n = min(len(self._threads), self.n_slots * (self.largest + 1))
        together, ended = threading.Barrier(n), threading.Semaphore(0)

        def read() -> Sequence[Input]:
            try:
                together.wait(patience_s)  # so that no thread takes two
                self._servable.rehearse()
            finally:
                ended.release()
            return ()

        for _ in range(n):
            self.begin(read, eager=False, patience=Patience(patience_s), on_done=lambda _: None)
        all(ended.acquire(timeout=patience_s) for _ in range(n))

    def begin(
        self,
        read: Callable[[], Sequence[Input]],
        *,
        eager: bool,
        patience: Patience,
        on_done: Callable[[Spent], None],
        kind: type[Share] = Share,
    ) -> Share:
        """Put a request in line; see `Share`."""
        share = kind(read, eager=eager, patience=patience, on_done=on_done, clock=self._clock)
        with self._changed:
            self._shares.add(share)
            self._turns.append(share)
            self._changed.notify()
        return share

    def withdraw(self, share: Share) -> None:
        """Nobody waits for a request any more: what of it is not being worked on never will be."""
        with self._changed:
            if share in self._shares:
                self._drop(share)
        self._tell()

    @property
    def n_waiting(self) -> int:
        """How many requests have no input in a batch yet."""
        with self._changed:
            return sum(not share.is_begun for share in self._shares)

    @property
    def n_ready(self) -> int:
        """How many inputs are prepared and in line."""
        with self._changed:
            return len(self._line)

    @property
    def sizes(self) -> Counter[int]:
        """Number of inputs to how many batches had as many."""
        with self._changed:
            return self._sizes.copy()

    def _tell(self) -> None:
        """Have what is in the outbox fetched; that is told once, however much comes meanwhile."""
        if not self._outbox or self._is_told or self._call is None:
            return
        self._is_told = True
        with suppress(RuntimeError):  # the loop is closed: the server is gone, and so are the clients
            self._call(self._deliver)

    def _deliver(self) -> None:
        self._is_told = False  # first, so that what is put there from now on is told anew
        while self._outbox:
            share, batch = self._outbox.popleft()
            share.put(batch)

    # --- the threads' side ------------------------------------------------------------------------------

    def _work(self) -> None:
        while (task := self._next()) is not None:
            task()
            self._tell()

    def _next(self) -> Callable[[], None] | None:
        """Wait for something to do; None where nothing ever will be."""
        with self._changed:
            while (task := self._task()) is None and not self._stopped:
                self._changed.wait()
            if self._has_more():
                self._changed.notify()
            return task

    def _has_more(self) -> bool:
        return bool(self._n_free and self._line) or bool(self._turns and self._has_room)

    @property
    def _has_room(self) -> bool:
        """Whether another input may be prepared: as many are kept ready as the next batches take."""
        return len(self._line) + self._n_preparing < self.n_slots * self.largest + self.n_slots

    def _task(self) -> Callable[[], None] | None:
        if self._n_free and (items := self._formed()):
            self._n_free -= 1
            return partial(self._compute, items)
        if self._has_room and (share := self._turn()) is not None:
            self._n_preparing += 1
            if not share.is_opened:
                share.open()
                return partial(self._read, share)
            item = share.items.popleft()
            if share.items:
                self._turns.append(share)
            return partial(self._prepare, item)
        return None

    def _turn(self) -> Share | None:
        """Take the next request that has something to be read or prepared and is waited for."""
        now = self._clock()
        while self._turns:
            share = self._turns.popleft()
            if share.is_wanted(now):
                return share
            self._drop(share)
        return None

    def _drop(self, share: Share) -> None:
        """Give up what of a request is not being worked on."""
        share.is_gone = True
        n_items = len(share.items) + self._line.leave(share) + (not share.is_opened)
        share.items.clear()
        with suppress(ValueError):
            self._turns.remove(share)
        if n_items:
            self._post(share, share.drop(n_items))
        self._changed.notify()

    def _post(self, share: Share, batch: Batch | None) -> None:
        if batch is not None:
            self._outbox.append((share, batch))
            if batch.finished:
                self._shares.discard(share)

    # --- reading and preparing --------------------------------------------------------------------------

    def _read(self, share: Share) -> None:
        """Take the inputs out of a body, and go on with the first; who has time takes the others."""
        try:
            inputs = share.read()
        except Exception as error:
            with self._changed:
                self._n_preparing -= 1
                self._post(share, share.end(error))
            return
        first = self._opened(share, inputs)
        if first is not None:
            self._prepare(first)

    def _opened(self, share: Share, inputs: Sequence[Input]) -> Item | None:
        items = [Item(share, i, one) for i, one in enumerate(inputs) if not isinstance(one, Unreadable)]
        with self._changed:
            self._post(share, share.expect(len(inputs)))
            for index, one in enumerate(inputs):
                if isinstance(one, Unreadable):
                    self._post(share, share.receive(Answer(index, None, one.problem)))
            if share.is_gone and items:
                self._post(share, share.drop(len(items)))
                items = []
            if not items:
                self._n_preparing -= 1
                return None
            share.items.extend(items[1:])
            if share.items:
                self._turns.append(share)
                self._changed.notify()
            return items[0]

    def _prepare(self, item: Item) -> None:
        failure: Outcome | None = None
        try:
            item.prepared = item.share.within(self._servable.prepare, item.encoded)
            item.key = self._servable.key(item.prepared)
        except DecodeError as error:
            failure = Answer(item.index, None, str(error))
        except Exception as error:
            failure = error
        item.encoded = b""
        with self._changed:
            self._n_preparing -= 1
            if failure is not None:
                self._settle(item, failure)
            elif item.share.is_gone:
                self._post(item.share, item.share.drop(1))
            else:
                item.since_s = self._clock()
                self._line.add(item)

    def _settle(self, item: Item, outcome: Outcome) -> None:
        share = item.share
        if isinstance(outcome, Answer):
            self._post(share, share.receive(outcome))
        else:
            self._post(share, share.fail(item.index, outcome))

    # --- computing --------------------------------------------------------------------------------------

    def _formed(self) -> list[Item]:
        """Take a batch out of the line, without those that nobody waits for."""
        now = self._clock()
        for share in self._line.unwanted(now):
            self._drop(share)
        if not self._line:
            return []
        return self._begun(self._line.take(self._line.first().key, self.largest), now)

    def _begun(self, items: list[Item], now_s: float) -> list[Item]:
        for item in items:
            item.share.begin(item, now_s)
        return items

    def _newcomers(self, key: Hashable, n_inside: int) -> list[Item]:
        """Take those who may join a batch; none where the turn is that of another key, which is not to be overtaken."""
        with self._changed:
            now = self._clock()
            for share in self._line.unwanted(now):
                self._drop(share)
            if not self._line or self._line.first().key != key:
                return []
            joined = self._begun(self._line.take(key, max(0, self.largest - n_inside)), now)
            if joined and self._turns:
                self._changed.notify()
            return joined

    def _compute(self, items: list[Item]) -> None:
        n_inputs, said = self._answers(items)
        with self._changed:
            self._n_free += 1
            self._sizes[n_inputs] += 1
            if self._has_more():
                self._changed.notify()
        self._hand_on(said)

    def _answers(self, items: list[Item], *, again: bool = False) -> tuple[int, list[tuple[Item, Outcome]]]:
        """Compute a batch; return how many were in it, and what is yet to be handed on.

        Who has no answer when it breaks is tried again in halves, so that the one who broke it fails alone. Nobody
        joins these, or there might be no end of them.
        """
        newcomers = partial(self._newcomers, items[0].key)
        run = Round(
            items,
            newcomers=_nobody if again else newcomers,
            hand_on=self._hand_on,
            is_wanted=self._is_wanted,
        )
        error = run.run(self._servable)
        said: list[tuple[Item, Outcome]] = list(run.ready)
        if error is None and not run.dropped:
            return run.n_inputs, said
        fresh, failed = self._left(run)
        said += [(item, error) for item in failed if error is not None]
        if fresh:
            self._hand_on(said)
            said = [one for half in _halves(fresh) for one in self._answers(half, again=True)[1]]
        return run.n_inputs, said

    def _left(self, run: Round) -> tuple[list[Item], list[Item]]:
        """Return who of a batch that broke may be tried again, and who has failed; those who are gone are dropped."""
        wanted = [item for item in run.open.values() if self._is_wanted(item)]
        lost = [*run.dropped, *(item for item in run.open.values() if item not in wanted)]
        with self._changed:
            for item in lost:
                self._post(item.share, item.share.drop(1))
        may = [item for item in wanted if run.n_inputs > 1 and not item.is_told]
        return may, [item for item in wanted if item not in may]

    def _is_wanted(self, item: Item) -> bool:
        return item.share.is_wanted(self._clock())

    def _hand_on(self, said: Iterable[tuple[Item, Outcome]]) -> None:
        """Finish answers and hand them to the loop."""
        finished = [(item, item.share.within(self._finished, outcome)) for item, outcome in said]
        with self._changed:
            for item, outcome in finished:
                item.prepared = None
                self._settle(item, outcome)
        self._tell()

    def _finished(self, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Exception):
            return outcome
        try:
            return self._servable.finish(outcome)
        except Exception as error:
            return error


def _halves(items: list[Item]) -> list[list[Item]]:
    middle = (len(items) + 1) // 2
    return [half for half in (items[:middle], items[middle:]) if half]


def _nobody(_: int) -> Sequence[Item]:
    return ()
