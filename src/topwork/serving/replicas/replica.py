"""One worker process as the server sees it: it is started, heard, asked, and ended.

It knows no other process and decides nothing: `manned` does. What a process sends is believed as far as it is made as
`frames` has it; whatever else it sends, and its silence, cost it its place.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

from topwork.contracts import Answer, Clock
from topwork.errors import TopworkError
from topwork.serving.batching.errands import Late, waiting
from topwork.serving.batching.gathering import Gathered
from topwork.serving.replicas.frames import (
    LENGTH,
    Channel,
    Description,
    Frame,
    Garbled,
    Gone,
    Kind,
    Order,
    Pulse,
    decode_answer,
    decode_error,
    encode_ask,
)
from topwork.serving.replicas.process import AHEAD
from topwork.serving.replicas.reports import Line, noted
from topwork.serving.watching.tracing import CURRENT, Trace

__all__ = ["Lost", "Replica", "State", "Why"]

T = TypeVar("T")
State = Literal["starting", "ready", "leaving", "gone"]
Why = Literal["died", "silent", "overdue", "garbled", "start"]
"""Why a process ended unasked: by itself, or ended by the server because it said nothing, worked for too long on a
request, sent what no process sends, or did not start."""

NONSENSE: Final = "it sent what no worker process sends"
ENDED: Final = "its process ended"

ENDING_S: Final = 5.0
"""How long the system may take to end a process that was killed."""


class Lost(Exception):  # noqa: N818 - an event, which may cost a request nothing
    """The process ended before its answer was complete; ``was_asked`` tells whether it had the request at all."""

    def __init__(self, reason: str, *, was_asked: bool = True) -> None:
        super().__init__(reason)
        self.was_asked = was_asked


@dataclass(slots=True)
class _Call:
    """A request at a process: its names, when that may have begun to work on it, and what came of it until it was over.

    Whoever hears of it while it is wanted takes it for begun anew.
    """

    since_s: float
    is_asked: bool = False
    is_given_up: bool = False
    trace: Trace | None = field(default_factory=CURRENT.get)
    came: queue.SimpleQueue[Frame | Exception] = field(default_factory=queue.SimpleQueue)


class Replica:
    """A process with a model.

    Parameters
    ----------
    order
        What it is to open.
    environment
        Its variables.
    on_event
        Called whenever its state has changed, from any thread; returns at once.
    clock
        Seconds.

    Attributes
    ----------
    state
        ``starting`` until its model is proven; ``leaving`` when it gets no further requests.
    description, opened_as
        What its model says of itself, now and before its proof; None before it is opened.
    failure
        Why it did not start, as it told.
    why, reason, details
        What cost it its place: as a word, in words that a client may read, and what else is for the log.
    heard_s, began_s
        When it was heard last, and when it was started.
    n_seated
        Requests that are given to it.
    gathered
        Batches that it makes of several requests, by what it said last.
    is_dismissed, left_s
        Whether it was told to leave, and when that it may end.
    was_ready, is_known
        Whether its model was ever proven, and whether whoever keeps it has taken note of that.
    """

    def __init__(
        self, order: Order, environment: Mapping[str, str], *, on_event: Callable[[], None], clock: Clock
    ) -> None:
        self._on_event, self._clock = on_event, clock
        self.began_s = self.heard_s = clock()
        self.state: State = "starting"
        self.description: Description | None = None
        self.opened_as: Description | None = None
        self.failure: Exception | None = None
        self.why: Why = "died"
        self.reason = self.details = ""
        self.n_seated = 0
        self.gathered: Gathered | None = None
        self.is_dismissed = self.was_ready = self.is_known = False
        self.left_s: float | None = None
        self._calls: dict[int, _Call] = {}
        self._number = 0
        self._lock = threading.Lock()
        self._process, self._channel = _started(environment)
        self._reader = threading.Thread(target=self._read, name=f"topwork-replica-{self.pid}", daemon=True)
        with suppress(Gone):  # the reader finds its end
            self._channel.send(Kind.OPEN, 0, order.encode())
        self._reader.start()

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    def oldest_s(self) -> float | None:
        """Return since when it may have worked on the request that it has worked on for longest; None without any.

        One that stands in line in the process is not worked on.
        """
        with self._lock:
            return min((call.since_s for call in self._calls.values()), default=None)

    # --- what is asked of it ----------------------------------------------------------------------------

    def ask(self, inputs: Sequence[bytes], *, explains: bool) -> Iterator[Answer]:
        """Yield the answers to some inputs, or their explanations.

        Who leaves early waits until the process has found out, and is free again.

        Raises
        ------
        Lost
            The process ended before.
        Late
            Nobody waits for the answers any more; see `errands`.
        """
        with self._call() as (number, call), waiting(lambda: call.came.put(Late())):
            try:
                self._channel.send(Kind.ASK, number, encode_ask(inputs, explains=explains))
                call.is_asked = True
            except Gone:
                raise Lost(self.reason, was_asked=False) from None
            for taken, frame in enumerate(self._frames(call), start=1):
                yield self._decoded(decode_answer, frame)
                if taken % (AHEAD // 2) == 0:
                    with suppress(Gone):
                        self._channel.send(Kind.MORE, number, [LENGTH.pack(AHEAD // 2)])

    @contextmanager
    def _call(self) -> Iterator[tuple[int, _Call]]:
        """Open a request; at its end, whatever it is, the process no longer works on it."""
        call = _Call(self._clock())
        with self._lock:
            if self.state == "gone":
                raise Lost(self.reason, was_asked=False)
            self._number += 1
            number = self._number
            self._calls[number] = call
        try:
            yield number, call
        finally:
            self._finish(number, call)

    def _finish(self, number: int, call: _Call) -> None:
        with self._lock:
            is_open = number in self._calls
        if is_open and call.is_asked:
            # Whatever comes now, its error too, nobody waits for; what counts is that it is over.
            call.is_given_up = True
            with suppress(Exception):
                self._channel.send(Kind.CANCEL, number)
                for _ in self._frames(call):
                    pass
        with self._lock:
            self._calls.pop(number, None)

    def _frames(self, call: _Call) -> Iterator[Frame]:
        """Yield the answers that come, until all have come."""
        while True:
            came = call.came.get()
            if isinstance(came, Exception):
                raise came
            if came.kind is Kind.DONE:
                return
            if came.kind is Kind.FAULT:
                raise self._decoded(decode_error, came)
            yield came

    def _decoded(self, decode: Callable[[bytes], T], frame: Frame) -> T:
        try:
            return decode(frame.content)
        except Garbled as error:
            self.drop("garbled", NONSENSE, str(error))
            raise Lost(self.reason) from None

    # --- what it says -----------------------------------------------------------------------------------

    def _read(self) -> None:
        wrong: tuple[Why, str, str] = ("died", "", "")
        try:
            while (frame := self._channel.receive()) is not None:
                self.heard_s = self._clock()
                self._hear(frame)
        except Garbled as error:
            wrong = ("garbled", NONSENSE, str(error))
        self.drop(*wrong)

    def _hear(self, frame: Frame) -> None:
        if frame.kind is Kind.BEAT:
            self._feel(Pulse.decode(frame.content))
            return
        if frame.kind is Kind.LOG:
            self._note(frame)
            return
        if frame.kind in (Kind.ANSWER, Kind.DONE, Kind.FAULT):
            self._pass_on(frame)
        elif self.state == "starting" and frame.kind in (Kind.DESCRIBED, Kind.READY):
            self.description = Description.decode(frame.content)
            self.opened_as = self.opened_as or self.description
            if frame.kind is Kind.READY:
                self.was_ready = True
                self._become("ready")
            self._on_event()
        elif self.state == "starting" and frame.kind is Kind.FAILED:
            self.failure = decode_error(frame.content)
            self.drop("start", _said(self.failure), str(self.failure))
        elif self.state != "leaving":
            raise Garbled(f"{frame.kind.name} was not to be expected")

    def _feel(self, pulse: Pulse) -> None:
        """Note what a process says of itself: no work has been done yet for those who stand in line."""
        self.gathered = pulse.gathered
        with self._lock:
            for number in pulse.in_line:
                if (call := self._calls.get(number)) is not None:
                    call.since_s = self.heard_s

    def _note(self, frame: Frame) -> None:
        """Write down what it logs, as a line of the request that it belongs to, where that is still open."""
        with self._lock:
            call = self._calls.get(frame.number)
        try:
            noted(Line.decode(frame.content), None if call is None else call.trace, self.pid)
        except ValueError as error:
            raise Garbled(str(error)) from error

    def _pass_on(self, frame: Frame) -> None:
        with self._lock:
            call = self._calls.get(frame.number)
            if call is not None and frame.kind is not Kind.ANSWER:
                del self._calls[frame.number]
            elif call is not None and not call.is_given_up:
                call.since_s = self.heard_s
        if call is None:
            raise Garbled(f"it answers request {frame.number}, which it was not asked")
        call.came.put(frame)

    def _become(self, state: State) -> None:
        with self._lock:
            if self.state != "gone":
                self.state = state

    # --- its end ----------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Give it nothing more to do."""
        self.is_dismissed = True
        self._become("leaving")

    def hang_up(self, now_s: float) -> None:
        """Let it end by itself, which it does at once."""
        self.leave()
        if self.left_s is None:
            self.left_s = now_s
            self._channel.finish()

    def drop(self, why: Why, reason: str, details: str = "") -> None:
        """Take its place away: whoever waits for it is told, once; `bury` ends the process."""
        with self._lock:
            if self.state == "gone":
                return
            self.why = "start" if self.state == "starting" and why == "died" else why
            self.reason, self.details = reason or ENDED, details
            self.state = "gone"
            calls = list(self._calls.values())
            self._calls.clear()
        self._channel.hang_up()
        for call in calls:
            call.came.put(Lost(self.reason))
        self._on_event()

    @property
    def has_ended(self) -> bool:
        """Whether there is no process any more, or none that anybody listens to."""
        if self.state == "gone":
            return True
        try:
            # Without taking note of its end: until then its number, and so that of its group, is nobody else's.
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def bury(self) -> bool:
        """End the process and whatever it started, unless it has ended; tell whether it is gone."""
        if self._process.returncode is None:
            with suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
        try:
            status = self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:  # the system holds it, say for a disk
            return False
        self.drop("died", "")
        if self.reason == ENDED:
            self.reason = _ending(status)
        self._reader.join(ENDING_S)
        self._channel.close()
        return True


def _started(environment: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], Channel]:
    """Start a process that finds its end of a socket as its first argument, and its parent as the second."""
    ours, theirs = socket.socketpair()
    words = (sys.executable, "-P", "-m", "topwork.serving.replicas.process")
    try:
        with theirs:
            process = subprocess.Popen(
                [*words, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=dict(environment),
                # Ctrl-C in a terminal is for the server, which drains first.
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        raise
    return process, Channel(ours)


def _said(failure: Exception) -> str:
    """Return what a client may know of why a process did not start."""
    return (
        failure.problem
        if isinstance(failure, TopworkError)
        else "it failed at its start, see the server's log"
    )


def _ending(status: int) -> str:
    if status >= 0:
        return f"its process ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = str(-status)
    return f"its process was ended by the signal {name}"
