"""Progress: plain lines with rate and time left, bars in a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from topwork.progress import Bars, Lines, Quiet, on


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def ticking(*times_s: float) -> Callable[[], float]:
    moments: Iterator[float] = iter(times_s)
    return lambda: next(moments)


def test_a_pipe_gets_lines_and_a_terminal_bars() -> None:
    assert isinstance(on(io.StringIO()), Lines)
    assert isinstance(on(Terminal()), Bars)


def test_lines_tell_rate_and_time_left_now_and_then() -> None:
    out = io.StringIO()
    lines = Lines(out, clock=ticking(0.0, 1.0, 5.0, 6.0, 10.0, 20.0))
    with lines.track("Reading", 100, "photos") as advance:
        for _ in range(4):
            advance(10)
    assert out.getvalue().splitlines() == [
        "Reading: 20/100 photos, 4.0 photos/s, 20 s left",
        "Reading: 40/100 photos, 4.0 photos/s, 15 s left",
        "Reading: 40 photos in 20.0 s",
    ]


def test_lines_do_not_tell_of_what_took_no_time() -> None:
    out = io.StringIO()
    with Lines(out, clock=ticking(0.0, 0.0, 0.1)).track("Fitting", 1, "targets") as advance:
        advance(1)
    assert out.getvalue() == ""


def test_a_single_unit_is_not_counted() -> None:
    out = io.StringIO()
    with Lines(out, clock=ticking(0.0, 0.0, 2.0)).track("Fitting", 1, "targets") as advance:
        advance(1)
    assert out.getvalue() == "Fitting: 2.0 s\n"


def test_a_line_cannot_steer_the_terminal() -> None:
    out, terminal = io.StringIO(), Terminal()
    for shown in (Lines(out), Bars(terminal)):
        shown.say("such as a\x1b[2J\nb.jpg")
    assert out.getvalue() == "such as a\ufffd[2J\ufffdb.jpg\n"
    assert "such as a\ufffd[2J\ufffdb.jpg" in terminal.getvalue()


def test_several_bars_share_a_terminal() -> None:
    out = Terminal()
    bars = Bars(out)
    with bars.track("One", 2, "a") as first, bars.track("Two", 3, "b") as second:
        first(2)
        second(3)
        bars.say("a line [with brackets]")
    assert "a line [with brackets]" in out.getvalue()


def test_quiet_shows_nothing() -> None:
    quiet = Quiet()
    quiet.say("x")
    with quiet.track("a", 1, "b") as advance:
        advance(1)
