"""A worker process: it opens a model, proves it, and answers what it is asked over a socket, until the server is gone.

Started as ``python -P -m topwork.serving.replica_process SOCKET PARENT`` by `replica`. It knows no HTTP and no other
process; how the answers are computed is the servable's affair. Three kinds of threads: the first one reads, one says
every second that the process is alive (a model that computes for long does not keep it from that, one that is stuck
does), and the others answer.
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
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

from topwork.contracts import Servable
from topwork.serving.frames import (
    LENGTH,
    Channel,
    Description,
    Frame,
    Garbled,
    Gone,
    Kind,
    Order,
    decode_ask,
    encode_answer,
    encode_error,
)

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
        self.is_cancelled = False
        self.room = threading.Semaphore(AHEAD)

    def cancel(self) -> None:
        self.is_cancelled = True
        self.room.release()


class _Desk:
    """Answers what one servable is asked."""

    def __init__(self, servable: Servable, channel: Channel) -> None:
        self._servable, self._channel = servable, channel
        self._asks: queue.SimpleQueue[_Ask] = queue.SimpleQueue()
        self._open: dict[int, _Ask] = {}

    def start(self, n_threads: int) -> None:
        for number in range(n_threads):
            threading.Thread(target=self._work, name=f"topwork-answer-{number}", daemon=True).start()

    def take(self, frame: Frame) -> None:
        """Take what came; what belongs to a question that has ended comes too late and is dropped."""
        if frame.kind is Kind.ASK:
            ask = self._open[frame.number] = _Ask(frame)
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
        try:
            self._send_answers(ask)
        except Gone:
            raise
        except BaseException as error:
            return Kind.FAULT, encode_error(error)
        return Kind.DONE, []

    def _send_answers(self, ask: _Ask) -> None:
        if ask.is_cancelled:
            return
        answers = (self._servable.explain if ask.explains else self._servable.submit)(ask.inputs)
        for answer in answers:
            ask.room.acquire()
            if ask.is_cancelled:
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
    with suppress(Gone, Garbled):
        if (first := channel.receive()) is not None:
            _serve(channel, Order.decode(first.content), parent)
    _end()


def _serve(channel: Channel, order: Order, parent: int) -> None:
    threading.Thread(
        target=_beat, args=(channel, order.beat_s, parent), name="topwork-beat", daemon=True
    ).start()
    desk = _opened(channel, order)
    while desk is not None and (frame := channel.receive()) is not None:
        desk.take(frame)


def _opened(channel: Channel, order: Order) -> _Desk | None:
    """Open the model and prove it, and tell of both; None where that failed."""
    sys.path.extend(folder for folder in order.folders if folder not in sys.path)
    try:
        servable, n_at_once = _factory(order.factory)(order.arguments)
        channel.send(Kind.DESCRIBED, 0, Description.of(servable, n_at_once).encode())
        servable.prove()
        # Again: a proof may have put another engine in the place of the first.
        description = Description.of(servable, n_at_once)
    except Gone:
        raise
    except BaseException as error:
        channel.send(Kind.FAILED, 0, encode_error(error))
        return None
    desk = _Desk(servable, channel)
    desk.start(order.n_threads or n_at_once)
    channel.send(Kind.READY, 0, description.encode())
    return desk


def _factory(source: str) -> Callable[[bytes], tuple[Servable, int]]:
    module, _, name = source.partition(":")
    found: Any = getattr(import_module(module), name)
    return found  # type: ignore[no-any-return]


def _beat(channel: Channel, beat_s: float, parent: int) -> None:
    """Say that this process is alive, and end it with its parent, also where its socket has come into other hands."""
    with suppress(Gone):
        while os.getppid() == parent:
            channel.send(Kind.BEAT)
            time.sleep(beat_s)
    _end()


def _end() -> NoReturn:
    """End at once: a library that cannot shut down, or a model that computes, must not keep the process."""
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
