"""A worker process: it opens a model, proves it, and answers what it is asked over a socket, until the server is gone.

Started as ``python -P -m topwork.serving.replicas.process SOCKET PARENT`` by `replica`. It knows no HTTP and no other
process; how the answers are computed is the servable's affair, and where that takes batches, `gathering` has computed
together what is asked at once. Three kinds of threads: the first one reads, one says every second that the process is
alive (a model that computes for long does not keep it from that, one that is stuck does), and the others answer, one
question each: there come to be as many as the server asks at once.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

from topwork.contracts import Servable
from topwork.serving.batching.errands import Errand, Late
from topwork.serving.batching.gathering import gathered_of, gathering
from topwork.serving.replicas.frames import (
    LENGTH,
    Channel,
    Description,
    Frame,
    Garbled,
    Gone,
    Kind,
    Opened,
    Order,
    Pulse,
    decode_ask,
    encode_answer,
    encode_error,
)
from topwork.serving.replicas.reports import NUMBER, Line, forwarded

__all__ = ["AHEAD", "main"]

AHEAD: Final = 32
"""Answers of one request that may be under way before the server has taken any of them."""

EXPENDABLE: Final = "500"
"""What is added to a worker's score when memory runs out, so that the system ends it and not the server (0 to 1000)."""


class _Ask:
    """A question under way: whether it was given up, and room for answers."""

    def __init__(self, frame: Frame) -> None:
        self.number = frame.number
        self.inputs, self.explains = decode_ask(frame.content)
        self.errand = Errand()
        self.room = threading.Semaphore(AHEAD)

    def cancel(self) -> None:
        self.errand.leave()
        self.room.release()


class _Desk:
    """Answers what one servable is asked."""

    def __init__(self, servable: Servable, channel: Channel) -> None:
        self._servable, self._channel = servable, channel
        self._asks: queue.SimpleQueue[_Ask] = queue.SimpleQueue()
        self._open: dict[int, _Ask] = {}
        self._n_threads = 0

    @property
    def pulse(self) -> Pulse:
        """How it goes."""
        in_line = [ask.number for ask in tuple(self._open.values()) if ask.errand.is_in_line]
        return Pulse(tuple(in_line), gathered_of(self._servable))

    def take(self, frame: Frame) -> None:
        """Take what came; what belongs to a question that has ended comes too late and is dropped."""
        if frame.kind is Kind.ASK:
            ask = self._open[frame.number] = _Ask(frame)
            if len(self._open) > self._n_threads:
                self._n_threads += 1
                name = f"topwork-answer-{self._n_threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
            self._asks.put(ask)
        elif (known := self._open.get(frame.number)) is not None:
            if frame.kind is Kind.CANCEL:
                known.cancel()
            elif frame.kind is Kind.MORE:
                known.room.release(*LENGTH.unpack(frame.content))

    def _work(self) -> None:
        while True:
            ask = self._asks.get()
            try:
                kind, content = self._answered(ask)
                self._open.pop(ask.number, None)
                self._channel.send(kind, ask.number, content)
            except Gone:  # the first thread finds out as well, and ends the process
                return

    def _answered(self, ask: _Ask) -> tuple[Kind, list[bytes]]:
        """Send the answers; return how it ended."""
        NUMBER.set(ask.number)
        try:
            with ask.errand.here():
                self._send_answers(ask)
        except Gone:
            raise
        except Late:
            return Kind.DONE, []
        except BaseException as error:
            return Kind.FAULT, encode_error(error)
        return Kind.DONE, []

    def _send_answers(self, ask: _Ask) -> None:
        if ask.errand.is_over:
            return
        answers = (self._servable.explain if ask.explains else self._servable.submit)(ask.inputs)
        for answer in answers:
            ask.room.acquire()
            if ask.errand.is_over:
                break
            self._channel.send(Kind.ANSWER, ask.number, encode_answer(answer))
        if close := getattr(answers, "close", None):
            close()


def main() -> NoReturn:
    """Work until the server hangs up or is gone."""
    descriptor, parent = (int(word) for word in sys.argv[1:3])
    # The server says when it is over: what is under way is finished first, also where everybody is told to end.
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    with suppress(OSError):  # no Linux
        Path("/proc/self/oom_score_adj").write_text(EXPENDABLE, encoding="ascii")
    channel = Channel(socket.socket(fileno=descriptor))
    with suppress(Gone, Garbled), forwarded(partial(_tell, channel)):
        if (first := channel.receive()) is not None:
            _serve(channel, Order.decode(first.content), parent)
    _end()


def _tell(channel: Channel, number: int, line: Line) -> None:
    with suppress(Gone):  # the first thread finds out as well
        channel.send(Kind.LOG, number, line.encode())


def _serve(channel: Channel, order: Order, parent: int) -> None:
    heart = _Heart(channel, order.beat_s, parent)
    threading.Thread(target=heart.beat, name="topwork-beat", daemon=True).start()
    desk = heart.desk = _opened(channel, order)
    while desk is not None and (frame := channel.receive()) is not None:
        desk.take(frame)


def _opened(channel: Channel, order: Order) -> _Desk | None:
    """Open the model and prove it, and tell of both; None where that failed."""
    sys.path.extend(folder for folder in order.folders if folder not in sys.path)
    try:
        opened = _with_batches(_factory(order.factory)(order.arguments), order)
        channel.send(Kind.DESCRIBED, 0, Description.of(opened).encode())
        opened.servable.prove()
        # Again: a proof may have put another engine in the place of the first, and says how large batches may be.
        description = Description.of(opened)
    except Gone:
        raise
    except BaseException as error:
        channel.send(Kind.FAILED, 0, encode_error(error))
        return None
    channel.send(Kind.READY, 0, description.encode())
    return _Desk(opened.servable, channel)


def _with_batches(opened: Opened, order: Order) -> Opened:
    servable = gathering(
        opened.servable,
        opened.n_at_once,
        n_threads=order.n_threads,
        max_batch=order.max_batch,
        deadline_s=order.deadline_s,
    )
    return replace(opened, servable=servable)


def _factory(source: str) -> Callable[[bytes], Opened]:
    module, _, name = source.partition(":")
    found: Any = getattr(import_module(module), name)
    return found  # type: ignore[no-any-return]


class _Heart:
    """Says that this process is alive, and ends it with its parent, also where its socket has come into other hands."""

    def __init__(self, channel: Channel, beat_s: float, parent: int) -> None:
        self._channel, self._beat_s, self._parent = channel, beat_s, parent
        self.desk: _Desk | None = None

    def beat(self) -> None:
        with suppress(Gone):
            while os.getppid() == self._parent:
                pulse = Pulse() if self.desk is None else self.desk.pulse
                self._channel.send(Kind.BEAT, 0, pulse.encode())
                time.sleep(self._beat_s)
        _end()


def _end() -> NoReturn:
    """End at once: a library that cannot shut down, or a model that computes, must not keep the process."""
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
