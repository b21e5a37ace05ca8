"""Showing that long work is alive: bars in a terminal, plain lines elsewhere, nothing where nobody looks.

Everything goes to one stream, standard error for the commands, so that standard output holds results alone.
It knows nothing of the work.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from topwork.contracts import Clock, Progress

if TYPE_CHECKING:
    import rich.console
    import rich.progress

__all__ = ["Bars", "Lines", "Quiet", "on"]

_EVERY_S = 5.0
_WORTH_A_LINE_S = 0.5
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def on(stream: TextIO) -> Progress:
    """Return bars where the stream is a terminal, else plain lines."""
    return Bars(stream) if stream.isatty() else Lines(stream)


@dataclass(frozen=True, slots=True)
class Quiet:
    """Shows nothing."""

    def say(self, line: str) -> None:
        """Drop the line."""

    @contextmanager
    def track(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:  # noqa: ARG002
        """Count for nobody."""
        yield lambda _: None


@dataclass(frozen=True, slots=True)
class Lines:
    """Plain lines with rate and time left, one every few seconds at most; for logs and pipes."""

    stream: TextIO
    clock: Clock = time.monotonic
    every_s: float = _EVERY_S

    def say(self, line: str) -> None:
        """Write the line."""
        print(_harmless(line), file=self.stream, flush=True)

    @contextmanager
    def track(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Write how far it is whenever some seconds have passed, and what it took at the end."""
        began_s = told_s = self.clock()
        done = 0

        def advance(n: int) -> None:
            nonlocal done, told_s
            done += n
            if (now_s := self.clock()) - told_s >= self.every_s and done < total:
                told_s = now_s
                self.say(f"{title}: {_state(done, total, unit, now_s - began_s)}")

        yield advance
        took_s = self.clock() - began_s
        if took_s >= _WORTH_A_LINE_S:
            self.say(_outcome(title, done, unit, took_s))


def _outcome(title: str, done: int, unit: str, took_s: float) -> str:
    """Say what it took; a single unit is not worth counting."""
    return f"{title}: {took_s:.1f} s" if done == 1 else f"{title}: {done:,} {unit} in {took_s:.1f} s"


def _harmless(line: str) -> str:
    """Return the line without control characters: a file's name may hold some that steer a terminal."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", line)


def _state(done: int, total: int, unit: str, took_s: float) -> str:
    rate = done / max(took_s, 1e-9)
    left = f", {(total - done) / rate:.0f} s left" if done else ""
    return f"{done}/{total} {unit}, {rate:.1f} {unit}/s{left}"


class Bars:
    """Bars with rate and time left, for a person at a terminal; several may be open at once."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._lock = threading.RLock()
        self._shown: rich.progress.Progress | None = None
        self._n_open = 0

    def say(self, line: str) -> None:
        """Write the line above any bar."""
        self._console.print(_harmless(line), markup=False)

    @contextmanager
    def track(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Draw a bar that vanishes when it is done, and leave one line."""
        with self._display() as shown:
            bar = shown.add_task(title, total=total, unit=unit, rate="")
            task = shown.tasks[shown.task_ids.index(bar)]

            def advance(n: int) -> None:
                shown.update(bar, advance=n, rate=_rate(task.speed))

            try:
                yield advance
            finally:
                shown.remove_task(bar)
        if (task.elapsed or 0.0) >= _WORTH_A_LINE_S:
            self.say(_outcome(title, int(task.completed), unit, task.elapsed or 0.0))

    @contextmanager
    def _display(self) -> Iterator[rich.progress.Progress]:
        """Give the one display that all open bars share."""
        with self._lock:
            self._n_open += 1
            if self._shown is None:
                self._shown = _display(self._console)
                self._shown.start()
            shown = self._shown
        try:
            yield shown
        finally:
            with self._lock:
                self._n_open -= 1
                if not self._n_open:
                    shown.stop()
                    self._shown = None


def _display(console: rich.console.Console) -> rich.progress.Progress:
    from rich import progress as bars

    return bars.Progress(
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(bar_width=28),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[unit]} {task.fields[rate]}", markup=False),
        bars.TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _rate(per_s: float | None) -> str:
    return f"{per_s:.1f}/s" if per_s else ""
